//! Commands one by one: a line is a command, a blank line begins with nothing stored, `''` is an empty word.

use crate::pair::{Pair, encode, now};

const CASES: &str = include_str!("cases.txt");

fn words(line: &str) -> Vec<String> {
    let words = line.split(' ').map(|word| word.replace("''", ""));
    words
        .map(|word| word.replace("\\0", "\0").replace("\\n", "\r\n"))
        .collect()
}

#[test]
fn commands_answer_the_same() {
    let mut pair = Pair::start();
    let (mut asked, mut problems) = (0, String::new());
    for block in CASES.split("\n\n") {
        pair.fresh();
        for line in block.lines().filter(|line| !line.is_empty()) {
            problems.extend(pair.compare(&words(line)).err());
            asked += 1;
        }
    }
    assert!(problems.is_empty(), "{problems}");
    assert!(asked > 300, "{asked}");
}

#[test]
fn pipelines_and_broken_requests_answer_the_same() {
    let mut pair = Pair::start();
    let pipeline = [
        encode(&["SET", "a", "1"]),
        encode(&["INCR", "a"]),
        b"*0\r\n".to_vec(),
        b"\r\n".to_vec(),
        b"PING hello\r\n".to_vec(),
        encode(&["GET", "a"]),
    ]
    .concat();
    let (real, model) = pair.ask_raw(&pipeline, 4);
    assert_eq!(real, model);
    for broken in [
        "*x\r\n",
        "*2147483648\r\n",
        "*1\r\nGET\r\n",
        "*1\r\n:3\r\n",
        "*1\r\n$x\r\n",
        "*1\r\n$-1\r\n",
        "*1\r\n$536870913\r\n",
    ] {
        pair.reconnect();
        eprintln!("{broken}");
        let (real, model) = pair.ask_raw(broken.as_bytes(), 1);
        assert_eq!(
            String::from_utf8_lossy(&real),
            String::from_utf8_lossy(&model),
            "{broken}"
        );
    }
}

#[test]
fn passwords_are_asked_for_alike() {
    use host_tests::redis::Redis;
    use sluice_model_redis::Settings;

    let settings = Settings {
        password: Some("secret".to_owned()),
        ..Settings::default()
    };
    let mut pair = Pair::with(Redis::builder().password("secret"), settings);
    let mut problems = String::new();
    for line in [
        "PING",
        "GET a",
        "GET",
        "NOPE x",
        "HELLO 2",
        "MULTI",
        "AUTH wrong",
        "AUTH nobody secret",
        "AUTH a b c d",
        "PING",
        "AUTH secret",
        "PING",
        "AUTH wrong",
        "PING",
        "RESET",
        "PING",
        "AUTH default secret",
        "PING",
        "EVAL return(1) 0",
    ] {
        problems.extend(pair.compare(&words(line)).err());
    }
    assert!(problems.is_empty(), "{problems}");
    for broken in ["*11\r\n", "*1\r\n$16385\r\n"] {
        pair.reconnect();
        eprintln!("{broken}");
        let (real, model) = pair.ask_raw(broken.as_bytes(), 1);
        assert_eq!(
            String::from_utf8_lossy(&real),
            String::from_utf8_lossy(&model)
        );
    }
}

#[test]
fn the_time_is_the_callers() {
    let mut pair = Pair::start();
    let (real, model) = pair.ask(&["TIME"]);
    let seconds = |reply: &[u8]| -> i64 {
        let text = String::from_utf8_lossy(reply).into_owned();
        text.split("\r\n").nth(2).unwrap().parse().unwrap()
    };
    assert!((seconds(&real) - seconds(&model)).abs() <= 1);
    // An entry that names itself has the time in its name.
    let (real, model) = pair.ask(&["XADD", "s", "*", "a", "b"]);
    let millis = |reply: &[u8]| -> i64 {
        let text = String::from_utf8_lossy(reply).into_owned();
        let id = text.split("\r\n").nth(1).unwrap();
        id.strip_suffix("-0").unwrap().parse().unwrap()
    };
    assert!((millis(&real) - millis(&model)).abs() <= 1000);
    assert!((millis(&model) - i64::try_from(now() / 1000).unwrap()).abs() <= 1000);
}

/// A scan finds every key; in which order and how many calls is the server's affair.
#[test]
fn scans_find_the_same_keys() {
    let mut pair = Pair::start();
    for number in 0..500 {
        pair.same(&["SET", &format!("key:{number}"), "x"]);
    }
    pair.same(&["RPUSH", "key:list", "x"]);
    for options in [
        &["COUNT", "7"][..],
        &["MATCH", "key:1*"],
        &["MATCH", "key:[2-3]?", "COUNT", "100"],
        &["TYPE", "list"],
    ] {
        let (mut real, mut model) = (scan(&mut pair, options, 0), scan(&mut pair, options, 1));
        real.sort();
        model.sort();
        assert_eq!(real, model, "{options:?}");
        assert!(!model.is_empty());
    }
}

/// All keys that one of the two finds.
fn scan(pair: &mut Pair, options: &[&str], which: usize) -> Vec<String> {
    let (mut cursor, mut keys) = ("0".to_owned(), Vec::new());
    loop {
        let command = [&["SCAN", &cursor][..], options].concat();
        let (real, model) = pair.ask(&command);
        let reply = String::from_utf8([real, model][which].clone()).unwrap();
        let lines: Vec<&str> = reply.split("\r\n").collect();
        let bulks: Vec<&str> = lines
            .windows(2)
            .filter(|pair| pair[0].starts_with('$'))
            .map(|pair| pair[1])
            .collect();
        keys.extend(bulks[1..].iter().map(|key| (*key).to_owned()));
        cursor = bulks[0].to_owned();
        if cursor == "0" {
            return keys;
        }
    }
}
