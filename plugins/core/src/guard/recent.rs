//! The ids that this process learnt last, for all of its workers.
//!
//! A worker that learns of an id writes it here before the client hears of it, and one that is about to refuse an id looks
//! here first. So no client that was told of something can be refused it by another worker of the same process.

use crate::slots::{ABSENT, SharedData};

/// As much is read before each refusal, if it has changed.
const MAX_BYTES: usize = 16 << 10;
/// A swap that loses this often in a row is more than contention.
const MAX_TRIES: u32 = 64;
/// Bytes of the number at the front: how many ids there have been.
const COUNT: usize = 8;

/// One worker's view.
pub(super) struct Recent<S> {
    store: S,
    key: String,
    /// How many of all ids this worker has seen; none before it has looked.
    seen: Option<u64>,
}

/// What a look found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct New {
    pub ids: Vec<Vec<u8>>,
    /// Others came and went before it.
    pub missed: bool,
}

impl<S: SharedData> Recent<S> {
    pub(super) fn new(store: S, name: &str) -> Self {
        Self {
            store,
            key: ["sluice/guard/", name].concat(),
            seen: None,
        }
    }

    /// Tells the other workers of an id; false when there was no turn.
    pub(super) fn tell(&mut self, id: &[u8]) -> bool {
        for _ in 0..MAX_TRIES {
            let (old, version) = self.store.get(&self.key).unwrap_or((Vec::new(), ABSENT));
            let (count, ids) = read(&old);
            let mut room = MAX_BYTES.saturating_sub(COUNT + 2 + id.len());
            let kept = ids.iter().rev().take_while(|id| {
                let fits = room.checked_sub(2 + id.len());
                room = fits.unwrap_or_default();
                fits.is_some()
            });
            let first = ids.len() - kept.count();
            let mut new = (count + 1).to_le_bytes().to_vec();
            let kept = ids.iter().skip(first).copied();
            for id in kept.chain(std::iter::once(id)) {
                let length = u16::try_from(id.len()).unwrap_or(u16::MAX);
                new.extend_from_slice(&length.to_le_bytes());
                new.extend_from_slice(id);
            }
            if self.store.set(&self.key, &new, version).is_ok() {
                return true;
            }
        }
        false
    }

    /// What is new since the last time.
    pub(super) fn look(&mut self) -> Option<New> {
        let bytes = self.store.get(&self.key).unwrap_or_default().0;
        let count = bytes
            .first_chunk()
            .map_or(0, |count| u64::from_le_bytes(*count));
        // What was there before this worker is in Redis.
        let seen = self.seen.replace(count);
        if count == seen.unwrap_or(0) {
            return None;
        }
        let (_, ids) = read(&bytes);
        let before = count.saturating_sub(ids.len() as u64);
        let skip = seen.unwrap_or(0).saturating_sub(before);
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        Some(New {
            ids: ids.iter().skip(skip).map(|id| id.to_vec()).collect(),
            missed: seen.is_some_and(|seen| seen < before),
        })
    }

    /// All that is there.
    pub(super) fn all(&self) -> Vec<Vec<u8>> {
        let bytes = self.store.get(&self.key).unwrap_or_default().0;
        read(&bytes).1.into_iter().map(<[u8]>::to_vec).collect()
    }
}

/// How many ids there have been, and the last of them, oldest first.
fn read(bytes: &[u8]) -> (u64, Vec<&[u8]>) {
    let Some((count, mut rest)) = bytes.split_first_chunk::<COUNT>() else {
        return (0, Vec::new());
    };
    let mut ids = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<2>()
        && let Some((id, after)) = after.split_at_checked(u16::from_le_bytes(*length).into())
    {
        ids.push(id);
        rest = after;
    }
    (u64::from_le_bytes(*count), ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::tests::FakeShared;

    fn number(number: u64) -> Vec<u8> {
        number.to_string().into_bytes()
    }

    #[test]
    fn each_worker_sees_each_id_once() {
        let store = FakeShared::default();
        let mut workers = [(); 3].map(|()| Recent::new(store.clone(), "a"));
        assert_eq!(workers[0].look(), None);
        assert!(workers[0].tell(b"1") && workers[1].tell(b"2"));
        for worker in &mut workers {
            let new = worker.look().unwrap();
            assert_eq!(new.ids, [b"1", b"2"]);
            assert!(!new.missed);
            assert_eq!(worker.look(), None);
        }
        assert!(workers[2].tell(b"3"));
        assert_eq!(workers[0].look().unwrap().ids, [b"3"]);
        assert_eq!(Recent::new(store, "b").look(), None, "another guard");
    }

    #[test]
    fn it_does_not_grow_and_says_when_a_worker_missed_some() {
        let store = FakeShared::default();
        let mut one = Recent::new(store.clone(), "a");
        let mut other = Recent::new(store.clone(), "a");
        assert!(one.tell(b"0"));
        assert!(!other.look().unwrap().missed);
        for id in 1..10_000 {
            assert!(one.tell(&number(id)));
        }
        let new = other.look().unwrap();
        assert!(new.missed);
        assert_eq!(new.ids.last(), Some(&number(9_999)));
        assert_eq!(new.ids.len(), (MAX_BYTES - COUNT) / 6);
        assert_eq!(other.all(), new.ids);
        let mut early = Recent::new(FakeShared::default(), "a");
        assert_eq!(early.look(), None);
        early.store = store.clone();
        assert!(
            early.look().unwrap().missed,
            "it looked before there were any"
        );
        let mut late = Recent::new(store.clone(), "a");
        assert!(!late.look().unwrap().missed, "it had none to miss");
        assert!(one.tell(&[b'x'; 4_100]));
        assert!(store.get("sluice/guard/a").unwrap().0.len() <= MAX_BYTES);
    }

    #[test]
    fn whatever_is_there_is_read_without_a_panic() {
        for bytes in [
            &b""[..],
            b"1234567",
            b"12345678",
            b"12345678\xff\xff",
            b"12345678\x01",
        ] {
            let store = FakeShared::default();
            store.put("sluice/guard/a", bytes);
            let mut recent = Recent::new(store, "a");
            let _ = (recent.look(), recent.all());
            assert!(recent.tell(b"1"));
        }
    }
}
