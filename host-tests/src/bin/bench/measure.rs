//! Measures variants of a gateway against each other, and prints the table.
//!
//! A variant's gateway is started for each of its runs, as two instances of one configuration differ by more than two
//! runs of one instance. The variants take turns, round by round, so that a slow moment of the machine hits all alike;
//! each run is compared with the baseline's of the same round, and the medians are shown.

use host_tests::gateway::{Builder, Gateway};
use host_tests::tools;
use std::process::Command;

/// What all others are compared with.
pub const BASELINE: &str = "wasm that does nothing";

struct Variant<'a> {
    name: String,
    /// The ratio to the baseline that is promised.
    goal: Option<f64>,
    start: Start<'a>,
    samples: Vec<Sample>,
}

struct Sample {
    requests_per_second: f64,
    /// Envoy's processor time for one request: steadier than the rate on a busy machine.
    microseconds: f64,
    /// Commands in a callout, on average; none for a filter that made none.
    batch: Option<f64>,
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
}

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    /// Of one run.
    pub seconds: usize,
}

/// Those variants whose names are among `picked`, or begin with one of them that ends with a `*`; all, if it is empty.
pub struct Variants<'a> {
    picked: &'a [String],
    all: Vec<Variant<'a>>,
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
        let is = |pick: &String| match pick.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == *pick,
        };
        if self.picked.is_empty() || name == BASELINE || self.picked.iter().any(is) {
            self.all.push(Variant {
                name,
                goal,
                start: Box::new(start),
                samples: Vec::new(),
            });
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
        for _ in 0..effort.rounds {
            for variant in &mut self.all {
                let server = (variant.start)();
                // To warm up.
                send(&*server, load, 1);
                variant.samples.push(sample(&*server, load, effort.seconds));
            }
        }
        print(title, &self.all);
    }
}

fn sample(server: &dyn Server, load: &Load, seconds: usize) -> Sample {
    let before = processor_time(server.pid());
    let (requests_per_second, requests) = send(server, load, seconds);
    Sample {
        requests_per_second,
        microseconds: (processor_time(server.pid()) - before) * 1e6 / requests,
        batch: server.batch_size(load.filter),
    }
}

/// Requests per second, and how many requests in all.
fn send(server: &dyn Server, load: &Load, seconds: usize) -> (f64, f64) {
    let output = Command::new(tools::wrk())
        .args(["-t", "1", "-c", &load.connections.to_string()])
        .args(["-d", &format!("{seconds}s")])
        .args(&load.arguments)
        .arg(server.url())
        .output()
        .expect("wrk runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let number = |text: &str| text.trim().parse().ok();
    let rate = text
        .lines()
        .find_map(|line| number(line.strip_prefix("Requests/sec:")?));
    let requests = text
        .lines()
        .find_map(|line| number(line.split_once(" requests in")?.0));
    rate.zip(requests)
        .unwrap_or_else(|| panic!("wrk prints no rate: {text}"))
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
    let baseline = variants
        .iter()
        .find(|variant| variant.name == BASELINE)
        .expect("the baseline always runs");
    println!();
    println!(
        "{title:48} {:>9} {:>7} {:>15} {:>6} {:>8} {:>6}",
        "req/s", "ratio", "min - max", "goal", "us", "batch"
    );
    for variant in variants {
        let of = |value: fn(&Sample) -> f64| sorted(variant.samples.iter().map(value));
        let pairs = variant.samples.iter().zip(&baseline.samples);
        let ratios =
            sorted(pairs.map(|(own, base)| own.requests_per_second / base.requests_per_second));
        let batches = sorted(variant.samples.iter().filter_map(|sample| sample.batch));
        println!(
            "{:48} {:>9.0} {:>7.3} {:>7.3} - {:.3} {:>6} {:>8.2} {:>6}",
            variant.name,
            median(&of(|sample| sample.requests_per_second)).unwrap_or_default(),
            median(&ratios).unwrap_or_default(),
            ratios.first().copied().unwrap_or_default(),
            ratios.last().copied().unwrap_or_default(),
            text(variant.goal, 2),
            median(&of(|sample| sample.microseconds)).unwrap_or_default(),
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
