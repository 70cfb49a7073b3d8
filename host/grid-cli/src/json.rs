//! JSON as people type it, MessagePack as tasks read it, and back.

use grid_proto::{Codec, Value};
use serde_json::Value as Json;

/// A typed argument as a value.
pub(crate) fn encode(json: &Json) -> Result<Value, String> {
    let bytes = rmp_serde::to_vec_named(json).map_err(|error| error.to_string())?;
    Ok(Value { codec: Codec::Msgpack, bytes })
}

/// A result as JSON. Bytes become a list of numbers, or a text where they are one.
pub(crate) fn decode(value: &Value) -> Result<Json, String> {
    match value.codec {
        Codec::Msgpack => {
            let mut bytes = value.bytes.as_slice();
            let value = rmpv::decode::read_value(&mut bytes).map_err(|error| error.to_string())?;
            Ok(from_msgpack(&value))
        }
        Codec::Raw | Codec::Arrow => Ok(from_bytes(&value.bytes)),
    }
}

fn from_msgpack(value: &rmpv::Value) -> Json {
    match value {
        rmpv::Value::Nil => Json::Null,
        rmpv::Value::Boolean(truth) => Json::Bool(*truth),
        rmpv::Value::Integer(number) => number
            .as_i64()
            .map(Json::from)
            .or_else(|| number.as_u64().map(Json::from))
            .unwrap_or(Json::Null),
        rmpv::Value::F32(number) => Json::from(f64::from(*number)),
        rmpv::Value::F64(number) => Json::from(*number),
        rmpv::Value::String(text) => Json::String(String::from_utf8_lossy(text.as_bytes()).into()),
        rmpv::Value::Binary(bytes) | rmpv::Value::Ext(_, bytes) => from_bytes(bytes),
        rmpv::Value::Array(items) => Json::Array(items.iter().map(from_msgpack).collect()),
        rmpv::Value::Map(entries) => {
            let entry = |(key, value): &(rmpv::Value, rmpv::Value)| {
                let key = match key {
                    rmpv::Value::String(text) => {
                        String::from_utf8_lossy(text.as_bytes()).into_owned()
                    }
                    other => from_msgpack(other).to_string(),
                };
                (key, from_msgpack(value))
            };
            Json::Object(entries.iter().map(entry).collect())
        }
    }
}

fn from_bytes(bytes: &[u8]) -> Json {
    match std::str::from_utf8(bytes) {
        Ok(text) => Json::String(text.to_owned()),
        Err(_) => Json::Array(bytes.iter().map(|byte| Json::from(*byte)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn json_survives_the_way_there_and_back() {
        for value in [
            json!(null),
            json!([1, -2, 3.5, "text", true]),
            json!({"name": "grid", "nested": {"list": []}}),
            json!(u64::MAX),
        ] {
            assert_eq!(super::decode(&super::encode(&value).unwrap()).unwrap(), value);
        }
    }
}
