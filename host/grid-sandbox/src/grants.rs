//! What a call gets of the file system: what its task asked for and the operator granted.

use std::path::{Path, PathBuf};

use grid_proto::{Failure, FailureKind};
use wasmtime_wasi::{FsPerms, WasiCtx};

use crate::config::DirGrant;
use crate::error::EngineError;
use crate::output::Output;
use crate::scratch::SCRATCH;
use crate::wasi;

/// One directory of one call.
#[derive(Debug, PartialEq, Eq)]
struct Mount<'a> {
    guest: &'a str,
    host: PathBuf,
    writable: bool,
}

/// Refuses grants that could never match.
pub(crate) fn check(grants: &[DirGrant]) -> Result<(), EngineError> {
    let bad = grants.iter().find(|grant| below("/", &grant.guest).is_none());
    bad.map_or(Ok(()), |grant| Err(EngineError::Grant(grant.guest.clone())))
}

/// Opens the directories of a call. `None` when it asked for none.
pub(crate) fn open(
    grants: &[DirGrant],
    bundle: &str,
    (reads, writes): (&[String], &[String]),
    scratch: Option<&Path>,
    output: &Output,
) -> Result<Option<WasiCtx>, Failure> {
    if scratch.is_none() && reads.iter().chain(writes).all(|entry| is_url(entry)) {
        return Ok(None);
    }
    let mut builder = wasi::builder(output);
    if let Some(scratch) = scratch {
        builder.preopened_dir(scratch, SCRATCH, FsPerms::ReadWrite).map_err(|error| {
            tracing::warn!(path = %scratch.display(), %error, "a scratch directory cannot be opened");
            denied(bundle, SCRATCH, "it cannot be opened on this worker")
        })?;
    }
    for mount in resolve(grants, bundle, reads, writes)? {
        let perms = if mount.writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        builder.preopened_dir(&mount.host, mount.guest, perms).map_err(|error| {
            // The path on this machine is the operator's business, not the tenant's.
            tracing::warn!(path = %mount.host.display(), %error, "a granted directory cannot be opened");
            denied(bundle, mount.guest, "the granted directory cannot be opened on this worker")
        })?;
    }
    Ok(Some(builder.build()))
}

fn resolve<'a>(
    grants: &[DirGrant],
    bundle: &str,
    reads: &'a [String],
    writes: &'a [String],
) -> Result<Vec<Mount<'a>>, Failure> {
    let mut mounts: Vec<Mount<'a>> = Vec::new();
    let wanted =
        writes.iter().map(|path| (path, true)).chain(reads.iter().map(|path| (path, false)));
    for (guest, writable) in wanted.filter(|(entry, _)| !is_url(entry)) {
        if guest == SCRATCH || guest.starts_with("/scratch/") {
            let why = "this is the name of a call's own directory: ask for it by `scratch`";
            return Err(denied(bundle, guest, why));
        }
        if mounts.iter().any(|mount| mount.guest == guest) {
            continue;
        }
        let granted = grants.iter().find_map(|grant| {
            let matches = grant.bundle == "*" || grant.bundle == bundle;
            let path = below(&grant.guest, guest).filter(|_| matches)?;
            (grant.writable || !writable).then(|| grant.host.join(path))
        });
        let Some(host) = granted else {
            let access = if writable { "writing" } else { "reading" };
            let why = format!("{access} is not granted by this worker's operator");
            return Err(denied(bundle, guest, &why));
        };
        mounts.push(Mount { guest, host, writable });
    }
    Ok(mounts)
}

/// What lies in a store outside: it is looked at when the call opens it, since a task may ask for more
/// than one call needs.
fn is_url(entry: &str) -> bool {
    entry.contains("://")
}

/// The part of `path` below `base`, both absolute and plain.
fn below<'a>(base: &str, path: &'a str) -> Option<&'a Path> {
    use std::path::Component;
    let plain = |path: &Path| {
        path.is_absolute()
            && path.components().skip(1).all(|part| matches!(part, Component::Normal(_)))
    };
    let (base, path) = (Path::new(base), Path::new(path));
    // `components` drops inner `.`; a path that needed that is not plain.
    let dotted =
        path.as_os_str().as_encoded_bytes().split(|byte| *byte == b'/').any(|part| part == b".");
    (plain(base) && plain(path) && !dotted).then(|| path.strip_prefix(base).ok()).flatten()
}

fn denied(bundle: &str, guest: &str, why: &str) -> Failure {
    let what = format!("directory `{guest}`");
    let message = format!("the bundle `{bundle}` wants the directory `{guest}`: {why}");
    Failure::new(FailureKind::HostDenied { what }, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(bundle: &str, guest: &str, writable: bool) -> DirGrant {
        DirGrant { bundle: bundle.into(), host: "/srv/x".into(), guest: guest.into(), writable }
    }

    fn hosts(
        grants: &[DirGrant],
        reads: &[&str],
        writes: &[&str],
    ) -> Result<Vec<(PathBuf, bool)>, String> {
        let owned =
            |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        let mounts = resolve(grants, "b", &owned(reads), &owned(writes))
            .map(|mounts| mounts.into_iter().map(|mount| (mount.host, mount.writable)).collect());
        mounts.map_err(|failure| failure.message)
    }

    #[test]
    fn requests_meet_grants() {
        let grants = [grant("b", "/data", false), grant("*", "/out", true), grant("c", "/c", true)];
        assert_eq!(hosts(&grants, &["/data"], &[]).unwrap(), [("/srv/x".into(), false)]);
        assert_eq!(hosts(&grants, &["/data/in"], &[]).unwrap(), [("/srv/x/in".into(), false)]);
        assert_eq!(hosts(&grants, &["/out"], &["/out"]).unwrap(), [("/srv/x".into(), true)]);
        assert_eq!(hosts(&grants, &["/out"], &[]).unwrap(), [("/srv/x".into(), false)]);
        assert!(hosts(&grants, &["s3://bucket/"], &["file:///srv/"]).unwrap().is_empty());
        for (reads, writes) in [
            (&["/dataset"][..], &[][..]),
            (&[], &["/data"]),
            (&["/c"], &[]),
            (&["/"], &[]),
            (&["/data/../etc"], &[]),
            (&["/data/./etc"], &[]),
            (&["data"], &[]),
            (&[""], &[]),
        ] {
            assert!(hosts(&grants, reads, writes).is_err(), "{reads:?} {writes:?}");
        }
    }

    #[test]
    fn grants_that_cannot_match_are_refused() {
        assert!(check(&[grant("*", "/data", false)]).is_ok());
        for guest in ["data", "/data/..", ""] {
            assert!(check(&[grant("*", guest, false)]).is_err(), "{guest}");
        }
    }
}
