//! Which columns a type of rows wants.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

/// Names of fields.
pub(super) type Fields = &'static [&'static str];

/// What a type of rows wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    /// All columns, as `csv` gives them: it is no struct, or wants to refuse names.
    All,
    /// These.
    Fields(Fields),
    /// These, and each is a text, a number or a boolean, or such a thing that may be missing.
    Simple(Fields),
}

/// Asks a type.
pub(super) fn of<'de, T: Deserialize<'de>>() -> Wanted {
    let mut fields = None;
    let refuses = matches!(T::deserialize(Probe::unknown(&mut fields)), Err(Probed::UnknownField));
    let Some(fields) = fields.filter(|_| !refuses) else { return Wanted::All };
    match T::deserialize(Probe { names: fields, found: &mut None }) {
        Ok(_) => Wanted::Simple(fields),
        Err(Probed::UnknownField | Probed::Other) => Wanted::Fields(fields),
    }
}

/// Shows a type a row whose fields are empty, or zero.
struct Probe<'a> {
    names: Fields,
    found: &'a mut Option<Fields>,
}

impl<'a> Probe<'a> {
    /// With one column of a name that is none.
    fn unknown(found: &'a mut Option<Fields>) -> Self {
        Self { names: &["\0"], found }
    }
}

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
        *self.found = Some(fields);
        visitor.visit_map(Columns { names: self.names.iter() })
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

/// Columns of these names.
struct Columns {
    names: std::slice::Iter<'static, &'static str>,
}

impl<'de> MapAccess<'de> for Columns {
    type Error = Probed;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Probed> {
        let name = self.names.next().map(|name| StrDeserializer::<Probed>::new(name));
        name.map(|name| seed.deserialize(name)).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Probed> {
        seed.deserialize(Value)
    }
}

/// A value of whatever simple kind is asked for.
struct Value;

macro_rules! simple {
    ($($method:ident $visit:ident $value:expr,)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Probed> {
            visitor.$visit($value)
        })+
    };
}

impl<'de> Deserializer<'de> for Value {
    type Error = Probed;

    simple! {
        deserialize_bool visit_bool false,
        deserialize_i8 visit_i8 0,
        deserialize_i16 visit_i16 0,
        deserialize_i32 visit_i32 0,
        deserialize_i64 visit_i64 0,
        deserialize_u8 visit_u8 0,
        deserialize_u16 visit_u16 0,
        deserialize_u32 visit_u32 0,
        deserialize_u64 visit_u64 0,
        deserialize_f32 visit_f32 0.0,
        deserialize_f64 visit_f64 0.0,
        deserialize_str visit_borrowed_str "",
        deserialize_string visit_borrowed_str "",
        deserialize_option visit_some Value,
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Probed> {
        Err(Probed::Other)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Probed> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Probed> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct seq tuple tuple_struct map struct enum identifier
    }
}
