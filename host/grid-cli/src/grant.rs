//! Grants as an operator types them.

use std::path::PathBuf;

use grid_sandbox::DirGrant;

/// `BUNDLE:HOST_DIR:GUEST_DIR[:ro|rw]`; read-only unless it says `rw`.
pub(crate) fn parse(text: &str) -> Result<DirGrant, String> {
    let bad = || format!("`{text}` is not a grant: write BUNDLE:HOST_DIR:GUEST_DIR[:ro|rw]");
    let parts: Vec<_> = text.split(':').collect();
    let (bundle, host, guest, mode) = match parts[..] {
        [bundle, host, guest] => (bundle, host, guest, "ro"),
        [bundle, host, guest, mode] => (bundle, host, guest, mode),
        _ => return Err(bad()),
    };
    if bundle.is_empty() || host.is_empty() || !guest.starts_with('/') {
        return Err(bad());
    }
    let writable = match mode {
        "ro" => false,
        "rw" => true,
        _ => return Err(bad()),
    };
    let host = PathBuf::from(host);
    if !host.is_dir() {
        return Err(format!(
            "the grant `{text}` names `{}`, which is no directory",
            host.display()
        ));
    }
    Ok(DirGrant { bundle: bundle.to_owned(), host, guest: guest.to_owned(), writable })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_grant_is_read_only_unless_it_says_so() {
        let grant = super::parse("flights:/tmp:/data").unwrap();
        assert!(!grant.writable);
        assert!(super::parse("flights:/tmp:/data:rw").unwrap().writable);
        assert!(super::parse("flights:/tmp").is_err());
        assert!(super::parse("flights:/tmp:data").is_err());
        assert!(
            super::parse("flights:/no/such/folder:/data").unwrap_err().contains("no directory")
        );
    }
}
