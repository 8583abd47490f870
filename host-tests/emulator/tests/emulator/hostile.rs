//! Interruptions, faults, crashes, and that all of them follow from the seed.

use crate::common;
use sluice_emulator::{
    Client, Cluster, Ended, Fault, GatewayId, GatewayOptions, Plan, Request, World, seeds,
};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(400);

const POLICY: &str = r#"{"redis": {"cluster": "r", "timeout": "20ms"},
    "limits": [
        {"name": "near", "key": [{"header": "x-k"}], "rate": "100/day"},
        {"name": "far", "key": [{"header": "x-k"}], "rate": "30/day", "mode": "strict"}
    ]}"#;

/// Two gateways with two workers, one Redis, and 200 requests of four clients.
fn busy(seed: u64, plan: Plan) -> (World, [GatewayId; 2]) {
    let mut world = World::new(seed, plan);
    let gateways = [(); 2].map(|()| {
        let options = GatewayOptions::new(&common::rate_limit(), POLICY)
            .workers(2)
            .cluster("r", Cluster::Redis);
        world.add_gateway(options).unwrap()
    });
    for number in 0..200 {
        let at = Duration::from_micros(number * 40);
        let gateway = gateways[usize::try_from(world.draw(2)).unwrap()];
        let key = world.draw(4).to_string();
        let request = Request::get("/").header("x-k", key);
        world.request(at, gateway, None, request, Client::AsPlanned);
    }
    (world, gateways)
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for plan in [Plan::calm(), Plan::interleaved(), Plan::hostile()] {
        let run = |seed| {
            let (mut world, _) = busy(seed, plan.clone());
            world.run_to_quiet(LIMIT);
            world.trace()
        };
        for seed in 0..5 {
            let (first, again) = (run(seed), run(seed));
            let differs = first.lines().zip(again.lines()).find(|(a, b)| a != b);
            assert_eq!((first.len(), differs), (again.len(), None), "seed {seed}");
        }
        assert_ne!(run(0), run(1));
    }
}

#[test]
fn workers_interleave_within_a_call_and_lose_no_count() {
    let mut retries = 0;
    let mut interrupted = 0;
    for seed in 0..20 {
        let policy = r#"{"limits": [{"name": "l", "key": [{"const": "all"}], "rate": "40/day"}]}"#;
        let mut world = World::new(seed, Plan::interleaved());
        let options = GatewayOptions::new(&common::rate_limit(), policy).workers(4);
        let gateway = world.add_gateway(options).unwrap();
        for _ in 0..80 {
            let at = Duration::from_micros(world.draw(200));
            world.request(at, gateway, None, Request::get("/"), Client::Patient);
        }
        assert!(world.run_to_quiet(LIMIT));
        assert_eq!(common::tally(&world), [(200, 40), (429, 40)], "seed {seed}");
        world.run_for(Duration::from_secs(1));
        retries += world.metric(gateway, "sluice_rate_limit.local.cas_retries");
        interrupted += world.trace().matches("interrupted").count();
    }
    assert!(interrupted > 100, "{interrupted} interruptions");
    assert!(retries > 10, "a swap never failed: {retries} retries");
}

#[test]
fn hostile_runs_end_and_leave_nothing_behind() {
    seeds("sluice-emulator", "hostile_runs_end", 200, |seed| {
        let (mut world, gateways) = busy(seed, Plan::hostile());
        assert!(world.run_to_quiet(LIMIT), "not quiet:\n{}", world.trace());
        world.run_for(Duration::from_secs(1));
        for exchange in world.exchanges() {
            assert_ne!(exchange.ended, Ended::Open);
        }
        for gateway in gateways {
            assert_eq!(world.crashes(gateway), 0, "{}", world.trace());
            for worker in 0..2 {
                assert_eq!(world.under_way(gateway, worker), 0, "{}", world.trace());
            }
        }
    });
}

#[test]
fn a_client_that_leaves_is_let_go() {
    let (mut world, gateways) = busy(1, Plan::calm());
    let request = Request::get("/").header("x-k", "a");
    let client = Client::LeavesAfter(Duration::from_micros(30));
    let sent = world.request(Duration::ZERO, gateways[0], Some(0), request, client);
    assert!(world.run_to_quiet(LIMIT));
    let exchange = world.exchange(sent);
    assert_eq!(exchange.ended, Ended::Aborted);
    assert_eq!(exchange.details, "downstream_remote_disconnect");
    assert_eq!(exchange.status(), 0);
    assert_eq!(world.under_way(gateways[0], 0), 0);
}

#[test]
fn a_crash_is_survived() {
    let (mut world, gateways) = busy(2, Plan::interleaved());
    let kill = Fault::KillVm {
        gateway: gateways[0],
        worker: 0,
    };
    world.run_until(Duration::from_millis(2));
    world.strike(kill);
    assert!(world.run_to_quiet(LIMIT), "{}", world.trace());
    assert_eq!(world.crashes(gateways[0]), 1, "{}", world.trace());
    let failed = |world: &World| {
        let all = world.exchanges();
        all.iter()
            .filter(|it| it.details == "wasm_fail_stream")
            .count()
    };
    assert!(failed(&world) > 0, "{}", world.trace());
    // After the backoff the next request has the VM loaded again.
    let later = world.now() + Duration::from_secs(2);
    let request = Request::get("/").header("x-k", "new");
    let sent = world.request(later, gateways[0], Some(0), request, Client::Patient);
    assert!(world.run_to_quiet(later + LIMIT));
    assert_eq!(world.exchange(sent).status(), 200, "{}", world.trace());
}

#[test]
fn a_new_policy_holds_for_new_requests() {
    let policy = |rate: u32| {
        format!(
            r#"{{"limits": [{{"name": "l{rate}", "key": [{{"const": "a"}}], "rate": "{rate}/day"}}]}}"#
        )
    };
    let mut world = World::new(3, Plan::calm());
    let options = GatewayOptions::new(&common::rate_limit(), policy(1));
    let gateway = world.add_gateway(options).unwrap();
    let get = |world: &mut World| {
        let sent = world.request(
            world.now(),
            gateway,
            None,
            Request::get("/"),
            Client::Patient,
        );
        assert!(world.run_to_quiet(world.now() + LIMIT));
        world.exchange(sent).status()
    };
    assert_eq!([get(&mut world), get(&mut world)], [200, 429]);
    world.strike(Fault::Reload {
        gateway,
        configuration: b"no policy".to_vec(),
    });
    world.run_for(Duration::from_secs(1));
    assert_eq!(get(&mut world), 429, "a refused policy changes nothing");
    world.strike(Fault::Reload {
        gateway,
        configuration: policy(1000).into_bytes(),
    });
    world.run_for(Duration::from_secs(1));
    assert_eq!(get(&mut world), 200, "{}", world.trace());
}

#[test]
fn a_gateway_that_is_killed_breaks_its_connections_and_starts_anew() {
    for seed in 0..20 {
        let (mut world, gateways) = busy(seed, Plan::interleaved());
        world.run_for(Duration::from_millis(3));
        let struck = world.now();
        world.strike(Fault::KillGateway {
            gateway: gateways[0],
        });
        assert!(world.run_to_quiet(LIMIT), "{}", world.trace());
        let exchanges = world.exchanges();
        let broken = |exchange: &&sluice_emulator::Exchange| exchange.ended == Ended::Reset;
        let broken: Vec<_> = exchanges.iter().filter(broken).collect();
        assert!(!broken.is_empty());
        for exchange in broken {
            assert_eq!(exchange.gateway, gateways[0]);
            assert!(exchange.sent <= struck, "seed {seed}");
        }
        let answered = |after| {
            let own = exchanges.iter().filter(|e| e.gateway == gateways[0]);
            let late = own.filter(move |e| e.sent > after && e.ended == Ended::Answered);
            late.count()
        };
        assert!(answered(struck) > 0, "seed {seed}");
        assert_eq!(world.crashes(gateways[0]), 0);
        for worker in 0..2 {
            assert_eq!(world.under_way(gateways[0], worker), 0, "seed {seed}");
        }
    }
}
