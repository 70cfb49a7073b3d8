//! The outermost form of a MessagePack value against a Rust type's name.
//!
//! A bundle describes its parameters by the types that its author wrote. Where the name is one that
//! serde encodes in a known way, a value of another form is refused at submission; every other
//! name passes and is left to the guest. Forms are those of the MessagePack specification's first
//! byte.

use crate::value::{Codec, Value};

/// The form that a MessagePack value begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Nil,
    Bool,
    Integer,
    Float,
    Text,
    Binary,
    List,
    Map,
    Extension,
}

impl Form {
    fn of(first: u8) -> Option<Self> {
        Some(match first {
            0x00..=0x7f | 0xcc..=0xd3 | 0xe0..=0xff => Self::Integer,
            0x80..=0x8f | 0xde | 0xdf => Self::Map,
            0x90..=0x9f | 0xdc | 0xdd => Self::List,
            0xa0..=0xbf | 0xd9..=0xdb => Self::Text,
            0xc0 => Self::Nil,
            0xc1 => return None,
            0xc2 | 0xc3 => Self::Bool,
            0xc4..=0xc6 => Self::Binary,
            0xc7..=0xc9 | 0xd4..=0xd8 => Self::Extension,
            0xca | 0xcb => Self::Float,
        })
    }

    fn label(self) -> &'static str {
        match self {
            Self::Nil => "null",
            Self::Bool => "a boolean",
            Self::Integer => "an integer",
            Self::Float => "a number with a fraction",
            Self::Text => "a text",
            Self::Binary => "bytes",
            Self::List => "a list",
            Self::Map => "a map",
            Self::Extension => "a MessagePack extension",
        }
    }
}

/// Checks a value against a parameter's type.
///
/// # Errors
/// What the value is, as a phrase, when the type cannot take it.
pub fn check(shape: &str, value: &Value) -> Result<(), &'static str> {
    let shape = shape.replace(' ', "");
    let wants_raw = matches!(shape.as_str(), "Raw" | "grid_sdk::Raw");
    match value.codec {
        Codec::Raw if wants_raw || !is_known(&shape) => return Ok(()),
        Codec::Raw => return Err("raw bytes"),
        Codec::Arrow if is_known(&shape) || wants_raw => return Err("an Arrow table"),
        Codec::Arrow => return Ok(()),
        Codec::Msgpack if wants_raw => return Err("a MessagePack value (send it as raw bytes)"),
        Codec::Msgpack => {}
    }
    let Some(form) = value.bytes.first().and_then(|first| Form::of(*first)) else {
        return Err("an empty or unreadable MessagePack value");
    };
    match accepted(&shape) {
        Some(forms) if !forms.contains(&form) => Err(form.label()),
        _ => Ok(()),
    }
}

fn is_known(shape: &str) -> bool {
    accepted(shape).is_some()
}

/// The forms that a type takes; `None` for types that are not known here.
fn accepted(shape: &str) -> Option<&'static [Form]> {
    const OPTIONAL: &str = "Option<";
    if let Some(inner) = shape.strip_prefix(OPTIONAL).and_then(|rest| rest.strip_suffix('>')) {
        // `null` is fine; anything else must suit the inner type, which the guest checks.
        return accepted(inner).map(|forms| match forms {
            [Form::Integer] => &[Form::Nil, Form::Integer][..],
            [Form::Bool] => &[Form::Nil, Form::Bool],
            [Form::Text] => &[Form::Nil, Form::Text],
            [Form::Integer, Form::Float] => &[Form::Nil, Form::Integer, Form::Float],
            [Form::List, Form::Binary] => &[Form::Nil, Form::List, Form::Binary],
            _ => &[Form::Nil, Form::Map, Form::List],
        });
    }
    Some(match shape {
        "u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" | "isize" => {
            &[Form::Integer]
        }
        "f32" | "f64" => &[Form::Integer, Form::Float],
        "bool" => &[Form::Bool],
        "String" | "char" => &[Form::Text],
        "()" => &[Form::Nil, Form::List],
        _ if shape.starts_with("Vec<") => &[Form::List, Form::Binary],
        _ if shape.starts_with("HashMap<") || shape.starts_with("BTreeMap<") => &[Form::Map],
        _ => return None,
    })
}
