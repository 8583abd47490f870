//! Random orders of building, looking, learning and losing.

use proptest::prelude::*;

use super::world::{Build, POLICY, SECOND, World};
use crate::guard::Event;

#[derive(Debug, Clone)]
enum Op {
    Tick(usize),
    Deliver(usize),
    Lose(usize, bool),
    Wait(u64),
    /// Something new, created at a worker.
    Create(usize),
    /// Something new, added by an operator.
    Add,
    /// A list is made of what exists, and a build begins with it.
    Begin {
        large: bool,
    },
    End,
    Ask(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let worker = 0..3_usize;
    prop_oneof![
        4 => worker.clone().prop_map(Op::Tick),
        8 => worker.clone().prop_map(Op::Deliver),
        1 => (worker.clone(), any::<bool>()).prop_map(|(worker, run)| Op::Lose(worker, run)),
        2 => prop_oneof![
            4 => 1..2 * SECOND,
            1 => Just(30 * SECOND),
            1 => Just(2 * 3_600 * SECOND),
        ].prop_map(Op::Wait),
        3 => worker.clone().prop_map(Op::Create),
        1 => Just(Op::Add),
        1 => prop::bool::weighted(0.2).prop_map(|large| Op::Begin { large }),
        1 => Just(Op::End),
        2 => worker.prop_map(Op::Ask),
    ]
}

/// Two workers of one gateway, and one of another.
const GATEWAYS: [usize; 2] = [2, 1];

struct Known {
    id: u64,
    /// The gateway where it was created: known there at once.
    gateway: Option<usize>,
}

fn play(ops: &[Op]) {
    let mut world = World::new(POLICY, &GATEWAYS);
    let gateway = |worker: usize| usize::from(worker == 2);
    let mut known: Vec<Known> = (0..10).map(|id| Known { id, gateway: None }).collect();
    let ids = |known: &[Known]| known.iter().map(|one| one.id).collect::<Vec<_>>();
    world.build(&ids(&known));
    let mut building: Option<Build> = None;
    for op in ops {
        match *op {
            Op::Tick(worker) => world.tick(worker),
            Op::Deliver(worker) => {
                world.deliver(worker);
            }
            Op::Lose(worker, run) => world.lose(worker, run),
            Op::Wait(micros) => world.now += micros,
            Op::Create(worker) => {
                let id = known.len() as u64;
                world.create(worker, id);
                let gateway = Some(gateway(worker));
                known.push(Known { id, gateway });
            }
            Op::Add => {
                let id = known.len() as u64;
                world.add(id);
                known.push(Known { id, gateway: None });
            }
            Op::Begin { large } => {
                let capacity = if large { 120_000 } else { 100 };
                building = Some(world.begin_build(&ids(&known), capacity));
            }
            Op::End => {
                if let Some(build) = building.take() {
                    assert!(world.end_build(&build));
                }
            }
            Op::Ask(worker) => {
                // What this gateway was told is never refused by it, nor what every build had.
                for one in &known {
                    if one.gateway == Some(gateway(worker)) || one.id < 10 {
                        assert_ne!(world.ask(worker, one.id), Event::Refused, "{}", one.id);
                    }
                }
            }
        }
    }
    world.pass(20 * SECOND);
    for worker in 0..3 {
        for one in &known {
            assert_eq!(world.ask(worker, one.id), Event::Passed, "{}", one.id);
        }
        let others = (1_000..1_100).filter(|id| world.ask(worker, *id) == Event::Refused);
        assert!(others.count() > 50, "it still refuses");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_id_that_exists_is_refused_in_any_order(ops in prop::collection::vec(op(), 1..120)) {
        play(&ops);
    }
}
