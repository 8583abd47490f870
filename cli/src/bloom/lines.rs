//! Ids, one in each line.

use std::io::{BufRead, BufReader, Read};

use sluice_core::guard::written;

use crate::Refusal;

/// A line is not read further than this: no id is so long.
const MAX_LINE: u64 = 64 << 10;

/// Hands over each id, as the filter knows it. Empty lines are none.
pub fn each(
    from: impl Read,
    mut take: impl FnMut(Vec<u8>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut from = BufReader::with_capacity(1 << 20, from);
    let mut line = Vec::new();
    let mut number = 0_u64;
    loop {
        line.clear();
        let read = from.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        if read.map_err(|error| Refusal::No(format!("the list of ids: {error}")))? == 0 {
            return Ok(());
        }
        number += 1;
        let id = line.strip_suffix(b"\n").unwrap_or(&line);
        let id = id.strip_suffix(b"\r").unwrap_or(id);
        if !id.is_empty() {
            let id = written(id);
            take(id.map_err(|problem| Refusal::No(format!("line {number}: {problem}")))?)?;
        }
    }
}
