//! Script calls: by digest first, whole when Redis does not know the script (its cache is volatile).

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

/// A call of one of the pipeline's scripts, with all but the script itself encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Index into the pipeline's scripts.
    pub script: usize,
    /// What it writes is to be as durable as its pipeline can have it.
    pub durable: bool,
    /// Bytes that the reply may have, where that is more than a few.
    pub reply: usize,
    arguments: usize,
    /// The key count, the keys and the arguments, encoded.
    tail: Vec<u8>,
}

impl Command {
    /// A call of script number `script` with `keys` keys; arguments are added in order, keys first.
    #[must_use]
    pub fn new(script: usize, keys: usize) -> Self {
        let mut command = Self {
            script,
            durable: false,
            reply: 0,
            arguments: 0,
            tail: Vec::with_capacity(160),
        };
        command.number(keys as u64);
        command
    }

    /// Adds a key or an argument.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.arguments += 1;
        self.tail.push(b'$');
        resp::decimal(&mut self.tail, bytes.len() as u64);
        self.tail.extend_from_slice(b"\r\n");
        self.tail.extend_from_slice(bytes);
        self.tail.extend_from_slice(b"\r\n");
    }

    /// Adds a number as an argument.
    pub fn number(&mut self, number: u64) {
        self.arguments += 1;
        let digits = number.checked_ilog10().unwrap_or(0) + 1;
        self.tail.push(b'$');
        resp::decimal(&mut self.tail, u64::from(digits));
        self.tail.extend_from_slice(b"\r\n");
        resp::decimal(&mut self.tail, number);
        self.tail.extend_from_slice(b"\r\n");
    }

    /// About how many bytes it sends.
    #[must_use]
    pub fn size(&self) -> usize {
        self.tail.len() + 80
    }

    /// Appends the command: by digest, or `whole` with the script's text.
    pub fn encode(&self, out: &mut Vec<u8>, script: &Script, whole: bool) {
        out.push(b'*');
        resp::decimal(out, self.arguments as u64 + 2);
        out.extend_from_slice(b"\r\n");
        let (verb, text): (&[u8], &str) = if whole || script.sha1.is_empty() {
            (b"$4\r\nEVAL\r\n", script.body)
        } else {
            (b"$7\r\nEVALSHA\r\n", &script.sha1)
        };
        out.extend_from_slice(verb);
        out.push(b'$');
        resp::decimal(out, text.len() as u64);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.tail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_digest_and_whole_are_the_same_call() {
        let script = Script::new("return 1");
        assert_eq!(script.sha1(), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        let mut command = Command::new(0, 1);
        command.bytes(b"key");
        command.number(1000);
        command.number(0);
        let encode = |whole| {
            let mut out = Vec::new();
            command.encode(&mut out, &script, whole);
            out
        };
        let plain = |verb: &[u8], text: &[u8]| {
            let mut out = Vec::new();
            resp::encode(&mut out, &[verb, text, b"1", b"key", b"1000", b"0"]);
            out
        };
        assert_eq!(encode(false), plain(b"EVALSHA", script.sha1().as_bytes()));
        assert_eq!(encode(true), plain(b"EVAL", b"return 1"));
    }
}
