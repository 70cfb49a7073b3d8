//! URLs of objects: read once, compared by whole segments, never decoded.
//!
//! What stands between the slashes is the key as it is. So there is no second way to write a name, and
//! none to write `..`: what looks as if somebody further on might decode it is refused.

use std::fmt;

use grid_proto::outside::URL_BYTES_MAX;

/// Where objects are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// Files of the worker's machine.
    File,
    /// S3, or what speaks its language.
    S3,
    /// The worker's memory, for tests.
    Memory,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::S3 => "s3",
            Self::Memory => "memory",
        }
    }
}

/// A URL of an object, or of all that lies below one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreUrl {
    scheme: Scheme,
    /// Empty for files; and for `s3://` alone, which stands for all buckets.
    bucket: String,
    /// Without a slash in front. Empty or with one at its end, it is no object but what lies below.
    key: String,
}

/// What a segment must not hold, as it is or as somebody else would decode it.
const DISGUISED: [&str; 4] = ["%2e", "%2f", "%5c", "%00"];

impl StoreUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > URL_BYTES_MAX {
            return Err(format!("a URL has at most {URL_BYTES_MAX} bytes"));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err("it has no scheme: write `s3://bucket/key` or `file:///path`".to_owned());
        };
        let scheme = match scheme {
            "file" => Scheme::File,
            "s3" => Scheme::S3,
            "memory" => Scheme::Memory,
            _ => return Err("the schemes are `s3`, `file` and `memory`".to_owned()),
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        match scheme {
            Scheme::File if !bucket.is_empty() => {
                return Err("a file has no host: write `file:///path`".to_owned());
            }
            Scheme::S3 | Scheme::Memory if bucket.is_empty() && !key.is_empty() => {
                return Err(format!("it names no bucket: write `{}://bucket/key`", scheme.name()));
            }
            Scheme::File | Scheme::S3 | Scheme::Memory => {}
        }
        check_bucket(bucket)?;
        check_key(key)?;
        Ok(Self { scheme, bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// Where it is.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub(crate) fn bucket(&self) -> &str {
        &self.bucket
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// It names one object, as far as its form tells.
    pub(crate) fn is_object(&self) -> bool {
        !self.key.is_empty() && !self.key.ends_with('/')
    }

    /// The URL of this key in the same place.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { scheme: self.scheme, bucket: self.bucket.clone(), key: key.to_owned() }
    }

    /// It is this one, or lies below it.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        let all_buckets = self.scheme != Scheme::File && self.bucket.is_empty();
        self.scheme == other.scheme
            && (all_buckets || self.bucket == other.bucket && self.below(other).is_some())
    }

    /// The rest of a key that lies here or below, without a slash in front.
    pub(crate) fn below<'a>(&self, other: &'a Self) -> Option<&'a str> {
        let base = self.key.trim_end_matches('/');
        let rest = other.key.strip_prefix(base)?;
        if base.is_empty() {
            return Some(rest);
        }
        match rest.strip_prefix('/') {
            Some(rest) => Some(rest),
            // With a slash at its end, it is not the object before it.
            None => (rest.is_empty() && !self.key.ends_with('/')).then_some(rest),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.bucket)?;
        if self.bucket.is_empty() && self.scheme != Scheme::File {
            return Ok(());
        }
        write!(f, "/{}", self.key)
    }
}

fn check_bucket(bucket: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let dots = bucket.bytes().all(|byte| byte == b'.');
    if !bucket.is_empty() && (dots || !bucket.bytes().all(plain)) {
        return Err("a bucket's name is of letters, digits, `-`, `.` and `_`".to_owned());
    }
    Ok(())
}

fn check_key(key: &str) -> Result<(), String> {
    let segments = key.strip_suffix('/').unwrap_or(key);
    if key.is_empty() {
        return Ok(());
    }
    segments.split('/').try_for_each(check_segment)
}

fn check_segment(segment: &str) -> Result<(), String> {
    if segment.is_empty() {
        return Err("it has two slashes without a name between them".to_owned());
    }
    if segment == "." || segment == ".." {
        return Err(format!("`{segment}` is no name: write where it is without it"));
    }
    if segment.contains(|char: char| char.is_control() || char == '\\') {
        return Err("a name holds no control characters and no `\\`".to_owned());
    }
    let lower = segment.to_ascii_lowercase();
    match DISGUISED.iter().find(|disguised| lower.contains(*disguised)) {
        Some(disguised) => {
            Err(format!("names are written as they are, not encoded: `{disguised}` is refused"))
        }
        None => Ok(()),
    }
}

/// A name that a URL can hold.
pub(crate) fn is_segment(name: &str) -> bool {
    check_segment(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> StoreUrl {
        StoreUrl::parse(text).unwrap()
    }

    #[test]
    fn what_can_be_read_is_written_the_same_way() {
        for text in [
            "s3://bucket/a/b.csv",
            "s3://my.bucket-1/date=2020%20x/ü ?#*.csv",
            "s3://bucket/a/",
            "s3://bucket/",
            "s3://",
            "file:///",
            "file:///srv/data",
            "memory://tests/x",
            "s3://bucket/...",
        ] {
            assert_eq!(url(text).to_string(), text);
        }
        assert_eq!(url("s3://bucket").to_string(), "s3://bucket/");
    }

    #[test]
    fn what_is_no_plain_url_is_refused() {
        for text in [
            "",
            "/srv/data",
            "s3:/bucket/a",
            "S3://bucket/a",
            "http://bucket/a",
            "gs://bucket/a",
            "s3://key:secret@bucket/a",
            "s3://bucket:9000/a",
            "s3:///a",
            "s3://../a",
            "s3://buck%65t/a",
            "s3://bucket/a//b",
            "s3://bucket//a",
            "s3://bucket/..",
            "s3://bucket/a/../b",
            "s3://bucket/a/./b",
            "s3://bucket/a/%2e%2e/b",
            "s3://bucket/a/%2E./b",
            "s3://bucket/a%2Fb",
            "s3://bucket/a\\..\\b",
            "s3://bucket/a%5cb",
            "s3://bucket/a\0b",
            "s3://bucket/a%00",
            "s3://bucket/a\nb",
            "s3://bucket/a/..\u{7f}",
            "file://host/a",
            "file://localhost/a",
            "file:////etc",
            "file:///srv/../etc",
            "file:///srv/%2e%2e/etc",
            "file://../etc",
        ] {
            assert!(StoreUrl::parse(text).is_err(), "{text:?}");
        }
        let long = format!("s3://bucket/{}", "x".repeat(URL_BYTES_MAX));
        assert!(StoreUrl::parse(&long).is_err());
    }

    #[test]
    fn a_prefix_contains_whole_segments() {
        for (prefix, inside) in [
            ("s3://b/data/", "s3://b/data/x"),
            ("s3://b/data/", "s3://b/data/"),
            ("s3://b/data", "s3://b/data"),
            ("s3://b/data", "s3://b/data/x/y"),
            ("s3://b/", "s3://b/anything"),
            ("s3://b", "s3://b/anything"),
            ("s3://", "s3://b/anything"),
            ("file:///", "file:///etc/x"),
            ("file:///srv/", "file:///srv/x"),
            ("memory://", "memory://t/x"),
        ] {
            assert!(url(prefix).contains(&url(inside)), "{prefix} {inside}");
        }
        for (prefix, outside) in [
            ("s3://b/data/", "s3://b/database"),
            ("s3://b/data", "s3://b/database"),
            ("s3://b/data/", "s3://b/data"),
            ("s3://b/data/", "s3://b/"),
            ("s3://b/data/", "s3://"),
            ("s3://b/", "s3://bb/x"),
            ("s3://b/", "memory://b/x"),
            ("memory://b/", "s3://b/x"),
            ("s3://b/Data/", "s3://b/data/x"),
            ("file:///srv/", "file:///srvx/y"),
            ("file:///srv/", "file:///"),
            ("s3://", "file:///x"),
        ] {
            assert!(!url(prefix).contains(&url(outside)), "{prefix} {outside}");
        }
    }
}
