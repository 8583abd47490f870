//! Who else must have a write before it counts: WAIT or WAITAOF at the end of a batch, on the connection of its writes.
//!
//! Neither works inside a script, and both speak of the writes of their own connection only. Since Redis 7.2 a connection
//! that wrote nothing has nothing to wait for: a script that finds its work done already must write all the same.
//!
//! Redis drops a client that closes its side while it waits, so the connection has to stay open
//! ([`Framing::Stream`](super::pipe::Framing::Stream)).

use super::resp::{self, Reply};
use super::trouble::Trouble;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Durability {
    /// So many replicas must have it.
    pub replicas: u32,
    /// In their append-only files, and in the primary's, on disk. Takes Redis 7.2.
    pub aof: bool,
    /// How long they are waited for; less than what a batch may take.
    pub timeout: Duration,
}

impl Durability {
    /// Appends the command, which has one reply.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let replicas = self.replicas.to_string();
        // 0 would be for ever.
        let timeout = self.timeout.as_millis().max(1).to_string();
        let (replicas, timeout) = (replicas.as_bytes(), timeout.as_bytes());
        if self.aof {
            resp::encode(out, &[b"WAITAOF", b"1", replicas, timeout]);
        } else {
            resp::encode(out, &[b"WAIT", replicas, timeout]);
        }
    }

    /// What the reply says of the writes before it.
    ///
    /// # Errors
    /// When they are not as durable as asked, or when that is not known.
    pub fn reached(&self, reply: &Reply<'_>) -> Result<(), Trouble> {
        let (local, replicas) = match reply {
            Reply::Error(text) => return Err(Trouble::from_error_reply(text)),
            Reply::Integer(replicas) if !self.aof => (1, *replicas),
            Reply::Array(parts) if self.aof => match parts.as_slice() {
                [Reply::Integer(local), Reply::Integer(replicas)] => (*local, *replicas),
                _ => return Err(Trouble::Malformed),
            },
            _ => return Err(Trouble::Malformed),
        };
        if local < 1 || replicas < i64::from(self.replicas) {
            return Err(Trouble::NotDurable);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn durability(replicas: u32, aof: bool) -> Durability {
        Durability {
            replicas,
            aof,
            timeout: Duration::from_millis(25),
        }
    }

    fn encoded(durability: Durability) -> String {
        let mut out = Vec::new();
        durability.encode(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn wait_is_for_replicas_and_waitaof_for_the_disk() {
        assert_eq!(
            encoded(durability(2, false)),
            "*3\r\n$4\r\nWAIT\r\n$1\r\n2\r\n$2\r\n25\r\n"
        );
        assert_eq!(
            encoded(durability(0, true)),
            "*4\r\n$7\r\nWAITAOF\r\n$1\r\n1\r\n$1\r\n0\r\n$2\r\n25\r\n"
        );
        let short = Durability {
            timeout: Duration::from_micros(300),
            ..durability(1, false)
        };
        assert!(encoded(short).ends_with("$1\r\n1\r\n"), "never without end");
    }

    #[test]
    fn fewer_than_asked_is_not_durable() {
        let one = durability(1, false);
        assert_eq!(one.reached(&Reply::Integer(0)), Err(Trouble::NotDurable));
        assert_eq!(one.reached(&Reply::Integer(1)), Ok(()));
        assert_eq!(one.reached(&Reply::Integer(3)), Ok(()));
        let aof =
            |local, replicas| Reply::Array(vec![Reply::Integer(local), Reply::Integer(replicas)]);
        let both = durability(1, true);
        assert_eq!(both.reached(&aof(1, 1)), Ok(()));
        assert_eq!(both.reached(&aof(0, 1)), Err(Trouble::NotDurable));
        assert_eq!(both.reached(&aof(1, 0)), Err(Trouble::NotDurable));
    }

    #[test]
    fn a_reply_that_says_nothing_is_trouble() {
        let old = Reply::Error(b"ERR unknown command 'WAITAOF', with args beginning with: ");
        assert_eq!(durability(1, true).reached(&old), Err(Trouble::Error));
        for reply in [Reply::Nil, Reply::Simple(b"OK"), Reply::Array(vec![])] {
            for aof in [false, true] {
                assert_eq!(durability(1, aof).reached(&reply), Err(Trouble::Malformed));
            }
        }
        assert_eq!(
            durability(1, true).reached(&Reply::Integer(1)),
            Err(Trouble::Malformed)
        );
    }
}
