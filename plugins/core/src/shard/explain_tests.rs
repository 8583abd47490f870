use super::*;
use crate::policy::examples;

fn policy(json: &str) -> ShardRoute {
    ShardRoute::load(json.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

fn of(shards: &str) -> ShardRoute {
    policy(&format!(
        r#"{{"tables": {{"t": {{"fill": "jump", "shards": {shards}}}}},
            "routes": [{{"name": "r", "table": "t", "key": [{{"header": "x"}}], "normalise": ["integer"]}}]}}"#
    ))
}

#[test]
fn a_key_is_explained_as_it_is_routed() {
    let policy = policy(examples::SHARD_ROUTE[1].1);
    let pinned = explain(&policy, "users", b" BIG-tenant").unwrap();
    assert_eq!(
        pinned.to_string(),
        "key    big-tenant\ntable  users\nslot   none: the key is pinned\nshard  s3"
    );
    // CRC16 of "123456789" is 0x31C3: slot 12739.
    let key = explain(&policy, "users", b"123456789").unwrap();
    assert_eq!(key.place.slot, Some(12_739));
    assert!(key.to_string().contains("slot   12739 of 16384"), "{key}");
    assert_eq!(explain(&policy, "nothing", b"1"), None);
    assert_eq!(explain(&of(r#"["a"]"#), "t", b"no number"), None);
}

#[test]
fn a_plan_says_what_moves_and_how_little_could() {
    let (four, five) = (
        of(r#"["a", "b", "c", "d"]"#),
        of(r#"["a", "b", "c", "d", "e"]"#),
    );
    let plan = plan(&four.tables[0].directory, &five.tables[0].directory).unwrap();
    assert!(plan.moves.keys().all(|(_, to)| to == "e"));
    assert_eq!(plan.moved(), plan.least);
    let fifth = five.tables[0].directory.shares()[4];
    assert_eq!(plan.moved(), fifth);
    let text = plan.to_string();
    assert!(
        text.ends_with(&format!(
            "{fifth} of 16384 slots move, {:.2}%; the least for these shares is {fifth}, {:.2}%",
            f64::from(fifth) / 163.84,
            f64::from(fifth) / 163.84
        )),
        "{text}"
    );
    // Shards are told by their names, wherever they stand.
    let other = of(r#"["d", "b", "c", "a"]"#);
    let swapped = super::plan(&four.tables[0].directory, &other.tables[0].directory).unwrap();
    assert!(
        swapped
            .moves
            .contains_key(&("a".to_owned(), "d".to_owned()))
    );
    assert!(swapped.least < swapped.moved() / 2, "{swapped}");
}

#[test]
fn skew_is_what_the_keys_do() {
    let policy = of(r#"["a", "b"]"#);
    let target = policy.routes[0].target.as_ref().unwrap();
    let directory = &policy.tables[0].directory;
    let keys: Vec<String> = (0..1_000)
        .map(|key| key.to_string())
        .chain(std::iter::repeat_n("7".to_owned(), 1_000))
        .chain(["x".to_owned()])
        .collect();
    let skew = skew(directory, target, keys.iter().map(String::as_bytes));
    assert_eq!((skew.keys, skew.invalid), (2_000, 1));
    let total: u64 = skew.shards.iter().map(|(_, _, keys)| keys).sum();
    assert_eq!(total, 2_000);
    let (slot, count) = skew.hottest_slot.unwrap();
    assert_eq!(slot, directory.table.slot(b"7"));
    assert!(count >= 1_001);
    assert!(skew.worst() > 1.3, "{skew}");
    let text = skew.to_string();
    assert!(text.contains("1 are no keys for this table"), "{text}");
}
