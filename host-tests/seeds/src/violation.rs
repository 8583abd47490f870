//! Promises, and what broke them.

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which promise.
    pub invariant: Invariant,
    pub text: String,
}

/// The promises of all filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// Every request is answered in time.
    Answer,
    /// Nothing is under way, or kept, when all clients are gone.
    Leftover,
    /// Memory stays within what the policy says.
    Memory,
    /// What is counted is what happened.
    Metrics,
    /// No VM crashes.
    Crash,
    /// When Redis is well again, it is asked again.
    Recovery,
    /// Rate limit: in no window more is admitted than the policy says.
    Window,
    /// Rate limit: who is denied had too few tokens for one of the limits.
    Denial,
    /// Redis holds what came of the requests, and nothing else.
    Ledger,
    /// Idempotency: within its retention a key is carried out once.
    Once,
    /// Idempotency: a replay is the first answer, to the byte, and no client gets the answer to another request.
    Replay,
    /// Idempotency: who is refused was refused for a reason that is there.
    Verdict,
    /// Idempotency: each execution has a higher fence than those before it.
    Fence,
    /// Idempotency: an answer is stored before the client has it.
    Order,
    /// Idempotency: one event for each stored answer.
    Outbox,
    /// Coalesce: a herd on one key is one request upstream for each expiry.
    Herd,
    /// Coalesce: who gets an answer may have it, and has all of it.
    Share,
    /// Coalesce: nothing is served that is too old.
    Fresh,
    /// Coalesce: nobody waits for nothing.
    Wait,
}
