//! The SDK's bindings are those of `wit/`.

use std::fs;
use std::path::Path;

#[test]
fn the_bindings_are_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join(grid_build::bindings::PATH);
    let fresh = grid_build::bindings::generate(&root.join("wit")).unwrap();
    if std::env::var_os("GRID_BLESS").is_some() {
        fs::write(&path, &fresh).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap();
    assert!(committed == fresh, "the bindings are not those of wit/; run `cargo xtask fix`");
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
