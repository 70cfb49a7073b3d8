//! Values of the grid as the types of programs, and back.

use grid_proto::{Codec, Value};
use grid_sdk::{FromValue, IntoValue};

use crate::error::ClientError;

pub(crate) fn decode<T: FromValue>(value: Value) -> Result<T, grid_sdk::DecodeError> {
    let codec = match value.codec {
        Codec::Msgpack => grid_sdk::Codec::Msgpack,
        Codec::Raw => grid_sdk::Codec::Raw,
        Codec::Arrow => grid_sdk::Codec::Arrow,
    };
    T::from_value(grid_sdk::Value { codec, bytes: value.bytes })
}

pub(crate) fn encode<T: IntoValue>(value: T) -> Result<Value, ClientError> {
    match value.into_value() {
        Ok(value) => Ok(Value { codec: codec_of(value.codec), bytes: value.bytes }),
        Err(error) => Err(ClientError::Value(format!("the value cannot be encoded: {error}"))),
    }
}

pub(crate) fn codec_of(codec: grid_sdk::Codec) -> Codec {
    match codec {
        grid_sdk::Codec::Msgpack => Codec::Msgpack,
        grid_sdk::Codec::Raw => Codec::Raw,
        grid_sdk::Codec::Arrow => Codec::Arrow,
    }
}
