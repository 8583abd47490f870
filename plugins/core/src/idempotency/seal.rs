//! How an answer lies in a store: compressed where the policy says so, and sealed where it has keys, so that who reads
//! the store learns nothing of it and who writes there cannot make one up or move one to another record.
//!
//! What is stored begins with "SI" and the version of what follows:
//!
//! - 2: the length of the last (4 bytes, big endian), and the last as an LZ4 block.
//! - 3: the length of a key's name (1 byte) and the name; a nonce (24 bytes); one of the others, encrypted by
//!   XChaCha20-Poly1305 under that key; the tag (16 bytes). Authenticated besides: all before the nonce, the record's key
//!   in the store, and whether it is an answer or a tombstone.
//! - 4: the answer itself, as [`stored`](super::stored) writes it.

use super::scripts::Keys;
use super::store::{Claim, Kind};
use super::stored::{Corrupt, Stored};
use bytes::Bytes;
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};

const COMPRESSED: [u8; 3] = *b"SI\x02";
const SEALED: [u8; 3] = *b"SI\x03";
const NONCE: usize = 24;
const TAG: usize = 16;

/// No answer is longer: 64 MiB of body, and its head.
const MAX_LENGTH: usize = 80 << 20;
/// An LZ4 block holds at most about so many bytes in each of its own; a claim of more is a lie.
const MAX_RATIO: usize = 255;

/// A policy's word on how answers are stored.
#[derive(Debug, Clone, Default)]
pub struct AtRest {
    /// Answers of so many bytes and more are compressed. None: none is.
    pub compress_from: Option<usize>,
    /// The first seals, all open; without any, answers are stored as they are.
    pub keys: Vec<SealingKey>,
    pub plain: Plain,
}

/// What becomes of answers that are not sealed, where there are keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Plain {
    /// They are not believed.
    #[default]
    Refuse,
    /// They are replayed; new ones are sealed.
    Read,
    /// They are replayed, and new ones are not sealed either.
    Write,
}

/// A key and its name, which stands in all that it seals.
#[derive(Clone)]
pub struct SealingKey {
    id: String,
    key: [u8; 32],
}

impl SealingKey {
    /// `id` has at most 255 bytes: of a longer one nothing could be opened again.
    #[must_use]
    pub fn new(id: &str, key: [u8; 32]) -> Self {
        Self {
            id: id.to_owned(),
            key,
        }
    }
}

/// Keys must not end up in a log.
impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealingKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A nonce of an attempt: its token, which is random, and its fence. An attempt seals one answer, once.
fn nonce(claim: &Claim, fence: Option<u64>) -> [u8; NONCE] {
    let mut nonce = [0; NONCE];
    let (token, rest) = nonce.split_at_mut(16);
    token.copy_from_slice(claim.token.bytes());
    rest.copy_from_slice(&fence.unwrap_or_default().to_be_bytes());
    nonce
}

impl AtRest {
    /// The bytes to store as the end of the claim's attempt.
    #[must_use]
    pub fn seal(
        &self,
        stored: &Stored,
        kind: Kind,
        keys: &Keys,
        claim: &Claim,
        fence: Option<u64>,
    ) -> Vec<u8> {
        let record = keys.record(&claim.scope);
        self.seal_for(stored, kind, &record, nonce(claim, fence))
    }

    /// The same for the record `record`, its key in the store. No nonce may ever be used twice: have it random.
    #[must_use]
    pub fn seal_for(
        &self,
        stored: &Stored,
        kind: Kind,
        record: &[u8],
        nonce: [u8; NONCE],
    ) -> Vec<u8> {
        let plain = stored.to_bytes();
        let small = self
            .compress_from
            .is_some_and(|from| plain.len() >= from)
            .then(|| compress(&plain))
            .flatten();
        let bytes = small.unwrap_or(plain);
        match self.keys.first() {
            Some(key) if self.plain != Plain::Write => key.seal(&bytes, kind, record, nonce),
            _ => bytes,
        }
    }

    /// Reads what was stored in the record with key `record`.
    ///
    /// # Errors
    /// When it is damaged, of another record, sealed by none of the keys, or not sealed where it has to be.
    pub fn open(&self, bytes: &Bytes, kind: Kind, record: &[u8]) -> Result<Stored, Corrupt> {
        let Some(sealed) = bytes.strip_prefix(&SEALED) else {
            if !self.keys.is_empty() && self.plain == Plain::Refuse {
                return Err(Corrupt);
            }
            return expand(bytes);
        };
        let (length, rest) = sealed.split_first().ok_or(Corrupt)?;
        let (id, rest) = rest.split_at_checked(usize::from(*length)).ok_or(Corrupt)?;
        let key = self.keys.iter().find(|key| key.id.as_bytes() == id);
        expand(&key.ok_or(Corrupt)?.open(rest, kind, record)?.into())
    }
}

impl SealingKey {
    /// "SI", the version, and the key's name.
    fn head(&self) -> Vec<u8> {
        let mut head = SEALED.to_vec();
        head.push(self.id.len() as u8);
        head.extend_from_slice(self.id.as_bytes());
        head
    }

    fn associated(&self, kind: Kind, record: &[u8]) -> Vec<u8> {
        let mut data = self.head();
        data.push(match kind {
            Kind::Answer => 0,
            Kind::Tombstone => 1,
        });
        data.extend_from_slice(record);
        data
    }

    fn seal(&self, bytes: &[u8], kind: Kind, record: &[u8], nonce: [u8; NONCE]) -> Vec<u8> {
        let mut out = self.head();
        out.reserve(NONCE + bytes.len() + TAG);
        out.extend_from_slice(&nonce);
        let start = out.len();
        out.extend_from_slice(bytes);
        let text = out.get_mut(start..).unwrap_or_default();
        let tag = XChaCha20Poly1305::new(&self.key.into()).encrypt_inout_detached(
            &XNonce::from(nonce),
            &self.associated(kind, record),
            text.into(),
        );
        match tag {
            Ok(tag) => out.extend_from_slice(&tag),
            // Too long for the cipher, by far longer than what a policy allows: nobody can open it, and nobody read it.
            Err(_) => out.truncate(start),
        }
        out
    }

    fn open(&self, sealed: &[u8], kind: Kind, record: &[u8]) -> Result<Vec<u8>, Corrupt> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE>().ok_or(Corrupt)?;
        let (text, tag) = rest.split_last_chunk::<TAG>().ok_or(Corrupt)?;
        let mut text = text.to_vec();
        XChaCha20Poly1305::new(&self.key.into())
            .decrypt_inout_detached(
                &XNonce::from(*nonce),
                &self.associated(kind, record),
                text.as_mut_slice().into(),
                &Tag::from(*tag),
            )
            .map_err(|_| Corrupt)?;
        Ok(text)
    }
}

/// None where it would not be smaller.
fn compress(plain: &[u8]) -> Option<Vec<u8>> {
    let block = lz4_flex::block::compress(plain);
    if block.len() + 7 >= plain.len() {
        return None;
    }
    let mut out = Vec::with_capacity(block.len() + 7);
    out.extend_from_slice(&COMPRESSED);
    out.extend_from_slice(&u32::try_from(plain.len()).ok()?.to_be_bytes());
    out.extend_from_slice(&block);
    Some(out)
}

fn expand(bytes: &Bytes) -> Result<Stored, Corrupt> {
    let Some(compressed) = bytes.strip_prefix(&COMPRESSED) else {
        return Stored::from_bytes(bytes);
    };
    let (length, block) = compressed.split_first_chunk::<4>().ok_or(Corrupt)?;
    let length = u32::from_be_bytes(*length) as usize;
    if length > MAX_LENGTH || length / MAX_RATIO > block.len() {
        return Err(Corrupt);
    }
    let mut plain = vec![0; length];
    match lz4_flex::block::decompress_into(block, &mut plain) {
        Ok(written) if written == length => Stored::from_bytes(&plain.into()),
        _ => Err(Corrupt),
    }
}

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;
