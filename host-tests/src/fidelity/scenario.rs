//! What a scenario file says.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::observed::Observed;
use crate::tools;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The file's name without its extension.
    #[serde(skip)]
    pub name: String,
    /// The promise that is kept or the trap that is shown, in a sentence.
    pub about: String,
    /// The name of a built filter.
    pub filter: String,
    /// The configuration of `probe`; it is the VM's too.
    #[serde(default)]
    pub program: Option<Value>,
    /// The configuration of any other filter.
    #[serde(default)]
    pub policy: Option<Value>,
    /// With more than one worker, which of them a request meets is chance: the traces are sorted.
    #[serde(default = "one")]
    pub workers: usize,
    #[serde(default)]
    pub allow_on_headers_stop_iteration: bool,
    #[serde(default)]
    pub failure_policy: FailurePolicy,
    /// The gateway passes trailers on; it drops them otherwise.
    #[serde(default)]
    pub trailers: bool,
    /// How many bytes of a body the gateway holds for a filter that pauses.
    #[serde(default)]
    pub buffer_limit: Option<u32>,
    #[serde(default)]
    pub redis: RedisRoute,
    /// What the origin does, by path without the query; anything else is answered 200.
    #[serde(default)]
    pub origin: BTreeMap<String, Behaviour>,
    /// The filter's metrics that are observed, by how their names start.
    #[serde(default)]
    pub metrics: Vec<String>,
    pub steps: Vec<Step>,
    /// Must stand last in the file: recording writes it anew.
    #[serde(default)]
    pub expect: Observed,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailurePolicy {
    #[default]
    FailReload,
    FailClosed,
    FailOpen,
}

/// How the cluster `sluice-redis` reaches a Redis: as in the shipped examples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedisRoute {
    #[default]
    None,
    Direct,
    Stream,
}

/// What the origin does with a request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Behaviour {
    pub status: u16,
    pub headers: Fields,
    /// With its length.
    pub body: Bytes,
    /// Instead of `body`: chunks, one after another, so that a gateway sees each by itself.
    pub pieces: Vec<Bytes>,
    pub trailers: Fields,
    /// An interim response before the real one.
    pub interim: Option<u16>,
    /// Before it answers.
    pub delay_ms: u64,
    pub end: End,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: Bytes::Text("origin\n".to_owned()),
            pieces: Vec::new(),
            trailers: Vec::new(),
            interim: None,
            delay_ms: 0,
            end: End::Complete,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    #[default]
    Complete,
    /// The connection closes instead of an answer.
    NoAnswer,
    /// The connection closes when all pieces are out, before the body's end.
    Cut,
    /// Nothing comes until the gateway gives up.
    Never,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Sends a request and waits for the end of its answer.
    Request(Request),
    /// Sends a request and goes on; one that is repeated, so many at once.
    Start(Request),
    /// Waits for the end of the answer of a request that was started.
    Finish(String),
    /// The client of a request that was started closes its connection.
    Leave(String),
    WaitFor(Condition),
    /// Lets time pass.
    AdvanceMs(u64),
    Redis(RedisTrouble),
}

/// A request on a connection of its own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// What its answer is called.
    pub name: String,
    #[serde(default = "get")]
    pub method: String,
    #[serde(default = "root")]
    pub path: String,
    #[serde(default)]
    pub headers: Fields,
    /// With its length.
    #[serde(default)]
    pub body: Option<Bytes>,
    /// Instead of `body`: chunks, one after another.
    #[serde(default)]
    pub pieces: Vec<Bytes>,
    #[serde(default)]
    pub trailers: Fields,
    /// So often, one after another, or at once where it is started; only the statuses are counted then.
    #[serde(default = "one")]
    pub repeat: usize,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Condition {
    /// So many lines of the trace have this in them.
    Trace {
        has: String,
        #[serde(default = "one")]
        times: usize,
    },
    /// So many requests with this path have begun to come to the origin.
    Origin { path: String, requests: usize },
    /// A metric of the filter has come to this value.
    Metric { name: String, value: u64 },
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedisTrouble {
    /// It dies, and what it knew is lost.
    Stop,
    Start,
    /// It answers no more, but connections stay.
    Freeze,
    Thaw,
    /// It forgets all keys.
    Flush,
    /// It forgets all scripts.
    ForgetScripts,
}

/// Header fields in their order.
pub type Fields = Vec<(String, Bytes)>;

/// Text, or any bytes.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Bytes {
    Text(String),
    Hex { hex: String },
    Fill { fill: String, times: usize },
}

impl Bytes {
    /// # Panics
    /// When `hex` is not hexadecimal.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Fill { fill, times } => fill.repeat(*times).into_bytes(),
            Self::Hex { hex } => (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits"))
                .collect(),
        }
    }
}

fn one() -> usize {
    1
}

fn get() -> String {
    "GET".to_owned()
}

fn root() -> String {
    "/".to_owned()
}

impl Scenario {
    /// # Panics
    /// Naming the file, when it cannot be read.
    #[must_use]
    pub fn load(file: &Path) -> Self {
        let told = file.display();
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{told}: {error}"));
        let mut scenario: Self =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{told}: {error}"));
        let configurations = [&scenario.program, &scenario.policy];
        assert!(
            configurations.iter().filter(|one| one.is_some()).count() <= 1,
            "{told}: a program is for the probe, a policy for any other filter"
        );
        scenario.name = file
            .file_stem()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        scenario
    }

    /// Every file of `host-tests/fidelity/scenarios`, by name.
    ///
    /// # Panics
    /// When the folder cannot be read.
    #[must_use]
    pub fn files() -> Vec<PathBuf> {
        let folder = tools::root().join("host-tests/fidelity/scenarios");
        let mut files: Vec<PathBuf> = fs::read_dir(&folder)
            .expect("the folder of scenarios is there")
            .map(|entry| entry.expect("an entry of a folder can be read").path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "json")
            })
            .collect();
        files.sort();
        files
    }

    /// What the filter is configured with.
    #[must_use]
    pub fn configuration(&self) -> String {
        let configuration = self.program.as_ref().or(self.policy.as_ref());
        configuration.map_or_else(String::new, ToString::to_string)
    }
}

/// Writes what was observed into the file, in the place of what it expected; all before stays as it is.
///
/// # Panics
/// When the file cannot be written, or has no `"expect"` at the start of a line.
pub fn record(file: &Path, observed: &Observed) {
    let text = fs::read_to_string(file).expect("the scenario can be read");
    let (head, _) = text
        .split_once("\n  \"expect\":")
        .unwrap_or_else(|| panic!("{}: no line starts with \"expect\"", file.display()));
    let expect = observed.text().replace('\n', "\n  ");
    fs::write(file, format!("{head}\n  \"expect\": {expect}\n}}\n"))
        .expect("the scenario can be written");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Scenario, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("odd.json");
        fs::write(&file, text).unwrap();
        std::panic::catch_unwind(|| Scenario::load(&file))
            .map_err(|problem| problem.downcast_ref::<String>().unwrap().clone())
    }

    #[test]
    fn a_mistake_in_a_file_is_told_with_its_name() {
        let good = r#"{"about": "x", "filter": "noop", "steps": [{"request": {"name": "a"}}]}"#;
        assert_eq!(load(good).unwrap().name, "odd");
        let told = load(&good.replace("name", "nmae")).unwrap_err();
        assert!(told.contains("odd.json") && told.contains("nmae"), "{told}");
        let both = good.replace("\"steps\"", "\"program\": {}, \"policy\": {}, \"steps\"");
        assert!(load(&both).unwrap_err().contains("a policy for any other"));
    }

    #[test]
    fn recording_leaves_all_before_the_expectation_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("one.json");
        let head = "{\n  \"about\":   \"odd spaces\",\n  \"filter\": \"noop\", \"steps\": [],\n";
        fs::write(&file, format!("{head}  \"expect\": {{}}\n}}\n")).unwrap();
        let observed = Observed {
            refused: true,
            ..Observed::default()
        };
        record(&file, &observed);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with(head), "{text}");
        assert_eq!(Scenario::load(&file).expect, observed);
    }
}
