//! What was timed to happen.

use crate::core::{Core, State};
use crate::event::{Task, WorkerId};
use crate::plan::Fault;
use crate::services::MAIN;
use std::sync::Arc;

impl Core {
    pub fn strike(&self, fault: Fault) {
        let mut state = self.state();
        state.note(format_args!("fault: {}", describe(&fault)));
        match fault {
            Fault::RedisRestart { keep_data } => {
                state.redis.server.restart(keep_data);
                state.break_streams();
            }
            Fault::RedisDown => {
                state.redis.down = true;
                state.break_streams();
            }
            Fault::RedisUp => state.redis.down = false,
            Fault::RedisFreeze => state.redis.frozen = true,
            Fault::RedisThaw => state.thaw_redis(),
            Fault::RedisMode(mode) => state.redis.server.set_mode(mode),
            Fault::RedisFailover { lost_writes } => {
                state.redis.server.failover(lost_writes);
                state.break_streams();
            }
            Fault::RedisEvict { fraction } => {
                state.redis.server.evict(fraction);
            }
            Fault::ClockJump { gateway, by } => {
                let offset = &mut state.gateways[gateway.0].clock_offset;
                *offset = offset.saturating_add(by);
            }
            Fault::RedisClockJump { by } => {
                state.redis.clock_offset = state.redis.clock_offset.saturating_add(by);
            }
            Fault::KillVm { gateway, worker } => {
                let after = state.draws.faults.u32(..6);
                let id = WorkerId {
                    gateway: gateway.0,
                    worker,
                };
                let now = state.now;
                state.task(now, id, Task::Kill(after));
            }
            Fault::KillGateway { gateway } => state.restart_gateway(gateway.0),
            Fault::Reload {
                gateway,
                configuration,
            } => {
                drop(state);
                self.reload(gateway.0, Arc::from(configuration));
            }
        }
    }

    /// Hands a new configuration to all workers, if the main thread takes it.
    fn reload(&self, gateway: usize, configuration: Arc<[u8]>) {
        if let Err(refused) = self.try_on_main_thread(gateway, &configuration) {
            self.note(format_args!("g{gateway} reload refused: {refused}"));
            return;
        }
        let mut state = self.state();
        let workers = 0..state.gateways[gateway].workers.len();
        for worker in workers.chain([MAIN]) {
            state.errands += 1;
            let id = WorkerId { gateway, worker };
            let latency = state.plan.latency.queue;
            let at = state.now + state.draws.span(latency);
            state.task(at, id, Task::Reload(configuration.to_vec()));
        }
    }
}

impl State {
    fn restart_gateway(&mut self, gateway: usize) {
        let killed = &mut self.gateways[gateway];
        killed.shared = Arc::default();
        killed.queues = Arc::default();
        killed.metrics = Arc::default();
        let (now, workers) = (self.now, 0..killed.workers.len());
        for worker in workers.chain([MAIN]) {
            self.errands += 1;
            self.task(now, WorkerId { gateway, worker }, Task::Restart);
        }
    }

    /// Puts the timed faults of the plan into the schedule.
    pub fn enter_faults(&mut self) {
        for (at, fault) in self.plan.timed.clone() {
            self.enter(crate::plan::nanos(at), crate::event::Event::Fault(fault));
        }
    }
}

fn describe(fault: &Fault) -> String {
    match fault {
        Fault::Reload { gateway, .. } => format!("reload of g{}", gateway.0),
        other => format!("{other:?}"),
    }
}
