//! Herds: five hundred on one slow item, a scan of ids that do not exist, and a thousand pages that expire at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use host_tests::bloom;
use host_tests::client::Client;
use host_tests::coalesce::{FRESH, answer, gateway, herd, status};
use host_tests::gateway::Gateway;
use host_tests::idempotency::{Gate, Service};
use host_tests::redis::Redis;
use host_tests::wait;
use serde_json::{Value, json};

use crate::report::Report;

const WORKERS: usize = 4;

pub fn run(report: &mut Report) {
    one_slow_item(report);
    ids_that_do_not_exist(report);
    a_thousand_expire(report);
}

fn one_slow_item(report: &mut Report) {
    const CLIENTS: usize = 500;
    report.scenario("A slow item, and 500 clients who want it at once", &[]);
    let route = json!({"flight": {"wait": "20s", "max_time": "20s"}});
    report.note("route", &route);
    let gate = Gate::closed();
    let theirs = Arc::clone(&gate);
    let service = Service::start(move |_, number, stream| {
        theirs.pass();
        answer(stream, FRESH, format!("answer {number}").as_bytes())
    });
    let gateway = gateway(service.address(), route).workers(WORKERS).start();
    let mut clients = herd(&gateway, CLIENTS, "/item", 0);
    report.equal(
        "all wait, and the service works on one request",
        service.count(),
        1,
    );
    gate.open();
    let answers: Vec<_> = clients.iter_mut().map(|client| client.answer()).collect();
    let same = answers.iter().filter(|got| got.body == b"answer 1");
    report.equal("each of them gets that answer", same.count(), CLIENTS);
    let waited = answers
        .iter()
        .filter(|got| status(got).contains("collapsed"));
    report.equal("499 waited for the first", waited.count(), CLIENTS - 1);
    report.equal("the service has seen one request", service.count(), 1);
}

fn ids_that_do_not_exist(report: &mut Report) {
    const SCAN: u64 = 10_000;
    report.scenario(
        "A scan of 10,000 ids that do not exist, before a catalogue of 1,000",
        &[],
    );
    let (redis, service) = (
        Redis::start(),
        Service::start(|_, _, stream| answer(stream, FRESH, b"an item")),
    );
    // Room for a hundred times as many, so that not one of the scan is taken for one of them.
    let filter = bloom::filter(0..1_000, 100_000);
    bloom::put(&redis, "items", &filter.to_blob());
    report.note(
        "filter",
        format!(
            "{} bytes, {} hashes",
            filter.shape().bytes(),
            filter.shape().hashes()
        ),
    );
    let policy = bloom::policy(json!({}));
    report.note("guard", &policy["guards"][0]);
    let gateway = bloom::gateway(service.address(), &redis, &policy);
    let gateway = gateway.workers(WORKERS).start();
    bloom::until_loaded(&gateway, WORKERS, 1);
    let answers = each(&gateway, 1_000..1_000 + SCAN);
    report.equal(
        "each is answered 404",
        answers.get(&404).copied(),
        Some(SCAN),
    );
    report.equal("none of them reaches the service", service.count(), 0);
    let answers = each(&gateway, 0..1_000);
    report.equal(
        "all that exist are served",
        answers.get(&200).copied(),
        Some(1_000),
    );
}

/// How often each status came, of requests for these items by four clients.
fn each(gateway: &Gateway, ids: std::ops::Range<u64>) -> HashMap<u16, u64> {
    let clients: Vec<Vec<u16>> = thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let ids = ids.clone().filter(move |id| id % 4 == client);
                scope.spawn(move || ids_of(gateway, ids).collect())
            })
            .collect();
        let clients = clients.into_iter();
        clients
            .map(|client| client.join().expect("a client does not panic"))
            .collect()
    });
    let mut counts = HashMap::new();
    for status in clients.into_iter().flatten() {
        *counts.entry(status).or_default() += 1;
    }
    counts
}

fn ids_of(gateway: &Gateway, ids: impl Iterator<Item = u64>) -> impl Iterator<Item = u16> {
    let mut client = Client::new(gateway.address());
    ids.map(move |id| {
        let answer = client.get::<&str>(&format!("/items/{id}"), &[]);
        answer.map_or(0, |answer| answer.status)
    })
}

const PAGES: u64 = 1_000;
const LIFETIME: &str = "cache-control: max-age=4\r\n";
/// Of the histograms.
const BAR: Duration = Duration::from_millis(500);

fn a_thousand_expire(report: &mut Report) {
    report.scenario(
        "A thousand pages, fetched at once, expire while clients ask for them",
        &[],
    );
    report.note("answers", LIFETIME.trim());
    let [together, apart] = [0, 80].map(|jitter| {
        let route = json!({"jitter": jitter});
        report.note("route", &route);
        refreshes(report, route)
    });
    let most = |bars: &[usize]| bars.iter().max().copied().unwrap_or_default();
    let (together, apart) = (most(&together), most(&apart));
    report.holds(
        "with jitter the service never has to do so much at once",
        apart * 3 / 2 < together,
        format!("well below {together}"),
        apart,
    );
}

/// How many pages were fetched for the second time in each part of the time since the first.
fn refreshes(report: &mut Report, route: Value) -> Vec<usize> {
    let fetched = Arc::<Mutex<HashMap<String, Vec<Instant>>>>::default();
    let theirs = Arc::clone(&fetched);
    let service = Service::start(move |request, _, stream| {
        let mut fetched = theirs.lock().unwrap_or_else(PoisonError::into_inner);
        let times = fetched.entry(request.path.clone()).or_default();
        times.push(Instant::now());
        drop(fetched);
        answer(stream, LIFETIME, b"a page")
    });
    let gateway = gateway(service.address(), route).workers(WORKERS).start();
    let start = Instant::now();
    wait::until("each page to be fetched again", || {
        let answers = each(&gateway, 0..PAGES);
        assert_eq!(answers.get(&200), Some(&PAGES), "all are served");
        let fetched = fetched.lock().unwrap_or_else(PoisonError::into_inner);
        fetched.values().all(|times| times.len() > 1)
    });
    let fetched = fetched.lock().unwrap_or_else(PoisonError::into_inner);
    let mut bars: Vec<usize> = Vec::new();
    for again in fetched.values().filter_map(|times| times.get(1)) {
        let bar = again.duration_since(start).as_millis() / BAR.as_millis();
        let bar = usize::try_from(bar).unwrap_or_default();
        bars.resize(bars.len().max(bar + 1), 0);
        bars[bar] += 1;
    }
    for (bar, pages) in bars.iter().copied().enumerate() {
        if pages == 0 {
            continue;
        }
        let until = BAR * u32::try_from(bar + 1).unwrap_or(u32::MAX);
        let line = format!("{:4} {}", pages, "#".repeat(pages.div_ceil(20)));
        report.note(&format!("{:.1} s", until.as_secs_f64()), line);
    }
    bars
}
