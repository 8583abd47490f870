//! A bounded table in the gateway's shared data: one record per client, exact across every worker of the process.
//!
//! Shared data is one map without expiry or deletion, so a key per client would be a leak. Instead a fixed number of
//! buckets holds `ways` records each, and a client's hash picks its bucket. A record that has expired means the same
//! as none, so only such records are evicted; a bucket whose records are all alive is full, and says so.
//!
//! A change is a pure decision inside a compare-and-swap loop (the shape of `governor`'s `measure_and_replace`). Its
//! read can often be saved, see [`Copies`].

mod copies;

use copies::Copies;

/// The gateway's shared key-value data, with Envoy's rules: one counter gives every write of the process, to whichever
/// key, a version that was never given before.
pub trait SharedData {
    /// The value and its version; none when the key was never written.
    fn get(&self, key: &str) -> Option<(Vec<u8>, Version)>;

    /// Writes if the key's version is still `expected`. A key that was never written accepts any version.
    ///
    /// # Errors
    /// When the version is another.
    fn set(&self, key: &str, value: &[u8], expected: Version) -> Result<(), Mismatch>;

    /// Writes whatever is there.
    fn put(&self, key: &str, value: &[u8]);
}

/// A version of a value; never 0, which the host takes for "overwrite whatever is there".
pub type Version = u32;

/// Somebody else wrote first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mismatch;

/// Creates a key only if it is not there: a missing key accepts any version, an existing one only its own, and
/// versions count up from 1, so this one is not met.
pub const ABSENT: Version = u32::MAX;

/// What a record of the usual size holds; its meaning is the caller's.
pub type Payload = [u8; 16];
const FINGERPRINT: usize = 8;

/// A swap that loses this often in a row means another worker wins each time: far beyond what contention causes.
const MAX_TRIES: u32 = 64;

/// What a decision wants done with the record it was shown.
pub enum Step<T, const BYTES: usize = 16> {
    /// Store this record.
    Write([u8; BYTES], T),
    /// Nothing to store.
    Keep(T),
}

/// Why no decision was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Every record of the bucket is alive: there is no room for this client.
    Full,
    /// Others changed the bucket each time.
    Contended,
}

/// How often something happened since the owner last took the counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Swaps that another worker won.
    pub retries: u64,
    /// Clients for whom there was no room.
    pub full: u64,
    /// Decisions given up after too many lost swaps.
    pub contended: u64,
}

/// The table, with `BYTES` of payload in a record. One per worker, all over the same shared data.
pub struct SlotTable<S, const BYTES: usize = 16> {
    store: S,
    /// The key of the bucket touched last; its prefix stays, so that naming a bucket allocates nothing.
    key: String,
    prefix: usize,
    buckets: u64,
    ways: usize,
    copies: Copies,
    pub counters: Counters,
}

impl<S: SharedData, const BYTES: usize> SlotTable<S, BYTES> {
    /// A table of `buckets` x `ways` records. `name` tells tables of one process apart; the shape is part of the key,
    /// so that a changed configuration starts afresh instead of misreading old buckets.
    pub fn new(store: S, name: &str, buckets: u32, ways: u32) -> Self {
        let (buckets, ways) = (buckets.max(1), ways.max(1));
        let key = format!("sluice/{name}/{buckets}x{ways}/");
        Self {
            store,
            prefix: key.len(),
            key,
            buckets: u64::from(buckets),
            ways: ways as usize,
            copies: Copies::default(),
            counters: Counters::default(),
        }
    }

    /// Shows the record of `hash` (none if absent) to `decide` and carries out what it says, again from the start
    /// whenever another worker was faster. `alive` tells the records that must not be evicted.
    ///
    /// # Errors
    /// When there was no room, or no turn, for a write.
    pub fn update<T>(
        &mut self,
        hash: u64,
        alive: impl Fn(&[u8; BYTES]) -> bool,
        mut decide: impl FnMut(Option<[u8; BYTES]>) -> Step<T, BYTES>,
    ) -> Result<T, Refusal> {
        let index = hash % self.buckets;
        self.name(index);
        for _ in 0..MAX_TRIES {
            let copy = self.copies.take(index);
            let is_copy = copy.is_some();
            let (mut bucket, version) = copy.unwrap_or_else(|| self.read());
            match decide(find(&bucket, hash)) {
                // A copy may be old: what is not written, and so not checked against the version, is decided afresh.
                Step::Keep(_) if is_copy => {}
                Step::Keep(answer) => return Ok(answer),
                Step::Write(payload, answer) => {
                    if !put(&mut bucket, self.ways, hash, payload, &alive) {
                        if is_copy {
                            continue;
                        }
                        self.counters.full += 1;
                        return Err(Refusal::Full);
                    }
                    if self.store.set(&self.key, &bucket, version).is_ok() {
                        self.copies.written(index, bucket);
                        return Ok(answer);
                    }
                    if is_copy {
                        self.copies.failed();
                    } else {
                        self.counters.retries += 1;
                    }
                }
            }
        }
        self.counters.contended += 1;
        Err(Refusal::Contended)
    }

    fn read(&mut self) -> (Vec<u8>, Version) {
        match self.store.get(&self.key) {
            Some((bucket, version)) => {
                self.copies.seen(version);
                (bucket, version)
            }
            None => (Vec::new(), ABSENT),
        }
    }

    fn name(&mut self, bucket: u64) {
        self.key.truncate(self.prefix);
        let mut rest = bucket;
        // Base 64 in printable characters: short names are cheap to hash for the host.
        loop {
            let digit = char::from_u32((rest % 64) as u32 + u32::from(b'0')).unwrap_or('0');
            self.key.push(digit);
            rest /= 64;
            if rest == 0 {
                return;
            }
        }
    }
}

/// Reads the record of `hash`. A bucket of an odd size (written by something else) has no whole record at its end.
fn find<const BYTES: usize>(bucket: &[u8], hash: u64) -> Option<[u8; BYTES]> {
    let wanted = hash.to_le_bytes();
    records(bucket).find_map(|(fingerprint, payload)| (*fingerprint == wanted).then_some(*payload))
}

fn records<const BYTES: usize>(
    bucket: &[u8],
) -> impl Iterator<Item = (&[u8; FINGERPRINT], &[u8; BYTES])> {
    bucket
        .chunks_exact(FINGERPRINT + BYTES)
        .filter_map(|record| {
            let (fingerprint, payload) = record.split_first_chunk()?;
            Some((fingerprint, payload.first_chunk()?))
        })
}

/// Puts the record in its own place, else in an expired one's, else at the end while there is room.
fn put<const BYTES: usize>(
    bucket: &mut Vec<u8>,
    ways: usize,
    hash: u64,
    payload: [u8; BYTES],
    alive: impl Fn(&[u8; BYTES]) -> bool,
) -> bool {
    let size = FINGERPRINT + BYTES;
    let wanted = hash.to_le_bytes();
    let place = records::<BYTES>(bucket)
        .position(|(fingerprint, _)| *fingerprint == wanted)
        .or_else(|| records(bucket).position(|(_, old)| !alive(old)));
    let Some(index) = place else {
        let room = bucket.len() / size < ways;
        if room {
            bucket.truncate(bucket.len() / size * size);
            bucket.extend_from_slice(&wanted);
            bucket.extend_from_slice(&payload);
        }
        return room;
    };
    if let Some(old) = bucket.chunks_exact_mut(size).nth(index)
        && let Some((fingerprint, rest)) = old.split_first_chunk_mut()
    {
        *fingerprint = wanted;
        rest.copy_from_slice(&payload);
    }
    true
}

#[cfg(test)]
#[path = "slots_tests.rs"]
pub(crate) mod tests;
