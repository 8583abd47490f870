//! Several Redis that vote: what is said of a record is said to all of them.

use sluice_core::idempotency::scope::Scope;

use super::{Desk, MINUTE};
use crate::common::Store;

const POLICY: &str = r#"{"redis": {"cluster": "a", "redlock": {"others": ["b", "c"]}},
    "routes": [{"name": "pay", "scope": [{"header": "x-account"}]}]}"#;

struct Voters {
    desk: Desk,
    others: Vec<Store>,
}

impl Voters {
    fn new() -> Self {
        Self {
            desk: Desk::new(POLICY),
            others: (0..2).map(|_| Store::start(POLICY)).collect(),
        }
    }

    fn stores(&self) -> impl Iterator<Item = &Store> {
        std::iter::once(&self.desk.store).chain(&self.others)
    }

    fn idem(&self, arguments: &[&str]) -> super::Said {
        let urls = self.others.iter();
        let urls: Vec<String> = urls
            .map(|store| format!("redis://127.0.0.1:{}", store.redis.port()))
            .collect();
        let [b, c] = [&urls[0], &urls[1]];
        let more = ["--redis", b.as_str(), "--redis", c.as_str()];
        self.desk.idem(&[arguments, &more].concat())
    }

    /// A request of which all know, or fewer.
    fn unknown(&self, key: &str, stores: usize) -> Scope {
        let mut scopes = self
            .stores()
            .take(stores)
            .map(|store| store.unknown("ann", key).scope);
        scopes.by_ref().last().unwrap()
    }

    /// What each says to another request with the key.
    fn found(&self, key: &str) -> Vec<String> {
        self.stores()
            .map(|store| store.acquire(&store.claim("ann", key, 9, MINUTE)).0)
            .collect()
    }
}

#[test]
fn a_key_is_freed_in_each() {
    let voters = Voters::new();
    let scope = voters.unknown("k", 3);
    let list = voters.idem(&["list"]);
    assert_eq!(list.out.lines().count(), 1, "once: {}", list.out);
    let done = voters.idem(&["resolve", &scope.hex(), "--free", "--yes"]);
    assert_eq!(done.code, 0, "{}", done.error);
    assert_eq!(voters.found("k"), ["acquired"; 3]);
}

#[test]
fn an_answer_is_stored_in_each() {
    let voters = Voters::new();
    let scope = voters.unknown("k", 3);
    let done = voters.idem(&["resolve", &scope.hex(), "--lost", "201", "--yes"]);
    assert_eq!(done.code, 0, "{}", done.error);
    assert_eq!(voters.found("k"), ["tombstone"; 3]);
}

#[test]
fn what_most_did_not_take_is_no_success() {
    let voters = Voters::new();
    let scope = voters.unknown("k", 2);
    // The first has a damaged record, and the third none.
    let first = &voters.desk.store;
    let name = first.policy.keys().record(&scope);
    let damaged: u32 = redis::cmd("HDEL")
        .arg(name)
        .arg("lease")
        .query(&mut first.redis.connect())
        .unwrap();
    assert_eq!(damaged, 1);
    let done = voters.idem(&["resolve", &scope.hex(), "--lost", "201", "--yes"]);
    assert_ne!(done.code, 0);
    let ports = voters.stores().map(|store| store.redis.port());
    for port in ports {
        let address = format!("127.0.0.1:{port}");
        assert!(done.error.contains(&address), "{}", done.error);
    }
}

#[test]
fn what_few_have_is_none() {
    let voters = Voters::new();
    let scope = voters.unknown("k", 1);
    assert_eq!(voters.idem(&["list"]).out, "");
    let done = voters.idem(&["resolve", &scope.hex(), "--free", "--yes"]);
    assert_eq!(done.code, 1);
}

#[test]
fn each_that_votes_is_to_be_named() {
    let voters = Voters::new();
    let said = voters.desk.idem(&["list"]);
    assert_eq!(said.code, 1);
    assert!(
        said.error.contains("found 1 --redis, expected 3"),
        "{}",
        said.error
    );
}
