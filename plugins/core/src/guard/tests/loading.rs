//! How a copy is loaded, what it does meanwhile, and when it is not believed.

use super::world::{POLICY, SECOND, Worker, World};
use crate::guard::{Event, MAX_ADDED, Why, scripts};
use crate::headers::Headers;
use crate::selector::testing::Fake;
use crate::slots::tests::FakeShared;

fn loaded(ids: &[u64], gateways: &[usize]) -> World {
    let mut world = World::new(POLICY, gateways);
    world.build(ids);
    world.pass(SECOND);
    world
}

#[test]
fn what_does_not_exist_is_refused() {
    let ids: Vec<u64> = (0..1_000).collect();
    let mut world = loaded(&ids, &[1]);
    for id in ids {
        assert_eq!(world.ask(0, id), Event::Passed);
    }
    let refused = (1_000..11_000).filter(|id| world.ask(0, *id) == Event::Refused);
    // 1 in a thousand passes; six standard deviations are 19.
    let refused = refused.count();
    assert!((9_970..=10_000).contains(&refused), "{refused}");
    let now = world.now();
    let answer = world.workers[0].guards.check(&Fake::path("/items/x"), now);
    let answer = answer.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &body["status"]), (404, &404.into()));
    assert_eq!(body["type"], "urn:sluice:problem:coalesce-absent");
    let field = |name: &str| answer.fields.iter().find(|(n, _)| n == name.as_bytes());
    assert_eq!(field("cache-control").unwrap().1, b"no-store");
    assert_eq!(
        field("content-type").unwrap().1,
        b"application/problem+json"
    );
}

#[test]
fn only_what_the_guard_is_for_is_looked_at() {
    let mut world = loaded(&[1], &[1]);
    let now = world.now();
    let mut check = |method: &str, path: &str| {
        let request = Fake::new(&[(":method", method), (":path", path)]);
        world.workers[0].guards.check(&request, now).is_some()
    };
    assert!(check("GET", "/items/2") && check("HEAD", "/items/2?x=1"));
    assert!(!check("PUT", "/items/2") && !check("GET", "/items/2/a") && !check("GET", "/"));
    assert!(!check("GET", "/items/1") && !check("GET", "/items/%31"));
    let long = format!("/items/{}", "x".repeat(5_000));
    assert_eq!(world.workers[0].ask(&long, now), Event::Unidentified);
}

#[test]
fn before_a_filter_is_there_everything_passes() {
    let mut world = World::new(POLICY, &[1]);
    assert_eq!(world.ask(0, 1), Event::OpenUnloaded);
    world.pass(SECOND);
    assert_eq!(world.open(0), Some(Why::Missing));
    assert_eq!(world.ask(0, 1), Event::OpenMissing);
    world.build(&[1]);
    world.pass(2 * SECOND);
    assert_eq!(world.open(0), None);
    assert_eq!(world.ask(0, 2), Event::Refused);
    assert_eq!(world.workers[0].count(Event::Loaded), 1);
    let _ = world.run(&[b"FLUSHALL"]);
    world.pass(2 * SECOND);
    assert_eq!(world.ask(0, 2), Event::OpenMissing);
}

#[test]
fn what_is_no_whole_filter_has_everything_pass_until_there_is_another() {
    let mut world = loaded(&[1], &[1]);
    let good = world.blob();
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    // The header is part of what is known: each must have one of its own.
    flipped[16] ^= 1;
    let mut header = good.clone();
    header[17] ^= 1;
    for bad in [
        &b"no filter"[..],
        &flipped,
        &header,
        &[&good[..16], b"x", &good[17..good.len() - 1]].concat(),
        &[&good[..16], b"y", &good[17..], b"z"].concat(),
    ] {
        world.set_blob(bad);
        world.pass(2 * SECOND);
        assert_eq!(world.ask(0, 2), Event::OpenCorrupt);
        assert_eq!(world.open(0), Some(Why::Corrupt));
        world.build(&[1]);
        world.pass(2 * SECOND);
        assert_eq!(world.ask(0, 2), Event::Refused);
    }
}

#[test]
fn a_filter_that_was_no_good_is_not_fetched_again_at_each_look() {
    let mut world = loaded(&[1], &[1]);
    let mut bad = world.blob();
    *bad.last_mut().unwrap() ^= 1;
    bad[16] ^= 1;
    world.set_blob(&bad);
    let piece = scripts::PIECE_TEXT.as_bytes();
    let mut fetched = Vec::new();
    for tick in 0..4 * 70 {
        world.now += SECOND / 4;
        world.tick(0);
        while let Some((_, body)) = world.workers[0].sent.front() {
            if body.windows(piece.len()).any(|part| part == piece) {
                fetched.push(tick / 4);
            }
            assert!(world.deliver(0));
        }
    }
    assert_eq!(world.open(0), Some(Why::Corrupt));
    assert_eq!(fetched.len(), 2, "{fetched:?}");
    assert!(fetched[1] - fetched[0] >= 59, "{fetched:?}");
}

#[test]
fn a_filter_that_is_too_large_is_not_loaded() {
    let mut world = loaded(&[1], &[1]);
    let large = world.begin_build(&[1], 600_000);
    assert!(world.end_build(&large));
    assert!(world.blob().len() > 1 << 20);
    world.pass(2 * SECOND);
    assert_eq!(world.ask(0, 2), Event::OpenTooLarge);
    world.build(&[1]);
    world.pass(2 * SECOND);
    assert_eq!(world.ask(0, 2), Event::Refused);
}

#[test]
fn a_copy_that_has_not_heard_of_redis_for_too_long_is_not_believed() {
    let mut world = loaded(&[1], &[1]);
    assert_eq!(world.ask(0, 2), Event::Refused);
    let silent = |world: &mut World, seconds: u64| {
        for _ in 0..seconds * 4 {
            world.now += SECOND / 4;
            world.tick(0);
            world.lose(0, false);
        }
    };
    silent(&mut world, 8);
    assert_eq!(world.ask(0, 2), Event::Refused);
    silent(&mut world, 4);
    assert_eq!(world.ask(0, 2), Event::OpenStale);
    world.pass(3 * SECOND);
    assert_eq!(world.ask(0, 2), Event::Refused);
    assert_eq!(world.workers[0].count(Event::Loaded), 1, "it is the same");
    // Long enough for others to have built, and forgotten what they built in.
    world.add(5);
    world.build(&[1]);
    silent(&mut world, 3 * 3_600);
    world.build(&[1, 5]);
    world.now += 2 * SECOND;
    world.tick(0);
    assert!(world.deliver(0));
    assert_eq!(world.ask(0, 5), Event::OpenUnloaded);
    world.pass(SECOND);
    assert_eq!(world.ask(0, 5), Event::Passed);
}

#[test]
fn a_filter_that_was_built_too_long_ago_is_not_believed() {
    let policy = POLICY.replace(r#""refresh""#, r#""max_build_age": "1h", "refresh""#);
    let mut world = World::new(&policy, &[1]);
    world.build(&[1]);
    world.pass(SECOND);
    assert_eq!(world.ask(0, 2), Event::Refused);
    world.pass(3_600 * SECOND);
    assert_eq!(world.ask(0, 2), Event::OpenOld);
    world.build(&[1]);
    world.pass(2 * SECOND);
    assert_eq!(world.ask(0, 2), Event::Refused);
}

#[test]
fn a_build_that_comes_between_two_pieces_has_them_read_anew() {
    let mut world = World::new(POLICY, &[1]);
    let first = world.begin_build(&[1], 120_000);
    assert!(world.end_build(&first));
    assert!(world.blob().len() > 200 << 10, "it takes two pieces");
    world.tick(0);
    // The look, and the first piece.
    assert!(world.deliver(0) && world.deliver(0));
    assert_eq!(world.ask(0, 1), Event::OpenUnloaded, "one piece is there");
    let second = world.begin_build(&[2], 120_000);
    assert!(world.end_build(&second));
    world.pass(2 * SECOND);
    assert_eq!(world.ask(0, 2), Event::Passed);
    assert_eq!(world.ask(0, 1), Event::Refused);
    assert_eq!(world.workers[0].count(Event::Loaded), 1);
}

#[test]
fn two_builds_at_once_do_not_lose_what_came_meanwhile() {
    let mut world = loaded(&[1], &[1]);
    world.add(2);
    let (one, other) = (world.begin_build(&[1], 100), world.begin_build(&[1], 100));
    assert!(world.end_build(&one));
    assert!(!world.end_build(&other), "it has to begin anew");
}

#[test]
fn what_is_created_is_known_to_every_worker_at_once_and_to_other_gateways_when_they_look() {
    let mut world = loaded(&[1], &[2, 1]);
    for worker in 0..3 {
        assert_eq!(world.ask(worker, 2), Event::Refused);
    }
    world.create(0, 2);
    assert_eq!(world.ask(0, 2), Event::Passed);
    assert_eq!(world.ask(1, 2), Event::Passed);
    assert_eq!(world.ask(2, 2), Event::Refused, "nobody has told it");
    world.pass(2 * SECOND);
    assert_eq!(world.ask(2, 2), Event::Passed);
    assert_eq!(world.workers[0].count(Event::Learnt), 1);
    // The next build need not know of it.
    world.build(&[1]);
    world.pass(2 * SECOND);
    for worker in 0..3 {
        assert_eq!(world.ask(worker, 2), Event::Passed);
    }
}

#[test]
fn what_is_created_while_redis_is_away_is_told_later() {
    let mut world = loaded(&[1], &[2, 1]);
    world.create(0, 2);
    for _ in 0..20 {
        world.now += SECOND / 4;
        for worker in 0..3 {
            world.tick(worker);
            world.lose(worker, false);
        }
    }
    assert_eq!(world.ask(0, 2), Event::Passed);
    assert_eq!(world.ask(1, 2), Event::Passed);
    assert_eq!(world.ask(2, 2), Event::Refused);
    world.pass(4 * SECOND);
    assert_eq!(world.ask(2, 2), Event::Passed);
}

#[test]
fn what_a_worker_learnt_that_is_gone_is_told_by_the_next() {
    let mut world = World::new(POLICY, &[1]);
    world.build(&[1]);
    let shared = FakeShared::default();
    world.workers[0] = Worker::new(POLICY, &shared, world.now());
    world.create(0, 2);
    world.workers[0] = Worker::new(POLICY, &shared, world.now());
    let other = Worker::new(POLICY, &FakeShared::default(), world.now());
    world.workers.push(other);
    world.pass(2 * SECOND);
    for worker in 0..2 {
        assert_eq!(world.ask(worker, 2), Event::Passed);
        assert_eq!(world.ask(worker, 3), Event::Refused);
    }
}

#[test]
fn an_answer_without_a_location_names_the_request_itself_and_others_say_nothing() {
    let mut world = loaded(&[1], &[1]);
    let now = world.now();
    let mut answer = |method: &str, path: &str, fields: &[(&str, &str)]| {
        let request = Fake::new(&[(":method", method), (":path", path)]);
        if world.workers[0].guards.awaits(&request) {
            let fields = Headers::from_pairs(fields);
            let guards = &mut world.workers[0].guards;
            guards.answered(&request, &fields, now);
        }
        let learnt = world.workers[0].count(Event::Learnt);
        (learnt, world.workers[0].count(Event::Unlearnt))
    };
    assert_eq!(answer("PUT", "/items/20", &[(":status", "201")]), (1, 0));
    assert_eq!(answer("PUT", "/items/21", &[(":status", "204")]), (1, 0));
    assert_eq!(answer("GET", "/items/22", &[(":status", "201")]), (1, 0));
    assert_eq!(answer("POST", "/items", &[(":status", "201")]), (1, 1));
    let elsewhere = [(":status", "201"), ("location", "/orders/7")];
    assert_eq!(answer("POST", "/items", &elsewhere), (1, 2));
    let absolute = [(":status", "201"), ("location", "http://in/items/2%33")];
    assert_eq!(answer("POST", "/items", &absolute), (2, 2));
    let passed = [20, 23].map(|id| world.ask(0, id));
    assert_eq!(passed, [Event::Passed; 2]);
    let refused = [21, 22].map(|id| world.ask(0, id));
    assert_eq!(refused, [Event::Refused; 2]);
}

#[test]
fn a_worker_that_missed_what_others_learnt_refuses_nothing_until_it_has_looked() {
    let mut world = loaded(&[1], &[2]);
    for id in 10_000..14_000 {
        world.create(0, id);
    }
    assert_eq!(world.ask(1, 10_000), Event::OpenLost);
    world.pass(4 * SECOND);
    assert_eq!(world.ask(1, 10_000), Event::Passed);
    assert_eq!(world.ask(1, 5), Event::Refused);
}

#[test]
fn when_there_is_no_room_for_what_comes_everything_passes_until_the_next_build() {
    let mut world = loaded(&[1], &[1, 1]);
    let key = world.keys.added.clone();
    let mut words: Vec<Vec<u8>> = vec![b"ZADD".to_vec(), key.into_bytes()];
    for place in 1..MAX_ADDED {
        words.push(place.to_string().into_bytes());
        words.push(place.to_string().into_bytes());
    }
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let _ = world.run(&words);
    world.create(0, 2);
    world.create(0, 3);
    world.tick(0);
    while world.deliver(0) {}
    assert_eq!(world.ask(0, 9), Event::OpenLost);
    world.tick(1);
    world.now += 2 * SECOND;
    world.tick(1);
    assert!(world.deliver(1) && world.deliver(1));
    assert_eq!(world.ask(1, 9), Event::OpenLost);
    world.now += SECOND;
    world.build(&[1, 2, 3]);
    world.pass(2 * SECOND);
    for worker in 0..2 {
        assert_eq!(world.ask(worker, 3), Event::Passed);
        assert_eq!(world.open(worker), None);
    }
}

#[test]
fn a_worker_without_a_way_to_redis_that_nobody_asks_gives_up_and_one_that_is_asked_does_not() {
    let mut world = World::new(POLICY, &[1]);
    world.build(&[1]);
    let vain = |world: &mut World, seconds: u64| {
        let mut looks = 0;
        for _ in 0..seconds * 4 {
            world.now += SECOND / 4;
            world.tick(0);
            looks += world.workers[0].sent.len();
            world.lose(0, false);
        }
        looks
    };
    assert_eq!(vain(&mut world, 60), 3);
    assert!(!world.workers[0].guards.is_awake());
    let troubles = |world: &World| world.workers[0].line.troubles.iter().sum::<u64>();
    assert_eq!(troubles(&world), 0, "nobody asked for them");
    assert_eq!(world.ask(0, 2), Event::OpenUnloaded);
    assert!(world.workers[0].guards.is_awake());
    assert!(vain(&mut world, 60) > 30);
    assert!(troubles(&world) > 30);
    world.pass(3 * SECOND);
    assert_eq!(world.ask(0, 2), Event::Refused);
}

#[test]
fn a_build_that_comes_between_the_pieces_and_the_ids_has_all_read_anew() {
    let mut world = World::new(POLICY, &[1]);
    world.build(&[1]);
    world.tick(0);
    // The look, and all of the filter.
    assert!(world.deliver(0) && world.deliver(0));
    assert_eq!(world.ask(0, 2), Event::OpenUnloaded);
    world.build(&[1, 2]);
    assert!(world.deliver(0));
    assert_eq!(world.ask(0, 2), Event::OpenUnloaded, "it is the old filter");
    world.pass(2 * SECOND);
    assert_eq!(world.ask(0, 2), Event::Passed);
    assert_eq!(world.workers[0].count(Event::Loaded), 1);
}

#[test]
fn what_redis_has_yet_to_be_told_outlives_another_build() {
    let mut world = loaded(&[1], &[1]);
    for id in 10_000..14_000 {
        world.create(0, id);
        // It sees its own before others push them out.
        if id % 500 == 0 {
            world.tick(0);
        }
    }
    world.build(&[1]);
    world.now += 2 * SECOND;
    world.tick(0);
    while world.workers[0].count(Event::Loaded) == 1 {
        assert!(world.deliver(0));
    }
    let told = world.run(&[b"ZCARD", world.keys.added.clone().as_bytes()]);
    assert!(told.len() < 7, "most are still to be told");
    for id in 10_000..14_000 {
        assert_eq!(world.ask(0, id), Event::Passed, "{id}");
    }
}
