use super::*;
use crate::policy::shard_route::ShardRoute;

fn tables(tables: &str) -> Vec<Directory> {
    let policy =
        format!(r#"{{"tables": {tables}, "routes": [{{"name": "z", "zone": {{"fixed": "z"}}}}]}}"#);
    let policy = ShardRoute::load(policy.as_bytes()).unwrap();
    policy
        .tables
        .into_iter()
        .map(|table| table.directory)
        .collect()
}

#[test]
fn a_shard_keeps_its_number_wherever_it_comes_to_stand() {
    let mut seats = Seats::default();
    let before = tables(r#"{"t": {"shards": ["a", "b"]}, "u": {"shards": ["a"]}}"#);
    seats.take(before.iter()).unwrap();
    assert_eq!(
        (seats.of(0, 0), seats.of(0, 1), seats.of(1, 0)),
        (Some(0), Some(1), Some(2))
    );
    let after = tables(r#"{"new": {"shards": ["a"]}, "t": {"shards": ["c", "b"]}}"#);
    seats.take(after.iter()).unwrap();
    assert_eq!(
        (seats.of(0, 0), seats.of(1, 0), seats.of(1, 1)),
        (Some(3), Some(4), Some(1))
    );
    assert_eq!((seats.of(1, 2), seats.of(2, 0)), (None, None));
    assert_eq!(seats.len(), 5);
    // And has it when it comes back.
    seats.take(before.iter()).unwrap();
    assert_eq!((seats.of(0, 0), seats.len()), (Some(0), 5));
}

#[test]
fn there_is_an_end_to_new_names_and_then_nothing_changes() {
    let mut seats = Seats::default();
    let mut directories = tables(r#"{"t": {"shards": ["a"]}}"#);
    let host = directories[0].hosts[0].clone();
    let mut named = |from: usize| {
        let hosts = (from..from + MAX_SEATS / 2).map(|name| super::super::Host {
            name: name.to_string(),
            ..host.clone()
        });
        directories[0].hosts = hosts.collect();
        directories.clone()
    };
    seats.take(named(0).iter()).unwrap();
    let second = named(MAX_SEATS / 2);
    seats.take(second.iter()).unwrap();
    assert_eq!(seats.take(named(MAX_SEATS).iter()), Err(TooMany));
    assert_eq!(
        (seats.len(), seats.of(0, 0)),
        (MAX_SEATS, Some(MAX_SEATS / 2))
    );
    seats.take(second.iter()).unwrap();
}

#[test]
fn a_request_for_a_shard_without_a_number_is_refused() {
    let refused = |seats: &Seats, table, shard| {
        seats
            .seat(table, shard)
            .map_err(|refusal| refusal.problem.name())
    };
    let mut seats = Seats::default();
    assert_eq!(refused(&seats, 0, 0), Err("shard-unknown"));
    let known = tables(r#"{"t": {"shards": ["a", "b"]}}"#);
    seats.take(known.iter()).unwrap();
    assert_eq!(refused(&seats, 0, 1), Ok(1));
    assert_eq!(refused(&seats, 0, 2), Err("shard-unknown"));
    assert_eq!(refused(&seats, 1, 0), Err("shard-unknown"));
}
