//! Which columns a type of rows wants.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

/// Names of fields.
pub(super) type Fields = &'static [&'static str];

/// The names that a struct knows its fields by; `None` of what is no struct, or of one that wants to see
/// other names, to refuse them.
pub(super) fn fields<'de, T: Deserialize<'de>>() -> Option<Fields> {
    let mut fields = None;
    match T::deserialize(Probe(&mut fields)) {
        Err(Probed::UnknownField) => None,
        Ok(_) | Err(Probed::Other) => fields,
    }
}

/// Shows a type a row of one column that no type knows.
struct Probe<'a>(&'a mut Option<Fields>);

/// What a type says to it.
#[derive(Debug)]
enum Probed {
    UnknownField,
    Other,
}

impl fmt::Display for Probed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self:?}")
    }
}

impl std::error::Error for Probed {}

impl de::Error for Probed {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Other
    }

    fn unknown_field(_: &str, _: &'static [&'static str]) -> Self {
        Self::UnknownField
    }
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Probed;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Probed> {
        Err(Probed::Other)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: Fields,
        visitor: V,
    ) -> Result<V::Value, Probed> {
        *self.0 = Some(fields);
        visitor.visit_map(Unknown { told: false })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Probed> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// A column of a name that is none.
struct Unknown {
    told: bool,
}

impl<'de> MapAccess<'de> for Unknown {
    type Error = Probed;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Probed> {
        if std::mem::replace(&mut self.told, true) {
            return Ok(None);
        }
        seed.deserialize(StrDeserializer::<Probed>::new("\0")).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Probed> {
        seed.deserialize(de::value::UnitDeserializer::new())
    }
}
