//! A server in trouble says so alike.

use std::io::Write;

use host_tests::redis::Redis;
use host_tests::wait;
use sluice_model_redis::{Mode, Settings};

use crate::pair::{Pair, connect, encode, read_reply};

const COMMANDS: &[&[&str]] = &[
    &["PING"],
    &["GET", "a"],
    &["SET", "a", "1"],
    &["DEL", "a"],
    &["EXPIRE", "a", "100"],
    &["NOPE"],
    &["GET"],
    &["EVAL", "return 1", "0"],
    &["EVAL", "return redis.call('get','a')", "0"],
    &["EVAL", "return redis.call('set','a',1)", "0"],
    &["EVAL", "return redis.pcall('set','a',1)", "0"],
    &[
        "EVAL",
        "redis.call('del','a') return redis.call('set','a',1)",
        "0",
    ],
    &["EVAL", "return redis.call('echo','a')", "0"],
    &["EVAL", "#!lua\nreturn 1", "0"],
    &["EVAL", "#!lua flags=no-writes\nreturn 1", "0"],
    &[
        "EVAL",
        "#!lua flags=allow-oom\nreturn redis.call('set','a',1)",
        "0",
    ],
    &[
        "EVAL",
        "#!lua flags=no-writes,allow-stale\nreturn redis.call('get','a')",
        "0",
    ],
    &[
        "EVAL",
        "#!lua flags=no-writes,allow-stale\nreturn redis.call('echo','a')",
        "0",
    ],
    &["EVAL_RO", "return redis.call('get','a')", "0"],
    &["EVALSHA", "0000000000000000000000000000000000000000", "0"],
    &["SCRIPT", "LOAD", "return 7"],
    &[
        "SCRIPT",
        "EXISTS",
        "0000000000000000000000000000000000000000",
    ],
    &["MULTI"],
    &["GET", "a"],
    &["SET", "a", "1"],
    &["EXEC"],
    &["MULTI"],
    &["PING"],
    &["EXEC"],
    &["MULTI"],
    &["DISCARD"],
    &["WATCH", "a"],
    &["UNWATCH"],
    &["SELECT", "0"],
    &["ECHO", "x"],
    &["CONFIG", "GET", "maxmemory-policy"],
    &["WAIT", "0", "0"],
    &["DBSIZE"],
    &["FLUSHALL"],
    &["AUTH", "x"],
    &["QUIT"],
];

fn all_the_same(pair: &mut Pair) {
    let mut problems = String::new();
    for command in COMMANDS {
        problems.extend(pair.compare(command).err());
    }
    assert!(problems.is_empty(), "{problems}");
    pair.reconnect();
}

#[test]
fn a_replica_refuses_writes() {
    let mut pair = Pair::start();
    pair.same(&["SET", "a", "0"]);
    // Nothing listens there: the link stays down.
    let _: String = pair.redis.query(&["REPLICAOF", "127.0.0.1", "1"]);
    pair.server.set_mode(Mode::ReadOnly);
    all_the_same(&mut pair);
    let option = ["CONFIG", "SET", "replica-serve-stale-data", "no"];
    let _: String = pair.redis.query(&option);
    pair.server.set_mode(Mode::MasterDown);
    all_the_same(&mut pair);
    let _: String = pair.redis.query(&["REPLICAOF", "NO", "ONE"]);
    pair.server.set_mode(Mode::Normal);
    all_the_same(&mut pair);
}

#[test]
fn a_full_server_refuses_what_needs_memory() {
    let mut pair = Pair::with(Redis::builder(), Settings::default());
    pair.same(&["SET", "a", "0"]);
    let _: String = pair.redis.query(&["CONFIG", "SET", "maxmemory", "1"]);
    pair.server.set_mode(Mode::OutOfMemory);
    all_the_same(&mut pair);
    // The same when the model finds out by itself.
    let _: String = pair.redis.query(&["CONFIG", "SET", "maxmemory", "0"]);
    pair.server.set_mode(Mode::Normal);
    pair.same(&["SET", "a", "0"]);
    let (real, model) = pair.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(real, model);
    pair.same(&["SET", "a", "0"]);
    pair.same(&["DEL", "a"]);
}

#[test]
fn a_busy_server_says_so() {
    let mut pair = Pair::with(
        Redis::builder().option("busy-reply-threshold", "1"),
        Settings::default(),
    );
    let mut other = connect(&pair.redis);
    let endless = encode(&["EVAL", "while true do end", "0"]);
    other.get_mut().write_all(&endless).unwrap();
    let mut probe = connect(&pair.redis);
    wait::until("Redis is busy", || {
        probe.get_mut().write_all(&encode(&["PING"])).unwrap();
        read_reply(&mut probe).starts_with(b"-BUSY")
    });
    pair.server.set_mode(Mode::Busy);
    all_the_same(&mut pair);
    probe
        .get_mut()
        .write_all(&encode(&["SCRIPT", "KILL"]))
        .unwrap();
    assert_eq!(read_reply(&mut probe), b"+OK\r\n");
    read_reply(&mut other);
    pair.server.set_mode(Mode::Normal);
    all_the_same(&mut pair);
}
