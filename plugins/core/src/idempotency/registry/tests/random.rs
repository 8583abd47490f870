//! Two gateways, three keys, and everything that can go wrong between them and their store, in any order.

use super::world::*;
use crate::idempotency::seal::{AtRest, Plain, SealingKey};
use crate::idempotency::settings::*;
use proptest::prelude::*;
use sluice_model_redis::Mode;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Clone)]
enum Happening {
    Request {
        gateway: usize,
        key: usize,
        other: bool,
    },
    Send {
        gateway: usize,
    },
    Network {
        gateway: usize,
        index: usize,
        fate: Fate,
    },
    CatchUp {
        index: usize,
    },
    Origin {
        gateway: usize,
        index: usize,
        does: Does,
    },
    Leave {
        gateway: usize,
        index: usize,
    },
    Advance {
        milliseconds: u64,
    },
    Crash {
        gateway: usize,
    },
    Jump {
        seconds: i64,
    },
    Redis(Mode),
    ForgetScripts,
    /// All goes well for a while.
    Calm {
        gateway: usize,
    },
}

#[derive(Debug, Clone, Copy)]
enum Does {
    Answer,
    AnswerAtLength,
    /// Carried out, and the connection breaks.
    Break,
    TimeOut,
    Refuse,
}

fn happening() -> impl Strategy<Value = Happening> {
    let fate = prop_oneof![
        6 => Just(Fate::Done),
        1 => Just(Fate::RequestLost),
        2 => Just(Fate::ReplyLost),
        1 => Just(Fate::ReplyCut),
        2 => Just(Fate::Late),
        1 => Just(Fate::Garbage),
    ];
    let does = prop_oneof![
        6 => Just(Does::Answer),
        1 => Just(Does::AnswerAtLength),
        1 => Just(Does::Break),
        1 => Just(Does::TimeOut),
        2 => Just(Does::Refuse),
    ];
    let mode = prop_oneof![3 => Just(Mode::Normal), 1 => Just(Mode::OutOfMemory), 1 => Just(Mode::ReadOnly)];
    let gateway = 0..2usize;
    prop_oneof![
        6 => (gateway.clone(), 0..3usize, prop::bool::weighted(0.1))
            .prop_map(|(gateway, key, other)| Happening::Request { gateway, key, other }),
        5 => gateway.clone().prop_map(|gateway| Happening::Send { gateway }),
        8 => (gateway.clone(), 0..4usize, fate)
            .prop_map(|(gateway, index, fate)| Happening::Network { gateway, index, fate }),
        2 => (0..4usize).prop_map(|index| Happening::CatchUp { index }),
        5 => (gateway.clone(), 0..4usize, does)
            .prop_map(|(gateway, index, does)| Happening::Origin { gateway, index, does }),
        1 => (gateway.clone(), 0..6usize).prop_map(|(gateway, index)| Happening::Leave { gateway, index }),
        3 => prop_oneof![1..200u64, 1000..8000u64].prop_map(|milliseconds| Happening::Advance { milliseconds }),
        1 => gateway.clone().prop_map(|gateway| Happening::Crash { gateway }),
        1 => (-3600..3600i64).prop_map(|seconds| Happening::Jump { seconds }),
        1 => mode.prop_map(Happening::Redis),
        1 => Just(Happening::ForgetScripts),
        3 => gateway.prop_map(|gateway| Happening::Calm { gateway }),
    ]
}

/// What the origin said to each execution, by key.
type Said = BTreeMap<String, (u16, Vec<u8>)>;

fn nth(
    world: &World,
    gateway: usize,
    index: usize,
    wanted: impl Fn(&Client) -> bool,
) -> Option<u32> {
    let streams = &world.gateways[gateway].streams;
    streams
        .iter()
        .filter(|(_, stream)| wanted(&stream.client))
        .nth(index)
        .map(|(id, _)| *id)
}

fn happen(world: &mut World, happening: &Happening, said: &mut Said) {
    match *happening {
        Happening::Request {
            gateway,
            key,
            other,
        } => {
            let body: &[u8] = if other { b"other" } else { b"body" };
            world.request(gateway, ["a", "b", "c"][key], body);
        }
        Happening::Send { gateway } => {
            world.send(gateway);
        }
        Happening::Network {
            gateway,
            index,
            fate,
        } => {
            let callouts = world.callouts(gateway);
            if callouts > 0 {
                world.deliver(gateway, index % callouts, fate);
            }
        }
        Happening::CatchUp { index } => world.catch_up(index),
        Happening::Origin {
            gateway,
            index,
            does,
        } => {
            if let Some(stream) = nth(world, gateway, index, |client| {
                matches!(client, Client::Sent { .. })
            }) {
                origin(world, gateway, stream, does, said);
            }
        }
        Happening::Leave { gateway, index } => {
            let open = |client: &Client| !matches!(client, Client::Gone);
            if let Some(stream) = nth(world, gateway, index, open) {
                // What was let go may be at the origin already.
                if matches!(world.client(gateway, stream), Client::Sent { .. }) {
                    world.execute(gateway, stream);
                }
                world.leave(gateway, stream);
            }
        }
        Happening::Advance { milliseconds } => world.advance(u128::from(milliseconds) * MS),
        Happening::Crash { gateway } => {
            while let Some(stream) = nth(world, gateway, 0, |client| {
                matches!(client, Client::Sent { .. })
            }) {
                world.execute(gateway, stream);
                world.leave(gateway, stream);
            }
            world.crash(gateway);
        }
        Happening::Jump { seconds } => world.jump = seconds * 1_000_000,
        Happening::Redis(mode) => world.redis.set_mode(mode),
        Happening::ForgetScripts => world.redis.restart(true),
        Happening::Calm { gateway } => world.pump(gateway, Fate::Done),
    }
}

fn origin(world: &mut World, gateway: usize, stream: u32, does: Does, said: &mut Said) {
    let body = format!("answer {}", world.ledger.len()).into_bytes();
    let body = match does {
        Does::AnswerAtLength => body.repeat(200),
        _ => body,
    };
    let (status, provenance) = match does {
        Does::Answer | Does::AnswerAtLength => (201, VIA_UPSTREAM),
        Does::Break => (503, RESET),
        Does::TimeOut => (504, TIMED_OUT),
        Does::Refuse => (503, REFUSED),
    };
    if !matches!(does, Does::Refuse) {
        world.execute(gateway, stream);
    }
    let key = world.gateways[gateway].streams[&stream].key.clone();
    said.insert(key, (status, body.clone()));
    world.respond(gateway, stream, status, &body, provenance);
}

fn check(world: &World, said: &Said) -> Result<(), TestCaseError> {
    let mut executions: BTreeMap<&str, usize> = BTreeMap::new();
    for (key, _) in &world.ledger {
        *executions.entry(key).or_default() += 1;
    }
    for (key, count) in executions {
        prop_assert_eq!(
            count,
            1,
            "key {} was executed again: {:?}",
            key,
            &world.ledger
        );
    }
    for stream in world
        .gateways
        .iter()
        .flat_map(|gateway| gateway.streams.values())
    {
        if let Client::Answered(answer) = &stream.client
            && answer
                .fields
                .iter()
                .any(|(name, _)| name == b"idempotency-replayed")
        {
            let (status, body) = &said[&stream.key];
            prop_assert_eq!((answer.status, &answer.body[..]), (*status, &body[..]));
            let fields = [
                ("content-type", "text/plain"),
                ("idempotency-replayed", "true"),
            ];
            let fields =
                fields.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
            prop_assert_eq!(answer.fields.as_slice(), fields);
        }
    }
    Ok(())
}

/// From now on the store answers nothing: all waits end all the same.
fn silence(world: &mut World) -> Result<(), TestCaseError> {
    // The wait, its last look, and three tries of a commit that begins then.
    for _ in 0..60 {
        world.send(0);
        world.send(1);
        world.advance(50 * MS);
    }
    for stream in world
        .gateways
        .iter()
        .flat_map(|gateway| gateway.streams.values())
    {
        let ended = !matches!(stream.client, Client::Waiting | Client::Held);
        prop_assert!(ended, "{:?} waits for ever", stream.client);
    }
    for gateway in 0..2 {
        let sent: Vec<u32> = world.gateways[gateway].streams.keys().copied().collect();
        sent.into_iter()
            .for_each(|stream| world.leave(gateway, stream));
        prop_assert_eq!(world.gateways[gateway].registry.open(), 0);
    }
    // What is tried again for nobody is given up as well.
    for _ in 0..LEASE / (500 * MS) + 4 {
        world.pump(0, Fate::RequestLost);
        world.pump(1, Fate::RequestLost);
        world.advance(500 * MS);
    }
    for gateway in &world.gateways {
        prop_assert_eq!(gateway.registry.held(), 0);
    }
    Ok(())
}

fn policy(order: CommitOrder, wait: bool, on_timeout: OnTimeout, deliver: bool) -> Settings {
    let route = Route {
        wait: if wait {
            Duration::from_millis(1500)
        } else {
            Duration::ZERO
        },
        on_timeout,
        on_commit_error: if deliver {
            OnCommitError::Deliver
        } else {
            OnCommitError::Strict
        },
        outbox: deliver.then(|| Outbox {
            trim: Trim::Length(5),
            headers: vec!["content-type".into()],
        }),
        ..route()
    };
    Settings {
        commit_order: order,
        at_rest: AtRest {
            compress_from: Some(20),
            keys: vec![SealingKey::new("k", [1; 32])],
            plain: if deliver { Plain::Refuse } else { Plain::Write },
        },
        ..settings(route)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn a_key_is_executed_once_and_every_exchange_ends(
        happenings in prop::collection::vec(happening(), 1..80),
        before_end in prop::bool::weighted(0.2),
        wait: bool,
        store: bool,
        deliver: bool,
        trusting: bool,
    ) {
        let order = if before_end { CommitOrder::BeforeEnd } else { CommitOrder::BeforeHeaders };
        let on_timeout = if store { OnTimeout::Store } else { OnTimeout::Unknown };
        let mut settings = policy(order, wait, on_timeout, deliver);
        if trusting {
            settings.memory.trusted_for = 10_000 * MS;
        }
        let mut world = World::new(settings);
        let mut said = Said::new();
        for happening in &happenings {
            happen(&mut world, happening, &mut said);
            check(&world, &said)?;
        }
        silence(&mut world)?;
        check(&world, &said)?;
        // Fences grow in the order in which keys were taken; what was late may be carried out late.
        let mut fences: Vec<_> = world.ledger.iter().filter_map(|(_, fence)| *fence).collect();
        let count = fences.len();
        fences.sort_unstable();
        fences.dedup();
        prop_assert_eq!(fences.len(), count, "two executions have one fence");
    }
}
