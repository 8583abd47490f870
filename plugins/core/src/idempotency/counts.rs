//! What happened, by route and by kind, until the owner takes the counts to its metrics.

use crate::redis::trouble::Trouble;

/// Something that an operator counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// A request was the first with its key, and was sent.
    Executed,
    /// The first answer was given again.
    Replayed,
    /// The answer was remembered, and the store not asked.
    Remembered,
    /// The first answer was not kept; the client was told so.
    AnswerNotKept,
    /// Refused because another with the key was on its way.
    InFlight,
    /// Waited for another with the key.
    Waited,
    /// Refused because nobody knows what became of the first.
    Unknown,
    /// Refused because the key was used for another request.
    KeyReused,
    /// Refused because the record cannot be read.
    Corrupt,
    /// Refused because the store could not be asked.
    StoreUnavailable,
    /// Sent although the store could not be asked.
    Unprotected,
    /// Refused because too many were open.
    Overloaded,
    /// Refused for the length of its body.
    BodyTooLarge,
    /// An answer was stored.
    Committed,
    /// An answer was stored of which the store had lost the record.
    Restored,
    /// An answer was refused by the store: the record was another's.
    Superseded,
    /// An answer could not be stored.
    NotRecorded,
    /// One of these was stored after all.
    RecordedLate,
    /// Of an answer only its status was stored.
    Oversized,
    /// The request was never sent, and its key freed.
    NotSent,
    /// The answer's status is not among those that are stored, and the key was freed.
    NotStored,
    /// An execution was left of which nobody knows what became of it.
    LeftUnknown,
    /// A lease was renewed.
    Renewed,
    /// A lease could not be renewed because the record was not ours any more.
    LeaseLost,
    /// A key could not be freed, and becomes unknown.
    NotFreed,
    /// Refused for want of a key.
    KeyMissing,
    /// Refused because the key cannot be read, or is there twice.
    KeyInvalid,
    /// Refused because the request lacks what tells clients apart.
    ClientUnknown,
}

impl Event {
    /// Every kind, for the metrics.
    pub const ALL: [Self; 28] = [
        Self::Executed,
        Self::Replayed,
        Self::Remembered,
        Self::AnswerNotKept,
        Self::InFlight,
        Self::Waited,
        Self::Unknown,
        Self::KeyReused,
        Self::Corrupt,
        Self::StoreUnavailable,
        Self::Unprotected,
        Self::Overloaded,
        Self::BodyTooLarge,
        Self::Committed,
        Self::Restored,
        Self::Superseded,
        Self::NotRecorded,
        Self::RecordedLate,
        Self::Oversized,
        Self::NotSent,
        Self::NotStored,
        Self::LeftUnknown,
        Self::Renewed,
        Self::LeaseLost,
        Self::NotFreed,
        Self::KeyMissing,
        Self::KeyInvalid,
        Self::ClientUnknown,
    ];

    /// The name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Executed => "executed",
            Self::Replayed => "replayed",
            Self::Remembered => "remembered",
            Self::AnswerNotKept => "answer_not_kept",
            Self::InFlight => "in_flight",
            Self::Waited => "waited",
            Self::Unknown => "unknown",
            Self::KeyReused => "key_reused",
            Self::Corrupt => "corrupt",
            Self::StoreUnavailable => "store_unavailable",
            Self::Unprotected => "unprotected",
            Self::Overloaded => "overloaded",
            Self::BodyTooLarge => "body_too_large",
            Self::Committed => "committed",
            Self::Restored => "restored",
            Self::Superseded => "superseded",
            Self::NotRecorded => "not_recorded",
            Self::RecordedLate => "recorded_late",
            Self::Oversized => "oversized",
            Self::NotSent => "not_sent",
            Self::NotStored => "not_stored",
            Self::LeftUnknown => "left_unknown",
            Self::Renewed => "renewed",
            Self::LeaseLost => "lease_lost",
            Self::NotFreed => "not_freed",
            Self::KeyMissing => "key_missing",
            Self::KeyInvalid => "key_invalid",
            Self::ClientUnknown => "client_unknown",
        }
    }
}

/// Counts of one route.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RouteCounts([u64; Event::ALL.len()]);

impl RouteCounts {
    pub fn add(&mut self, event: Event) {
        if let Some(count) = self.0.get_mut(event as usize) {
            *count += 1;
        }
    }

    #[must_use]
    pub fn get(&self, event: Event) -> u64 {
        self.0.get(event as usize).copied().unwrap_or_default()
    }
}

/// Everything that is counted.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    pub routes: Vec<RouteCounts>,
    /// By the index in [`Trouble::ALL`].
    pub troubles: [u64; Trouble::ALL.len()],
}

impl Counts {
    #[must_use]
    pub fn new(routes: usize) -> Self {
        Self {
            routes: vec![RouteCounts::default(); routes],
            ..Self::default()
        }
    }

    pub(super) fn trouble(&mut self, trouble: Trouble) {
        let index = Trouble::ALL.iter().position(|known| *known == trouble);
        if let Some(count) = index.and_then(|index| self.troubles.get_mut(index)) {
            *count += 1;
        }
    }

    /// Counts of all routes together.
    #[must_use]
    pub fn total(&self, event: Event) -> u64 {
        self.routes.iter().map(|route| route.get(event)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_count_and_a_name_of_its_own() {
        let mut counts = RouteCounts::default();
        let mut names = std::collections::BTreeSet::new();
        for (index, event) in Event::ALL.into_iter().enumerate() {
            assert_eq!(event as usize, index);
            (0..=index).for_each(|_| counts.add(event));
            assert!(names.insert(event.name()));
        }
        for (index, event) in Event::ALL.into_iter().enumerate() {
            assert_eq!(counts.get(event), index as u64 + 1);
        }
    }
}
