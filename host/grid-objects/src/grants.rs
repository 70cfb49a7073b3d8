//! What a call may do: what its task asked for and the operator granted.

use std::fmt;
use std::str::FromStr;

use grid_proto::outside::{StoreError, StoreErrorKind};

use crate::url::StoreUrl;

/// What may be done with objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Reading and listing.
    Read,
    /// Writing anew and over what is there. It does not include reading.
    Write,
}

impl Access {
    fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// Objects that the operator allows bundles to use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreGrant {
    /// The bundle's name, or `*` for every bundle.
    pub bundle: String,
    /// What it may do.
    pub access: Access,
    /// With what: this object, and what lies below.
    pub prefix: StoreUrl,
}

impl FromStr for StoreGrant {
    type Err = String;

    /// `BUNDLE:read:URL` or `BUNDLE:write:URL`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.splitn(3, ':').collect();
        let (bundle, access, prefix) = match parts[..] {
            [bundle, "read", prefix] => (bundle, Access::Read, prefix),
            [bundle, "write", prefix] => (bundle, Access::Write, prefix),
            _ => return Err(format!("`{text}` is not a grant: write BUNDLE:read|write:URL")),
        };
        if bundle.is_empty() {
            return Err(format!("`{text}` names no bundle: write BUNDLE:read|write:URL"));
        }
        let prefix = StoreUrl::parse(prefix)
            .map_err(|error| format!("the URL of the grant `{text}` cannot be used: {error}"))?;
        Ok(Self { bundle: bundle.to_owned(), access, prefix })
    }
}

impl fmt::Display for StoreGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.bundle, self.access.word(), self.prefix)
    }
}

/// What a call asked for, and whose call it is.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    bundle: String,
    reads: Vec<StoreUrl>,
    writes: Vec<StoreUrl>,
}

impl Requests {
    /// Entries that are no URLs are directories, and somebody else's.
    pub(crate) fn new(bundle: &str, reads: &[String], writes: &[String]) -> Self {
        let urls = |entries: &[String]| {
            entries.iter().filter_map(|entry| StoreUrl::parse(entry).ok()).collect()
        };
        Self { bundle: bundle.to_owned(), reads: urls(reads), writes: urls(writes) }
    }

    /// The grant by which a URL may be used.
    pub(crate) fn permit<'a>(
        &self,
        grants: &'a [StoreGrant],
        access: Access,
        url: &StoreUrl,
    ) -> Result<&'a StoreGrant, StoreError> {
        let denied =
            |message: String| StoreError::new(StoreErrorKind::Denied, &url.to_string(), message);
        let (asked, option) = match access {
            Access::Read => (&self.reads, "reads"),
            Access::Write => (&self.writes, "writes"),
        };
        let word = access.word();
        if !asked.iter().any(|prefix| prefix.contains(url)) {
            return Err(denied(format!(
                "the task does not ask to {word} it: its author adds the URL to `{option}` of the \
                 task"
            )));
        }
        let granted = grants.iter().find(|grant| {
            (grant.bundle == "*" || grant.bundle == self.bundle)
                && grant.access == access
                && grant.prefix.contains(url)
        });
        granted.ok_or_else(|| {
            denied(format!(
                "this worker's operator does not let `{bundle}` {word} it: start the worker with \
                 `--grant-store '{bundle}:{word}:URL'`",
                bundle = self.bundle
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(grants: &[&str], asked: &[&str], url: &str) -> Result<String, String> {
        let grants: Vec<StoreGrant> = grants.iter().map(|grant| grant.parse().unwrap()).collect();
        let asked: Vec<_> = asked.iter().map(|&url| url.to_owned()).collect();
        let requests = Requests::new("b", &asked, &[]);
        let granted = requests.permit(&grants, Access::Read, &StoreUrl::parse(url).unwrap());
        granted.map(ToString::to_string).map_err(|error| error.message)
    }

    #[test]
    fn a_grant_is_read_as_it_is_written() {
        for text in ["flights:read:s3://bucket/prefix/", "*:write:file:///srv/out"] {
            assert_eq!(text.parse::<StoreGrant>().unwrap().to_string(), text);
        }
        for text in [
            "flights:s3://bucket/",
            "flights:rw:s3://bucket/",
            ":read:s3://bucket/",
            "flights:read:",
            "flights:read:/srv",
            "flights:read:s3://bucket/../x",
            "flights:READ:s3://bucket/",
        ] {
            assert!(text.parse::<StoreGrant>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_asked_for_and_granted_is_allowed() {
        let grant = "b:read:s3://x/in/";
        assert_eq!(allowed(&[grant], &["s3://"], "s3://x/in/a").unwrap(), grant);
        assert_eq!(allowed(&[grant], &["s3://x/in/a"], "s3://x/in/a").unwrap(), grant);
        assert!(allowed(&["*:read:s3://"], &["s3://x/"], "s3://x/y").is_ok());
    }

    #[test]
    fn neither_alone_is_enough() {
        for (grants, asked, url) in [
            (&["b:read:s3://x/"][..], &[][..], "s3://x/a"),
            (&["b:read:s3://x/"], &["s3://x/in/"], "s3://x/a"),
            (&[], &["s3://x/"], "s3://x/a"),
            (&["c:read:s3://x/"], &["s3://x/"], "s3://x/a"),
            (&["b:write:s3://x/"], &["s3://x/"], "s3://x/a"),
            (&["b:read:s3://x/in"], &["s3://x/"], "s3://x/inner"),
            (&["b:read:memory://x/"], &["s3://"], "s3://x/a"),
            // A directory of the sandbox is no URL.
            (&["b:read:file:///"], &["/srv"], "file:///srv/a"),
        ] {
            assert!(allowed(grants, asked, url).is_err(), "{grants:?} {asked:?} {url}");
        }
    }
}
