//! One worker of a gateway: its VM, its streams, and the calls into the VM with what comes of them.

use crate::callout;
use crate::core::Core;
use crate::event::WorkerId;
use crate::gateway::FailurePolicy;
use crate::services::WorkerServices;
use crate::stream::{Reply, Stream};
use sluice_embed::{Action, Effect, Headers, Map, Outcome, RootId, Side, StreamId, Vm, VmError};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

pub(crate) struct Worker {
    pub id: WorkerId,
    pub vm: Vm,
    /// The VM has crashed. Its streams are lost, and new ones have it built anew.
    pub dead: bool,
    /// When the VM was last loaded.
    pub loaded_at: u64,
    /// How often the VM was made anew.
    pub life: u32,
    /// The root context that new streams belong to; none where the VM could not be started again.
    pub root: Option<RootId>,
    /// Root contexts of earlier configurations, which go when their last stream has gone.
    pub draining: Vec<RootId>,
    pub streams: BTreeMap<usize, Stream>,
    pub contexts: HashMap<StreamId, usize>,
    /// What the filter has asked for, still to be carried out.
    pub after: VecDeque<Effect>,
    /// Calls of the VM inside each other: what one asked for is carried out when it returns, and may call again.
    pub nested: usize,
    /// The exchange that the VM is about to be called for.
    pub called_for: Option<usize>,
    /// Of each root context's timer: the period, and the number of the setting.
    pub ticks: HashMap<RootId, (u64, u64)>,
    pub services: Arc<WorkerServices>,
}

/// So many calls inside each other fill the stack that Envoy gives a VM: the scenarios `answer-crowd` show it.
const MOST_NESTED: usize = 306;

/// What came of calling the filter for a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Called {
    /// It was not called: the stream has been answered for it.
    Skipped,
    Done(Action),
    /// The VM is dead, and the stream has been answered.
    Failed,
}

impl Worker {
    /// Calls the filter for a stream, and carries out what it asks for.
    pub fn call_stream(
        &mut self,
        core: &Core,
        x: usize,
        way: Side,
        part: &str,
        call: impl FnOnce(&mut Vm, StreamId) -> Result<Outcome, VmError>,
    ) -> Called {
        let Some(stream) = self.streams.get(&x) else {
            return Called::Failed;
        };
        if way == Side::Response && stream.failure_replied {
            return Called::Skipped;
        }
        let context = match stream.context {
            Some(context) if !stream.lost => context,
            _ if !stream.failure_replied && core.failure_policy(self.id) == FailurePolicy::Open => {
                return Called::Skipped;
            }
            _ => {
                self.fail_stream(core, x);
                return Called::Failed;
            }
        };
        let mut action = Action::Continue;
        self.called_for = Some(x);
        let survived = self.call(core, &format!("#{x} {way:?} {part}"), |vm| {
            let outcome = call(vm, context)?;
            action = outcome.action;
            Ok(outcome.effects)
        });
        if survived {
            Called::Done(action)
        } else {
            Called::Failed
        }
    }

    /// Calls the VM, and carries out what the filter asks for. Answers false if the VM has died.
    pub fn call(
        &mut self,
        core: &Core,
        what: &str,
        call: impl FnOnce(&mut Vm) -> Result<Vec<Effect>, VmError>,
    ) -> bool {
        if self.dead {
            return false;
        }
        core.note(format_args!("{} {what}", self.id));
        let called_for = self.called_for.take();
        if self.nested > MOST_NESTED {
            self.die(core, "StackOverflow", called_for);
            return false;
        }
        let result = call(&mut self.vm);
        let killed = self.services.take_kill();
        match result {
            Ok(effects) if !killed => {
                self.after.extend(effects);
                self.carry_out(core);
                true
            }
            Ok(_) => {
                self.die(core, "killed", called_for);
                false
            }
            Err(VmError::Failed(failure)) => {
                self.die(core, &format!("{:?}", failure.cause), called_for);
                self.after.extend(failure.effects);
                self.carry_out(core);
                false
            }
            Err(error) => {
                core.note(format_args!("{} {what}: {error}", self.id));
                matches!(error, VmError::UnknownContext)
            }
        }
    }

    /// The VM has crashed. The stream it was called for is answered; the others will be when something happens on them.
    fn die(&mut self, core: &Core, why: &str, called_for: Option<usize>) {
        core.note(format_args!("{} the VM has died: {why}", self.id));
        self.dead = true;
        self.ticks.clear();
        for stream in self.streams.values_mut() {
            stream.lost = true;
        }
        core.vm_died(self.id);
        if let Some(x) = called_for {
            self.fail_stream(core, x);
        }
    }

    /// Answers a stream whose VM is dead.
    fn fail_stream(&mut self, core: &Core, x: usize) {
        if let Some(stream) = self.streams.get_mut(&x)
            && !std::mem::replace(&mut stream.failure_replied, true)
        {
            self.local_reply(core, x, Reply::new(503, "", "wasm_fail_stream"));
        }
    }

    fn carry_out(&mut self, core: &Core) {
        self.nested += 1;
        while let Some(effect) = self.after.pop_front() {
            self.carry_out_one(core, effect);
        }
        self.nested -= 1;
    }

    fn carry_out_one(&mut self, core: &Core, effect: Effect) {
        match effect {
            // Made in the VM's own maps and buffers, which are the only ones.
            Effect::EditHeaders { .. }
            | Effect::EditBody { .. }
            | Effect::AddTrailers { .. }
            | Effect::ClearRouteCache(_) => {}
            Effect::LocalReply(reply) => {
                if let Some(&x) = self.contexts.get(&reply.stream) {
                    let reply = Reply {
                        status: reply.status,
                        headers: reply.headers,
                        body: reply.body,
                        grpc_status: reply.grpc_status,
                        details: String::from_utf8_lossy(&reply.details).into_owned(),
                    };
                    self.local_reply(core, x, reply);
                }
            }
            Effect::ResumeRequest(context) => {
                if let Some(&x) = self.contexts.get(&context) {
                    core.note(format_args!("{} #{x} request resumed", self.id));
                    self.resume(core, x, Side::Request);
                }
            }
            Effect::ResumeResponse(context) => {
                if let Some(&x) = self.contexts.get(&context) {
                    core.note(format_args!("{} #{x} response resumed", self.id));
                    self.resume(core, x, Side::Response);
                }
            }
            Effect::CloseStream { stream, .. } => {
                if let Some(&x) = self.contexts.get(&stream) {
                    if let Some(stream) = self.streams.get_mut(&x)
                        && stream.details.is_empty()
                    {
                        stream.details = "wasm_close_stream".into();
                    }
                    self.reset(core, x);
                }
            }
            Effect::TickPeriod { root, period } => {
                let period = crate::plan::nanos(period);
                let setting = core.next_number();
                self.ticks.insert(root, (period, setting));
                if period > 0 {
                    core.tick_after(self.id, root, setting, period);
                }
            }
            effect => callout::carry_out(core, self.id, self.life, effect),
        }
    }

    /// The body that the filter has seen, as it left it.
    pub fn take_body(&mut self, x: usize, side: Side) -> Vec<u8> {
        match self.streams.get(&x).and_then(|stream| stream.context) {
            Some(context) => self.vm.take_body(context, side),
            None => Vec::new(),
        }
    }

    /// How much of a body is held in the VM.
    pub fn held_in_vm(&self, x: usize, side: Side) -> usize {
        let context = self.streams.get(&x).and_then(|stream| stream.context);
        let body = context.and_then(|context| self.vm.body(context, side));
        body.map_or(0, <[u8]>::len)
    }

    /// A map as it is now: in the VM, where the filter may have changed it, or as it came.
    pub fn map(&mut self, x: usize, map: Map) -> Headers {
        let Some(stream) = self.streams.get_mut(&x) else {
            return Headers::new();
        };
        let in_vm = stream
            .context
            .filter(|_| !stream.lost)
            .and_then(|context| self.vm.headers(context, map));
        match in_vm {
            Some(headers) => headers.clone(),
            None => stream.map(map).clone(),
        }
    }

    /// Whether the filter has made trailers where there were none.
    pub fn has_new_trailers(&self, x: usize, map: Map) -> bool {
        let Some(stream) = self.streams.get(&x) else {
            return false;
        };
        let side = match map {
            Map::RequestTrailers => &stream.request,
            _ => &stream.response,
        };
        !side.trailers
            && stream
                .context
                .is_some_and(|context| self.vm.headers(context, map).is_some())
    }
}
