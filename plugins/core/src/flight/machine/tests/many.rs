//! More workers than there are numbers, and answers that are too large to be kept by each.

use super::*;

/// The last of them are told nothing.
const WORKERS: usize = 70;
/// Nothing out of the ordinary.
const ROUTE: &str = r#""max_variants": 3"#;

#[test]
fn workers_without_a_number_share_flights_all_the_same() {
    let mut world = World::new(WORKERS, ROUTE);
    assert!(world.workers[WORKERS - 1].bus.number().is_none());
    for leader in [0, WORKERS - 1] {
        let path = format!("/{leader}");
        let first = world.get(leader, &path);
        let others: Vec<usize> = (0..WORKERS)
            .map(|worker| world.get(worker, &path))
            .collect();
        assert_eq!(world.upstream(), [first]);
        world.origin(first, FRESH, "answer");
        world.settle();
        world.pass(50);
        for other in others {
            assert_eq!(world.got(other).body(), "answer");
        }
    }
    world.assert_over();
}

#[test]
fn workers_without_a_number_serve_nothing_that_is_forgotten() {
    let mut world = World::new(WORKERS, ROUTE);
    let last = WORKERS - 1;
    let first = world.get(last, "/a");
    world.origin(first, FRESH, "old");
    let hit = world.get(last, "/a");
    assert_eq!(world.got(hit).body(), "old");
    let post = world.ask(0, "POST", "/a", &[]);
    world.origin(post, &[(":status", "200")], "");
    let second = world.get(last, "/a");
    assert!(world.got(second).is_upstream());
    world.origin(second, FRESH, "new");
    let fields = [("authorization", "Bearer t"), (purge::FIELD, "*")];
    let purged = world.ask(0, "POST", "/.purge", &fields);
    assert_eq!(world.got(purged).status(), 204);
    let third = world.get(last, "/a");
    assert!(world.got(third).is_upstream());
}

#[test]
fn all_who_are_woken_have_one_copy_of_what_is_too_large_to_be_kept() {
    let json = r#"{"store": {"worker": "0B"}, "routes": [{"name": "r"}]}"#;
    let mut world = World::of(2, Coalesce::load(json.as_bytes()).unwrap(), 0);
    let first = world.get(0, "/a");
    let request = |world: &mut World| world.get(1, "/a");
    let waiting: Vec<usize> = (0..3).map(|_| request(&mut world)).collect();
    world.origin(first, FRESH, "large");
    let message = world.queues.0.borrow_mut().get_mut(&1).unwrap().pop_front();
    let now = world.now;
    world.workers[1].message(&message.unwrap(), now);
    let released = world.workers[1].take_released();
    assert_eq!(released.len(), waiting.len());
    let bodies: Vec<_> = released
        .iter()
        .map(|(_, release)| match release {
            Release::Answer(reply) => Rc::clone(&reply.body),
            Release::Send(_) => panic!("it is answered"),
        })
        .collect();
    assert!(bodies.iter().all(|body| Rc::ptr_eq(body, &bodies[0])));
}
