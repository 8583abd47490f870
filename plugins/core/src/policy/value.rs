//! How single values of a policy are read: bounded numbers, text with a syntax, and objects with a short form.
//!
//! Every refusal says what was expected in words, because serde's own derive can only name a Rust type.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Unexpected, Visitor};

use crate::units;

/// Text with a syntax of its own.
pub trait Text: Sized {
    /// The syntax as a regular expression, for the JSON Schema.
    const PATTERN: &'static str;

    /// Completes "expected ...".
    fn expected() -> String;

    /// Reads the text.
    ///
    /// # Errors
    /// Completes "expected ..."; usually [`Text::expected`], or something closer to the mistake.
    fn parse(text: &str) -> Result<Self, String>;
}

/// Implements `Deserialize` and, for schemas, `JsonSchema` and `Serialize` (by `Display`) for [`Text`] types.
macro_rules! text_value {
    ($type:ty $(, $($generics:tt)+)?) => {
        impl<'de $(, $($generics)+)?> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::policy::value::deserialize_text(deserializer)
            }
        }

        #[cfg(feature = "schema")]
        impl $(<$($generics)+>)? schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let pattern = <Self as $crate::policy::value::Text>::PATTERN;
                schemars::json_schema!({ "type": "string", "pattern": pattern })
            }
        }
    };
}
pub(crate) use text_value;

/// Reads a string as a [`Text`].
///
/// # Errors
/// When it is no string, or not of the syntax.
pub fn deserialize_text<'de, D: Deserializer<'de>, T: Text>(
    deserializer: D,
) -> Result<T, D::Error> {
    struct TextVisitor<T>(PhantomData<T>);

    impl<T: Text> Visitor<'_> for TextVisitor<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&T::expected())
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            T::parse(text)
                .map_err(|expected| E::invalid_value(Unexpected::Str(text), &expected.as_str()))
        }
    }

    deserializer.deserialize_str(TextVisitor(PhantomData))
}

/// An object that may also be written as one text, for its commonest use.
#[derive(Debug, Clone)]
pub struct Short<T>(pub T);

/// What [`Short`] needs of the object.
pub trait ShortForm: Sized {
    /// The text form as a regular expression, for the JSON Schema.
    const PATTERN: &'static str;

    /// Completes "expected ..."; names both forms.
    const EXPECTED: &'static str;

    /// Reads the text form.
    ///
    /// # Errors
    /// Completes "expected ...".
    fn from_text(text: &str) -> Result<Self, String>;
}

impl<'de, T: ShortForm + Deserialize<'de>> Deserialize<'de> for Short<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ShortVisitor<T>(PhantomData<T>);

        impl<'de, T: ShortForm + Deserialize<'de>> Visitor<'de> for ShortVisitor<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::EXPECTED)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
                T::from_text(text)
                    .map_err(|expected| E::invalid_value(Unexpected::Str(text), &expected.as_str()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(serde::de::value::MapAccessDeserializer::new(map))
            }
        }

        deserializer
            .deserialize_any(ShortVisitor(PhantomData))
            .map(Short)
    }
}

#[cfg(feature = "schema")]
impl<T: ShortForm + schemars::JsonSchema> schemars::JsonSchema for Short<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let long = generator.subschema_for::<T>();
        schemars::json_schema!({ "anyOf": [{ "type": "string", "pattern": T::PATTERN }, long] })
    }
}

/// A whole number from `MIN` to `MAX`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(serde::Serialize), serde(transparent))]
pub struct Int<const MIN: u64, const MAX: u64>(pub u64);

impl<const MIN: u64, const MAX: u64> Int<MIN, MAX> {
    /// The number as another type; saturates, which `MAX` should make impossible.
    #[must_use]
    pub fn get<N: TryFrom<u64> + Bounded>(self) -> N {
        N::try_from(self.0).unwrap_or(N::LARGEST)
    }
}

/// Types with a largest value.
pub trait Bounded {
    const LARGEST: Self;
}
impl Bounded for u8 {
    const LARGEST: Self = Self::MAX;
}
impl Bounded for u16 {
    const LARGEST: Self = Self::MAX;
}
impl Bounded for u32 {
    const LARGEST: Self = Self::MAX;
}
impl Bounded for usize {
    const LARGEST: Self = Self::MAX;
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Int<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntVisitor<const MIN: u64, const MAX: u64>;

        impl<const MIN: u64, const MAX: u64> Visitor<'_> for IntVisitor<MIN, MAX> {
            type Value = Int<MIN, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number from {MIN} to {MAX}")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                if (MIN..=MAX).contains(&number) {
                    Ok(Int(number))
                } else {
                    Err(E::invalid_value(Unexpected::Unsigned(number), &self))
                }
            }
        }

        deserializer.deserialize_u64(IntVisitor)
    }
}

#[cfg(feature = "schema")]
impl<const MIN: u64, const MAX: u64> schemars::JsonSchema for Int<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Int{MIN}To{MAX}").into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

/// `true`, for fields that say something by being there. `"present": false` could mean "absent" or "no matter": neither
/// is guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct True;

impl<'de> Deserialize<'de> for True {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if bool::deserialize(deserializer)? {
            return Ok(Self);
        }
        Err(D::Error::invalid_value(
            Unexpected::Bool(false),
            &"`true`, or this field left out",
        ))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for True {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "True".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "const": true })
    }
}

/// A duration from `MIN` to `MAX` milliseconds, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span<const MIN: u64, const MAX: u64>(pub Duration);

impl<const MIN: u64, const MAX: u64> Span<MIN, MAX> {
    /// A default; `milliseconds` is for the author to keep within the bounds.
    #[must_use]
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }
}

impl<const MIN: u64, const MAX: u64> Text for Span<MIN, MAX> {
    const PATTERN: &'static str = units::DURATION_PATTERN;

    fn expected() -> String {
        let [least, most] = [MIN, MAX].map(|ms| units::format_duration(Duration::from_millis(ms)));
        format!("{} from {least} to {most}", units::DURATION)
    }

    fn parse(text: &str) -> Result<Self, String> {
        units::parse_duration(text)
            .filter(|duration| (u128::from(MIN)..=u128::from(MAX)).contains(&duration.as_millis()))
            .map(Self)
            .ok_or_else(Self::expected)
    }
}
text_value!(Span<MIN, MAX>, const MIN: u64, const MAX: u64);

#[cfg(feature = "schema")]
impl<const MIN: u64, const MAX: u64> serde::Serialize for Span<MIN, MAX> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&units::format_duration(self.0))
    }
}

/// A size from `MIN` to `MAX` bytes, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size<const MIN: u64, const MAX: u64>(pub u64);

impl<const MIN: u64, const MAX: u64> Text for Size<MIN, MAX> {
    const PATTERN: &'static str = units::SIZE_PATTERN;

    fn expected() -> String {
        let [least, most] = [MIN, MAX].map(units::format_size);
        format!("{} from {least} to {most}", units::SIZE)
    }

    fn parse(text: &str) -> Result<Self, String> {
        units::parse_size(text)
            .filter(|bytes| (MIN..=MAX).contains(bytes))
            .map(Self)
            .ok_or_else(Self::expected)
    }
}
text_value!(Size<MIN, MAX>, const MIN: u64, const MAX: u64);

#[cfg(feature = "schema")]
impl<const MIN: u64, const MAX: u64> serde::Serialize for Size<MIN, MAX> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&units::format_size(self.0))
    }
}

/// Reads a list that may not be empty; an empty one says "nothing" where "everything" is as likely to be meant.
///
/// # Errors
/// When it is no list, is empty, or an item is refused.
pub fn non_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let list = Vec::deserialize(deserializer)?;
    if list.is_empty() {
        return Err(D::Error::custom(
            "found an empty list, expected at least one item",
        ));
    }
    Ok(list)
}
