//! What becomes of a stream after a callback: the filter's answer, as Envoy understands it.

use crate::effect::Effect;

/// What a callback brought about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Outcome {
    /// What becomes of the stream.
    pub action: Action,
    /// What the gateway is to do, in order, before it acts on `action`.
    pub effects: Vec<Effect>,
}

/// Whether a stream goes on to the next filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Continue,
    Pause(Hold),
}

/// How a stream is held, by the names of Envoy's filter statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hold {
    /// `StopIteration`: headers or trailers are held; a body still comes to the filter's body callback.
    Iteration,
    /// `StopAllIterationAndBuffer`: nothing more comes to the filter until it resumes; a body past the gateway's limit
    /// is an error.
    AllAndBuffer,
    /// `StopAllIterationAndWatermark`: nothing more comes to the filter until it resumes; a long body makes the sender
    /// wait.
    AllAndWatermark,
    /// `StopIterationAndBuffer`, of a body: what came is kept, and the next callback sees the whole.
    Buffer,
    /// `StopIterationAndWatermark`, of a body: what came is kept, the next callback sees only what is new.
    Watermark,
    /// `StopIterationNoBuffer`, of a body: what came is dropped.
    Drop,
}

impl Action {
    /// The status of a header callback. 2 is no status of ABI 0.2, and goes on.
    pub(crate) fn of_headers(status: u32, stopped: bool, stop_iteration: bool) -> Self {
        match status {
            _ if stopped => Self::Pause(Hold::AllAndWatermark),
            0 | 2 => Self::Continue,
            1 if stop_iteration => Self::Pause(Hold::Iteration),
            3 => Self::Pause(Hold::AllAndBuffer),
            _ => Self::Pause(Hold::AllAndWatermark),
        }
    }

    /// The status of a body callback.
    pub(crate) fn of_body(status: u32, stopped: bool) -> Self {
        match status {
            _ if stopped => Self::Pause(Hold::Drop),
            0 => Self::Continue,
            1 => Self::Pause(Hold::Buffer),
            2 => Self::Pause(Hold::Watermark),
            _ => Self::Pause(Hold::Drop),
        }
    }

    /// The status of a trailer callback.
    pub(crate) fn of_trailers(status: u32, stopped: bool) -> Self {
        if stopped || status != 0 {
            Self::Pause(Hold::Iteration)
        } else {
            Self::Continue
        }
    }
}
