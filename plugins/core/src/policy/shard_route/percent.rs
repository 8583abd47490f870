//! Parts of a whole, as `"25%"`.

use crate::policy::value::{Text, text_value};

/// Ten-thousandths, 0 to 10,000.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Percent(pub u32);

impl Text for Percent {
    const PATTERN: &'static str = "^[0-9]{1,3}(\\.[0-9]{1,2})?%$";

    fn expected() -> String {
        "a part such as \"25%\" or \"0.5%\", from 0% to 100%".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let parts = || {
            let number = text.strip_suffix('%')?;
            let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
            let digits = |text: &str, most| {
                let valid = (1..=most).contains(&text.len())
                    && text.bytes().all(|byte| byte.is_ascii_digit());
                valid.then(|| text.parse::<u32>().ok()).flatten()
            };
            let hundredths = digits(fraction, 2)? * if fraction.len() == 1 { 10 } else { 1 };
            Some(digits(whole, 3)? * 100 + hundredths)
        };
        parts()
            .filter(|parts| *parts <= crate::shard::WHOLE)
            .map(Self)
            .ok_or_else(Self::expected)
    }
}
text_value!(Percent);

#[cfg(feature = "schema")]
impl serde::Serialize for Percent {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl std::fmt::Display for Percent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 % 100 {
            0 => write!(f, "{}%", self.0 / 100),
            hundredths => write!(f, "{}.{hundredths:02}%", self.0 / 100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_as_people_write_them() {
        for (text, parts) in [
            ("0%", 0),
            ("5%", 500),
            ("0.5%", 50),
            ("12.25%", 1_225),
            ("100%", 10_000),
        ] {
            assert_eq!(Percent::parse(text), Ok(Percent(parts)), "{text}");
        }
        for text in [
            "", "5", "%", "101%", "-1%", "+1%", "1.%", ".5%", "1.234%", "1 %", "9999%",
        ] {
            assert!(Percent::parse(text).is_err(), "{text}");
        }
        assert_eq!(Percent(1_225).to_string(), "12.25%");
        assert_eq!(Percent(1_200).to_string(), "12%");
    }
}
