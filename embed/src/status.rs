//! What a host function answers: the numbers of the ABI.

/// The result of a host function, as the filter sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Status {
    Ok = 0,
    NotFound = 1,
    BadArgument = 2,
    SerializationFailure = 3,
    ParseFailure = 4,
    InvalidMemoryAccess = 6,
    Empty = 7,
    CasMismatch = 8,
    InternalFailure = 10,
    /// The status of a failed HTTP call, from `proxy_get_status`.
    BrokenConnection = 11,
    Unimplemented = 12,
}
