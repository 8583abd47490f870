//! Dates of HTTP (RFC 9110, 5.6.7), in all three of its formats.

use std::time::{Duration, UNIX_EPOCH};

use super::Millis;

/// 9999-12-31T23:59:59Z: the last that can be written.
const LAST_SECOND: u64 = 253_402_300_799;

/// Reads a date. Weekday, month and zone in any case, as senders get that wrong; all else as it must be.
pub(super) fn parse(value: &[u8]) -> Option<Millis> {
    let mut text = String::with_capacity(value.len());
    for byte in value {
        let inside = text.as_bytes().last().is_some_and(u8::is_ascii_alphabetic);
        text.push(char::from(if inside {
            byte.to_ascii_lowercase()
        } else {
            byte.to_ascii_uppercase()
        }));
    }
    let text = match text.strip_suffix(" Gmt") {
        Some(start) => format!("{start} GMT"),
        None => text,
    };
    let time = httpdate::parse_http_date(&text).ok()?;
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// Writes a date, to the second.
pub(super) fn format(time: Millis) -> String {
    let seconds = (time / 1_000).min(LAST_SECOND);
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AUGUST_2050: Millis = 2_544_400_878_000;

    #[test]
    fn every_format_of_a_date_is_read() {
        for text in [
            "Thu, 18 Aug 2050 02:01:18 GMT",
            "Thursday, 18-Aug-50 02:01:18 GMT",
            "Thu Aug 18 02:01:18 2050",
            "THU, 18 Aug 2050 02:01:18 GMT",
            "Thu, 18 AUG 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 gMT",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(AUGUST_2050), "{text}");
        }
        assert_eq!(
            parse(b"Tue, 19 Jan 2038 14:14:08 GMT"),
            Some(2_147_523_248_000)
        );
        assert_eq!(
            parse(b"Sun, 21 Nov 2286 04:46:39 GMT"),
            Some(10_000_039_599_000)
        );
        assert_eq!(parse(b"Thu Aug  8 02:01:18 2050"), None, "a Monday");
        assert_eq!(
            parse(b"Mon Aug  8 02:01:18 2050"),
            Some(AUGUST_2050 - 10 * 86_400_000)
        );
    }

    #[test]
    fn what_is_nearly_a_date_is_none() {
        for text in [
            "",
            "0",
            "-1",
            "foo",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 2050 02:01:18",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 GMT, Thu, 18 Aug 2050 02:01:18 GMT",
            "Thu, 01 Jan 1960 00:00:00 GMT",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(value: Vec<u8>) {
            let _ = parse(&value);
        }

        #[test]
        fn a_date_comes_back_as_written(seconds in 0..=LAST_SECOND) {
            prop_assert_eq!(parse(format(seconds * 1_000).as_bytes()), Some(seconds * 1_000));
        }

        #[test]
        fn any_time_is_written_without_a_panic(time: u64) {
            let _ = format(time);
        }
    }
}
