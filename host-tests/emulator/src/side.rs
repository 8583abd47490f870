//! One direction of a stream, as the gateway's filter manager sees it with one filter in the chain: what has come, what
//! waits, and whether the filter has stopped the iteration. The rules are those of Envoy's filter manager.

/// Whether what comes goes on to the filter and beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Iteration {
    #[default]
    Continue,
    /// The filter has stopped; it still gets the next pieces.
    StopSingle,
    /// The filter has stopped and gets nothing until it is resumed.
    StopAll,
}

/// The part of a message that the filter is being called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Headers,
    Body,
    Trailers,
}

#[derive(Debug, Default)]
pub(crate) struct Side {
    pub iteration: Iteration,
    /// The filter is being called, for this part.
    pub calling: Option<Part>,
    /// The headers have come.
    pub begun: bool,
    /// The headers have gone on behind the filter.
    pub headers_continued: bool,
    /// The filter has been told of the end.
    pub filter_ended: bool,
    /// The whole message has come.
    pub complete: bool,
    /// A local reply has ended this direction while the filter was being called.
    pub aborted: bool,
    /// A full buffer slows the sender down, instead of ending the stream.
    pub streaming: bool,
    /// The filter sees all that waits at each piece (it has paused in the body before).
    pub buffering: bool,
    /// The body that waits is in the VM, where the filter can change it.
    pub in_vm: bool,
    /// Body that waits outside of the VM.
    pub buffered: Option<Vec<u8>>,
    /// There are trailers.
    pub trailers: bool,
}

impl Side {
    /// Puts a piece of the body to what waits.
    pub fn buffer(&mut self, piece: Vec<u8>) {
        match &mut self.buffered {
            Some(buffered) => buffered.extend_from_slice(&piece),
            None => self.buffered = Some(piece),
        }
    }

    /// Whether more waits than the gateway holds.
    pub fn is_too_large(&self, limit: usize) -> bool {
        self.buffered
            .as_ref()
            .is_some_and(|body| body.len() > limit)
    }
}
