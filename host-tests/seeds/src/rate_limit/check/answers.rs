//! Every request gets an answer, and in time.

use crate::rate_limit::faults::Event;
use crate::rate_limit::run::Run;
use sluice_emulator::{Ended, Exchange};
use std::time::Duration;

/// What workers, networks and the origin may add: the emulator's latencies, and calls that stand still.
const SLACK: Duration = Duration::from_millis(60);

/// Requests that were answered too late, or not at all.
#[must_use]
pub fn late(run: &Run) -> Vec<String> {
    let most = Duration::from_millis(run.case.policy.longest_wait_ms()) + SLACK;
    let exchanges = run.exchanges.iter().enumerate();
    exchanges
        .filter(|(_, exchange)| !was_in_a_crash(run, exchange))
        .filter_map(|(place, exchange)| {
            problem(exchange, most).map(|text| format!("#{place} {text}"))
        })
        .collect()
}

/// Streams of a VM that crashes are nobody's any more.
fn was_in_a_crash(run: &Run, exchange: &Exchange) -> bool {
    run.case.faults.timed.iter().any(|(at, event)| {
        let Event::Crash { gateway, worker } = event else {
            return false;
        };
        run.gateways[*gateway] == exchange.gateway
            && *worker == exchange.worker
            && crate::world::was_hit(exchange, *at)
    })
}

/// What is wrong with one request's answer. `most` is how long it may take.
fn problem(exchange: &Exchange, most: Duration) -> Option<String> {
    match exchange.ended {
        Ended::Aborted => None,
        Ended::Open => Some("has no answer".to_owned()),
        Ended::Reset => Some("was broken off".to_owned()),
        Ended::Answered => {
            let took = exchange.answer.as_ref()?.at.saturating_sub(exchange.sent);
            (took > most).then(|| format!("took {took:?}, and may take {most:?}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_emulator::{Client, GatewayOptions, Plan, Request, World};

    fn exchange() -> Exchange {
        let mut world = World::new(0, Plan::calm());
        let options = GatewayOptions::new(
            &crate::modules::built("rate-limit"),
            r#"{"limits": [{"name": "a", "key": ["client_ip"], "rate": "5/s"}]}"#,
        );
        let gateway = world.add_gateway(options).unwrap();
        world.request(
            Duration::ZERO,
            gateway,
            None,
            Request::get("/"),
            Client::Patient,
        );
        assert!(world.run_to_quiet(Duration::from_secs(1)));
        world.exchange(0)
    }

    #[test]
    fn an_answer_in_time_is_fine_and_a_late_one_is_not() {
        let mut exchange = exchange();
        assert_eq!(problem(&exchange, Duration::from_millis(50)), None);
        exchange.answer.as_mut().unwrap().at = Duration::from_millis(51);
        assert!(problem(&exchange, Duration::from_millis(50)).is_some());
    }

    #[test]
    fn no_answer_is_found_unless_the_client_has_left() {
        let mut exchange = exchange();
        exchange.answer = None;
        exchange.ended = Ended::Aborted;
        assert_eq!(problem(&exchange, Duration::from_millis(50)), None);
        for ended in [Ended::Open, Ended::Reset] {
            exchange.ended = ended;
            assert!(problem(&exchange, Duration::from_millis(50)).is_some());
        }
    }
}
