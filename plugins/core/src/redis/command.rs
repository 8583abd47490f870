//! Script calls: by digest first, whole when Redis does not know the script (its cache is volatile). And the few commands
//! that are none.

use super::resp;

/// A Lua script and its digest.
#[derive(Debug)]
pub struct Script {
    body: &'static str,
    /// Empty of one that always goes whole.
    sha1: String,
}

impl Script {
    #[must_use]
    pub fn new(body: &'static str) -> Self {
        Self {
            body,
            sha1: sha1_smol::Sha1::from(body).digest().to_string(),
        }
    }

    /// One that is called so rarely that it always goes whole: its filter need not know how digests are made.
    #[must_use]
    pub fn whole(body: &'static str) -> Self {
        let sha1 = String::new();
        Self { body, sha1 }
    }

    /// One whose digest is known.
    #[must_use]
    pub fn known(body: &'static str, sha1: &str) -> Self {
        let sha1 = sha1.to_owned();
        Self { body, sha1 }
    }

    /// The digest that EVALSHA names it by.
    #[must_use]
    pub fn sha1(&self) -> &str {
        &self.sha1
    }
}

/// A command, with all but the text of a script encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    verb: Verb,
    /// What it writes is to be as durable as its pipeline can have it.
    pub durable: bool,
    /// Bytes that the reply may have, where that is more than a few.
    pub reply: usize,
    arguments: usize,
    /// The key count of a script, the keys and the arguments, encoded.
    tail: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    /// Index into the pipeline's scripts.
    Script(usize),
    Plain(&'static str),
}

impl Command {
    /// A call of script number `script` with `keys` keys; arguments are added in order, keys first.
    #[must_use]
    pub fn new(script: usize, keys: usize) -> Self {
        let mut command = Self::of(Verb::Script(script));
        command.number(keys as u64);
        command
    }

    /// A command of Redis's own; its arguments are added in order.
    #[must_use]
    pub fn plain(verb: &'static str) -> Self {
        Self::of(Verb::Plain(verb))
    }

    fn of(verb: Verb) -> Self {
        Self {
            verb,
            durable: false,
            reply: 0,
            arguments: 0,
            tail: Vec::with_capacity(160),
        }
    }

    /// Adds a key or an argument.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.arguments += 1;
        resp::argument(&mut self.tail, bytes);
    }

    /// Adds a number as an argument.
    pub fn number(&mut self, number: u64) {
        self.arguments += 1;
        let digits = number.checked_ilog10().unwrap_or(0) + 1;
        resp::header(&mut self.tail, b'$', digits as usize);
        resp::decimal(&mut self.tail, number);
        self.tail.extend_from_slice(b"\r\n");
    }

    /// About how many bytes it sends.
    #[must_use]
    pub fn size(&self) -> usize {
        self.tail.len() + 80
    }

    /// Appends the command, a script by its digest or `whole` with its text. False when it is none of the `scripts`.
    #[must_use]
    pub fn encode(&self, out: &mut Vec<u8>, scripts: &[Script], whole: bool) -> bool {
        match self.verb {
            Verb::Script(index) => {
                let Some(script) = scripts.get(index) else {
                    return false;
                };
                resp::header(out, b'*', self.arguments + 2);
                if whole || script.sha1.is_empty() {
                    resp::argument(out, b"EVAL");
                    resp::argument(out, script.body.as_bytes());
                } else {
                    resp::argument(out, b"EVALSHA");
                    resp::argument(out, script.sha1.as_bytes());
                }
            }
            Verb::Plain(verb) => {
                resp::header(out, b'*', self.arguments + 1);
                resp::argument(out, verb.as_bytes());
            }
        }
        out.extend_from_slice(&self.tail);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_digest_and_whole_are_the_same_call() {
        let scripts = [Script::new("return 1")];
        let sha1 = scripts[0].sha1();
        assert_eq!(sha1, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        let mut command = Command::new(0, 1);
        command.bytes(b"key");
        command.number(1000);
        command.number(0);
        let encode = |whole| {
            let mut out = Vec::new();
            assert!(command.encode(&mut out, &scripts, whole));
            out
        };
        let plain = |verb: &[u8], text: &[u8]| {
            let mut out = Vec::new();
            resp::encode(&mut out, &[verb, text, b"1", b"key", b"1000", b"0"]);
            out
        };
        assert_eq!(encode(false), plain(b"EVALSHA", sha1.as_bytes()));
        assert_eq!(encode(true), plain(b"EVAL", b"return 1"));
        assert!(!command.encode(&mut Vec::new(), &[], true));
    }

    #[test]
    fn a_plain_command_needs_no_script() {
        let mut command = Command::plain("HGET");
        command.bytes(b"key");
        command.bytes(b"field");
        let (mut out, mut expected) = (Vec::new(), Vec::new());
        assert!(command.encode(&mut out, &[], false));
        resp::encode(&mut expected, &[b"HGET", b"key", b"field"]);
        assert_eq!(out, expected);
    }
}
