//! Values: bytes with a codec tag, and how types become values and come back.

use std::fmt;

use rmp::Marker;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How the bytes of a value are to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Codec {
    /// MessagePack, self-describing; structs are maps by field name.
    Msgpack,
    /// Bytes as they are.
    Raw,
    /// An Arrow IPC stream.
    Arrow,
}

/// An argument or a result. As a parameter or a result of a task it passes through untouched,
/// whatever its codec.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Value {
    /// How to read `bytes`.
    pub codec: Codec,
    /// The value itself.
    pub bytes: Vec<u8>,
}

/// Bytes as they are, as a parameter or a result of a task: nothing is encoded and nothing copied
/// beyond what crosses the sandbox's wall. Inside other types use `serde_bytes`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash)]
pub struct Raw(pub Vec<u8>);

impl From<Vec<u8>> for Raw {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl std::ops::Deref for Raw {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Why a value could not be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EncodeError(String);

impl EncodeError {
    /// An error with this message.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for EncodeError {}

/// Why a value could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DecodeError(String);

impl DecodeError {
    /// An error with this message.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for DecodeError {}

/// What can be an argument or a result: every type that serde serializes, [`Raw`] and [`Value`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument or a result of a task",
    label = "not a value",
    note = "derive `serde::Serialize` for it, or use `grid_sdk::Raw` for bytes as they are"
)]
pub trait IntoValue {
    /// The value's bytes and codec.
    ///
    /// # Errors
    /// The type's own `Serialize` failed.
    fn into_value(self) -> Result<Value, EncodeError>;
}

impl<T: Serialize> IntoValue for T {
    fn into_value(self) -> Result<Value, EncodeError> {
        match rmp_serde::to_vec_named(&self) {
            Ok(bytes) => Ok(Value { codec: Codec::Msgpack, bytes }),
            Err(error) => Err(EncodeError::new(error.to_string())),
        }
    }
}

impl IntoValue for Raw {
    fn into_value(self) -> Result<Value, EncodeError> {
        Ok(Value { codec: Codec::Raw, bytes: self.0 })
    }
}

impl IntoValue for Value {
    fn into_value(self) -> Result<Value, EncodeError> {
        Ok(self)
    }
}

/// What a task can take and a client can read: every type that serde deserializes, [`Raw`] and
/// [`Value`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a task",
    label = "not a value",
    note = "derive `serde::Deserialize` for it, or use `grid_sdk::Raw` for bytes as they are"
)]
pub trait FromValue: Sized {
    /// As a parameter it is read piece by piece, where the worker keeps it.
    const LAZY: bool = false;

    /// Reads the value.
    ///
    /// # Errors
    /// What does not fit: the codec, or the form of the value.
    fn from_value(value: Value) -> Result<Self, DecodeError>;

    /// Reads the argument at this position of the running call.
    ///
    /// # Errors
    /// As [`Self::from_value`].
    fn from_argument(position: u32, value: Value) -> Result<Self, DecodeError> {
        let _ = position;
        Self::from_value(value)
    }
}

impl<T: DeserializeOwned> FromValue for T {
    fn from_value(value: Value) -> Result<Self, DecodeError> {
        match value.codec {
            Codec::Msgpack => rmp_serde::from_slice(&value.bytes).map_err(|error| explain(&error)),
            Codec::Raw => Err(DecodeError::new(
                "it is raw bytes, not MessagePack; take `grid_sdk::Raw` or send an encoded value",
            )),
            Codec::Arrow => Err(DecodeError::new(
                "it is an Arrow table, not MessagePack; take `grid_sdk::Value` and read its bytes",
            )),
        }
    }
}

impl FromValue for Raw {
    fn from_value(value: Value) -> Result<Self, DecodeError> {
        match value.codec {
            Codec::Raw => Ok(Self(value.bytes)),
            Codec::Msgpack => {
                Err(DecodeError::new("it is a MessagePack value; send it as raw bytes"))
            }
            Codec::Arrow => Err(DecodeError::new(
                "it is an Arrow table; take `grid_sdk::Value` and read its bytes",
            )),
        }
    }
}

impl FromValue for Value {
    fn from_value(value: Value) -> Result<Self, DecodeError> {
        Ok(value)
    }
}

/// The codec's error in words of the value.
fn explain(error: &rmp_serde::decode::Error) -> DecodeError {
    use rmp_serde::decode::Error;
    let message = match error {
        Error::InvalidMarkerRead(_) | Error::InvalidDataRead(_) => {
            "it ends before the value is complete".to_owned()
        }
        Error::TypeMismatch(marker) => {
            format!("it holds {} where another type is due", form(*marker))
        }
        Error::OutOfRange => "it holds a number that is out of range".to_owned(),
        Error::LengthMismatch(length) => format!("it holds a list of another length, {length}"),
        Error::Utf8Error(_) => "it holds a text that is not UTF-8".to_owned(),
        Error::DepthLimitExceeded => "it is nested too deeply".to_owned(),
        Error::Uncategorized(message) | Error::Syntax(message) => message.clone(),
    };
    DecodeError(message)
}

fn form(marker: Marker) -> &'static str {
    match marker {
        Marker::Null => "null",
        Marker::True | Marker::False => "a boolean",
        Marker::F32 | Marker::F64 => "a number with a fraction",
        Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => "a text",
        Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => "a map",
        Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => "a list",
        Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => "bytes",
        Marker::FixPos(_)
        | Marker::FixNeg(_)
        | Marker::U8
        | Marker::U16
        | Marker::U32
        | Marker::U64
        | Marker::I8
        | Marker::I16
        | Marker::I32
        | Marker::I64 => "an integer",
        Marker::Reserved
        | Marker::Ext8
        | Marker::Ext16
        | Marker::Ext32
        | Marker::FixExt1
        | Marker::FixExt2
        | Marker::FixExt4
        | Marker::FixExt8
        | Marker::FixExt16 => "an extension",
    }
}
