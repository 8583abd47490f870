//! One spelling for each key: without it the same user is on two shards.

use std::io::Write;

/// A step that brings keys to one spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normal {
    /// Takes white space (ASCII) from both ends.
    Trim,
    /// To lower case (ASCII).
    Lower,
    /// A whole number of at most 64 bits: `007`, `+7` and `7` are `7`, `-0` is `0`.
    Integer,
    /// A UUID with hyphens and in lower case: `{...}`, `urn:uuid:...` and 32 digits without hyphens are accepted.
    Uuid,
}

impl Normal {
    /// Carries out the steps on `key`. False when it is not what a step is for, or nothing is left; `key` is then of no
    /// use.
    #[must_use]
    pub fn all(steps: &[Self], key: &mut Vec<u8>) -> bool {
        steps.iter().all(|step| step.apply(key)) && !key.is_empty()
    }

    fn apply(self, key: &mut Vec<u8>) -> bool {
        match self {
            Self::Trim => {
                let end = key.trim_ascii_end().len();
                key.truncate(end);
                let start = key.len() - key.trim_ascii_start().len();
                key.drain(..start);
                true
            }
            Self::Lower => {
                key.make_ascii_lowercase();
                true
            }
            Self::Integer => integer(key),
            Self::Uuid => uuid(key),
        }
    }
}

fn integer(key: &mut Vec<u8>) -> bool {
    let number = std::str::from_utf8(key)
        .ok()
        .and_then(|text| text.parse::<i128>().ok());
    let Some(number) =
        number.filter(|number| (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(number))
    else {
        return false;
    };
    key.clear();
    write!(key, "{number}").is_ok()
}

fn uuid(key: &mut Vec<u8>) -> bool {
    const HYPHENS: [usize; 4] = [8, 13, 18, 23];
    let inner = key
        .strip_prefix(b"{")
        .and_then(|rest| rest.strip_suffix(b"}"))
        .or_else(|| key.strip_prefix(b"urn:uuid:"))
        .unwrap_or(key);
    let hyphened = inner.len() == 36;
    if inner.len() != 32 && !hyphened {
        return false;
    }
    let mut digits = Vec::with_capacity(36);
    for (at, byte) in inner.iter().enumerate() {
        if hyphened && HYPHENS.contains(&at) {
            if *byte != b'-' {
                return false;
            }
        } else if byte.is_ascii_hexdigit() {
            if HYPHENS.contains(&digits.len()) {
                digits.push(b'-');
            }
            digits.push(byte.to_ascii_lowercase());
        } else {
            return false;
        }
    }
    *key = digits;
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(steps: &[Normal], key: &str) -> Option<String> {
        let mut key = key.as_bytes().to_vec();
        Normal::all(steps, &mut key).then(|| String::from_utf8(key).unwrap())
    }

    #[test]
    fn spellings_of_one_key_come_to_one() {
        use Normal::{Integer, Lower, Trim, Uuid};
        let uuid = "0f8fad5b-d9cb-469f-a165-70867728950e";
        for (steps, key, expected) in [
            (&[][..], " A ", Some(" A ")),
            (&[Trim, Lower], "\t Alice ", Some("alice")),
            (&[Trim], "  ", None),
            (&[Integer], "007", Some("7")),
            (&[Integer], "+7", Some("7")),
            (&[Integer], "-0", Some("0")),
            (&[Integer], "-12", Some("-12")),
            (
                &[Integer],
                "18446744073709551615",
                Some("18446744073709551615"),
            ),
            (&[Integer], "18446744073709551616", None),
            (&[Integer], "7 ", None),
            (&[Trim, Integer], "7 ", Some("7")),
            (&[Integer], "7.0", None),
            (&[Integer], "", None),
            (&[Uuid], uuid, Some(uuid)),
            (&[Uuid], "0F8FAD5BD9CB469FA16570867728950E", Some(uuid)),
            (
                &[Uuid],
                "{0F8FAD5B-D9CB-469F-A165-70867728950E}",
                Some(uuid),
            ),
            (
                &[Uuid],
                "urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e",
                Some(uuid),
            ),
            (&[Uuid], "0f8fad5b-d9cb-469f-a165-70867728950", None),
            (&[Uuid], "0f8fad5bd-9cb-469f-a165-70867728950e", None),
            (&[Uuid], "0f8fad5b-d9cb-469f-a165-7086772895-e", None),
            (&[Uuid], "0f8fad5bd9cb469fa16570867728950g", None),
        ] {
            assert_eq!(normal(steps, key).as_deref(), expected, "{steps:?} {key:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_normal_stays(key: Vec<u8>, step in 0_usize..4) {
            let step = [Normal::Trim, Normal::Lower, Normal::Integer, Normal::Uuid][step];
            let mut once = key;
            if Normal::all(&[step], &mut once) {
                let mut twice = once.clone();
                prop_assert!(Normal::all(&[step], &mut twice));
                prop_assert_eq!(once, twice);
            }
        }
    }
}
