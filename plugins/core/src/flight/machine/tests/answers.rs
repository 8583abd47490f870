//! Who gets which answer.

use super::*;

const ROUTE: &str = r#""authorization": "if_allowed""#;

fn vary(on: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut fields = FRESH.to_vec();
    fields.push(("vary", on));
    fields
}

#[test]
fn followers_with_another_variant_form_a_flight_of_their_own() {
    let mut world = World::new(4, ROUTE);
    let ask = |world: &mut World, worker, language| {
        world.ask(worker, "GET", "/a", &[("accept-language", language)])
    };
    let languages = ["de", "en", "fr", "de", "en", "fr", "de", "en", "fr"];
    let clients: Vec<usize> = (0..9)
        .map(|number| ask(&mut world, number % 4, languages[number]))
        .collect();
    assert_eq!(world.upstream(), [clients[0]]);
    world.origin(clients[0], &vary("accept-language"), "de");
    world.settle();
    let upstream = world.upstream();
    assert_eq!(upstream.len(), 2, "one for each other language");
    for client in upstream {
        let language = languages[client];
        world.origin(client, &vary("accept-language"), language);
    }
    world.settle();
    for (client, language) in clients.iter().zip(languages) {
        assert_eq!(world.got(*client).body(), language);
    }
    for language in ["de", "en", "fr"] {
        let late = ask(&mut world, 3, language);
        assert_eq!(world.got(late).body(), language);
        assert_eq!(world.got(late).cache(), "c; hit; ttl=60");
    }
    let absent = world.get(3, "/a");
    assert!(world.got(absent).is_upstream(), "absent is not empty");
    assert_eq!(
        world
            .origin(absent, &vary("accept-language"), "any")
            .cache(),
        "c; fwd=vary-miss; stored"
    );
    world.assert_over();
}

#[test]
fn variants_are_capped_and_the_oldest_goes() {
    let mut world = World::new(2, r#""max_variants": 3"#);
    let ask =
        |world: &mut World, worker, value: &str| world.ask(worker, "GET", "/a", &[("x-v", value)]);
    for value in ["1", "2", "3", "4"] {
        let client = ask(&mut world, 0, value);
        assert!(world.got(client).is_upstream());
        world.origin(client, &vary("x-v"), value);
    }
    for value in ["2", "3", "4"] {
        let client = ask(&mut world, 1, value);
        assert_eq!(world.got(client).body(), value);
    }
    let client = ask(&mut world, 1, "1");
    assert!(world.got(client).is_upstream());
}

#[test]
fn no_answer_crosses_identities() {
    let mut world = World::new(2, r#""key": [{"header": "x-user"}]"#);
    let ask =
        |world: &mut World, worker, user: &str| world.ask(worker, "GET", "/a", &[("x-user", user)]);
    let (ann, bob) = (ask(&mut world, 0, "ann"), ask(&mut world, 1, "bob"));
    let ann2 = ask(&mut world, 1, "ann");
    assert_eq!(world.upstream(), [ann, bob]);
    world.origin(ann, FRESH, "ann's");
    world.settle();
    assert_eq!(world.got(ann2).body(), "ann's");
    world.origin(bob, FRESH, "bob's");
    let again = ask(&mut world, 0, "bob");
    assert_eq!(world.got(again).body(), "bob's");
    let nobody = world.get(0, "/a");
    assert!(world.got(nobody).is_upstream());
    let got = world.origin(nobody, FRESH, "nobody's");
    assert_eq!(got.cache(), "c; fwd=bypass; detail=key");
}

#[test]
fn an_answer_to_authorization_is_shared_only_if_it_allows_it() {
    let mut world = World::new(2, ROUTE);
    let ask = |world: &mut World, worker| {
        world.ask(worker, "GET", "/a", &[("authorization", "Bearer x")])
    };
    let (leader, follower) = (ask(&mut world, 0), ask(&mut world, 1));
    world.origin(leader, FRESH, "mine");
    world.settle();
    assert!(world.got(follower).is_upstream());
    let public = &[(":status", "200"), ("cache-control", "public, max-age=60")];
    world.origin(follower, public, "everybody's");
    let third = ask(&mut world, 0);
    assert_eq!(world.got(third).body(), "everybody's");
    world.assert_over();
}

#[test]
fn who_may_not_have_what_is_stored_goes_alone_and_leaves_it_to_the_others() {
    let mut world = World::new(2, ROUTE);
    let first = world.get(0, "/a");
    let tagged = &[
        (":status", "200"),
        ("cache-control", "max-age=60"),
        ("etag", "\"1\""),
    ];
    world.origin(first, tagged, "everybody's");
    let authorized = world.ask(1, "GET", "/a", &[("authorization", "Bearer x")]);
    assert_eq!(
        *world.got(authorized),
        Got::Upstream(vec![]),
        "unconditional"
    );
    let got = world.origin(authorized, FRESH, "mine");
    assert_eq!(
        (got.body(), got.cache()),
        ("mine".into(), "c; fwd=request; detail=authorization")
    );
    for worker in 0..2 {
        let other = world.get(worker, "/a");
        assert_eq!(world.got(other).cache(), "c; hit; ttl=60");
    }
    world.assert_over();
}

#[test]
fn a_client_that_wants_news_joins_only_a_flight_that_began_after_it_came() {
    let mut world = World::new(2, ROUTE);
    let first = world.get(0, "/a");
    world.origin(first, FRESH, "old");
    let news = [("cache-control", "no-cache")];
    world.now += 1;
    let leader = world.ask(0, "GET", "/a", &news);
    assert!(world.got(leader).is_upstream());
    let alone = world.ask(1, "GET", "/a", &news);
    assert!(world.got(alone).is_upstream(), "that one began before");
    let content = world.get(1, "/a");
    assert_eq!(world.got(content).body(), "old");
    world.now += 1;
    assert_eq!(
        world.origin(leader, FRESH, "new").cache(),
        "c; fwd=request; stored"
    );
    let after = world.get(1, "/a");
    world.now += 1;
    assert_eq!(
        world.got(after).body(),
        "old",
        "fresh, in this worker's memory"
    );
    world.origin(alone, FRESH, "newer");
    world.settle();
    world.assert_over();
}

#[test]
fn only_if_cached_never_leads() {
    let mut world = World::new(1, ROUTE);
    let fields = [("cache-control", "only-if-cached")];
    let miss = world.ask(0, "GET", "/a", &fields);
    assert_eq!(world.got(miss).status(), 504);
    let first = world.get(0, "/a");
    world.origin(first, FRESH, "answer");
    let hit = world.ask(0, "GET", "/a", &fields);
    assert_eq!(world.got(hit).body(), "answer");
    world.assert_over();
}

#[test]
fn head_gets_what_get_got_and_never_leads() {
    let mut world = World::new(2, ROUTE);
    let alone = world.ask(0, "HEAD", "/a", &[]);
    let leader = world.get(0, "/a");
    assert_eq!(world.upstream(), [alone, leader]);
    let follower = world.ask(1, "HEAD", "/a", &[]);
    assert_eq!(*world.got(follower), Got::Waits);
    world.origin(alone, FRESH, "");
    let miss = world.get(1, "/a");
    assert_eq!(
        *world.got(miss),
        Got::Waits,
        "the answer to HEAD is no answer to GET"
    );
    world.origin(leader, FRESH, "answer");
    world.settle();
    assert_eq!(world.got(follower).status(), 200);
    let hit = world.ask(1, "HEAD", "/a", &[]);
    assert_eq!(world.got(hit).cache(), "c; hit; ttl=60");
    world.assert_over();
}

#[test]
fn a_client_that_has_the_answer_is_told_so() {
    let mut world = World::new(1, ROUTE);
    let condition = [("if-none-match", "\"1\"")];
    let first = world.ask(0, "GET", "/a", &condition);
    let removed = Got::Upstream(vec![("if-none-match", None)]);
    assert_eq!(
        *world.got(first),
        removed,
        "the answer must serve everybody"
    );
    let mut fields = FRESH.to_vec();
    fields.push(("etag", "\"1\""));
    world.origin(first, &fields, "answer");
    let second = world.ask(0, "GET", "/a", &condition);
    assert_eq!(
        (world.got(second).status(), world.got(second).body()),
        (304, String::new())
    );
    let other = world.ask(0, "GET", "/a", &[("if-none-match", "\"2\"")]);
    assert_eq!(world.got(other).body(), "answer");
}

#[test]
fn a_success_of_an_unsafe_method_voids_what_was_asked_before() {
    let mut world = World::new(4, ROUTE);
    let first = world.get(0, "/a");
    world.origin(first, FRESH, "old");
    for worker in 0..4 {
        let hit = world.get(worker, "/a");
        assert_eq!(world.got(hit).body(), "old");
    }
    // A flight that is in the air, and one who waits for it.
    let news = [("cache-control", "no-cache")];
    let flies = world.ask(1, "GET", "/a", &news);
    let other = world.get(2, "/b");
    let follows = world.get(3, "/b");
    world.now += 10;
    let failed = world.ask(0, "POST", "/a", &[]);
    world.origin(failed, &[(":status", "500")], "");
    let post = world.ask(0, "POST", "/a", &[]);
    world.origin(post, &[(":status", "303"), ("location", "/b")], "");
    world.settle();
    world.now += 10;
    let after = world.get(2, "/a");
    assert!(world.got(after).is_upstream(), "no older flight is joined");
    world.origin(flies, FRESH, "old");
    let more = world.get(3, "/a");
    assert_eq!(*world.got(more), Got::Waits);
    world.origin(after, FRESH, "new");
    world.settle();
    assert_eq!(world.got(more).body(), "new");
    // The one of /b was asked before, and does not count any more for anybody else.
    world.origin(other, FRESH, "old b");
    world.settle();
    assert!(world.got(follows).is_upstream());
    world.origin(follows, FRESH, "new b");
    let hit = world.get(0, "/b");
    assert_eq!(world.got(hit).body(), "new b");
    world.assert_over();
}

#[test]
fn what_was_asked_before_an_invalidation_does_not_replace_what_was_asked_after() {
    let mut world = World::new(2, ROUTE);
    let slow = world.get(0, "/a");
    world.origin_head(slow, FRESH, false);
    let change = world.ask(1, "POST", "/a", &[]);
    world.origin(change, &[(":status", "204")], "");
    let new = world.get(1, "/a");
    world.origin(new, FRESH, "new");
    world.origin_body(slow, "old", true);
    world.settle();
    for worker in 0..2 {
        let client = world.get(worker, "/a");
        assert_eq!(world.got(client).body(), "new");
    }
    world.assert_over();
}

#[test]
fn a_purge_forgets_one_target_or_everything_and_wants_the_token() {
    let mut world = World::new(2, ROUTE);
    for path in ["/a", "/b"] {
        let client = world.get(0, path);
        world.origin(client, FRESH, path);
    }
    let purge = |world: &mut World, token: &str, target: &str| {
        let bearer = format!("Bearer {token}");
        let fields = [("authorization", bearer.as_str()), (purge::FIELD, target)];
        let client = world.ask(0, "POST", "/.purge", &fields);
        world.settle();
        world.got(client).status()
    };
    // All in one millisecond.
    assert_eq!(purge(&mut world, "wrong", "*"), 401);
    assert_eq!(purge(&mut world, "", "*"), 401);
    let hit = world.get(1, "/a");
    assert_eq!(world.got(hit).body(), "/a");
    assert_eq!(purge(&mut world, "t", "/a"), 204);
    let miss = world.get(1, "/a");
    assert!(world.got(miss).is_upstream());
    world.origin(miss, FRESH, "/a");
    for worker in 0..2 {
        let hit = world.get(worker, "/a");
        assert_eq!(world.got(hit).cache(), "c; hit; ttl=60");
    }
    let hit = world.get(1, "/b");
    assert_eq!(world.got(hit).body(), "/b");
    assert_eq!(purge(&mut world, "t", "/b"), 204);
    let late = world.get(0, "/b");
    assert_eq!(purge(&mut world, "t", "/b"), 204);
    world.origin(late, FRESH, "/b");
    let miss = world.get(1, "/b");
    assert!(
        world.got(miss).is_upstream(),
        "asked before the second purge"
    );
    world.origin(miss, FRESH, "/b");
    assert_eq!(purge(&mut world, "t", "*"), 204);
    for worker in 0..2 {
        for path in ["/a", "/b"] {
            let miss = world.get(worker, path);
            assert_ne!(world.got(miss).body(), path);
        }
    }
}

#[test]
fn a_request_that_must_not_be_shared_passes_by() {
    let mut world = World::new(1, ROUTE);
    let first = world.get(0, "/a");
    world.origin(first, FRESH, "shared");
    for field in [
        ("if-range", "\"1\""),
        ("cookie", "id=1"),
        ("cache-control", "no-store"),
        ("upgrade", "websocket"),
    ] {
        let client = world.ask(0, "GET", "/a", &[field]);
        assert_eq!(*world.got(client), Got::Upstream(vec![]), "{field:?}");
        let got = world.origin(client, FRESH, "own");
        assert!(got.cache().starts_with("c; fwd=bypass"), "{got:?}");
    }
    world.assert_over();
}

#[test]
fn a_part_is_cut_out_of_what_is_stored_and_never_stored_itself() {
    let mut world = World::new(
        1,
        r#""stale_while_revalidate": "1m", "refresh": {"cluster": "shop"}"#,
    );
    let range = [("range", "bytes=1-3")];
    let miss = world.ask(0, "GET", "/a", &range);
    assert_eq!(*world.got(miss), Got::Upstream(vec![]));
    let partial = &[
        (":status", "206"),
        ("cache-control", "max-age=60"),
        ("content-range", "bytes 1-3/6"),
    ];
    world.origin(miss, partial, "nsw");
    let whole = world.get(0, "/a");
    assert!(world.got(whole).is_upstream());
    world.origin(whole, FRESH, "answer");
    let hit = world.ask(0, "GET", "/a", &range);
    assert_eq!(
        (world.got(hit).status(), world.got(hit).body().as_str()),
        (206, "nsw")
    );
    world.pass(61_000);
    let stale = world.ask(0, "GET", "/a", &range);
    assert_eq!(world.got(stale).body(), "nsw");
    world.settle();
    let (worker, call) = world.calls.pop().unwrap();
    assert!(call.fields.iter().all(|(name, _)| name != "range"));
    world.workers[worker].fetched(call.tag, None, world.now);
    world.assert_over();
}

#[test]
fn more_urls_than_there_is_room_for_stay_within_their_bytes() {
    let mut world = World::new(2, ROUTE);
    let body = "x".repeat(20_000);
    for number in 0..10_000 {
        let client = world.get(number % 2, &format!("/{number}"));
        world.origin(client, FRESH, &body);
        world.clients[client].1 = Got::Left;
    }
    let policy = &world.workers[0].settings.policy;
    let (worker, shared) = (policy.store.worker, policy.store.shared);
    assert!(world.workers.iter().all(|one| one.near_bytes() <= worker));
    // Flights and the rest have tables of their own.
    assert!(
        world.store.bytes() < shared + (2 << 20),
        "{}",
        world.store.bytes()
    );
    world.assert_over();
}
