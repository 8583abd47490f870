//! A filter as bytes, and how it is read back in pieces.
//!
//! Little endian: `SLUBLOOM`, version (2 bytes), hashes (2), nothing (4), salt (8), bits (8), ids (8), time of building
//! in milliseconds (8), XXH64 of all before and after (8); then the bits. It never changes once it is built: ids that
//! come later are kept beside it until the next one.

use std::hash::Hasher;
use std::ops::Range;

use twox_hash::XxHash64;

use super::{Filter, Shape};

const MAGIC: &[u8; 8] = b"SLUBLOOM";
const VERSION: u16 = 1;
/// Bytes before the checksum.
const CHECKED: usize = 48;
/// Bytes before the bits.
pub const HEADER_BYTES: usize = CHECKED + 8;

/// Why a blob is no filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Corrupt {
    /// It begins otherwise.
    NoFilter,
    /// It is of another version.
    Version(u16),
    /// Its header makes no sense.
    Header,
    /// It ends too early, or not where it should.
    Length,
    /// It was changed, or replaced while it was read.
    Checksum,
}

impl std::fmt::Display for Corrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoFilter => f.write_str("found other data, expected a Bloom filter"),
            Self::Version(found) => write!(f, "found version {found}, expected {VERSION}"),
            Self::Header => f.write_str("found a header that no filter has"),
            Self::Length => f.write_str("found another length than the header says"),
            Self::Checksum => f.write_str("found another checksum than the header says"),
        }
    }
}

impl std::error::Error for Corrupt {}

impl Filter {
    /// The filter as bytes.
    #[must_use]
    pub fn to_blob(&self) -> Vec<u8> {
        let mut blob = Vec::with_capacity(HEADER_BYTES + self.bytes.len());
        blob.extend_from_slice(MAGIC);
        blob.extend_from_slice(&VERSION.to_le_bytes());
        blob.extend_from_slice(&u16::from(self.shape.hashes()).to_le_bytes());
        blob.extend_from_slice(&[0; 4]);
        for number in [self.salt, self.shape.bits(), self.ids, self.built_at] {
            blob.extend_from_slice(&number.to_le_bytes());
        }
        let checksum = checksum(&blob, &self.bytes);
        blob.extend_from_slice(&checksum.to_le_bytes());
        blob.extend_from_slice(&self.bytes);
        blob
    }
}

fn checksum(header: &[u8], bits: &[u8]) -> u64 {
    let mut hasher = XxHash64::with_seed(0);
    hasher.write(header);
    hasher.write(bits);
    hasher.finish()
}

/// A filter on its way, piece after piece.
#[derive(Debug, Default)]
pub struct Loading {
    /// Of all so far: each piece is hashed as it comes, as the whole would hold up a gateway's worker.
    hasher: XxHash64,
    told: u64,
    /// With what the header says, once it is there; its bits so far.
    filter: Option<Filter>,
}

impl Loading {
    /// The bytes of the blob to ask for next: at most `most`, which is at least [`HEADER_BYTES`]. `None` when all are
    /// there.
    #[must_use]
    pub fn next(&self, most: usize) -> Option<Range<usize>> {
        let Some(filter) = &self.filter else {
            return Some(0..most.max(HEADER_BYTES));
        };
        let left = filter.shape.bytes() - filter.bytes.len();
        let start = HEADER_BYTES + filter.bytes.len();
        (left > 0).then(|| start..start + left.min(most.max(1)))
    }

    /// How long the blob is, once its header is there.
    #[must_use]
    pub fn length(&self) -> Option<usize> {
        let filter = self.filter.as_ref()?;
        Some(HEADER_BYTES + filter.shape.bytes())
    }

    /// How many ids went into it, once its header is there.
    #[must_use]
    pub fn ids(&self) -> Option<u64> {
        self.filter.as_ref().map(Filter::ids)
    }

    /// Takes the memory that the filter needs, all at once; false when there is not so much. For whoever knows that the
    /// blob is really so long.
    #[must_use]
    pub fn reserve(&mut self) -> bool {
        self.filter.as_mut().is_some_and(|filter| {
            let left = filter.shape.bytes() - filter.bytes.len();
            filter.bytes.try_reserve_exact(left).is_ok()
        })
    }

    /// Takes the bytes that were asked for.
    ///
    /// # Errors
    /// When they belong to no filter; then the loading begins anew.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), Corrupt> {
        if let Some(filter) = &mut self.filter {
            let left = filter.shape.bytes() - filter.bytes.len();
            if piece.is_empty() || piece.len() > left {
                return Err(Corrupt::Length);
            }
            self.hasher.write(piece);
            filter.bytes.extend_from_slice(piece);
            return Ok(());
        }
        let (header, bits) = piece.split_at_checked(HEADER_BYTES).ok_or_else(|| {
            if piece.starts_with(MAGIC) {
                Corrupt::Length
            } else {
                Corrupt::NoFilter
            }
        })?;
        let mut filter = read_header(header)?;
        if bits.len() > filter.shape.bytes() {
            return Err(Corrupt::Length);
        }
        filter.bytes.extend_from_slice(bits);
        let (checked, mut told) = header.split_at_checked(CHECKED).ok_or(Corrupt::Length)?;
        self.hasher.write(checked);
        self.hasher.write(bits);
        self.told = u64::from_le_bytes(take(&mut told)?);
        self.filter = Some(filter);
        Ok(())
    }

    /// The filter.
    ///
    /// # Errors
    /// When it is not whole.
    pub fn finish(self) -> Result<Filter, Corrupt> {
        let filter = self.filter.ok_or(Corrupt::Length)?;
        if filter.bytes.len() != filter.shape.bytes() {
            return Err(Corrupt::Length);
        }
        if self.hasher.finish() != self.told {
            return Err(Corrupt::Checksum);
        }
        Ok(filter)
    }
}

/// The filter that a header is of, still without its bits.
fn read_header(header: &[u8]) -> Result<Filter, Corrupt> {
    let mut rest = header.strip_prefix(MAGIC).ok_or(Corrupt::NoFilter)?;
    let version = u16::from_le_bytes(take(&mut rest)?);
    if version != VERSION {
        return Err(Corrupt::Version(version));
    }
    let hashes = u16::from_le_bytes(take(&mut rest)?);
    let _unused: [u8; 4] = take(&mut rest)?;
    let mut number = || take(&mut rest).map(u64::from_le_bytes);
    let (salt, bits, ids, built_at) = (number()?, number()?, number()?, number()?);
    let hashes = u8::try_from(hashes).map_err(|_| Corrupt::Header)?;
    Ok(Filter {
        shape: Shape::from_parts(bits, hashes).ok_or(Corrupt::Header)?,
        salt,
        ids,
        built_at,
        // What the header claims is not reserved before it is there.
        bytes: Vec::new(),
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Corrupt> {
    let (bytes, after) = rest.split_first_chunk::<N>().ok_or(Corrupt::Length)?;
    *rest = after;
    Ok(*bytes)
}
