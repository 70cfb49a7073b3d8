//! Names of things: hashes for what is content, small numbers for what a scheduler handed out.

use std::fmt;
use std::str::FromStr;

use rkyv::{Archive, Deserialize, Serialize};

/// Text that is not 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a hash: 64 hexadecimal digits are expected")]
pub struct ParseHashError(pub String);

macro_rules! hash_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash,
        )]
        #[rkyv(derive(PartialEq, Eq, PartialOrd, Ord, Hash))]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The first eight digits, enough for people to tell things apart.
            #[must_use]
            pub fn short(&self) -> String {
                self.0[..4].iter().map(|byte| format!("{byte:02x}")).collect()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        impl FromStr for $name {
            type Err = ParseHashError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse_hash(text).map(Self).ok_or_else(|| ParseHashError(text.to_owned()))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

fn parse_hash(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(hash)
}

hash_id! {
    /// Identity of a call and of its result. Pure calls: [`crate::call::pure_key`]; others: random.
    Key
}
hash_id! {
    /// Identity of a bundle: BLAKE3 of its bytes.
    BundleHash
}

impl BundleHash {
    /// The hash of a bundle's bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($number:ty)) => {
        $(#[$doc])*
        #[derive(
            Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, Copy,
            PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default,
        )]
        pub struct $name(pub $number);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id! {
    /// Numbered try of a call; the fencing token of every worker message. Starts at 0, or higher
    /// where an equal call was stopped before.
    Attempt(u32)
}
number_id! {
    /// A worker, numbered by the scheduler when it registers; never used again.
    WorkerId(u32)
}
number_id! {
    /// A client's session, numbered by the scheduler.
    ClientId(u32)
}
number_id! {
    /// A task of a bundle, numbered by the scheduler.
    TaskId(u32)
}
number_id! {
    /// A lease of a lock or semaphore, numbered by the scheduler; never used again.
    LeaseId(u64)
}
number_id! {
    /// A client's own number for a request that wants an answer.
    RequestId(u64)
}

impl Attempt {
    /// The try after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}
