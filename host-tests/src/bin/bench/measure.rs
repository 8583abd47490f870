//! Measures variants of a gateway against each other, and prints the table.
//!
//! A machine is not equally fast from one second to the next, so a variant and the baseline take turns of a second each, and
//! a ratio is of what the two did in such pairs. Both are started anew for each round, as two instances of one
//! configuration differ by more than two runs of one instance. The medians of the rounds are shown. The baseline is
//! compared with another instance of itself too: how far that row is from 1 is how far any row may be off.

use host_tests::gateway::{Builder, Gateway};
use host_tests::tools;
use std::process::Command;

/// What all others are compared with.
pub const BASELINE: &str = "wasm that does nothing";

struct Variant<'a> {
    name: String,
    /// The ratio to the baseline that is promised.
    goal: Option<f64>,
    /// It answers with statuses other than 2xx and 3xx, and with nothing else.
    refuses: bool,
    start: Start<'a>,
    samples: Vec<Sample>,
}

/// What a variant did in the turns of a round, and what the baseline did.
struct Sample {
    own: Work,
    baseline: Work,
    /// Commands in a callout, on average; none for a filter that made none.
    batch: Option<f64>,
}

#[derive(Default)]
struct Work {
    seconds: f64,
    requests: f64,
    /// Of the server: steadier than the rate on a busy machine.
    processor_seconds: f64,
}

impl Work {
    fn rate(&self) -> f64 {
        self.requests / self.seconds
    }

    fn microseconds(&self) -> f64 {
        self.processor_seconds * 1e6 / self.requests
    }
}

/// What is measured.
pub trait Server {
    fn url(&self) -> String;
    fn pid(&self) -> u32;

    /// Commands in a callout of this filter, on average; none where it made none.
    fn batch_size(&self, _filter: &str) -> Option<f64> {
        None
    }
}

/// Starts one.
pub type Start<'a> = Box<dyn Fn() -> Box<dyn Server> + 'a>;

impl Server for Gateway {
    fn url(&self) -> String {
        self.url()
    }

    fn pid(&self) -> u32 {
        self.envoy().running().pid()
    }

    fn batch_size(&self, filter: &str) -> Option<f64> {
        let stat = |name: &str| {
            let name = format!("wasmcustom.{filter}.redis.{name}");
            self.envoy().stat(&name) as f64
        };
        let callouts = stat("callouts");
        (callouts > 0.0).then(|| stat("commands") / callouts)
    }
}

/// How requests are sent: by `wrk` as fast as they are answered.
pub struct Load {
    pub connections: usize,
    /// What else `wrk` is told.
    pub arguments: Vec<String>,
    /// The filter whose callouts are counted.
    pub filter: &'static str,
    /// The bytes that an answer has at least, unless it is a refusal.
    pub answer: usize,
}

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    /// Turns of a second for each variant in a round.
    pub turns: usize,
}

/// Those variants whose names are picked, and the baseline.
pub struct Variants<'a> {
    picked: &'a [String],
    all: Vec<Variant<'a>>,
}

/// Whether a name is among `picked`, or begins with one of them that ends with a `*`; each is, if there are none.
pub fn is_picked(picked: &[String], name: &str) -> bool {
    let is = |pick: &String| match pick.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pick,
    };
    picked.is_empty() || picked.iter().any(is)
}

impl<'a> Variants<'a> {
    pub fn new(picked: &'a [String]) -> Self {
        Self {
            picked,
            all: Vec::new(),
        }
    }

    pub fn add(
        &mut self,
        name: impl Into<String>,
        goal: Option<f64>,
        gateway: impl Fn() -> Builder + 'a,
    ) {
        self.add_server(name, goal, move || Box::new(gateway().start()));
    }

    /// Another server than a gateway.
    pub fn add_server(
        &mut self,
        name: impl Into<String>,
        goal: Option<f64>,
        start: impl Fn() -> Box<dyn Server> + 'a,
    ) {
        let name = name.into();
        if name == BASELINE || is_picked(self.picked, &name) {
            self.all.push(Variant {
                name,
                goal,
                refuses: false,
                start: Box::new(start),
                samples: Vec::new(),
            });
        }
    }

    /// The variant of this name answers with refusals only.
    pub fn refusing(&mut self, name: &str) {
        for variant in self.all.iter_mut().filter(|variant| variant.name == name) {
            variant.refuses = true;
        }
    }

    /// Nothing but the baseline has been picked.
    pub fn is_empty(&self) -> bool {
        self.all.iter().all(|variant| variant.name == BASELINE)
    }

    /// Measures them and prints a row for each.
    pub fn measure(mut self, title: &str, load: &Load, effort: Effort) {
        if self.is_empty() {
            return;
        }
        let mut names = self.all.iter().map(|variant| variant.name.as_str());
        let of_baseline = names.position(|name| name == BASELINE);
        let of_baseline = of_baseline.expect("the baseline always runs");
        for _ in 0..effort.rounds {
            let baseline = (self.all[of_baseline].start)();
            send(&*baseline, load);
            for variant in &mut self.all {
                let server = (variant.start)();
                // To warm up: what is stored is stored, and limits are reached.
                send(&*server, load);
                let mut sample = Sample {
                    own: Work::default(),
                    baseline: Work::default(),
                    batch: None,
                };
                for _ in 0..effort.turns {
                    work(&*baseline, load, false, &mut sample.baseline);
                    work(&*server, load, variant.refuses, &mut sample.own);
                }
                sample.batch = server.batch_size(load.filter);
                variant.samples.push(sample);
            }
        }
        print(title, &self.all);
    }
}

/// A turn.
///
/// # Panics
/// When the requests are not answered as expected: what is broken is fast.
fn work(server: &dyn Server, load: &Load, refuses: bool, sum: &mut Work) {
    let before = processor_time(server.pid());
    let (run, text) = send(server, load);
    sum.processor_seconds += processor_time(server.pid()) - before;
    sum.seconds += run.requests / run.rate;
    sum.requests += run.requests;
    let refused = if refuses { run.requests } else { 0.0 };
    let least = (run.requests - refused) * load.answer as f64;
    assert!(
        run.refused == refused && run.bytes >= least && !text.contains("Socket errors"),
        "{refused} refusals were expected, and answers of {} bytes: {text}",
        load.answer
    );
}

/// Sends requests for a second.
fn send(server: &dyn Server, load: &Load) -> (Run, String) {
    let output = Command::new(tools::wrk())
        .args(["-t", "1", "-d", "1s", "-c", &load.connections.to_string()])
        .args(&load.arguments)
        .arg(server.url())
        .output()
        .expect("wrk runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let run = Run::read(&text).unwrap_or_else(|| panic!("wrk prints no rate: {text}"));
    (run, text)
}

/// What `wrk` says of a run.
struct Run {
    rate: f64,
    requests: f64,
    refused: f64,
    /// At most: `wrk` prints two digits behind the point.
    bytes: f64,
}

impl Run {
    fn read(text: &str) -> Option<Self> {
        let number = |text: &str| text.trim().parse::<f64>().ok();
        let after = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name));
        let (requests, read) = text
            .lines()
            .find_map(|line| line.split_once(" requests in "))?;
        let read = read.split_once(", ")?.1.strip_suffix(" read")?;
        let digits = read.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match read.strip_prefix(digits)? {
            "B" => 1.0,
            "KB" => 1024.0,
            "MB" => 1024.0 * 1024.0,
            "GB" => 1024.0 * 1024.0 * 1024.0,
            _ => return None,
        };
        Some(Self {
            rate: number(after("Requests/sec:")?)?,
            requests: number(requests)?,
            refused: after("Non-2xx or 3xx responses:").map_or(Some(0.0), number)?,
            bytes: (number(digits)? + 0.005) * unit,
        })
    }
}

/// Seconds of processor time that a process and its children have taken, all their threads together.
fn processor_time(pid: u32) -> f64 {
    let ticks = |pid: &u32| {
        let fields = stat(*pid).unwrap_or_default();
        let of = |index: usize| fields.get(index)?.parse::<f64>().ok();
        of(11).unwrap_or_default() + of(12).unwrap_or_default()
    };
    let all: f64 = family(pid).iter().map(ticks).sum();
    all / rustix::param::clock_ticks_per_second() as f64
}

/// A process and its children.
pub fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(other) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let parent = stat(other).and_then(|fields| fields.get(1)?.parse().ok());
        if parent == Some(pid) {
            all.push(other);
        }
    }
    all
}

/// What the system knows of a process, from its state on.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

fn print(title: &str, variants: &[Variant<'_>]) {
    println!();
    println!(
        "{title:50} {:>7} {:>6} {:>13} {:>5} {:>7} {:>6} {:>6}",
        "req/s", "ratio", "min - max", "goal", "us", "ratio", "batch"
    );
    for variant in variants {
        let of = |value: fn(&Sample) -> f64| sorted(variant.samples.iter().map(value));
        let ratios = of(|sample| sample.own.rate() / sample.baseline.rate());
        let processor = of(|sample| sample.baseline.microseconds() / sample.own.microseconds());
        let batches = sorted(variant.samples.iter().filter_map(|sample| sample.batch));
        println!(
            "{:50} {:>7.0} {:>6.3} {:>5.3} - {:.3} {:>5} {:>7.2} {:>6.3} {:>6}",
            variant.name,
            median(&of(|sample| sample.own.rate())).unwrap_or_default(),
            median(&ratios).unwrap_or_default(),
            ratios.first().copied().unwrap_or_default(),
            ratios.last().copied().unwrap_or_default(),
            text(variant.goal, 2),
            median(&of(|sample| sample.own.microseconds())).unwrap_or_default(),
            median(&processor).unwrap_or_default(),
            text(median(&batches), 1),
        );
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> Option<f64> {
    sorted.get(sorted.len() / 2).copied()
}

fn text(value: Option<f64>, digits: usize) -> String {
    value.map_or(String::new(), |value| format!("{value:.digits$}"))
}
