//! Random commands over few keys.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::pair::Pair;

/// Commands with places for a key (`K`), a field or value (`V`), a number (`N`), a lifetime (`T`), a time (`A`) and
/// an entry's id (`I`). Only times are compared by Redis: lifetimes of two servers do not begin at once.
const FORMS: &str = "SET K V|SET K V NX|SET K V XX GET|SET K V PX T|SET K V KEEPTTL|SET K N|SETNX K V|GET K|GETDEL K\
|MGET K K|MSET K V K V|DEL K|DEL K K|UNLINK K|EXISTS K K|TYPE K|RENAME K K|EXPIRE K T|EXPIREAT K A GT\
|EXPIREAT K A LT|EXPIRE K T NX|PEXPIRE K T XX|PERSIST K|TTL K|PTTL K|INCR K|DECR K|INCRBY K N|DECRBY K N|APPEND K V\
|STRLEN K|GETRANGE K N N|SETRANGE K N V|SETBIT K N 1|SETBIT K N 0|GETBIT K N|HSET K V V|HSET K V V V N|HGET K V\
|HMGET K V V|HGETALL K|HDEL K V|HDEL K V V|HEXISTS K V|HINCRBY K V N|HSETNX K V V|HLEN K|HSTRLEN K V|LPUSH K V|RPUSH K V V\
|LPOP K|RPOP K|LPOP K N|LRANGE K N N|LTRIM K N N|LLEN K|SADD K V V|SREM K V|SISMEMBER K V|SCARD K\
|ZADD K N V|ZADD K GT N V|ZADD K NX CH N V N V|ZREM K V|ZSCORE K V|ZCARD K|ZRANGE K N N WITHSCORES\
|ZRANGEBYSCORE K N N|ZREMRANGEBYSCORE K N N|XADD K I V V|XADD K MAXLEN N I V V|XADD K MINID I I V V|XLEN K\
|XRANGE K I I|XRANGE K - + COUNT N|XREVRANGE K + I|XDEL K I|XTRIM K MAXLEN N|DBSIZE|MULTI|EXEC|DISCARD\
|WATCH K|UNWATCH|FLUSHDB|SELECT N|EVAL return(redis.call('GET',KEYS[1])) 1 K\
|EVAL return(redis.call('INCRBY',KEYS[1],ARGV[1])) 1 K N|EVAL return(redis.pcall('HGETALL',KEYS[1])) 1 K";

fn word(place: &str) -> BoxedStrategy<String> {
    let one_of = |words: &'static [&str]| proptest::sample::select(words).prop_map(str::to_owned);
    match place {
        "K" => one_of(&["a", "b", "c"]).boxed(),
        "V" => one_of(&["x", "y", "7", "", "-3", "long text"]).boxed(),
        "N" => one_of(&[
            "0",
            "1",
            "2",
            "3",
            "-1",
            "-2",
            "100",
            "x",
            "9223372036854775807",
        ])
        .boxed(),
        "T" => one_of(&[
            "100000",
            "200000",
            "300000",
            "0",
            "-5",
            "x",
            "9223372036854775807",
        ])
        .boxed(),
        "A" => one_of(&["4000000000", "5000000000", "6000000000", "1"]).boxed(),
        "I" => (1..6u8, 0..4u8)
            .prop_map(|(millis, number)| format!("{millis}-{number}"))
            .boxed(),
        other => Just(other.to_owned()).boxed(),
    }
}

fn command() -> impl Strategy<Value = Vec<String>> {
    let forms: Vec<&str> = FORMS.split('|').collect();
    proptest::sample::select(forms)
        .prop_flat_map(|form| form.split(' ').map(word).collect::<Vec<_>>())
}

/// Has both answer the same to many lists of commands.
fn answer_the_same(commands: &impl Strategy<Value = Vec<Vec<String>>>) {
    let mut pair = Pair::start();
    let pair = RefCell::new(&mut pair);
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        cases: 300,
        max_shrink_iters: 500,
        ..ProptestConfig::default()
    });
    runner
        .run(commands, |commands| {
            let mut pair = pair.borrow_mut();
            pair.fresh();
            // What is left of a lifetime has slack only where it is the whole answer.
            let mut queues = false;
            for command in &commands {
                match command[0].as_str() {
                    "TTL" | "PTTL" if queues => continue,
                    "MULTI" => queues = true,
                    "EXEC" | "DISCARD" => queues = false,
                    _ => {}
                }
                pair.same(command);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn random_commands_answer_the_same() {
    answer_the_same(&proptest::collection::vec(command(), 1..60));
}

/// A watch sees every write, also one that is made good, and nothing else.
#[test]
fn random_commands_end_a_watch_alike() {
    let some = || proptest::collection::vec(command(), 0..6);
    let parts = (some(), word("K"), some());
    answer_the_same(&parts.prop_map(|(before, key, between)| {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let mut commands = before;
        commands.push(vec!["WATCH".to_owned(), key]);
        commands.extend(between);
        commands.extend(["MULTI", "DBSIZE", "EXEC"].map(words));
        commands
    }));
}
