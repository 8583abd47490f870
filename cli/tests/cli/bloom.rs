//! `sluice bloom` on a real Redis: what it builds is what gateways load.

use std::io::Write;
use std::process::{Command, Stdio};

use host_tests::redis::Redis;
use sluice_core::bloom::{Filter, Loading};
use sluice_core::guard::{MAX_ADDED, written};

const FILTER: &str = "sluice:bloom:{items}";
const ADDED: &str = "sluice:bloom:{items}:added";

struct Said {
    code: i32,
    out: String,
    error: String,
}

/// `sluice bloom`, with so much to read at its standard input.
fn told(redis: &Redis, arguments: &[&str], input: &[u8]) -> Said {
    let url = format!("redis://127.0.0.1:{}", redis.port());
    let mut child = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(["bloom", arguments[0], "--redis", &url, "--key", "items"])
        .args(&arguments[1..])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that does not ask closes it unread.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said {
        code: output.status.code().unwrap(),
        out: text(output.stdout),
        error: text(output.stderr),
    }
}

fn list(ids: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let lines = ids.into_iter().map(|id| format!("{id}\n"));
    lines.collect::<String>().into_bytes()
}

/// The filter, read as gateways read it.
fn filter(redis: &Redis) -> Filter {
    let blob: Vec<u8> = redis.query(&["GET", FILTER]);
    let mut loading = Loading::default();
    while let Some(range) = loading.next(1_000) {
        let end = range.end.min(blob.len());
        loading.push(&blob[range.start..end]).unwrap();
    }
    loading.finish().unwrap()
}

fn holds(filter: &Filter, id: &str) -> bool {
    filter.may_hold(&written(id.as_bytes()).unwrap())
}

fn added(redis: &Redis) -> u64 {
    redis.query(&["ZCARD", ADDED])
}

#[test]
fn a_build_holds_the_whole_list_and_as_few_others_as_asked() {
    let redis = Redis::start();
    for (arguments, bytes) in [
        (&[][..], 19_770),
        (&["--capacity", "10000"], 17_973),
        (&["--capacity", "10000", "--rate", "0.01"], 11_982),
    ] {
        // Twice, out of order, with the ends of lines of any system, and an empty line.
        let mut input = list((0..10_000).rev());
        if arguments.contains(&"--capacity") {
            input.extend(list(0..10_000));
        }
        input.extend(b"\r\n500 1\r\n\na b\tc");
        let said = told(&redis, &[&["build"], arguments].concat(), &input);
        assert_eq!(said.code, 0, "{}", said.error);
        let filter = filter(&redis);
        assert!(filter.shape().bytes().abs_diff(bytes) < 20, "{}", said.out);
        let text = format!(
            "{} bytes, {} hashes",
            filter.shape().bytes(),
            filter.shape().hashes()
        );
        assert!(said.out.contains(&text), "{}", said.out);
        assert!((0..10_000).all(|id| holds(&filter, &id.to_string())));
        assert!(holds(&filter, "500 1") && holds(&filter, "a b\tc"));
        let rate = if arguments.contains(&"0.01") {
            0.01
        } else {
            0.001
        };
        let others = (10_000..110_000).filter(|id| holds(&filter, &id.to_string()));
        let found = others.count() as f64 / 100_000.0;
        assert!(found < rate * 1.3, "{found}");
        assert!(found > rate * 0.3, "{found}");
        assert_eq!(redis.query::<i64>(&["TTL", FILTER]), -1);
        assert_eq!(redis.query::<Vec<String>>(&["KEYS", "*"]), [FILTER]);
    }
}

#[test]
fn a_filter_with_too_many_ids_for_its_capacity_says_so() {
    let redis = Redis::start();
    let said = told(&redis, &["build", "--capacity", "1000"], &list(0..2_000));
    assert_eq!(said.code, 0);
    assert!(said.error.contains("larger --capacity"), "{}", said.error);
}

#[test]
fn what_was_added_is_in_the_next_build_and_stays_beside_it_for_a_while() {
    let redis = Redis::start();
    assert_eq!(told(&redis, &["build"], &list(0..10)).code, 0);
    let said = told(&redis, &["add", "10", "11"], b"");
    assert_eq!(
        (said.code, said.out.as_str()),
        (0, "2 ids, 2 of them new\n")
    );
    let said = told(&redis, &["add"], &list(11..2_000));
    assert_eq!(said.out, "1989 ids, 1988 of them new\n", "{}", said.error);
    assert_eq!(added(&redis), 1_990);
    let said = told(&redis, &["build"], &list(0..10));
    assert!(
        said.out.contains("10 ids, and 1990 that came"),
        "{}",
        said.out
    );
    let built = filter(&redis);
    assert!((0..2_000).all(|id| holds(&built, &id.to_string())));
    // Those who still have the old filter hear of them.
    assert_eq!(added(&redis), 1_990);
    // Long ago.
    let ids: Vec<String> = redis.query(&["ZRANGE", ADDED, "0", "-1"]);
    for (place, id) in ids.iter().enumerate() {
        let place = (place + 1).to_string();
        let _ = redis.cmd(&["ZADD", ADDED, "XX", &place, id]);
    }
    let said = told(&redis, &["build"], &list(0..2_000));
    assert_eq!(said.code, 0, "{}", said.error);
    assert_eq!(added(&redis), 0);
}

#[test]
fn a_list_that_was_cut_short_is_not_taken_for_whole() {
    let redis = Redis::start();
    let said = told(&redis, &["build"], b"\n\n");
    assert_eq!(said.code, 1);
    assert!(said.error.starts_with("found no id"), "{}", said.error);
    assert_eq!(told(&redis, &["build"], &list(0..1_000)).code, 0);
    let said = told(&redis, &["build"], &list(0..400));
    assert_eq!(said.code, 1);
    assert!(
        said.error.contains("expected at least half of the 1000"),
        "{}",
        said.error
    );
    assert!(holds(&filter(&redis), "999"));
    assert_eq!(told(&redis, &["build", "--shrink"], &list(0..400)).code, 0);
    assert!(!holds(&filter(&redis), "999"));
}

#[test]
fn mistakes_are_told_and_change_nothing() {
    let redis = Redis::start();
    assert_eq!(told(&redis, &["build"], &list(0..10)).code, 0);
    let long = format!("1\n{}\n", "x".repeat(5_000));
    let said = told(&redis, &["build"], long.as_bytes());
    assert_eq!(said.code, 1);
    assert!(
        said.error.starts_with("line 2: found 5000 bytes"),
        "{}",
        said.error
    );
    let said = told(&redis, &["build", "--capacity", "90000000"], &list(0..10));
    assert_eq!(said.code, 1);
    assert!(
        said.error.contains("expected a filter of at most"),
        "{}",
        said.error
    );
    for rate in ["0", "1", "x"] {
        let said = told(&redis, &["build", "--rate", rate], b"");
        assert_eq!(said.code, 2, "{}", said.error);
    }
    assert!(holds(&filter(&redis), "9"));
    let mut gone = Redis::start();
    gone.kill();
    let away = told(&gone, &["add", "1"], b"");
    assert_eq!(away.code, 3);
    assert!(away.error.starts_with("redis: "), "{}", away.error);
}

#[test]
fn there_is_room_for_so_many_and_a_build_makes_it_again() {
    let redis = Redis::start();
    assert_eq!(told(&redis, &["build"], &list(0..10)).code, 0);
    let fill = "for i = ARGV[1], ARGV[2] do redis.call('ZADD', KEYS[1], i, 'x' .. i) end return 0";
    // By parts: Redis answers each in time on a busy machine too.
    let part = MAX_ADDED / 20;
    assert_eq!(part * 20, MAX_ADDED);
    for number in 0..20 {
        let (first, last) = (number * part + 1, (number + 1) * part);
        let range = [first.to_string(), last.to_string()];
        let _ = redis.cmd(&["EVAL", fill, "1", ADDED, &range[0], &range[1]]);
    }
    assert_eq!(added(&redis), MAX_ADDED);
    let said = told(&redis, &["add", "10"], b"");
    assert_eq!(said.code, 1);
    assert!(said.error.contains("build it anew"), "{}", said.error);
    assert_eq!(told(&redis, &["build"], &list(0..10)).code, 0);
    assert_eq!(added(&redis), 0);
    assert_eq!(told(&redis, &["add", "10"], b"").code, 0);
}
