//! A bundle that is ready to run: compiled, checked and linked once.

use grid_proto::BundleHash;
use wasmtime::Store;
use wasmtime::component::types::{ComponentFunc, ComponentInstance, ComponentItem};
use wasmtime::component::{Component, ComponentExportIndex, Instance, InstancePre, Linker};

use crate::config;
use crate::contract::{self, DescribeResults, RunParams, RunResults};
use crate::error::BundleError;
use crate::state::CallState;
use crate::symbols::Symbols;

/// What a bundle may import: an interface, or all interfaces of a package, each with the versions
/// that are served. Sockets and HTTP are missing on purpose.
pub const IMPORTS_ALLOWED: [&str; 14] = [
    "grid:task/context@0.1",
    "grid:task/coordination@0.1",
    "grid:task/diagnostics@0.1",
    "grid:task/grid@0.1",
    "grid:task/log@0.1",
    "grid:task/objects@0.1",
    "grid:task/store@0.1",
    "grid:task/types@0.1",
    "grid:task/worker-local@0.1",
    "wasi:cli/*@0.2",
    "wasi:clocks/*@0.2",
    "wasi:filesystem/*@0.2",
    "wasi:io/*@0.2",
    "wasi:random/*@0.2",
];

/// A loaded bundle. Its native code lives as long as this does.
pub struct Bundle {
    hash: BundleHash,
    imports: Vec<String>,
    linked: InstancePre<CallState>,
    run: ComponentExportIndex,
    describe: ComponentExportIndex,
    symbols: Symbols,
    code_bytes: u64,
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bundle").field("hash", &self.hash).finish_non_exhaustive()
    }
}

impl Bundle {
    /// Its identity.
    #[must_use]
    pub fn hash(&self) -> BundleHash {
        self.hash
    }

    /// Bytes of memory that its native code takes, with its data.
    #[must_use]
    pub fn code_bytes(&self) -> u64 {
        self.code_bytes
    }

    /// What it imports, sorted.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// Whether its calls may speak to the grid while they run.
    #[must_use]
    pub fn uses_grid(&self) -> bool {
        const SPOKEN_TO: [&str; 2] = ["grid:task/grid@", "grid:task/coordination@"];
        let speaks = |import: &String| SPOKEN_TO.iter().any(|grid| import.starts_with(grid));
        self.imports.iter().any(speaks)
    }

    /// Whether its calls may keep values on their worker.
    #[must_use]
    pub fn uses_local(&self) -> bool {
        self.imports.iter().any(|import| import.starts_with("grid:task/worker-local@"))
    }

    /// Whether its calls may read arguments and write results piece by piece.
    #[must_use]
    pub fn uses_objects(&self) -> bool {
        self.imports.iter().any(|import| import.starts_with("grid:task/objects@"))
    }

    /// Whether its calls may use stores outside of the grid.
    pub(crate) fn uses_stores(&self) -> bool {
        self.imports.iter().any(|import| import.starts_with("grid:task/store@"))
    }

    /// Links a compiled component.
    pub(crate) fn link(
        hash: BundleHash,
        bytes: &[u8],
        component: &Component,
        linker: &Linker<CallState>,
        memory_bytes_max: u64,
    ) -> Result<Self, BundleError> {
        let imports = check_imports(component)?;
        check_exports(component)?;
        check_needs(component, memory_bytes_max)?;
        let export = |function: &str| {
            let tasks = component.get_export_index(None, contract::TASKS)?;
            component.get_export_index(Some(&tasks), function)
        };
        let missing = |function: &str| BundleError::WrongExports {
            missing: format!("it does not export `{function}` of `{}`", contract::TASKS),
        };
        Ok(Self {
            hash,
            symbols: Symbols::read(bytes),
            code_bytes: code_bytes(component),
            imports,
            run: export("run").ok_or_else(|| missing("run"))?,
            describe: export("describe").ok_or_else(|| missing("describe"))?,
            linked: linker
                .instantiate_pre(component)
                .map_err(|error| BundleError::Invalid(format!("it does not link: {error:#}")))?,
        })
    }

    pub(crate) fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    pub(crate) fn run_export(&self) -> &ComponentExportIndex {
        &self.run
    }

    pub(crate) fn describe_export(&self) -> &ComponentExportIndex {
        &self.describe
    }

    pub(crate) fn instantiate(&self, store: &mut Store<CallState>) -> wasmtime::Result<Instance> {
        self.linked.instantiate(store)
    }
}

fn code_bytes(component: &Component) -> u64 {
    let image = component.image_range();
    (image.end.addr() - image.start.addr()) as u64
}

/// Says what a file is that is no component at all.
pub(crate) fn check_header(bytes: &[u8]) -> Result<(), BundleError> {
    const MAGIC: &[u8] = b"\0asm";
    /// Version 1 of the core format, layer 0.
    const CORE: &[u8] = &[1, 0, 0, 0];
    if !bytes.starts_with(MAGIC) {
        let start: Vec<_> = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let start =
            if start.is_empty() { "nothing".into() } else { format!("`{}`", start.join(" ")) };
        return Err(BundleError::NotWasm(start));
    }
    if bytes[MAGIC.len()..].starts_with(CORE) {
        return Err(BundleError::CoreModule);
    }
    Ok(())
}

fn check_imports(component: &Component) -> Result<Vec<String>, BundleError> {
    let ty = component.component_type();
    let mut imports: Vec<_> =
        ty.imports(component.engine()).map(|(name, _)| name.to_owned()).collect();
    imports.sort_unstable();
    match imports.iter().find(|import| !is_allowed(import)) {
        None => Ok(imports),
        Some(import) => Err(BundleError::ImportDenied {
            import: crate::output::plain_text(import.as_bytes()),
            allowed: IMPORTS_ALLOWED.map(|allowed| format!("`{allowed}`")).join(", "),
        }),
    }
}

fn is_allowed(import: &str) -> bool {
    let Some((path, version)) = import.split_once('@') else {
        return false;
    };
    IMPORTS_ALLOWED.iter().any(|allowed| {
        let (pattern, series) = allowed.split_once('@').expect("every entry has a version");
        let path_fits = match pattern.strip_suffix('*') {
            Some(package) => path.strip_prefix(package).is_some_and(|name| !name.contains('/')),
            None => path == pattern,
        };
        let version_fits = version.strip_prefix(series).is_some_and(|rest| rest.starts_with('.'));
        path_fits && version_fits
    })
}

fn check_exports(component: &Component) -> Result<(), BundleError> {
    let wrong = |missing: String| BundleError::WrongExports { missing };
    let ty = component.component_type();
    let engine = component.engine();
    let Some(ComponentItem::ComponentInstance(tasks)) =
        ty.get_export(engine, contract::TASKS).map(|export| export.ty)
    else {
        let exports: Vec<_> = ty.exports(engine).map(|(name, _)| format!("`{name}`")).collect();
        let exports = if exports.is_empty() { "nothing".into() } else { exports.join(", ") };
        return Err(wrong(format!(
            "it does not export `{}` (it exports {exports})",
            contract::TASKS
        )));
    };
    let types = ty.instance_type();
    let other_types = |name: &str, error: wasmtime::Error| {
        wrong(format!("its function `{name}` has other types: {error:#}"))
    };
    find_function(component, &tasks, "describe")?
        .typecheck::<(), DescribeResults>(&types)
        .map_err(|error| other_types("describe", error))?;
    find_function(component, &tasks, "run")?
        .typecheck::<RunParams<'_>, RunResults>(&types)
        .map_err(|error| other_types("run", error))
}

fn find_function(
    component: &Component,
    tasks: &ComponentInstance,
    name: &str,
) -> Result<ComponentFunc, BundleError> {
    match tasks.get_export(component.engine(), name).map(|export| export.ty) {
        Some(ComponentItem::ComponentFunc(function)) => Ok(function),
        _ => Err(BundleError::WrongExports {
            missing: format!("its `{}` has no function `{name}`", contract::TASKS),
        }),
    }
}

/// Refuses at once what no instance could ever be made of.
fn check_needs(component: &Component, memory_bytes_max: u64) -> Result<(), BundleError> {
    let Some(needs) = component.resources_required() else {
        return Ok(());
    };
    let limits = [
        ("linear memories", u64::from(needs.num_memories), u64::from(config::MEMORIES_MAX)),
        ("tables", u64::from(needs.num_tables), u64::from(config::TABLES_MAX)),
        ("bytes of memory to start", needs.max_initial_memory_size.unwrap_or(0), memory_bytes_max),
        (
            "elements in a table",
            needs.max_initial_table_size.unwrap_or(0),
            config::TABLE_ELEMENTS_MAX as u64,
        ),
    ];
    match limits.into_iter().find(|(_, wanted, limit)| wanted > limit) {
        None => Ok(()),
        Some((what, wanted, limit)) => {
            Err(BundleError::NeedsTooMuch(format!("{wanted} {what}, the limit is {limit}")))
        }
    }
}
