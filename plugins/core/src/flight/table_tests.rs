//! Flights of several workers over one shared data.

use super::*;
use crate::slots::tests::FakeShared;
use proptest::prelude::*;

const S: Millis = 1_000;
const KEY: u64 = 42;
const TIMES: Times = Times {
    lease: 2 * S,
    longest: 8 * S,
};

fn table(store: &FakeShared) -> FlightTable<FakeShared> {
    FlightTable::new(store.clone(), 4)
}

fn any(table: &mut FlightTable<FakeShared>, worker: u8, id: FlightId, now: Millis) -> Begun {
    table.begin(KEY, Some(worker), Wish::ANY, id, TIMES, now)
}

const LEAD: fn(FlightId) -> Begun = |id| Begun::Lead { id, attempt: 1 };

#[test]
fn the_first_leads_and_the_others_follow_until_it_ends() {
    let store = FakeShared::default();
    let (mut one, mut two) = (table(&store), table(&store));
    assert_eq!(any(&mut one, 0, 7, S), LEAD(7));
    assert_eq!(any(&mut two, 1, 8, S), Begun::Follow { id: 7 });
    assert_eq!(any(&mut one, 0, 9, S), Begun::Follow { id: 7 });
    assert_eq!(any(&mut two, 63, 9, S), Begun::Follow { id: 7 });
    assert_eq!(two.finish(KEY, 8, End::Stored, S), None, "not its own");
    assert_eq!(one.finish(KEY, 7, End::Stored, S), Some(0b11 | 1 << 63));
    assert_eq!(one.finish(KEY, 7, End::Stored, S), None, "once");
    assert_eq!(any(&mut two, 1, 10, S), LEAD(10));
}

#[test]
fn a_leader_that_vanished_is_replaced_and_its_waiters_are_told_by_the_next() {
    let store = FakeShared::default();
    let (mut one, mut two) = (table(&store), table(&store));
    assert_eq!(any(&mut one, 0, 7, S), LEAD(7));
    assert_eq!(any(&mut two, 1, 8, S), Begun::Follow { id: 7 });
    assert_eq!(two.look(KEY, 2 * S), Seen::Flight { id: 7 });
    assert_eq!(two.look(KEY, 3 * S), Seen::Nothing);
    assert_eq!(any(&mut two, 2, 9, 3 * S), LEAD(9));
    assert!(!one.renew(KEY, 7, TIMES, 3 * S));
    assert_eq!(one.finish(KEY, 7, End::Stored, 3 * S), None);
    assert_eq!(two.finish(KEY, 9, End::Stored, 3 * S), Some(0b10));
}

#[test]
fn a_lease_is_renewed_by_progress_but_not_for_ever() {
    let store = FakeShared::default();
    let mut one = table(&store);
    assert_eq!(any(&mut one, 0, 7, S), LEAD(7));
    for second in 2..11 {
        assert!(one.renew(KEY, 7, TIMES, second * S), "{second}");
        assert_eq!(one.look(KEY, second * S), Seen::Flight { id: 7 });
    }
    assert!(!one.renew(KEY, 7, TIMES, 11 * S));
    assert_eq!(one.look(KEY, 11 * S), Seen::Nothing);
}

#[test]
fn a_failure_is_tried_once_more_and_leaving_is_no_failure() {
    let store = FakeShared::default();
    let mut one = table(&store);
    for id in 1..6 {
        assert_eq!(any(&mut one, 0, id, S), LEAD(id));
        assert_eq!(any(&mut one, 1, 99, S), Begun::Follow { id });
        assert_eq!(one.finish(KEY, id, End::Abandoned, S), Some(0b10));
    }
    assert_eq!(any(&mut one, 0, 6, S), LEAD(6));
    assert_eq!(one.finish(KEY, 6, End::Failed, S), Some(0));
    let second = |id| Begun::Lead { id, attempt: 2 };
    assert_eq!(any(&mut one, 0, 7, S), second(7));
    assert_eq!(one.finish(KEY, 7, End::Abandoned, S), Some(0));
    assert_eq!(any(&mut one, 0, 8, S), second(8));
    assert_eq!(one.finish(KEY, 8, End::Failed, S), Some(0));
    assert_eq!(any(&mut one, 0, 9, S), LEAD(9));
}

#[test]
fn who_hears_late_of_a_failure_is_told_of_the_last_one() {
    let store = FakeShared::default();
    let mut one = table(&store);
    let waited = Wish {
        waited: true,
        ..Wish::ANY
    };
    for (id, attempt) in [(1, 1), (2, 2)] {
        assert_eq!(any(&mut one, 0, id, S), Begun::Lead { id, attempt });
        assert_eq!(one.finish(KEY, id, End::Failed, S), Some(0));
    }
    let begin =
        |table: &mut FlightTable<_>, wish, id, now| table.begin(KEY, Some(1), wish, id, TIMES, now);
    assert_eq!(begin(&mut one, waited, 3, 2 * S), Begun::Failed);
    assert_eq!(begin(&mut one, Wish::ANY, 4, 2 * S), LEAD(4), "it is new");
    assert_eq!(begin(&mut one, waited, 5, 2 * S), Begun::Follow { id: 4 });
    assert_eq!(one.finish(KEY, 4, End::Stored, 2 * S), Some(0b10));
    assert_eq!(begin(&mut one, waited, 6, 2 * S), LEAD(6));
}

#[test]
fn what_cannot_be_shared_has_nobody_wait_until_its_time_is_over() {
    let store = FakeShared::default();
    let mut one = table(&store);
    assert_eq!(any(&mut one, 0, 7, S), LEAD(7));
    let end = End::Unshared { until: 5 * S };
    assert_eq!(one.finish(KEY, 7, end, S), Some(0));
    assert_eq!(any(&mut one, 0, 8, 4 * S), Begun::HitForMiss);
    assert_eq!(one.look(KEY, 4 * S), Seen::HitForMiss);
    assert_eq!(any(&mut one, 0, 8, 5 * S), LEAD(8));
    assert_eq!(one.finish(KEY, 8, end, 5 * S), Some(0));
    let end = End::Unshared { until: 9 * S };
    assert_eq!(any(&mut one, 0, 9, 5 * S), LEAD(9));
    assert_eq!(one.finish(KEY, 9, end, 5 * S), Some(0));
    one.share_again(KEY, 6 * S);
    assert_eq!(any(&mut one, 0, 10, 6 * S), LEAD(10));
}

#[test]
fn a_request_joins_only_what_its_wish_allows() {
    let store = FakeShared::default();
    let mut one = table(&store);
    let newer = |than| Wish {
        follow: Some(than),
        ..Wish::ANY
    };
    let never_leads = Wish {
        lead: false,
        ..Wish::ANY
    };
    let begin =
        |table: &mut FlightTable<_>, wish, now| table.begin(KEY, Some(3), wish, 9, TIMES, now);
    assert_eq!(begin(&mut one, never_leads, S), Begun::Nobody);
    assert_eq!(any(&mut one, 0, 7, 2 * S), LEAD(7));
    assert_eq!(begin(&mut one, newer(2 * S), 2 * S), Begun::Busy);
    assert_eq!(begin(&mut one, newer(S), 2 * S), Begun::Follow { id: 7 });
    assert_eq!(begin(&mut one, never_leads, 2 * S), Begun::Follow { id: 7 });
    assert_eq!(begin(&mut one, Wish::LEAD, 2 * S), Begun::Busy);
    let nameless = one.begin(KEY, None, Wish::ANY, 9, TIMES, 2 * S);
    let follow = Begun::Follow { id: 7 };
    assert_eq!(nameless, follow, "it is not woken, but may look");
    assert_eq!(one.finish(KEY, 7, End::Stored, 2 * S), Some(0b1000));
}

#[test]
fn what_is_only_remembered_makes_room_for_flights() {
    let mut one = FlightTable::new(FakeShared::default(), 1);
    let lead = |table: &mut FlightTable<_>, key| {
        let fresh = key + 100;
        let begun = table.begin(key, Some(0), Wish::ANY, fresh, TIMES, S);
        begun
            == Begun::Lead {
                id: fresh,
                attempt: 1,
            }
    };
    for key in 1..=u64::from(WAYS) {
        assert!(lead(&mut one, key));
        let end = End::Unshared { until: 100 * S };
        assert_eq!(one.finish(key, key + 100, end, S), Some(0));
    }
    for key in 11..=10 + u64::from(WAYS) {
        assert!(lead(&mut one, key), "{key}");
    }
    assert!(!lead(&mut one, 21), "a flight is never in the way");
}

#[test]
fn a_flight_that_fetches_what_is_no_longer_true_is_replaced_and_its_waiters_are_told_by_the_next() {
    let store = FakeShared::default();
    let (mut one, mut two) = (table(&store), table(&store));
    assert_eq!(any(&mut one, 0, 7, S), LEAD(7));
    assert_eq!(any(&mut two, 1, 8, S), Begun::Follow { id: 7 });
    let void = Wish {
        void: S,
        ..Wish::ANY
    };
    assert_eq!(two.begin(KEY, Some(2), void, 9, TIMES, S + 1), LEAD(9));
    assert!(!one.renew(KEY, 7, TIMES, S + 1));
    assert_eq!(one.finish(KEY, 7, End::Stored, S + 1), None);
    let follow = Begun::Follow { id: 9 };
    assert_eq!(one.begin(KEY, Some(3), void, 10, TIMES, S + 1), follow);
    assert_eq!(two.finish(KEY, 9, End::Stored, S + 1), Some(0b1010));
}

#[test]
fn a_full_table_has_each_go_for_itself_and_forgets_only_what_is_over() {
    let store = FakeShared::default();
    let mut one = FlightTable::new(store, 1);
    let mut begin = |hash, now| one.begin(hash, Some(0), Wish::ANY, hash, TIMES, now);
    for hash in 1..9 {
        assert_eq!(begin(hash, S), LEAD(hash));
    }
    assert_eq!(begin(9, S), Begun::NoRoom);
    assert_eq!(begin(8, S), Begun::Follow { id: 8 });
    assert_eq!(begin(9, 3 * S), LEAD(9));
}

proptest! {
    /// Whoever does what when: a key never has two leaders that both believe it, and whoever was told to follow is woken
    /// by whoever ends the flight, or finds that the lease is over.
    #[test]
    fn one_leader_at_a_time_and_no_waiter_forgotten(
        steps in prop::collection::vec((0u8..4, 0u8..7, 0u64..1500), 1..200),
    ) {
        let store = FakeShared::default();
        let mut tables: Vec<_> = (0..4).map(|_| table(&store)).collect();
        let (mut now, mut fresh) = (S, 0);
        let mut leading: Option<FlightId> = None;
        let mut waiting: Workers = 0;
        for (worker, action, millis) in steps {
            now += millis;
            let one = &mut tables[usize::from(worker)];
            if one.look(KEY, now) == Seen::Nothing {
                leading = None;
            }
            match (action, leading) {
                (0..4, _) => {
                    fresh += 1;
                    match any(one, worker, fresh, now) {
                        Begun::Lead { id, .. } => {
                            prop_assert_eq!(leading, None);
                            leading = Some(id);
                        }
                        Begun::Follow { id } => {
                            prop_assert_eq!(leading, Some(id));
                            waiting |= 1 << worker;
                        }
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
                (4, Some(id)) => {
                    leading = one.renew(KEY, id, TIMES, now).then_some(id);
                }
                (_, Some(id)) => {
                    let end = if action == 5 { End::Stored } else { End::Abandoned };
                    prop_assert_eq!(one.finish(KEY, id, end, now), Some(waiting));
                    (leading, waiting) = (None, 0);
                }
                _ => {}
            }
        }
    }
}
