//! gRPC's frames: one byte that says whether the message is compressed, four bytes of length (big endian), the
//! message.

/// Bytes before a message.
pub const PREFIX: usize = 5;

/// The bytes that make `length` bytes of payload one message. Lengths fit: no buffer of the gateway's has 4 GiB.
pub fn prefix(length: usize) -> [u8; PREFIX] {
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [0, a, b, c, d]
}

/// Takes the prefixes out of a stream of frames that arrives in any pieces.
#[derive(Debug, Default)]
pub struct Unframer {
    /// Bytes of the running message that are still to come.
    left: usize,
    /// The prefix that has come in part.
    partial: Vec<u8>,
}

impl Unframer {
    /// The payload in `bytes`.
    pub fn payload(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        while !bytes.is_empty() {
            if self.left == 0 {
                let missing = PREFIX - self.partial.len();
                let (head, rest) = bytes.split_at(missing.min(bytes.len()));
                self.partial.extend_from_slice(head);
                bytes = rest;
                if let [_, a, b, c, d] = *self.partial.as_slice() {
                    self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                    self.partial.clear();
                }
            } else {
                let (payload, rest) = bytes.split_at(self.left.min(bytes.len()));
                out.extend_from_slice(payload);
                self.left -= payload.len();
                bytes = rest;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_whole_however_they_are_cut() {
        let messages: [&[u8]; 4] = [b"*1\r\n$4\r\nPING\r\n", b"", b"x", &[7; 300]];
        let mut stream = Vec::new();
        for message in messages {
            stream.extend(prefix(message.len()));
            stream.extend(message);
        }
        for size in 1..stream.len() {
            let mut unframer = Unframer::default();
            let out: Vec<u8> = stream
                .chunks(size)
                .flat_map(|chunk| unframer.payload(chunk))
                .collect();
            assert_eq!(out, messages.concat(), "in pieces of {size}");
        }
    }
}
