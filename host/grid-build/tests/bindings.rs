//! The SDK's bindings are those of `wit/`.

use std::fs;
use std::path::Path;

/// Whether the file is as it is generated; it is made so first, if that is wished.
fn is_fresh(path: &Path, fresh: &str, bless: bool) -> std::io::Result<bool> {
    if bless {
        fs::write(path, fresh)?;
    }
    Ok(fs::read_to_string(path)? == fresh)
}

#[test]
fn the_bindings_are_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let fresh = grid_build::bindings::generate(&root.join("wit")).unwrap();
    let bless = std::env::var_os("GRID_BLESS").is_some();
    let is_fresh = is_fresh(&root.join(grid_build::bindings::PATH), &fresh, bless);
    assert!(is_fresh.unwrap(), "the bindings are not those of wit/; run `cargo xtask fix`");
}

#[test]
fn bindings_of_another_day_are_told_and_written_anew_when_that_is_wished() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bindings.rs");
    fs::write(&path, "// of another day").unwrap();
    assert!(!is_fresh(&path, "// of today", false).unwrap());
    assert!(is_fresh(&path, "// of today", true).unwrap());
    assert!(is_fresh(&path, "// of today", false).unwrap());
}

#[test]
fn interfaces_that_do_not_parse_are_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("world.wit"), "package grid:task@0.1.0; world task {").unwrap();
    let error = grid_build::bindings::generate(folder.path()).unwrap_err().to_string();
    assert!(error.starts_with("cannot read the interfaces in `"), "{error}");
    fs::write(folder.path().join("world.wit"), "package grid:task@0.1.0; world other {}").unwrap();
    let error = grid_build::bindings::generate(folder.path()).unwrap_err().to_string();
    assert!(error.contains("task"), "{error}");
}
