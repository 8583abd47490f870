//! What differs by policy: what is held, dry runs, bounds.

use super::world::*;
use crate::headers::Headers;
use crate::idempotency::counts::Event;
use crate::idempotency::origin::Provenance;
use crate::idempotency::problem::{Problem, field};
use crate::idempotency::registry::{Opening, ResponseHead, Settled, Step};
use crate::idempotency::settings::*;

fn before_end(change: impl FnOnce(&mut Route)) -> World {
    let mut route = route();
    change(&mut route);
    World::new(Settings {
        commit_order: CommitOrder::BeforeEnd,
        ..settings(route)
    })
}

/// Begins a response, and says what becomes of its head, its first piece and its last.
fn respond(world: &mut World, stream: u32, pieces: [&[u8]; 2]) -> [Step; 3] {
    let headers = Headers::from_pairs(&[("content-type", "text/plain")]);
    let head = ResponseHead {
        status: 200,
        headers: &headers,
        provenance: VIA_UPSTREAM,
        end: false,
    };
    let (now, gateway) = (world.now, &mut world.gateways[0]);
    gateway.streams.get_mut(&stream).unwrap().said = Some((200, pieces.concat()));
    let registry = &mut gateway.registry;
    [
        registry.response_head(stream, &head, now),
        registry.response_body(stream, pieces[0], false, now),
        registry.response_body(stream, pieces[1], true, now),
    ]
}

#[test]
fn before_the_headers_nothing_of_an_answer_leaves_until_it_is_stored() {
    let mut world = World::new(settings(route()));
    let stream = world.first(0, "k");
    assert_eq!(
        respond(&mut world, stream, [b"a", b"b"]),
        [Step::Hold, Step::Hold, Step::Hold]
    );
    world.pump(0, Fate::Done);
    assert!(delivered(world.client(0, stream)));
}

#[test]
fn before_the_end_only_the_last_piece_waits() {
    let mut world = before_end(|_| {});
    let stream = world.first(0, "k");
    assert_eq!(
        respond(&mut world, stream, [b"a", b"b"]),
        [Step::Pass, Step::Pass, Step::Hold]
    );
    world.pump(0, Fate::Done);
    assert!(delivered(world.client(0, stream)));
    let stream = world.first(1, "k");
    assert!(is_replay(world.client(1, stream), 200, b"ab"));
}

/// The gateway tells of the end when all bytes have gone, which is too late for a client that counts them.
#[test]
fn before_the_end_the_piece_that_makes_an_answer_whole_waits() {
    let mut world = before_end(|_| {});
    let stream = world.first(0, "k");
    let headers = Headers::from_pairs(&[("content-length", "3")]);
    let head = ResponseHead {
        status: 200,
        headers: &headers,
        provenance: VIA_UPSTREAM,
        end: false,
    };
    let (now, gateway) = (world.now, &mut world.gateways[0]);
    gateway.streams.get_mut(&stream).unwrap().said = Some((200, b"abc".to_vec()));
    let registry = &mut gateway.registry;
    assert_eq!(
        [
            registry.response_head(stream, &head, now),
            registry.response_body(stream, b"a", false, now),
            registry.response_body(stream, b"bc", false, now),
            registry.response_body(stream, b"", true, now),
        ],
        [Step::Pass, Step::Pass, Step::Hold, Step::Hold]
    );
    world.pump(0, Fate::Done);
    assert!(delivered(world.client(0, stream)));
    let stream = world.first(1, "k");
    assert!(is_replay(world.client(1, stream), 200, b"abc"));
}

#[test]
fn before_the_end_an_answer_that_is_not_stored_never_looks_complete() {
    for (on_commit_error, expected) in [
        (OnCommitError::Strict, true),
        (OnCommitError::Deliver, false),
    ] {
        let mut world = before_end(|route| route.on_commit_error = on_commit_error);
        let stream = world.first(0, "k");
        let _ = respond(&mut world, stream, [b"a", b"b"]);
        for _ in 0..10 {
            world.pump(0, Fate::RequestLost);
            world.advance(TIMEOUT / 4);
        }
        assert_eq!(*world.client(0, stream) == Client::Aborted, expected);
        assert_eq!(delivered(world.client(0, stream)), !expected);
    }
}

#[test]
fn a_dry_run_touches_nothing_and_records_everything() {
    let dry = || {
        World::new(settings(Route {
            dry_run: true,
            ..route()
        }))
    };
    let mut world = dry();
    let first = world.first(0, "k");
    assert_eq!(*world.client(0, first), Client::Sent { fence: None });
    let second = world.first(1, "k");
    assert!(matches!(world.client(1, second), Client::Sent { .. }));
    assert_eq!(world.gateways[1].registry.counts.total(Event::InFlight), 1);
    assert_eq!(
        respond(&mut world, first, [b"a", b"b"]),
        [Step::Pass, Step::Pass, Step::Pass]
    );
    world.pump(0, Fate::Done);
    let third = world.first(1, "k");
    assert!(matches!(world.client(1, third), Client::Sent { .. }));
    assert_eq!(world.gateways[1].registry.counts.total(Event::Replayed), 1);
    let mut world = dry();
    let stream = world.request(0, "k", b"body");
    world.pump(0, Fate::RequestLost);
    assert!(matches!(world.client(0, stream), Client::Sent { .. }));
}

#[test]
fn a_status_that_is_not_stored_frees_the_key() {
    let mut world = World::new(settings(Route {
        statuses: vec![(200, 499)],
        ..route()
    }));
    let stream = world.first(0, "k");
    world.respond(0, stream, 500, b"no", VIA_UPSTREAM);
    assert!(delivered(world.client(0, stream)));
    world.pump(0, Fate::Done);
    let stream = world.first(1, "k");
    assert!(matches!(world.client(1, stream), Client::Sent { .. }));
    world.respond(1, stream, 499, b"yes", VIA_UPSTREAM);
    world.pump(1, Fate::Done);
    let stream = world.first(0, "k");
    assert!(is_replay(world.client(0, stream), 499, b"yes"));
}

#[test]
fn a_body_past_the_cap_is_413_and_nothing_is_asked() {
    let mut world = World::new(settings(route()));
    let stream = world.request(0, "k", &[0; 1001]);
    assert_eq!(world.problem(0, stream), (413, "body-too-large".to_owned()));
    assert_eq!(world.send(0), 0);
    let stream = world.request(0, "k", &[0; 1000]);
    assert_eq!(*world.client(0, stream), Client::Waiting);
}

#[test]
fn there_is_a_bound_to_open_exchanges_and_one_to_the_bytes_they_hold() {
    let mut world = World::new(Settings {
        max_open: 3,
        max_held: 500,
        ..settings(route())
    });
    let streams: Vec<u32> = (0..3).map(|n| world.first(0, &n.to_string())).collect();
    let refused = world.first(0, "k");
    assert_eq!(world.problem(0, refused), (503, "overloaded".to_owned()));
    let headers = Headers::from_pairs(&[("a", "b")]);
    let head = ResponseHead {
        status: 200,
        headers: &headers,
        provenance: VIA_UPSTREAM,
        end: false,
    };
    let now = world.now;
    for stream in &streams {
        let gateway = &mut world.gateways[0];
        gateway.streams.get_mut(stream).unwrap().said = Some((200, vec![]));
        assert_eq!(
            gateway.registry.response_head(*stream, &head, now),
            Step::Hold
        );
        assert_eq!(
            gateway
                .registry
                .response_body(*stream, &[0; 240], false, now),
            Step::Hold
        );
    }
    assert_eq!(world.gateways[0].registry.counts.total(Event::Oversized), 1);
    world.pump(0, Fate::Done);
    streams.iter().for_each(|stream| world.leave(0, *stream));
    assert_eq!(
        (
            world.gateways[0].registry.open(),
            world.gateways[0].registry.held()
        ),
        (0, 0)
    );
}

#[test]
fn an_answer_with_trailers_is_kept_by_its_status_only() {
    let mut world = World::new(settings(route()));
    let stream = world.first(0, "k");
    let headers = Headers::from_pairs(&[("a", "b")]);
    let head = ResponseHead {
        status: 200,
        headers: &headers,
        provenance: VIA_UPSTREAM,
        end: false,
    };
    let now = world.now;
    let registry = &mut world.gateways[0].registry;
    let _ = registry.response_head(stream, &head, now);
    assert_eq!(registry.response_trailers(stream, now), Step::Hold);
    world.gateways[0].streams.get_mut(&stream).unwrap().said = Some((200, vec![]));
    world.pump(0, Fate::Done);
    let stream = world.first(1, "k");
    assert_eq!(
        world.problem(1, stream),
        (409, "answer-not-kept".to_owned())
    );
}

#[test]
fn what_the_gateway_answers_in_place_of_a_held_answer_is_passed_on_and_not_stored() {
    let mut world = World::new(settings(route()));
    let stream = world.first(0, "k");
    let headers = Headers::from_pairs(&[("a", "b")]);
    let head = |provenance| ResponseHead {
        status: 500,
        headers: &headers,
        provenance,
        end: false,
    };
    let now = world.now;
    let registry = &mut world.gateways[0].registry;
    assert_eq!(
        registry.response_head(stream, &head(VIA_UPSTREAM), now),
        Step::Hold
    );
    assert_eq!(
        registry.response_head(stream, &head(RESET), now),
        Step::Now(Settled::Deliver(vec![field(
            "idempotency-status",
            b"unknown"
        )]))
    );
    assert_eq!(
        registry.response_body(stream, b"gateway", true, now),
        Step::Pass
    );
    // What became of the request is known, as far as its status goes.
    world.pump(0, Fate::Done);
    assert_eq!(world.gateways[0].registry.open(), 0);
    let stream = world.first(1, "k");
    assert_eq!(
        world.problem(1, stream),
        (409, "answer-not-kept".to_owned())
    );
}

#[test]
fn what_the_gateway_answers_in_place_of_one_that_is_being_stored_is_marked() {
    let mut world = World::new(settings(route()));
    let stream = world.first(0, "k");
    world.respond(0, stream, 201, b"made", VIA_UPSTREAM);
    assert_eq!(*world.client(0, stream), Client::Held);
    let headers = Headers::from_pairs(&[("a", "b")]);
    let head = ResponseHead {
        status: 504,
        headers: &headers,
        provenance: RESET,
        end: true,
    };
    let now = world.now;
    let step = world.gateways[0].registry.response_head(stream, &head, now);
    let flagged = vec![field("idempotency-status", b"unknown")];
    assert_eq!(step, Step::Now(Settled::Deliver(flagged)));
    world.pump(0, Fate::Done);
    let stream = world.first(1, "k");
    assert!(is_replay(world.client(1, stream), 201, b"made"));
}

#[test]
fn what_a_route_answers_by_itself_passes_and_frees_the_key() {
    let mut world = World::new(settings(route()));
    let stream = world.first(0, "k");
    let redirect = Provenance {
        flags: 0,
        details: b"direct_response",
        attempts: None,
    };
    world.respond(0, stream, 301, b"", redirect);
    assert!(delivered(world.client(0, stream)));
    world.pump(0, Fate::Done);
    let stream = world.first(1, "k");
    assert!(matches!(world.client(1, stream), Client::Sent { .. }));
}

#[test]
fn a_request_that_was_let_go_and_did_not_go_leaves_its_key_free() {
    let mut world = World::new(settings(route()));
    let stream = world.first(0, "k");
    world.gateways[0].registry.not_sent(stream, world.now);
    world.pump(0, Fate::Done);
    let stream = world.first(1, "k");
    assert!(matches!(world.client(1, stream), Client::Sent { .. }));
}

#[test]
fn a_request_without_a_body_is_asked_for_at_once() {
    let mut world = World::new(settings(route()));
    let opening = Opening {
        route: 0,
        subject: b"",
        key: b"k",
        token: [1; 16],
        method: b"POST",
        target: b"/",
        end: true,
    };
    assert_eq!(
        world.gateways[0].registry.request(9, &opening, world.now),
        Step::Hold
    );
    assert_eq!(world.send(0), 1);
    world.deliver(0, 0, Fate::Done);
    world.gateways[0].registry.stream_ended(9, world.now);
    assert!(!matches!(
        world.gateways[0].registry.settled().first(),
        Some((9, Settled::Answer(_)))
    ));
}

#[test]
fn a_store_that_is_left_alone_costs_no_wait() {
    let mut settings = settings(route());
    settings.breaker.failures = 1;
    settings.breaker.open_for = 3 * TIMEOUT;
    let mut world = World::new(settings);
    let stream = world.request(0, "k", b"body");
    world.pump(0, Fate::RequestLost);
    assert_eq!(
        world.problem(0, stream),
        (503, "store-unavailable".to_owned())
    );
    let stream = world.request(0, "k", b"body");
    assert_eq!(world.send(0), 0);
    assert_eq!(
        world.problem(0, stream),
        (503, "store-unavailable".to_owned())
    );
}

#[test]
fn a_key_that_cannot_be_read_is_400_and_in_a_dry_run_nothing() {
    for (dry_run, expected) in [(false, Some(400)), (true, None)] {
        let mut world = World::new(settings(Route { dry_run, ..route() }));
        let registry = &mut world.gateways[0].registry;
        let status = match registry.key_refused(0, Problem::KeyMissing) {
            Step::Now(Settled::Answer(answer)) => Some(answer.status),
            Step::Now(_) | Step::Hold | Step::Pass => None,
        };
        assert_eq!(status, expected);
        assert_eq!(registry.counts.total(Event::KeyMissing), 1);
    }
}

#[test]
fn before_the_end_too_what_was_never_sent_is_said_to_be_and_frees_the_key() {
    let mut world = before_end(|_| {});
    let stream = world.first(0, "k");
    world.respond(0, stream, 503, b"refused", REFUSED);
    assert_eq!(world.problem(0, stream), (503, "not-sent".to_owned()));
    world.pump(0, Fate::Done);
    let stream = world.first(1, "k");
    assert!(matches!(world.client(1, stream), Client::Sent { .. }));
}
