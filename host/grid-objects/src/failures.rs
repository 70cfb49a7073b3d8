//! From what a store says to what a task is told: the kind, what happened, and nothing secret. The
//! store's own words stay in the worker's log, since they may name who asked and how it was signed.

use std::error::Error;
use std::io;

use grid_proto::outside::{StoreError, StoreErrorKind as Kind};
use object_store::client::{HttpError, HttpErrorKind};

use crate::s3::NoCredentials;
use crate::url::StoreUrl;

/// What was done when it failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Doing {
    Opening,
    Reading(u64),
    Listing,
    Writing(Option<u64>),
}

/// Puts a failure of a store into words.
pub(crate) fn told(error: &object_store::Error, url: &StoreUrl, doing: Doing) -> StoreError {
    let text = with_causes(error);
    tracing::debug!(%url, ?doing, error = text, "a store refused");
    let known = || code(&text).and_then(|code| by_code(code, &text, url, doing));
    let (kind, message) = without_credentials(error)
        .or_else(known)
        .unwrap_or_else(|| by_variant(error, &text, doing));
    let told = StoreError::new(kind, &url.to_string(), message);
    match doing {
        Doing::Reading(offset) | Doing::Writing(Some(offset)) => told.at(offset),
        Doing::Opening | Doing::Listing | Doing::Writing(None) => told,
    }
}

/// The object is not what was opened.
pub(crate) fn changed(url: &StoreUrl, offset: u64) -> StoreError {
    let message = "it was changed while it was read: read it again from the start";
    StoreError::new(Kind::Changed, &url.to_string(), message).at(offset)
}

/// What the operating system says of a file.
pub(crate) fn of_file(error: &io::Error, url: &StoreUrl) -> StoreError {
    tracing::debug!(%url, %error, "a file cannot be used");
    let (kind, message) = match error.kind() {
        io::ErrorKind::NotFound => (Kind::NotFound, "there is no such file".to_owned()),
        io::ErrorKind::AlreadyExists => (Kind::Exists, EXISTS.to_owned()),
        // A link or a path that climbs out of its grant arrives as the first.
        io::ErrorKind::PermissionDenied => {
            (Kind::Denied, "the worker's machine does not let it be used".to_owned())
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => (
            Kind::NotFound,
            "there is no such file: a directory or a file is in its way".to_owned(),
        ),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (Kind::OverLimit, "the disk is full".to_owned())
        }
        // The system's own words have no path in them.
        _ => (Kind::Other, format!("the worker's machine says: {error}")),
    };
    StoreError::new(kind, &url.to_string(), message)
}

const EXISTS: &str = "there is an object already";

/// The error and its causes as one text, for this module and the log alone.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The worker has nothing to sign with.
fn without_credentials(error: &object_store::Error) -> Option<(Kind, String)> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(none) = error.downcast_ref::<NoCredentials>() {
            return Some((Kind::Credentials, none.to_string()));
        }
        cause = error.source();
    }
    None
}

/// The code that S3 gives its errors.
fn code(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let plain = !code.is_empty() && code.len() <= 64;
    (plain && code.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(code)
}

fn by_code(code: &str, text: &str, url: &StoreUrl, doing: Doing) -> Option<(Kind, String)> {
    Some(match code {
        "NoSuchBucket" => (Kind::NotFound, format!("there is no bucket `{}`", url.bucket())),
        "NoSuchKey" => (Kind::NotFound, NO_OBJECT.to_owned()),
        "NoSuchUpload" => (Kind::Other, "the store has forgotten the upload".to_owned()),
        // Garage has one code for both.
        "AccessDenied"
            if ["Invalid signature", "No such key"].iter().any(|it| text.contains(it)) =>
        {
            (Kind::Credentials, format!("{CREDENTIALS} ({code})"))
        }
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => {
            (Kind::Denied, format!("the store does not let this worker use it ({code})"))
        }
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | "AuthorizationHeaderMalformed"
        | "NotSignedUp"
        | "InvalidSecurity" => (Kind::Credentials, format!("{CREDENTIALS} ({code})")),
        "RequestTimeTooSkewed" => {
            (Kind::Credentials, "the worker's clock and the store's differ too much".to_owned())
        }
        "PreconditionFailed" | "ConditionalRequestConflict" => precondition(doing),
        "SlowDown" | "ServiceUnavailable" | "InternalError" | "RequestTimeout" => {
            (Kind::Unavailable, format!("the store is too busy or broken ({code})"))
        }
        "PermanentRedirect" | "TemporaryRedirect" | "IllegalLocationConstraintException" => {
            let message = "the bucket is in another region than the worker is told";
            (Kind::Other, format!("{message} ({code})"))
        }
        "EntityTooLarge" => (Kind::OverLimit, "the store takes no object so large".to_owned()),
        _ => return None,
    })
}

const NO_OBJECT: &str = "there is no such object";
const CREDENTIALS: &str = "the store does not believe this worker's credentials";

fn precondition(doing: Doing) -> (Kind, String) {
    match doing {
        Doing::Writing(_) => (Kind::Exists, EXISTS.to_owned()),
        Doing::Opening | Doing::Reading(_) | Doing::Listing => {
            (Kind::Changed, "it was changed while it was read: read it again".to_owned())
        }
    }
}

fn by_variant(error: &object_store::Error, text: &str, doing: Doing) -> (Kind, String) {
    use object_store::Error as Store;
    match error {
        Store::NotFound { .. } => match doing {
            Doing::Reading(_) => (Kind::Changed, "it was taken away while it was read".to_owned()),
            Doing::Opening | Doing::Listing | Doing::Writing(_) => {
                (Kind::NotFound, NO_OBJECT.to_owned())
            }
        },
        Store::AlreadyExists { .. } => (Kind::Exists, EXISTS.to_owned()),
        Store::Precondition { .. } => precondition(doing),
        Store::PermissionDenied { .. } => {
            (Kind::Denied, "the store does not let this worker use it".to_owned())
        }
        Store::Unauthenticated { .. } => (Kind::Credentials, CREDENTIALS.to_owned()),
        Store::InvalidPath { .. } => {
            (Kind::Other, "the store holds a key that no URL can name".to_owned())
        }
        // It is open, and says of the rest no more than its text.
        _ => by_cause(error, text),
    }
}

fn by_cause(error: &object_store::Error, text: &str) -> (Kind, String) {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    let mut unreachable = None;
    let mut system = None;
    while let Some(error) = cause {
        if let Some(http) = error.downcast_ref::<HttpError>() {
            unreachable = match http.kind() {
                HttpErrorKind::Timeout => Some("it did not answer in time"),
                HttpErrorKind::Connect => Some("no connection"),
                HttpErrorKind::Request | HttpErrorKind::Interrupted => Some("the connection broke"),
                _ => None,
            };
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            system = Some(error.kind());
        }
        cause = error.source();
    }
    if let Some(why) = unreachable {
        let why = system.map_or_else(|| why.to_owned(), |kind| format!("{why}: {kind}"));
        return (Kind::Unavailable, format!("the store cannot be reached: {why}"));
    }
    if let Some(status) = status(text) {
        let kind = if status.starts_with('5') { Kind::Unavailable } else { Kind::Other };
        return (kind, format!("the store answered with status {status}"));
    }
    (Kind::Other, "the store's answer cannot be used; the worker's log says more".to_owned())
}

/// The status of an answer without a code.
fn status(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("status code: ")?;
    let status = rest.get(..3)?;
    status.bytes().all(|byte| byte.is_ascii_digit()).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> StoreUrl {
        StoreUrl::parse("s3://bucket/key").unwrap()
    }

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    #[test]
    fn a_code_says_more_than_a_status() {
        for (code, kind) in [
            ("NoSuchBucket", Kind::NotFound),
            ("AccessDenied", Kind::Denied),
            ("SignatureDoesNotMatch", Kind::Credentials),
            ("SlowDown", Kind::Unavailable),
        ] {
            let text = format!("status code: 403 Forbidden: <Error><Code>{code}</Code></Error>");
            assert_eq!(told(&generic(&text), &url(), Doing::Opening).kind, kind, "{code}");
        }
    }

    #[test]
    fn a_precondition_is_about_what_was_done() {
        let failed = generic("<Code>PreconditionFailed</Code>");
        assert_eq!(told(&failed, &url(), Doing::Writing(None)).kind, Kind::Exists);
        let read = told(&failed, &url(), Doing::Reading(7));
        assert_eq!((read.kind, read.offset), (Kind::Changed, Some(7)));
    }

    #[test]
    fn nothing_of_what_the_store_says_is_repeated() {
        let said = "GET https://x/?X-Amz-Credential=AKIASECRET status code: 400 Bad Request: \
                    <Code>Strange</Code><AWSAccessKeyId>AKIASECRET</AWSAccessKeyId>\
                    <StringToSign>hunter2</StringToSign>";
        let error = told(&generic(said), &url(), Doing::Opening);
        assert_eq!(error.to_string(), "`s3://bucket/key`: the store answered with status 400");
        let odd = told(&generic("AKIASECRET"), &url(), Doing::Listing).to_string();
        assert!(!odd.contains("AKIASECRET"), "{odd}");
    }
}
