//! What the first bytes of a built file say: enough to tell a bundle from a mistake.

use std::fmt;

/// The interface that every bundle exports, without its version.
const TASKS: &[u8] = b"grid:task/tasks@";

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A component that exports tasks.
    Bundle,
    /// A component without our exports.
    Component,
    /// A core module: not made for `wasm32-wasip2`.
    Module,
    /// Something else.
    Other,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Bundle => "a bundle",
            Self::Component => "a component without tasks",
            Self::Module => "a core module",
            Self::Other => "not a Wasm file",
        })
    }
}

/// Looks at the layers and the outermost exports (section 11 of the component binary format). The
/// engine validates the whole of it later.
pub(crate) fn kind(bytes: &[u8]) -> Kind {
    const EXPORTS: u8 = 11;
    match bytes {
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => return Kind::Module,
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => {}
        _ => return Kind::Other,
    }
    let mut rest = &bytes[8..];
    while let Some((section, contents, after)) = next_section(rest) {
        if section == EXPORTS && contents.windows(TASKS.len()).any(|window| window == TASKS) {
            return Kind::Bundle;
        }
        rest = after;
    }
    Kind::Component
}

fn next_section(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&section, rest) = bytes.split_first()?;
    let mut length = 0_usize;
    for (index, byte) in rest.iter().take(5).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let (contents, after) = rest[index + 1..].split_at_checked(length)?;
            return Some((section, contents, after));
        }
    }
    None
}
