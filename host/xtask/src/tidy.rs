//! Rules of the house that no compiler knows: who may depend on whom, how large a file may be, how
//! it may be called, what must not be in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::run::{cargo, program_at, root};

/// What each crate of the host may use of the others. Siblings of one level never use each other.
const LAYERS: [(&str, &[&str]); 15] = [
    ("grid-proto", &[]),
    ("grid-scheduler", &["grid-proto"]),
    ("grid-share", &[]),
    ("grid-store", &["grid-proto", "grid-share"]),
    ("grid-sandbox", &["grid-proto"]),
    ("grid-net", &["grid-proto", "grid-share"]),
    ("grid-objects", &["grid-proto"]),
    ("grid-client", &["grid-proto", "grid-net", "grid-sdk", "grid-share"]),
    ("grid-server", &["grid-proto", "grid-scheduler", "grid-net"]),
    ("grid-worker", &["grid-proto", "grid-store", "grid-sandbox", "grid-net", "grid-share"]),
    ("grid-build", &[]),
    ("grid-sdk", &["grid-sdk-macros"]),
    ("grid-sdk-macros", &[]),
    (
        "grid-embedded",
        &[
            "grid-client",
            "grid-net",
            "grid-sandbox",
            "grid-scheduler",
            "grid-server",
            "grid-worker",
        ],
    ),
    ("xtask", &["grid-build"]),
];

/// Libraries that belong to some crates alone.
const HOMES: [(&str, &[&str]); 8] = [
    ("memmap2", &["grid-share"]),
    ("wasmtime", &["grid-sandbox"]),
    ("wasmtime-wasi", &["grid-sandbox"]),
    ("quinn", &["grid-net", "grid-bench"]),
    ("rustls", &["grid-net", "grid-objects", "grid-bench"]),
    ("object_store", &["grid-objects"]),
    ("reqwest", &["grid-objects"]),
    ("axum", &["grid-server"]),
];

const FILE_LINES_MAX: usize = 600;
/// Generated, and checked against its source by a test.
const GENERATED: [&str; 1] = ["guest-sdk/grid-sdk/src/bindings.rs"];
/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] =
    ["utils.rs", "util.rs", "common.rs", "helpers.rs", "imp.rs", "misc.rs"];
/// What no source file may hold, with what to do instead.
const FORBIDDEN: [(&str, &str); 4] = [
    (concat!("todo", "!("), "build it or leave it out"),
    (concat!("unimplemented", "!("), "build it or leave it out"),
    (concat!("#[", "ignore"), "a test that does not run is none"),
    (concat!("#[", "allow("), "use `#[expect(lint, reason = \"...\")]`"),
];

/// Lints that code generated into users' crates must not raise depend on those crates.
const MAY_ALLOW: &str = "guest-sdk/grid-sdk-macros/src/expand.rs";

/// Checks all rules; lists every breach.
pub(crate) fn check() -> anyhow::Result<()> {
    eprintln!("\n$ cargo xtask tidy");
    let mut breaches = Vec::new();
    layering(&mut breaches)?;
    files(&mut breaches)?;
    if breaches.is_empty() {
        return Ok(());
    }
    bail!("{} breaches of the rules:\n  {}", breaches.len(), breaches.join("\n  "));
}

fn layering(breaches: &mut Vec<String>) -> anyhow::Result<()> {
    let metadata = cargo(&["metadata", "--format-version", "1", "--no-deps"]).output()?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let layers: BTreeMap<_, _> = LAYERS.into_iter().collect();
    for package in metadata["packages"].as_array().context("no packages")? {
        let name = package["name"].as_str().unwrap_or_default();
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let used = dependency["name"].as_str().unwrap_or_default();
            let for_tests = dependency["kind"].as_str() == Some("dev");
            let ours = used.starts_with("grid-") && !for_tests;
            if let Some(allowed) = layers.get(name)
                && ours
                && !allowed.contains(&used)
            {
                breaches.push(format!("{name} must not depend on {used}"));
            }
            for (library, homes) in HOMES {
                if used == library && !homes.contains(&name) && !for_tests {
                    let homes = homes.join(" and ");
                    breaches.push(format!("{name} uses {library}, which belongs to {homes}"));
                }
            }
        }
    }
    Ok(())
}

fn files(breaches: &mut Vec<String>) -> anyhow::Result<()> {
    let listed = program_at("git", &["ls-files", "-co", "--exclude-standard", "*.rs"]).output()?;
    for name in listed.lines() {
        let path = root().join(name);
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let lines = text.lines().count();
        if GENERATED.contains(&name) {
            continue;
        }
        if lines > FILE_LINES_MAX {
            breaches.push(format!("{name} has {lines} lines, at most {FILE_LINES_MAX}"));
        }
        let file_name = Path::new(name).file_name().unwrap_or_default().to_string_lossy();
        if EMPTY_NAMES.contains(&file_name.as_ref()) {
            breaches.push(format!("{name}: name the file after what is in it"));
        }
        for (text_found, instead) in FORBIDDEN {
            if name == MAY_ALLOW && text_found.contains("allow") {
                continue;
            }
            if let Some(line) = text.lines().position(|line| line.contains(text_found)) {
                breaches.push(format!("{name}:{}: `{text_found}`: {instead}", line + 1));
            }
        }
    }
    Ok(())
}
