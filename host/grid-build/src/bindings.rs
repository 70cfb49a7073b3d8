//! The SDK's bindings, generated from `wit/` beforehand.
//!
//! The generator as a macro costs every task crate a minute of compilation; its output costs
//! seconds. So the output is committed, and a test regenerates and compares it.

use std::path::Path;

use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator};
use wit_bindgen_rust::Opts;

/// Where the bindings lie in the repository.
pub const PATH: &str = "guest-sdk/grid-sdk/src/bindings.rs";

/// Why bindings could not be generated.
#[derive(thiserror::Error, Debug)]
pub enum BindingsError {
    /// The interfaces do not parse, or they hold no world `task`.
    #[error("cannot read the interfaces in `{wit}`: {reason}")]
    Wit {
        /// The folder.
        wit: String,
        /// What the parser says.
        reason: String,
    },
    /// The generator refused the world.
    #[error("cannot generate bindings of `{wit}`: {reason}")]
    Generator {
        /// The folder.
        wit: String,
        /// What the generator says.
        reason: String,
    },
}

/// The text of [`PATH`] for the interfaces in `wit`.
///
/// # Errors
/// The interfaces do not parse, or the generator does not know something in them.
pub fn generate(wit: &Path) -> Result<String, BindingsError> {
    let name = wit.display().to_string();
    let unreadable = |reason: String| BindingsError::Wit { wit: name.clone(), reason };
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit).map_err(|error| unreadable(format!("{error:#}")))?;
    let world = resolve
        .select_world(&[package], Some("task"))
        .map_err(|error| unreadable(format!("{error:#}")))?;
    let mut files = Files::default();
    options().build().generate(&mut resolve, world, &mut files).map_err(|error| {
        BindingsError::Generator { wit: name.clone(), reason: format!("{error:#}") }
    })?;
    let Some((_, text)) = files.iter().next() else {
        return Err(BindingsError::Generator { wit: name, reason: "it wrote nothing".to_owned() });
    };
    Ok(String::from_utf8_lossy(text).into_owned())
}

fn options() -> Opts {
    Opts {
        format: true,
        runtime_path: Some("wit_bindgen::rt".to_owned()),
        // Task crates name the bindings by the SDK: they do not depend on the runtime themselves.
        default_bindings_module: Some("$crate::bindings".to_owned()),
        export_macro_name: Some("__export_tasks".to_owned()),
        pub_export_macro: true,
        generate_all: true,
        ..Opts::default()
    }
}
