//! A JSON document in memory, and serde's view of it.
//!
//! Policies are read from this and not straight from the text, for three reasons: errors are built here, with the JSON
//! path and in the words of JSON (serde_json hands its own over as text, without a path); a list is never taken for an
//! object, nor is a name given twice overlooked; and the code that serde derives exists once for one small
//! deserializer, which makes the filters a quarter smaller.

use serde::de::value::StrDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, Expected, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};

use super::error::Mistake;

/// A JSON value. Objects keep their fields as written, those of one name included.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Signed(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Json::Object(fields))
    }
}

/// What others than serde read of it; the code that serde derives is many times as large.
impl Json {
    /// The first field of this name, if it is an object and has one.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(fields) => fields
                .iter()
                .find_map(|(field, value)| (field == name).then_some(value)),
            _ => None,
        }
    }

    /// What a list holds; nothing for what is none.
    pub(crate) fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// The text in a field.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.field(name) {
            Some(Self::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The number in a field.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        match self.field(name) {
            Some(Self::Unsigned(number)) => Some(*number),
            _ => None,
        }
    }
}

impl Json {
    fn found(&self) -> Unexpected<'_> {
        match self {
            Self::Null => Unexpected::Other("null"),
            Self::Bool(value) => Unexpected::Bool(*value),
            Self::Unsigned(value) => Unexpected::Unsigned(*value),
            Self::Signed(value) => Unexpected::Signed(*value),
            Self::Float(value) => Unexpected::Float(*value),
            Self::Text(value) => Unexpected::Str(value),
            Self::List(_) => Unexpected::Seq,
            Self::Object(_) => Unexpected::Map,
        }
    }

    #[cold]
    #[inline(never)]
    fn refuse<T>(&self, expected: &dyn Expected) -> Result<T, Mistake> {
        Err(Mistake::invalid_type(self.found(), expected))
    }
}

/// Implements methods that take one kind of value and refuse the rest.
macro_rules! only {
    ($($method:ident: $($kind:pat => $visit:expr),+;)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
            match self {
                $($kind => $visit(visitor),)+
                #[allow(unreachable_patterns)]
                other => other.refuse(&visitor),
            }
        })+
    };
}

impl<'de> Deserializer<'de> for &'de Json {
    type Error = Mistake;

    only! {
        deserialize_bool: Json::Bool(value) => |v: V| v.visit_bool(*value);
        deserialize_u64: Json::Unsigned(value) => |v: V| v.visit_u64(*value);
        deserialize_f64:
            Json::Float(value) => |v: V| v.visit_f64(*value),
            Json::Unsigned(value) => |v: V| v.visit_u64(*value);
        deserialize_str: Json::Text(value) => |v: V| v.visit_str(value);
        deserialize_string: Json::Text(value) => |v: V| v.visit_str(value);
        deserialize_seq: Json::List(items) => |v: V| v.visit_seq(Items { items, index: 0 });
        deserialize_map: Json::Object(fields) => |v: V| v.visit_map(Fields { fields, value: None });
        deserialize_option: Json::Null => |v: V| v.visit_none(), other => |v: V| v.visit_some(other);
        deserialize_ignored_any: _ => |v: V| v.visit_unit();
        deserialize_any:
            Json::Null => |v: V| v.visit_unit(),
            Json::Bool(value) => |v: V| v.visit_bool(*value),
            Json::Unsigned(value) => |v: V| v.visit_u64(*value),
            Json::Signed(value) => |v: V| v.visit_i64(*value),
            Json::Float(value) => |v: V| v.visit_f64(*value),
            Json::Text(value) => |v: V| v.visit_str(value),
            Json::List(items) => |v: V| v.visit_seq(Items { items, index: 0 }),
            Json::Object(fields) => |v: V| v.visit_map(Fields { fields, value: None });
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.deserialize_map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match self {
            Json::Text(name) => visitor.visit_enum(Choice { name, value: None }),
            Json::Object(fields) => match fields.as_slice() {
                [(name, value)] => visitor.visit_enum(Choice {
                    name,
                    value: Some(value),
                }),
                _ => {
                    let found = format!("an object with {} keys", fields.len());
                    Err(Mistake::invalid_type(Unexpected::Other(&found), &visitor))
                }
            },
            other => other.refuse(&visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

struct Items<'de> {
    items: &'de [Json],
    index: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Mistake> {
        let Some(item) = self.items.get(self.index) else {
            return Ok(None);
        };
        let value = seed.deserialize(item);
        let index = self.index;
        self.index += 1;
        value.map(Some).map_err(|mistake| mistake.in_item(index))
    }
}

struct Fields<'de> {
    fields: &'de [(String, Json)],
    /// Of the field whose name has been asked for.
    value: Option<&'de (String, Json)>,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Mistake> {
        let Some((field, rest)) = self.fields.split_first() else {
            return Ok(None);
        };
        self.fields = rest;
        self.value = Some(field);
        seed.deserialize(StrDeserializer::new(&field.0)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Mistake> {
        let Some((name, value)) = self.value.take() else {
            return Err(Mistake::custom("a value was read before its name"));
        };
        seed.deserialize(value)
            .map_err(|mistake| mistake.in_field(name))
    }
}

/// One of several alternatives: a name, or an object with the name as its only key.
struct Choice<'de> {
    name: &'de str,
    value: Option<&'de Json>,
}

impl<'de> EnumAccess<'de> for Choice<'de> {
    type Error = Mistake;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Mistake> {
        let variant = seed.deserialize(StrDeserializer::new(self.name))?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Choice<'de> {
    type Error = Mistake;

    fn unit_variant(self) -> Result<(), Mistake> {
        match self.value {
            None => Ok(()),
            Some(_) => Err(Mistake::custom(format_args!(
                "found an object, expected {:?} alone",
                self.name
            ))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Mistake> {
        match self.value {
            Some(value) => seed
                .deserialize(value)
                .map_err(|mistake| mistake.in_field(self.name)),
            None => Err(Mistake::custom(format_args!(
                "found {0:?} alone, expected an object {{{0:?}: ...}}",
                self.name
            ))),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Mistake> {
        Err(Mistake::invalid_type(Unexpected::TupleVariant, &visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        Err(Mistake::invalid_type(Unexpected::StructVariant, &visitor))
    }
}
