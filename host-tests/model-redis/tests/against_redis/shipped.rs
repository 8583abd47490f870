//! The scripts of the filters, with random arguments.

use proptest::prelude::*;

use crate::pair::Pair;

const HOUR: u64 = 3_600_000_000;

const SOURCES: [&str; 2] = [
    include_str!("../../../../plugins/core/src/rate_limit/take.lua"),
    include_str!("../../../../plugins/core/src/rate_limit/refund.lua"),
];

/// Beyond any clock, so that records last while the test does. In microseconds.
const FROZEN: u64 = 9_000_000_000_123_456;

/// The script with a clock that stands still, so that not a microsecond may differ.
fn frozen(index: usize) -> String {
    let source = SOURCES[index];
    assert!(source.contains("redis.call('TIME')"));
    let clock = format!("{{'{}','{}'}}", FROZEN / 1_000_000, FROZEN % 1_000_000);
    source.replace("redis.call('TIME')", &clock)
}

fn eval(pair: &mut Pair, script: &str, keys: &[String], values: &[u64], slack: Option<i64>) {
    let mut words = vec!["EVAL".to_owned(), script.to_owned(), keys.len().to_string()];
    words.extend_from_slice(keys);
    words.extend(values.iter().map(u64::to_string));
    match slack {
        Some(slack) => pair.about(&words, slack),
        None => {
            pair.same(&words);
        }
    }
}

/// One step: records to take from or give back to, and the numbers for each.
#[derive(Debug, Clone)]
struct Step {
    refund: bool,
    records: Vec<(u8, [u64; 7])>,
}

fn step() -> impl Strategy<Value = Step> {
    let time = || (1..5 * HOUR, 0..1_000_000u64);
    let record = (0..4u8, time(), time(), 1..5u64, 0..5u64, 0..2u64).prop_map(
        |(key, (tq, tr), (dq, dr), need, more, shadow)| {
            (key, [tq, tr, dq, dr, need, need + more, shadow])
        },
    );
    let records = proptest::collection::vec(record, 1..4);
    (proptest::bool::weighted(0.2), records).prop_map(|(refund, records)| Step { refund, records })
}

fn run(pair: &mut Pair, step: &Step, scripts: &[String; 2], slack: Option<i64>) {
    let keys = step.records.iter().map(|(key, _)| format!("{{s}}:{key}"));
    let keys: Vec<String> = keys.collect();
    let values = step.records.iter().flat_map(|(_, values)| {
        match step.refund {
            // What was charged, and when: some time before the frozen clock.
            true => vec![values[0], values[1], FROZEN - values[2] / 3],
            false => values.to_vec(),
        }
    });
    let values: Vec<u64> = values.collect();
    eval(
        pair,
        &scripts[usize::from(step.refund)],
        &keys,
        &values,
        slack,
    );
}

#[test]
fn rate_limits_are_kept_alike_to_the_picosecond() {
    let mut pair = Pair::start();
    let scripts = [frozen(0), frozen(1)];
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        cases: 100,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    });
    let pair = std::cell::RefCell::new(&mut pair);
    let steps = proptest::collection::vec(step(), 1..20);
    runner
        .run(&steps, |steps| {
            let mut pair = pair.borrow_mut();
            pair.fresh();
            for step in &steps {
                run(&mut pair, step, &scripts, None);
                for key in 0..4 {
                    pair.same(&["GET", &format!("{{s}}:{key}")]);
                    pair.same(&["PTTL", &format!("{{s}}:{key}")]);
                }
            }
            Ok(())
        })
        .unwrap();
}

/// The flights of a fleet: any acts of three gateways on two flights, at times a few milliseconds apart.
const FLIGHT: &str = include_str!("../../../../plugins/core/src/flight/fleet/flight.lua");

#[derive(Debug, Clone)]
struct Act {
    key: u8,
    later: u64,
    words: Vec<String>,
}

fn act() -> impl Strategy<Value = Act> {
    let number = || 0..60u64;
    let kinds = prop_oneof![
        3 => (number(), number(), 0..3u64).prop_map(|(lease, within, but)| {
            ("lead", vec![lease.to_string(), within.to_string(), but.to_string()])
        }),
        2 => (number(), number(), 0..3u64).prop_map(|(ago, keep, id)| {
            let at = FROZEN / 1_000 + ago;
            ("publish", vec![at.to_string(), keep.to_string(), id.to_string(), "\0blob".into()])
        }),
        1 => (number(), number()).prop_map(|(ago, keep)| {
            let at = FROZEN / 1_000 + ago;
            ("vary", vec![at.to_string(), keep.to_string(), "names".into()])
        }),
        1 => number().prop_map(|keep| ("own", vec![keep.to_string()])),
        1 => number().prop_map(|lease| ("renew", vec![lease.to_string()])),
        1 => Just(("release", Vec::new())),
    ];
    (0..2u8, 0..20u64, 1..4u64, kinds).prop_map(|(key, later, token, (name, rest))| {
        let mut words = vec![name.to_owned(), token.to_string()];
        words.extend(rest);
        Act { key, later, words }
    })
}

#[test]
fn flights_of_a_fleet_are_kept_alike_to_the_millisecond() {
    let mut pair = Pair::start();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        cases: 100,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    });
    let pair = std::cell::RefCell::new(&mut pair);
    let acts = proptest::collection::vec(act(), 1..25);
    runner
        .run(&acts, |acts| {
            let mut pair = pair.borrow_mut();
            pair.fresh();
            let mut now = FROZEN;
            for Act { key, later, words } in &acts {
                now += later * 1_000;
                let clock = format!("{{'{}','{}'}}", now / 1_000_000, now % 1_000_000);
                let script = FLIGHT.replace("redis.call('TIME')", &clock);
                let key = format!("flight:{key}");
                let mut all = vec!["EVAL".to_owned(), script, "1".to_owned(), key.clone()];
                all.extend(words.iter().cloned());
                pair.same(&all);
                pair.same(&["HGETALL", &key]);
                pair.same(&["PEXPIRETIME", &key]);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_script_of_flights_runs_unchanged() {
    let mut pair = Pair::start();
    let act = |pair: &mut Pair, words: &[&str], slack: i64| {
        let mut all = vec!["EVAL", FLIGHT, "1", "flight"];
        all.extend_from_slice(words);
        pair.about(&all, slack);
    };
    act(&mut pair, &["lead", "7", "9000", "1", "0"], 1_000);
    act(&mut pair, &["lead", "8", "9000", "9000000", "0"], 0);
    act(&mut pair, &["own", "7", "9000"], 0);
    act(&mut pair, &["lead", "8", "9000", "9000000", "0"], 0);
    pair.same(&["PTTL", "flight"]);
    pair.same(&["SET", "flight", "garbage"]);
    pair.same(&["EVAL", FLIGHT, "1", "flight", "lead", "8", "9000", "1", "0"]);
}

#[test]
fn the_scripts_run_unchanged() {
    let mut pair = Pair::start();
    let scripts = SOURCES.map(str::to_owned);
    let record = |key, need| (key, [HOUR, 333_333, 5 * HOUR, 0, need, need + 1, 0]);
    for (refund, records) in [
        (false, vec![record(0, 1)]),
        (false, vec![record(0, 2), record(1, 1)]),
        (true, vec![record(0, 1)]),
        (false, vec![record(0, 9), record(1, 1)]),
        (false, vec![record(0, 1), record(1, 4)]),
        (false, vec![record(0, 1), record(1, 4)]),
    ] {
        // Numbers of tokens must be equal, times are microseconds: a second's slack covers no token.
        run(
            &mut pair,
            &Step { refund, records },
            &scripts,
            Some(1_000_000),
        );
    }
    pair.same(&["SET", "{s}:0", "garbage"]);
    let step = Step {
        refund: false,
        records: vec![record(0, 1)],
    };
    run(&mut pair, &step, &scripts, None);
}
