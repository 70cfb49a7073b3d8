//! From `grid new` to a bundle, with a real compiler. Skips nothing: a machine without the target
//! fails here with the sentence that a user would read.

#![expect(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::fs;
use std::path::Path;
use std::process::Command;

use grid_build::{BuildError, BuildOptions, SdkSource, build, scaffold};

fn cargo_test(folder: &Path, target: &Path) {
    let mut cargo = Command::new("cargo");
    for name in ["CARGO", "RUSTC", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_MANIFEST_DIR"] {
        cargo.env_remove(name);
    }
    cargo.args(["test", "--quiet"]).current_dir(folder).arg("--target-dir").arg(target);
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("3 passed"));
}

#[test]
fn a_new_crate_builds_and_its_tests_pass() {
    let folder = tempfile::tempdir().unwrap();
    let made = scaffold("first-steps", folder.path(), &SdkSource::default()).unwrap();
    let target = folder.path().join("target");
    let options =
        BuildOptions { target_dir: Some(target.clone()), quiet: true, ..BuildOptions::default() };

    let built = build(&made.dir, &options).unwrap();
    assert_eq!((built.name.as_str(), built.version.as_str()), ("first-steps", "0.1.0"));
    assert_eq!(built.wasm, target.join("bundles/first-steps.wasm"));
    let bytes = fs::read(&built.wasm).unwrap();
    assert_eq!(built.size, bytes.len() as u64);
    speaks_no_path(&bytes, folder.path());
    cargo_test(&made.dir, &target);

    // The same sources in another folder give the same bytes.
    let elsewhere =
        scaffold("first-steps", &folder.path().join("elsewhere"), &SdkSource::default());
    let again = BuildOptions { out_dir: Some(folder.path().join("again")), ..options.clone() };
    let again = build(&elsewhere.unwrap().dir, &again).unwrap();
    assert_eq!(fs::read(again.wasm).unwrap(), bytes, "the bundle depends on where it was built");

    // A panic of the compiler, a crate without tasks, and a crate without a file of its own.
    let lib = made.dir.join("src/lib.rs");
    let source = fs::read_to_string(&lib).unwrap();
    fs::write(&lib, source.replace("grid_sdk::bundle!(add, summarise);", "")).unwrap();
    let error = build(&made.dir, &options).unwrap_err();
    assert!(matches!(&error, BuildError::NoBundle { name } if name == "first-steps"), "{error}");
    fs::write(&lib, source.replace("a + b", "a + c")).unwrap();
    let error = build(&made.dir, &options).unwrap_err();
    assert!(error.to_string().contains("cannot find value `c`"), "{error}");
    let manifest = made.dir.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"cdylib\", ", "")).unwrap();
    let error = build(&made.dir, &options).unwrap_err();
    assert!(matches!(error, BuildError::NoCdylib { .. }), "{error}");
}

/// Neither the messages of panics nor the debug information name this machine's folders.
fn speaks_no_path(bytes: &[u8], folder: &Path) {
    let sdk = SdkSource::default();
    let SdkSource::Path(sdk) = sdk else { panic!("the default is a folder") };
    let home = std::env::home_dir().unwrap();
    let toolchain = grid_build::toolchain::find(folder).unwrap();
    for path in [folder, &sdk, home.join(".cargo").as_path(), toolchain.dir(), Path::new("/tmp/")] {
        let text = path.to_str().unwrap().as_bytes();
        let found = bytes.windows(text.len()).position(|window| window == text);
        if let Some(at) = found {
            let end = (at + 160).min(bytes.len());
            panic!("it speaks of `{}`", String::from_utf8_lossy(&bytes[at..end]));
        }
    }
}
