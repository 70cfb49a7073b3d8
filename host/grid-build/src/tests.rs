//! What needs no compiler.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::component::{Kind, kind};
use crate::scaffold::{ScaffoldError, SdkSource, scaffold};
use crate::toolchain::{Toolchain, ToolchainError, search};
use crate::{TARGET, environment};

fn touch(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "").unwrap();
}

/// A toolchain of ours, as far as the search looks at it.
fn own_toolchain(dir: &Path) {
    touch(&dir.join("bin/rustc"));
    touch(&dir.join("lib/rustlib").join(TARGET).join("lib/libstd-0123.rlib"));
    for tool in ["rust-lld", "wasm-component-ld"] {
        touch(&dir.join("lib/rustlib/x86_64-unknown-linux-gnu/bin").join(tool));
    }
}

fn no_rustup() -> Result<PathBuf, String> {
    Err("cannot run `rustc`".to_owned())
}

#[test]
fn the_active_toolchain_comes_before_ours() {
    let folder = tempfile::tempdir().unwrap();
    let (own, sysroot) = (folder.path().join("own"), folder.path().join("rustup"));
    own_toolchain(&own);
    touch(&sysroot.join("lib/rustlib").join(TARGET).join("lib/libstd-4567.rlib"));

    let found = search(&own, false, || Ok(sysroot.clone())).unwrap();
    assert_eq!(found, Toolchain::Rustup { sysroot: sysroot.clone() });
    assert_eq!(found.rustc(), None);
    let named = search(&own, true, || panic!("ours was named")).unwrap();
    assert_eq!(named, Toolchain::Own { dir: own.clone() });
    let found = search(&own, false, no_rustup).unwrap();
    assert_eq!(found.rustc(), Some(own.join("bin/rustc")));
}

#[test]
fn what_is_missing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("own");
    let sysroot = folder.path().join("rustup");
    let error = search(&own, true, || Ok(sysroot.clone())).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ToolchainError::Missing { reasons } if reasons.len() == 2));
    assert!(text.contains("/rustup` has no such target"), "{text}");
    assert!(text.ends_with("run `grid toolchain install`"), "{text}");
}

#[test]
fn a_toolchain_in_parts_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("own");
    own_toolchain(&own);
    let linker = own.join("lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld");
    fs::remove_file(&linker).unwrap();
    std::os::unix::fs::symlink(folder.path().join("gone"), &linker).unwrap();
    let error = search(&own, false, no_rustup).unwrap_err().to_string();
    assert!(error.contains("is gone with its rustup toolchain"), "{error}");
    fs::remove_file(own.join("lib/rustlib").join(TARGET).join("lib/libstd-0123.rlib")).unwrap();
    let error = search(&own, false, no_rustup).unwrap_err().to_string();
    assert!(error.contains("own` has no such target"), "{error}");
}

#[test]
fn a_toolchain_of_another_compiler_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("own");
    own_toolchain(&own);
    fs::write(own.join("compiler.txt"), "rustc 1.0.0").unwrap();
    let error = search(&own, false, no_rustup).unwrap_err().to_string();
    assert!(error.contains("rustc 1.0.0") || error.contains("cannot run"), "{error}");
}

#[test]
fn an_outer_cargo_leaves_the_library_path() {
    let paths = OsStr::new("/w/target/debug/deps:/home/u/.rustup/toolchains/a/lib:/opt/lib");
    let rustup = Path::new("/home/u/.rustup");
    for us in ["/w/target/debug/xtask", "/w/target/debug/deps/test-1"] {
        let kept = environment::libraries(paths, rustup, Some(Path::new(us)));
        assert_eq!(kept.as_deref(), Some(OsStr::new("/opt/lib")), "{us}");
    }
    assert_eq!(environment::libraries(OsStr::new("/home/u/.rustup/lib"), rustup, None), None);
}

#[test]
fn files_are_told_apart() {
    let component = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];
    let with = |section: u8, name: &str| {
        let mut bytes = component.to_vec();
        bytes.extend([0, 3, 1, b'x', b'y']);
        bytes.extend([section, name.len() as u8]);
        bytes.extend(name.as_bytes());
        bytes
    };
    assert_eq!(kind(&with(11, "grid:task/tasks@0.1.0")), Kind::Bundle);
    assert_eq!(kind(&with(10, "grid:task/tasks@0.1.0")), Kind::Component);
    assert_eq!(kind(&component), Kind::Component);
    assert_eq!(kind(&[0, b'a', b's', b'm', 1, 0, 0, 0]), Kind::Module);
    for other in [&b""[..], b"\0asm", b"#!/bin/sh\n"] {
        assert_eq!(kind(other), Kind::Other);
    }
    // A length behind the end, and one without an end.
    let torn = with(11, "grid:task/tasks@0.1.0");
    assert_eq!(kind(&torn[..torn.len() - 1]), Kind::Component);
    assert_eq!(kind(&[&component[..], &[11, 255, 255, 255, 255, 255]].concat()), Kind::Component);
}

#[test]
fn names_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str| match scaffold(name, folder.path(), &SdkSource::default()) {
        Err(ScaffoldError::Name { proposal, .. }) => proposal,
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(refused(""), "my-tasks");
    assert_eq!(refused("../evil"), "evil");
    assert_eq!(refused("9lives"), "tasks-9lives");
    assert_eq!(refused("Grüße an alle"), "gr-e-an-alle");
    assert_eq!(refused("fn"), "my-fn");
    assert_eq!(refused("core"), "my-core");
    assert_eq!(refused("grid-sdk"), "my-grid-sdk");
    assert!(refused(&"a".repeat(65)).len() <= 64);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "something was made");
    let error = scaffold("a b", folder.path(), &SdkSource::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`a b` cannot be the name of a crate: it may hold only the letters `a` to `z`, digits, \
         `-` and `_`; try `a-b`",
    );
}

#[test]
fn a_new_crate_has_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let made = scaffold("two-words", folder.path(), &SdkSource::default()).unwrap();
    assert_eq!(made.dir, folder.path().join("two-words"));
    let names: Vec<_> = made.files.iter().map(|file| file.strip_prefix(&made.dir)).collect();
    let expected = ["Cargo.toml", "src/lib.rs", "README.md", ".gitignore"];
    assert_eq!(names, expected.map(|name| Ok(Path::new(name))));
    for file in &made.files {
        let text = fs::read_to_string(file).unwrap();
        assert!(!text.contains("{{"), "{}", file.display());
    }
    let manifest = fs::read_to_string(&made.files[0]).unwrap();
    assert!(manifest.contains("name = \"two-words\""), "{manifest}");
    assert!(manifest.contains("guest-sdk/grid-sdk\" }"), "{manifest}");

    let again = scaffold("two-words", folder.path(), &SdkSource::default());
    assert!(matches!(again, Err(ScaffoldError::Exists { .. })), "{again:?}");
}

#[test]
fn the_sdk_may_come_from_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let git = |rev: Option<&str>| SdkSource::Git {
        url: "https://example.org/grid".to_owned(),
        rev: rev.map(str::to_owned),
    };
    let manifest = |name: &str, sdk: &SdkSource| {
        let made = scaffold(name, folder.path(), sdk).unwrap();
        fs::read_to_string(&made.files[0]).unwrap()
    };
    let plain = manifest("one", &git(None));
    assert!(plain.contains("grid-sdk = { git = \"https://example.org/grid\" }"), "{plain}");
    let pinned = manifest("two", &git(Some("v1")));
    assert!(pinned.contains("/grid\", rev = \"v1\" }"), "{pinned}");
    let nowhere = SdkSource::Path(folder.path().join("nowhere"));
    let error = scaffold("three", folder.path(), &nowhere).unwrap_err();
    assert!(matches!(error, ScaffoldError::NoSdk { .. }), "{error}");
    assert!(!folder.path().join("three").exists());
}
