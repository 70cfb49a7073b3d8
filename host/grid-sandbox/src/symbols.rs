//! Source lines of wasm code.
//!
//! wasmtime can look them up itself, but reads a module's debug information anew for each frame:
//! measured 1 ms a frame, 60 ms for a deep recursion, in which a hostile guest gets more work done
//! than in its own time. Here it is read once for each place that is new, and places are kept.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use addr2line::Context;
use gimli::{Dwarf, EndianSlice, LittleEndian};
use grid_proto::Frame;
use wasmparser::{Encoding, Parser, Payload};

use crate::output::plain_text;

/// Places that are kept; enough for every call site of a large program that ever fails.
const PLACES_MAX: usize = 4096;

/// Whole stacks that are kept: a task that fails fails in few ways.
const STACKS_MAX: usize = 256;

/// The debug information of a bundle.
#[derive(Default)]
pub(crate) struct Symbols {
    modules: Vec<Module>,
    known: Mutex<HashMap<u64, Place>>,
    stacks: Mutex<HashMap<Stack, Arc<[Frame]>>>,
}

/// A stack as the engine gives it, and whether it ends in the machinery of a report.
type Stack = (Vec<u64>, bool);

/// What stands at one place of the code: the functions that were inlined into each other,
/// innermost first. The last one's name is better known to the wasm module and left empty.
pub(crate) type Place = Arc<[Frame]>;

/// One core module of the component.
#[derive(Default)]
struct Module {
    /// Where its code lies in the file; addresses of its debug information count from there.
    code: Range<u64>,
    /// Custom sections `.debug_*`, by name.
    sections: BTreeMap<String, Vec<u8>>,
}

impl Symbols {
    /// Copies the debug information out of a component that wasmtime found valid.
    pub(crate) fn read(component: &[u8]) -> Self {
        let mut modules = Vec::new();
        // Modules and components nest.
        let mut open: Vec<Option<Module>> = Vec::new();
        for payload in Parser::new(0).parse_all(component) {
            let Ok(payload) = payload else { break };
            match payload {
                Payload::Version { encoding, .. } => {
                    open.push((encoding == Encoding::Module).then(Module::default));
                }
                Payload::CodeSectionStart { range, .. } => {
                    if let Some(Some(module)) = open.last_mut() {
                        module.code = range.start as u64..range.end as u64;
                    }
                }
                Payload::CustomSection(section) => {
                    if let Some(Some(module)) = open.last_mut() {
                        module.keep(section.name(), section.data());
                    }
                }
                Payload::End(_) => {
                    modules.extend(open.pop().flatten().filter(Module::is_useful));
                }
                _ => {}
            }
        }
        Self { modules, ..Self::default() }
    }

    /// The frames of a stack, made once for each that is new: naming them anew costs more than the
    /// trap itself.
    pub(crate) fn stack(&self, stack: Stack, make: impl FnOnce() -> Vec<Frame>) -> Vec<Frame> {
        let lock = || self.stacks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(frames) = lock().get(&stack) {
            return frames.to_vec();
        }
        let frames = make();
        let mut stacks = lock();
        if stacks.len() >= STACKS_MAX {
            stacks.clear();
        }
        stacks.insert(stack, frames.as_slice().into());
        frames
    }

    /// What stands at these offsets in the file; empty where nothing is known.
    pub(crate) fn places(&self, offsets: &[u64]) -> Vec<Place> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() > PLACES_MAX {
            known.clear();
        }
        for module in &self.modules {
            let mut new = offsets
                .iter()
                .filter(|offset| module.code.contains(offset) && !known.contains_key(offset))
                .copied()
                .collect::<Vec<_>>();
            new.sort_unstable();
            new.dedup();
            if !new.is_empty() {
                // The guest wrote what is read here: a reader that falls over it costs the lines.
                let look_up = AssertUnwindSafe(|| module.look_up(&new));
                let found = catch_unwind(look_up).unwrap_or_default();
                known.extend(found);
            }
        }
        let place = |offset| known.get(offset).cloned().unwrap_or_default();
        offsets.iter().map(place).collect()
    }
}

impl Module {
    fn keep(&mut self, name: &str, data: &[u8]) {
        if name.starts_with(".debug_") {
            self.sections.insert(name.to_owned(), data.to_vec());
        }
    }

    fn is_useful(&self) -> bool {
        !self.code.is_empty() && self.sections.contains_key(".debug_info")
    }

    fn look_up(&self, offsets: &[u64]) -> Vec<(u64, Place)> {
        let section = |id: gimli::SectionId| -> Result<_, Infallible> {
            let section = self.sections.get(id.name()).map_or(&[][..], Vec::as_slice);
            Ok(EndianSlice::new(section, LittleEndian))
        };
        let context = Dwarf::load(section).ok().and_then(|dwarf| Context::from_dwarf(dwarf).ok());
        let place = |offset: u64| {
            let place = context.as_ref().and_then(|it| frames(it, offset - self.code.start));
            (offset, place.unwrap_or_default())
        };
        offsets.iter().copied().map(place).collect()
    }
}

type Reader<'a> = EndianSlice<'a, LittleEndian>;

fn frames(context: &Context<Reader<'_>>, address: u64) -> Option<Place> {
    let mut found = context.find_frames(address).skip_all_loads().ok()?;
    let mut frames = Vec::new();
    while let Ok(Some(frame)) = found.next() {
        let name = frame.function.as_ref().and_then(|function| function.raw_name().ok());
        let location = frame.location.as_ref();
        frames.push(Frame {
            function: name.map(|name| readable(&name)).unwrap_or_default(),
            file: location.and_then(|it| it.file).map(|file| plain_text(file.as_bytes())),
            line: location.and_then(|it| it.line),
        });
    }
    Some(frames.into())
}

/// A function's name as people write it.
pub(crate) fn readable(name: &str) -> String {
    // The alternate form leaves the hash out.
    plain_text(format!("{:#}", rustc_demangle::demangle(name)).as_bytes())
}
