//! A row of texts, numbers and booleans as a struct: what nearly all rows are. `csv` makes all others.

use std::fmt;

use csv::StringRecord;
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

/// Why a row is none: what is wrong, and with which of the wanted fields.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) field: Option<usize>,
    pub(super) message: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { field: None, message: message.to_string() }
    }
}

/// Fields by their names.
pub(super) fn of<'de, T: Deserialize<'de>>(
    names: &'de StringRecord,
    fields: &'de StringRecord,
) -> Result<T, Wrong> {
    T::deserialize(Row { names, fields, next: 0 })
}

struct Row<'de> {
    names: &'de StringRecord,
    fields: &'de StringRecord,
    next: usize,
}

impl<'de> Deserializer<'de> for Row<'de> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_map(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Row<'de> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Wrong> {
        match self.names.get(self.next) {
            Some(name) => seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let field = self.next;
        self.next += 1;
        let text = self.fields.get(field).unwrap_or_default();
        seed.deserialize(Field(text)).map_err(|wrong| Wrong { field: Some(field), ..wrong })
    }
}

/// A field, read as `csv` reads it.
struct Field<'de>(&'de str);

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty,)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            let number = match self.0.strip_prefix("0x") {
                Some(digits) => <$type>::from_str_radix(digits, 16),
                None => self.0.parse(),
            };
            visitor.$visit(number.map_err(de::Error::custom)?)
        })+
    };
}

macro_rules! parsed {
    ($($method:ident $visit:ident,)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            visitor.$visit(self.0.parse().map_err(de::Error::custom)?)
        })+
    };
}

impl<'de> Deserializer<'de> for Field<'de> {
    type Error = Wrong;

    integers! {
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
    }

    parsed! {
        deserialize_bool visit_bool,
        deserialize_f32 visit_f32,
        deserialize_f64 visit_f64,
    }

    /// A text. What needs anything else is left to `csv`, by [`super::wanted`].
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if self.0.is_empty() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct enum
        identifier ignored_any
    }
}
