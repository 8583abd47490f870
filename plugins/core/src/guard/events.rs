//! What a guard counts, and why it lets everything pass.

/// Why every request passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// No filter is there yet.
    Unloaded,
    /// There is none in Redis.
    Missing,
    /// What is in Redis is no filter, or not whole.
    Corrupt,
    /// It is larger than the policy allows, or than there is memory.
    TooLarge,
    /// Redis has not been heard of for too long.
    Stale,
    /// It was built too long ago.
    Old,
    /// Ids came that not everybody could be told of.
    Lost,
}

impl Why {
    /// The name in metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.event().name()
    }

    pub(super) fn event(self) -> Event {
        match self {
            Self::Unloaded => Event::OpenUnloaded,
            Self::Missing => Event::OpenMissing,
            Self::Corrupt => Event::OpenCorrupt,
            Self::TooLarge => Event::OpenTooLarge,
            Self::Stale => Event::OpenStale,
            Self::Old => Event::OpenOld,
            Self::Lost => Event::OpenLost,
        }
    }
}

/// What a worker counts of each guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The id may exist.
    Passed,
    /// It does not.
    Refused,
    /// The request has no id to look up.
    Unidentified,
    OpenUnloaded,
    OpenMissing,
    OpenCorrupt,
    OpenTooLarge,
    OpenStale,
    OpenOld,
    OpenLost,
    /// A filter was loaded.
    Loaded,
    /// An answer said that something exists.
    Learnt,
    /// It should have, and did not say what.
    Unlearnt,
}

/// All of them, with their names for metrics.
pub const EVENTS: [(Event, &str); 13] = [
    (Event::Passed, "passed"),
    (Event::Refused, "refused"),
    (Event::Unidentified, "unidentified"),
    (Event::OpenUnloaded, "open_unloaded"),
    (Event::OpenMissing, "open_missing"),
    (Event::OpenCorrupt, "open_corrupt"),
    (Event::OpenTooLarge, "open_too_large"),
    (Event::OpenStale, "open_stale"),
    (Event::OpenOld, "open_old"),
    (Event::OpenLost, "open_lost"),
    (Event::Loaded, "loaded"),
    (Event::Learnt, "learnt"),
    (Event::Unlearnt, "unlearnt"),
];

impl Event {
    fn name(self) -> &'static str {
        EVENTS.get(self as usize).map_or("", |(_, name)| name)
    }
}
