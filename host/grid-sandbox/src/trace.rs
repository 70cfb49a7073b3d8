//! wasmtime's backtraces as frames that people read.

use grid_proto::{FailureKind, Frame, TrapKind};
use wasmtime::{FrameInfo, WasmBacktrace};

use crate::config::FRAMES_MAX;
use crate::symbols::{Place, Symbols, readable};

/// The wasm stack of a failure, innermost first.
pub(crate) fn frames(error: &wasmtime::Error, symbols: &Symbols, kind: &FailureKind) -> Vec<Frame> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return Vec::new();
    };
    let frames = backtrace.frames();
    let offset = |frame: &FrameInfo| frame.module_offset().unwrap_or_default() as u64;
    let offsets: Vec<_> = frames.iter().map(offset).collect();
    let reported = was_reported(kind);
    symbols.stack((offsets.clone(), reported), || name(frames, &offsets, symbols, reported))
}

fn name(frames: &[FrameInfo], offsets: &[u64], symbols: &Symbols, reported: bool) -> Vec<Frame> {
    let places = symbols.places(offsets);
    let mut source: Vec<_> =
        frames.iter().zip(&places).flat_map(|(frame, place)| source_frames(frame, place)).collect();
    if reported {
        let machinery = source.iter().take_while(|frame| is_machinery(frame)).count();
        if machinery < source.len() {
            source.drain(..machinery);
        }
    }
    source.truncate(FRAMES_MAX);
    source
}

/// One function of the machine code may be several of the source, inlined into each other.
fn source_frames(frame: &FrameInfo, place: &Place) -> Vec<Frame> {
    // The module's own name has the path; debug information of lines alone has not.
    let outermost = || match frame.func_name() {
        Some(name) => readable(name),
        None => format!("<wasm function {}>", frame.func_index()),
    };
    let Some((last, inlined)) = place.split_last() else {
        return vec![Frame { function: outermost(), ..Frame::default() }];
    };
    let mut frames = inlined.to_vec();
    frames.push(Frame { function: outermost(), ..last.clone() });
    frames
}

/// Whether code of a library ran between the fault and the trap, to report it.
fn was_reported(kind: &FailureKind) -> bool {
    match kind {
        FailureKind::Trap { trap } => {
            matches!(trap, TrapKind::Panic | TrapKind::Unreachable | TrapKind::Exit)
        }
        FailureKind::OutOfMemory { .. } => true,
        _ => false,
    }
}

/// Functions that lead from a fault in somebody's code to the trap. They stand at the inner end of
/// the stack and are the same for every panic.
fn is_machinery(frame: &Frame) -> bool {
    /// Rust's library, wherever it was built.
    const FILES: [&str; 3] = ["/library/core/src/", "/library/alloc/src/", "/library/std/src/"];
    const PATHS: [&str; 12] = [
        "std::",
        "core::",
        "alloc::",
        "grid_sdk::",
        "wasi_snapshot_preview1::",
        "__rust",
        "__rg_",
        "__rdl_",
        "__wasi_",
        "__imported_wasi_",
        "__wasilibc_",
        "<wasm function ",
    ];
    const NAMES: [&str; 6] =
        ["abort", "exit", "_Exit", "proc_exit", "rust_panic", "rust_begin_unwind"];
    let Frame { function, file, .. } = frame;
    let in_library = |file: &String| FILES.iter().any(|part| file.contains(part));
    NAMES.contains(&function.as_str())
        || PATHS.iter().any(|start| function.starts_with(start))
        || file.as_ref().is_some_and(in_library)
}
