//! What every run does alike.

use sluice_emulator::{Exchange, Fault, GatewayId, GatewayOptions, World};
use std::time::Duration;

/// One worker in the end.
#[derive(Debug, Clone)]
pub struct WorkerEnd {
    pub gateway: usize,
    pub worker: usize,
    /// Its streams and callouts.
    pub under_way: usize,
    /// Its VM's memory, when it had started and now.
    pub memory: (usize, usize),
}

impl WorkerEnd {
    /// What it still holds, beyond so many streams and callouts.
    #[must_use]
    pub fn left(&self, most: usize) -> Option<String> {
        let (gateway, worker, count) = (self.gateway, self.worker, self.under_way);
        (count > most).then(|| format!("g{gateway}w{worker} still holds {count} streams and calls"))
    }

    /// How its VM has grown, by more than so many bytes.
    #[must_use]
    pub fn grown(&self, most: usize) -> Option<String> {
        let (gateway, worker, (fresh, now)) = (self.gateway, self.worker, self.memory);
        (now > fresh + most).then(|| {
            format!(
                "g{gateway}w{worker} has grown from {fresh} to {now} bytes, and may grow by {most}"
            )
        })
    }
}

/// The workers of all gateways.
pub fn workers(gateways: usize, workers: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..gateways).flat_map(move |gateway| (0..workers).map(move |worker| (gateway, worker)))
}

/// Starts a gateway, with this bug if its filter has it.
///
/// # Panics
/// When the policy is refused: every policy that is drawn is valid.
pub fn add_gateway(
    world: &mut World,
    mut options: GatewayOptions,
    planted: Option<usize>,
) -> GatewayId {
    if let Some(bug) = planted {
        let switch = crate::planted::SWITCH.to_owned();
        options.vm.environment.push((switch, bug.to_string()));
    }
    let configuration = options.plugin.configuration.clone();
    world.add_gateway(options).unwrap_or_else(|error| {
        let configuration = String::from_utf8_lossy(&configuration);
        panic!("{error}\n{configuration}\n{}", world.trace())
    })
}

/// Sets the gateways' clocks, and lets them start. Answers the memory of each worker's VM.
pub fn begin(
    world: &mut World,
    gateways: &[GatewayId],
    skews: &[i64],
    of_each: usize,
) -> Vec<usize> {
    for (gateway, skew) in gateways.iter().zip(skews) {
        world.strike(Fault::ClockJump {
            gateway: *gateway,
            by: *skew,
        });
    }
    world.run_for(Duration::from_micros(500));
    workers(gateways.len(), of_each)
        .map(|(gateway, worker)| world.vm_memory(gateways[gateway], worker))
        .collect()
}

/// The workers in the end, given their memory in the beginning.
#[must_use]
pub fn ends(
    world: &World,
    gateways: &[GatewayId],
    of_each: usize,
    fresh: &[usize],
) -> Vec<WorkerEnd> {
    workers(gateways.len(), of_each)
        .zip(fresh)
        .map(|((gateway, worker), fresh)| WorkerEnd {
            gateway,
            worker,
            under_way: world.under_way(gateways[gateway], worker),
            memory: (*fresh, world.vm_memory(gateways[gateway], worker)),
        })
        .collect()
}

/// Everything ends long before, or never: a stream that nobody releases ends after its idle timeout, which is later.
const END: Duration = Duration::from_secs(120);
/// Streams of a VM that crashed are let go by that timeout.
const IDLE: Duration = Duration::from_secs(400);

/// Runs until everything has come to its end, where VMs have crashed or not. False when something is still under way.
pub fn run_out(world: &mut World, crashes: bool) -> bool {
    world.run_to_quiet(world.now() + if crashes { IDLE } else { END })
}

/// How long after a crash is struck its worker's next call may come.
const NEXT_CALL: Duration = Duration::from_millis(300);

/// Whether an exchange was under way on this worker when it crashed, or may have been: it is nobody's any more then.
#[must_use]
pub fn was_hit(exchange: &Exchange, crash: Duration) -> bool {
    let open = exchange.ended == sluice_emulator::Ended::Open || exchange.ended_at >= crash;
    exchange.sent <= crash + NEXT_CALL && open
}
