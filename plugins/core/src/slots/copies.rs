//! A worker's copies of the buckets it wrote last, each with the version that its write will have been given.
//!
//! The host does not tell a writer the new version, so each change has to read first. But versions count up by one
//! over all keys of the process: as long as nobody else wrote since the last version that this worker knows of, its
//! own write gets the next one. A foretold version that is wrong is harmless. Let p be foretold and q given. q is at
//! least p, since all versions that the worker knew of were given before. If q is greater, this key can never have
//! version p: it had an older one until q, and later ones are greater still. So a swap that names p either finds the
//! very bucket that this worker wrote, or fails and is decided again on what is there.
//!
//! With one busy worker this saves every read. Where workers write in turns it would waste a swap instead, so a
//! forecast that fails is followed by a pause.

use super::Version;

/// Copies kept, by the bucket's number modulo this: some 50 KiB a worker.
const PLACES: usize = 256;
/// Changes without copies after a forecast that failed.
const PAUSE: u32 = 64;

struct Copy {
    index: u64,
    bucket: Vec<u8>,
    version: Version,
}

pub(super) struct Copies {
    places: Vec<Option<Copy>>,
    /// The greatest version that this worker knows of.
    known: Version,
    pause: u32,
}

impl Default for Copies {
    fn default() -> Self {
        Self {
            places: std::iter::repeat_with(|| None).take(PLACES).collect(),
            known: 0,
            pause: 0,
        }
    }
}

impl Copies {
    /// Takes the copy of bucket `index` out, if there is one to be trusted.
    pub fn take(&mut self, index: u64) -> Option<(Vec<u8>, Version)> {
        if self.pause > 0 {
            self.pause -= 1;
            return None;
        }
        let place = self.places.get_mut(index as usize % PLACES)?;
        if place.as_ref()?.index != index {
            return None;
        }
        place.take().map(|copy| (copy.bucket, copy.version))
    }

    /// A version was read.
    pub fn seen(&mut self, version: Version) {
        if version < self.known / 2 {
            // The count has started again: what was foretold before means nothing now.
            self.failed();
            self.known = version;
        }
        self.known = self.known.max(version);
    }

    /// Bucket `index` was written.
    pub fn written(&mut self, index: u64, bucket: Vec<u8>) {
        // At the end of the numbers the count starts again.
        let version = self.known.checked_add(1).unwrap_or(1);
        self.known = version;
        if self.pause == 0
            && let Some(place) = self.places.get_mut(index as usize % PLACES)
        {
            *place = Some(Copy {
                index,
                bucket,
                version,
            });
        }
    }

    /// A swap by a copy failed: others write too.
    pub fn failed(&mut self) {
        self.pause = PAUSE;
        self.places.iter_mut().for_each(|place| *place = None);
    }
}
