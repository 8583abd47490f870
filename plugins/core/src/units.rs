//! The units people write in a policy: durations (`"250ms"`, `"1h30m"`), sizes (`"64KiB"`) and rates (`"100/min"`).
//!
//! Whole numbers only: a fraction of a unit is always a whole number of a smaller one, and floats do not round-trip.

use std::time::Duration;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Largest first: the parts of a duration stand in this order.
const DURATION_UNITS: [(&str, u64); 6] = [
    ("d", DAY),
    ("h", HOUR),
    ("m", MINUTE),
    ("min", MINUTE),
    ("s", 1_000),
    ("ms", 1),
];

/// What may follow the slash of a rate. A year is 365 days.
const PERIODS: [(&str, u64); 13] = [
    ("s", 1_000),
    ("sec", 1_000),
    ("second", 1_000),
    ("m", MINUTE),
    ("min", MINUTE),
    ("minute", MINUTE),
    ("h", HOUR),
    ("hour", HOUR),
    ("d", DAY),
    ("day", DAY),
    ("week", 7 * DAY),
    ("year", 365 * DAY),
    ("ms", 1),
];

/// Largest first, binary before decimal where they could both fit.
const SIZE_UNITS: [(&str, u64); 5] = [
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

/// Completes "expected ..." for [`parse_duration`].
pub const DURATION: &str = "a duration such as \"250ms\", \"30s\", \"5m\", \"1h30m\" or \"1d\"";
/// Completes "expected ..." for [`parse_size`].
pub const SIZE: &str = "a size such as \"512B\", \"64KiB\" or \"1MB\"";
/// Completes "expected ..." for [`parse_rate`].
pub const RATE: &str = "a rate such as \"100/min\", \"5/s\" or \"10/250ms\"";

/// [`parse_duration`] as a regular expression, for JSON Schemas; of the syntax that all engines share, so it does not
/// see the order of the units.
pub const DURATION_PATTERN: &str = "^([0-9]+(d|h|min|ms|m|s))+$";
/// [`parse_size`] as a regular expression, for JSON Schemas.
pub const SIZE_PATTERN: &str = "^[0-9]+(B|KB|KiB|MB|MiB)$";
/// [`parse_rate`] as a regular expression, for JSON Schemas.
pub const RATE_PATTERN: &str =
    "^[0-9]+/(ms|s|sec|second|m|min|minute|h|hour|d|day|week|year|([0-9]+(d|h|min|ms|m|s))+)$";

/// Reads `"250ms"`, `"30s"`, `"5m"` (or `min`), `"2h"`, `"1d"`, and sums in falling order such as `"1h30m"`.
/// `None` for anything else, and for what does not fit 64 bits of milliseconds.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total: u64 = 0;
    let mut above = u64::MAX;
    loop {
        let (count, after) = leading_number(rest)?;
        let word_length = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (word, next) = after.split_at_checked(word_length)?;
        let unit = lookup(&DURATION_UNITS, word)?;
        if unit >= above {
            return None;
        }
        above = unit;
        total = total.checked_add(count.checked_mul(unit)?)?;
        if next.is_empty() {
            return Some(Duration::from_millis(total));
        }
        rest = next;
    }
}

/// Writes whole milliseconds the way [`parse_duration`] reads them; what is finer is cut off.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (word, unit) in DURATION_UNITS {
        let count = rest / unit;
        if count > 0 {
            text.push_str(&format!("{count}{word}"));
            rest %= unit;
        }
    }
    text
}

/// Reads `"512B"`, `"64KiB"`, `"1MiB"`, `"64KB"`, `"1MB"` as bytes. `None` for anything else.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let (count, word) = leading_number(text)?;
    count.checked_mul(lookup(&SIZE_UNITS, word)?)
}

/// Writes bytes the way [`parse_size`] reads them, in the largest unit that divides them.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    let (word, unit) = SIZE_UNITS
        .into_iter()
        .find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit))
        .unwrap_or(("B", 1));
    format!("{}{word}", bytes / unit)
}

/// Reads `"100/min"` or `"10/250ms"` as a count and the period it is counted over. `None` for anything else.
#[must_use]
pub fn parse_rate(text: &str) -> Option<(u64, Duration)> {
    let (count, rest) = leading_number(text)?;
    let period = rest.strip_prefix('/')?;
    let period = match lookup(&PERIODS, period) {
        Some(milliseconds) => Duration::from_millis(milliseconds),
        None => parse_duration(period)?,
    };
    Some((count, period))
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, rest))
}

fn lookup(units: &[(&str, u64)], word: &str) -> Option<u64> {
    units
        .iter()
        .find_map(|(name, unit)| (*name == word).then_some(*unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("5min", 300_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("1d2h3m4s5ms", 93_784_005),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for text in [
            "",
            "5",
            "s",
            "5 s",
            " 5s",
            "-5s",
            "+5s",
            "1.5s",
            "5S",
            "30m1h",
            "1m1min",
            "5us",
            "1e3s",
            "99999999999999999999s",
            "300000000000000d",
            "5s\n",
            "５s",
        ] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0B", 0),
            ("512B", 512),
            ("64KiB", 65_536),
            ("64KB", 64_000),
            ("1MiB", 1_048_576),
            ("1MB", 1_000_000),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in [
            "",
            "64",
            "64K",
            "64kb",
            "KiB",
            "1.5MB",
            "99999999999999999MiB",
        ] {
            assert_eq!(parse_size(text), None, "{text:?}");
        }
    }

    #[test]
    fn rates_are_read_as_people_write_them() {
        for (text, count, milliseconds) in [
            ("5/s", 5, 1_000),
            ("5/second", 5, 1_000),
            ("100/min", 100, 60_000),
            ("100/m", 100, 60_000),
            ("0/h", 0, 3_600_000),
            ("7/day", 7, 86_400_000),
            ("7/week", 7, 604_800_000),
            ("7/year", 7, 31_536_000_000),
            ("10/250ms", 10, 250),
            ("10/1h30m", 10, 5_400_000),
        ] {
            let expected = Some((count, Duration::from_millis(milliseconds)));
            assert_eq!(parse_rate(text), expected, "{text}");
        }
        for text in [
            "",
            "5",
            "/s",
            "5/",
            "5 / s",
            "5/fortnight",
            "5/s/s",
            "1.5/s",
            "-1/s",
            "5per s",
        ] {
            assert_eq!(parse_rate(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_duration_comes_back_as_written(milliseconds in 0..u64::MAX) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
        }

        #[test]
        fn a_size_comes_back_as_written(bytes: u64) {
            prop_assert_eq!(parse_size(&format_size(bytes)), Some(bytes));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text: String) {
            let _ = (parse_duration(&text), parse_size(&text), parse_rate(&text));
        }
    }
}
