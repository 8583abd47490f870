//! The script on the model Redis: who leads, what others are told, and that nothing stays.

use super::*;
use crate::cache::{Head, Terms};
use crate::flight::entry::{Answer, Content, Entry};
use crate::redis::resp;
use proptest::prelude::*;
use sluice_model_redis::{Connection, Server, Settings};
use std::rc::Rc;

const LEASE: Millis = 3_000;
const START: u64 = 1_800_000_000_000;

struct Redis {
    server: Server,
    connection: Connection,
    fleet: Fleet,
    place: Place,
    /// Milliseconds.
    now: u64,
}

impl Redis {
    fn new() -> Self {
        let mut server = Server::new(Settings::default());
        let fleet = Fleet::new("sluice", b"policy");
        Self {
            connection: server.connect(),
            server,
            place: fleet.place(b"key"),
            fleet,
            now: START,
        }
    }

    fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let now = self.now * 1_000;
        self.server.feed(&mut self.connection, bytes, now)
    }

    fn run(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        resp::encode(&mut bytes, words);
        self.feed(&bytes)
    }

    fn act(&mut self, token: u64, act: Act<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let command = self.fleet.command(self.place, token, act);
        assert!(command.encode(&mut bytes, &scripts(), true));
        self.feed(&bytes)
    }

    /// What somebody is told who takes what was asked for less than `within` ago.
    fn lead(&mut self, token: u64, within: Millis, but: u64) -> String {
        let act = Act::Lead {
            lease: LEASE,
            within,
            but,
            most: 0,
        };
        let reply = self.act(token, act);
        let reply = resp::decode(&reply).unwrap().0;
        match told(&reply) {
            Ok(Told::Answer { age, id, blob }) => {
                format!("{} {id}, {age} old", String::from_utf8_lossy(blob))
            }
            Ok(other) => format!("{other:?}"),
            Err(_) => panic!("{reply:?}"),
        }
    }

    fn any(&mut self, token: u64) -> String {
        self.lead(token, u64::MAX >> 12, 0)
    }

    fn leads(&mut self, token: u64) -> bool {
        self.any(token) == format!("Lead {{ at: {} }}", self.now)
    }

    fn publish(&mut self, token: u64, at: u64, id: u64, blob: &str) -> bool {
        let blob = blob.as_bytes();
        let act = Act::Publish {
            at,
            keep: 1_000,
            id,
            blob,
        };
        self.act(token, act) == b":1\r\n"
    }

    fn name(&self) -> Vec<u8> {
        self.place.name(b"sluice:flight:1:")
    }

    fn is_empty(&mut self) -> bool {
        let name = self.name();
        self.run(&[b"EXISTS", &name]) == b":0\r\n"
    }
}

#[test]
fn the_digest_is_that_of_the_script() {
    assert_eq!(Script::new(TEXT).sha1(), SHA1);
    assert_eq!(scripts()[SCRIPT].sha1(), SHA1);
}

#[test]
fn one_leads_and_the_others_get_its_answer() {
    let mut redis = Redis::new();
    assert!(redis.leads(1));
    assert_eq!(redis.any(2), "Busy");
    redis.now += 100;
    assert_eq!(redis.any(2), "Busy");
    assert!(redis.publish(1, START, 7, "a"));
    redis.now += 100;
    assert_eq!(redis.any(2), "a 7, 201 old");
    assert_eq!(redis.lead(2, 202, 0), "a 7, 201 old");
    // It is too old for one that has invalidated since, and no news for one that has it.
    assert_eq!(
        redis.lead(3, 201, 0),
        format!("Lead {{ at: {} }}", redis.now)
    );
    assert_eq!(redis.lead(4, 202, 7), "Busy");
    assert_eq!(redis.any(5), "a 7, 201 old", "whoever has none takes it");
    redis.now += 1_000;
    assert_eq!(redis.any(5), "Busy", "its time is over");
}

#[test]
fn a_lead_ends_with_its_lease_its_leader_or_an_invalidation() {
    let mut redis = Redis::new();
    assert!(redis.leads(1));
    redis.now += LEASE - 1;
    assert_eq!(redis.act(1, Act::Renew { lease: LEASE }), b":1\r\n");
    assert_eq!(redis.act(2, Act::Renew { lease: LEASE }), b":0\r\n");
    redis.now += LEASE - 1;
    assert_eq!(redis.any(2), "Busy");
    redis.now += 1;
    assert!(redis.leads(2));
    assert_eq!(redis.act(1, Act::Release), b":0\r\n");
    assert_eq!(redis.any(3), "Busy");
    assert_eq!(redis.act(2, Act::Release), b":1\r\n");
    assert!(redis.is_empty());
    assert!(redis.leads(3));
    redis.now += 50;
    // What the one that leads asked for is void for this one.
    assert_eq!(
        redis.lead(4, 51, 0),
        format!("Lead {{ at: {} }}", redis.now)
    );
    assert!(redis.leads(4), "a reply that was lost");
    // The older answer may still come, and does not stay.
    let (older, newer) = (redis.now - 50, redis.now);
    assert!(!redis.publish(3, older, 7, "old"));
    assert_eq!(redis.any(5), "old 7, 51 old");
    assert!(redis.publish(4, newer, 8, "new"));
    assert!(!redis.publish(3, older, 9, "old"));
    assert_eq!(redis.any(5), "new 8, 1 old");
}

#[test]
fn variants_and_what_is_not_to_be_shared() {
    let mut redis = Redis::new();
    let names = ["accept".to_owned(), "x-a".to_owned()];
    let vary = |at| Act::Vary {
        at,
        keep: 1_000,
        names: &names,
    };
    assert!(redis.leads(1));
    assert_eq!(redis.act(1, vary(START)), b":1\r\n");
    assert_eq!(redis.any(2), format!("Varies({names:?})"));
    redis.now += 1_001;
    assert!(redis.is_empty() && redis.leads(2));
    let at = redis.now;
    assert_eq!(redis.act(3, Act::Own { keep: 500 }), b":0\r\n");
    assert_eq!(redis.any(4), "Busy");
    assert_eq!(redis.act(2, Act::Own { keep: 500 }), b":1\r\n");
    assert_eq!(redis.any(4), "Own");
    assert_eq!(redis.any(5), "Own", "nobody waits for another");
    assert!(!redis.publish(9, at, 7, "a"));
    assert_eq!(redis.any(5), "a 7, 1 old", "it can be shared again");
    assert_eq!(redis.act(6, vary(at + 1)), b":0\r\n");
    assert_eq!(redis.any(5), format!("Varies({names:?})"));
    redis.now += 1_001;
    assert!(redis.is_empty());
}

#[test]
fn a_clock_of_redis_that_is_put_back_makes_nothing_younger() {
    let mut redis = Redis::new();
    assert!(redis.leads(1));
    assert!(redis.publish(1, START, 7, "a"));
    redis.now -= 10;
    assert!(redis.leads(2), "nobody knows how old the answer is");
    redis.now -= 10;
    assert!(redis.leads(3), "nor since when that one leads");
}

#[test]
fn what_is_no_flight_is_refused_or_replaced() {
    let mut redis = Redis::new();
    let name = redis.name();
    redis.run(&[
        b"HSET", &name, b"lease", b"soon", b"at", b"x", b"until", b"9e99x", b"own", b"",
    ]);
    assert!(redis.leads(1));
    redis.run(&[b"SET", &name, b"x"]);
    let act = Act::Lead {
        lease: LEASE,
        within: 1,
        but: 0,
        most: 0,
    };
    assert!(redis.act(1, act).starts_with(b"-WRONGTYPE"));
}

/// An answer that was asked for at `at`, by the clock of whoever asked.
pub fn answer(at: Millis, body: &str) -> Entry {
    Entry {
        key: Vec::new(),
        id: 7,
        uri: 1,
        epoch: 2,
        requested_at: at,
        content: Content::Answer(Answer {
            head: Head {
                status: 200,
                fields: Headers::from_pairs(&[("a", "b")]),
            },
            terms: Terms {
                received_at: at + 100,
                initial_age: 5_000,
                lifetime: 60_000,
                stale_while_revalidate: 0,
                stale_if_error: 0,
                no_cache: false,
                no_stale: false,
                authorized: false,
                validator: false,
            },
            body: Rc::new(body.into()),
            took: 100,
        }),
    }
}

#[test]
fn an_answer_is_as_old_here_as_where_it_came_from() {
    let (theirs, here) = (START, START / 2);
    let entry = answer(theirs, "abc");
    let blob = encode(&entry, &[]);
    let read = |id, vary: &[String], most, now| decode(&blob, id, vary, most, here, now);
    let got = read(7, &[], 3, here + 250).unwrap();
    assert_eq!(got.requested_at, here);
    let (mine, other) = (got.answer().unwrap(), entry.answer().unwrap());
    assert_eq!(mine.terms.received_at, here + 100);
    assert_eq!(mine.terms.age(here + 250), other.terms.age(theirs + 250));
    assert_eq!((&mine.body, &mine.head), (&other.body, &other.head));
    assert_eq!(read(8, &[], 3, here + 250), None, "another one");
    assert_eq!(read(7, &["accept".to_owned()], 3, here + 250), None);
    assert_eq!(read(7, &[], 2, here + 250), None, "too long");
    assert_eq!(read(7, &[], 3, here + 98), None, "it has not come yet");
    let varies = encode(&entry, &["accept".to_owned()]);
    assert_eq!(decode(&varies, 7, &[], 3, here, here + 250), None);
    let mut odd = answer(theirs, "abc");
    odd.id = 0;
    assert_eq!(
        decode(&encode(&odd, &[]), 0, &[], 3, here, here + 250),
        None
    );
}

#[test]
fn places_differ_by_policy_key_names_and_values() {
    let fleet = Fleet::new("p", b"policy");
    let place = fleet.place(b"key");
    assert_eq!(place, Fleet::new("q", b"policy").place(b"key"));
    assert_ne!(place, Fleet::new("p", b"policy ").place(b"key"));
    assert_ne!(place, fleet.place(b"key "));
    let request = |value: &str| Headers::from_pairs(&[("a", value), ("b", "1")]);
    let names = |names: &[&str]| -> Vec<String> { names.iter().map(|n| (*n).to_owned()).collect() };
    let one = place.variant(&names(&["a"]), &request("1"));
    assert_eq!(one, place.variant(&names(&["a"]), &request("1")));
    for other in [
        place,
        place.variant(&names(&["a"]), &request("2")),
        place.variant(&names(&["b"]), &request("1")),
        place.variant(&names(&["a", "b"]), &request("1")),
    ] {
        assert_ne!(one, other);
    }
    let name = String::from_utf8(one.name(b"p:flight:1:")).unwrap();
    let digits = name.strip_prefix("p:flight:1:").unwrap();
    assert!(digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, at: u64, now: u64) {
        prop_assert_eq!(decode(&bytes, 7, &[], 100, at, now), None);
        if let Ok((reply, _)) = resp::decode(&bytes) {
            let _ = told(&reply);
        }
        let _ = told(&Reply::Array(vec![Reply::Integer(2), Reply::Bulk(&bytes)]));
    }

    #[test]
    fn an_answer_cut_short_or_with_other_bytes_is_none_or_another(
        at in 0..20_000u64,
        cut: prop::sample::Index,
        byte: u8,
    ) {
        let blob = encode(&answer(10_000, "abc"), &["x".to_owned()]);
        let vary = ["x".to_owned()];
        let good = decode(&blob, 7, &vary, 3, at, at + 100);
        prop_assert!(good.is_some());
        let place = cut.index(blob.len());
        prop_assert_ne!(&decode(&blob[..place], 7, &vary, 3, at, at + 100), &good);
        let mut other = blob;
        other[place] = byte;
        // Whatever it is, it is as old as Redis says.
        if let Some(entry) = decode(&other, 7, &vary, 3, at, at + 100) {
            prop_assert_eq!(entry.requested_at, at);
        }
    }
}
