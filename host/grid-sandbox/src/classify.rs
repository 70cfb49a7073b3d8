//! From wasmtime's errors to the failures that users see.
//!
//! Some faults do not arrive under their own name:
//! - A Rust panic is an `unreachable` instruction. The SDK announces it before
//!   (`diagnostics.panicked`).
//! - An allocation that fails is whatever the guest's allocator does then: `unreachable` in Rust, a
//!   write to address 0 in careless C. The limiter remembers that it refused a growth.
//! - Rust and C keep part of their stack in linear memory, at its lower end
//!   (`wasm-ld --stack-first`), so that deep recursion usually runs out of *that* stack, downwards
//!   below address 0, and arrives as `MemoryOutOfBounds`. See [`shadow_stack_overflowed`].

use std::fmt::{self, Write as _};

use grid_proto::{Failure, FailureKind, TrapKind};
use wasmtime::{Mutability, Store, Trap, Val, ValType, WasmBacktrace, WasmCoreDump};
use wasmtime_wasi::I32Exit;

use crate::state::{CallState, Panic};
use crate::stop::{InputLost, Rescheduled, Stopped};
use crate::symbols::Symbols;
use crate::trace;

/// Turns what stopped a call into a failure. `spent` and `last_lines` are the caller's to fill in.
pub(crate) fn failure(
    error: &wasmtime::Error,
    store: &mut Store<CallState>,
    limits: &grid_proto::Limits,
    symbols: &Symbols,
) -> Failure {
    let (kind, message) = kind_and_message(error, store, limits);
    let trace = trace::frames(error, symbols, &kind);
    let mut failure = Failure::new(kind, message);
    failure.trace = trace;
    failure
}

/// The failure of a call that was stopped from outside.
pub(crate) fn stopped(stopped: Stopped, limits: &grid_proto::Limits) -> Failure {
    let (kind, message) = stopped_parts(stopped, limits);
    Failure::new(kind, message)
}

fn stopped_parts(stopped: Stopped, limits: &grid_proto::Limits) -> (FailureKind, String) {
    let limit_ms = limits.wall_ms_max;
    match stopped {
        Stopped::Cancelled => (FailureKind::Cancelled, "the call was cancelled".into()),
        Stopped::Deadline => (
            FailureKind::Deadline { limit_ms },
            format!("the call ran longer than its limit of {limit_ms} ms"),
        ),
        Stopped::WaitedTooLong { limit_ms } => (
            FailureKind::Deadline { limit_ms },
            format!(
                "the call waited longer than {limit_ms} ms for calls of its own or for what is shared"
            ),
        ),
    }
}

fn kind_and_message(
    error: &wasmtime::Error,
    store: &mut Store<CallState>,
    limits: &grid_proto::Limits,
) -> (FailureKind, String) {
    if let Some(why) = error.downcast_ref::<Stopped>() {
        return stopped_parts(*why, limits);
    }
    if error.downcast_ref::<Rescheduled>().is_some() {
        return (FailureKind::Rescheduled, Rescheduled.to_string());
    }
    if error.downcast_ref::<InputLost>().is_some() {
        return (FailureKind::LostData, InputLost.to_string());
    }
    if let Some(I32Exit(code)) = error.downcast_ref::<I32Exit>() {
        return (trap(TrapKind::Exit), format!("the guest ended itself with exit code {code}"));
    }
    let found = error.downcast_ref::<Trap>().copied();
    if found == Some(Trap::UnreachableCodeReached)
        && let Some(panic) = &store.data().panic
    {
        return (trap(TrapKind::Panic), panic_message(panic));
    }
    let overflowed = match found {
        Some(Trap::StackOverflow) => true,
        Some(Trap::MemoryOutOfBounds) => shadow_stack_overflowed(error, store),
        _ => false,
    };
    if overflowed {
        return (
            trap(TrapKind::StackOverflow),
            "the stack overflowed: recursion too deep, or too much on the stack".into(),
        );
    }
    let memory = &store.data().memory;
    // What an allocator does that was refused; other traps have causes of their own.
    let by_allocator =
        matches!(found, None | Some(Trap::UnreachableCodeReached | Trap::MemoryOutOfBounds));
    if let Some(refusal) = memory.refusal().filter(|_| by_allocator) {
        return out_of_memory(memory.limit_bytes(), refusal.asked_bytes);
    }
    match found {
        Some(found) => trap_parts(found),
        None => other(error, limits),
    }
}

fn trap(trap: TrapKind) -> FailureKind {
    FailureKind::Trap { trap }
}

fn panic_message(panic: &Panic) -> String {
    let Panic { message, file, line, column } = panic;
    if file.is_empty() {
        return format!("panicked: {message}");
    }
    format!("panicked at {file}:{line}:{column}: {message}")
}

fn out_of_memory(limit_bytes: u64, asked_bytes: u64) -> (FailureKind, String) {
    let message = format!(
        "out of memory: the call wanted {asked_bytes} bytes, its limit is {limit_bytes}; raise the task's memory limit or give it less data"
    );
    (FailureKind::OutOfMemory { limit_bytes, asked_bytes }, message)
}

fn trap_parts(found: Trap) -> (FailureKind, String) {
    let kind = match found {
        Trap::UnreachableCodeReached => TrapKind::Unreachable,
        Trap::MemoryOutOfBounds | Trap::HeapMisaligned | Trap::ArrayOutOfBounds => {
            TrapKind::OutOfBounds
        }
        Trap::StackOverflow => TrapKind::StackOverflow,
        Trap::IntegerDivisionByZero => TrapKind::DivideByZero,
        Trap::IntegerOverflow | Trap::BadConversionToInteger => TrapKind::IntegerOverflow,
        Trap::TableOutOfBounds | Trap::IndirectCallToNull | Trap::BadSignature => {
            TrapKind::BadIndirectCall
        }
        // `Trap` is open: what it grows later is told by its own text.
        _ => TrapKind::Other,
    };
    let text = found.to_string();
    (trap(kind), text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned())
}

/// What is neither a trap nor a stop: the guest broke a rule of the canonical ABI or of the host.
fn other(error: &wasmtime::Error, limits: &grid_proto::Limits) -> (FailureKind, String) {
    let cause = error.root_cause().to_string();
    // wasmtime has no public type for this. Inside a host function there is wasm on the stack;
    // without, it was the result that did not fit.
    let too_much = cause.contains("fuel allocated for hostcalls has been exhausted");
    if too_much && error.downcast_ref::<WasmBacktrace>().is_none() {
        return too_large(limits.result_bytes_max, hostcall_bytes_max(limits) as u64);
    }
    (trap(TrapKind::Other), crate::output::plain_text(cause.as_bytes()))
}

/// The failure of a result that is larger than its limit.
pub(crate) fn too_large(limit_bytes: u64, size_bytes: u64) -> (FailureKind, String) {
    let message = format!(
        "the result has {size_bytes} bytes or more, the limit is {limit_bytes}; return less or split it"
    );
    (FailureKind::ResultTooLarge { limit_bytes, size_bytes }, message)
}

/// Bytes that one crossing from guest to host may copy. Twice the limit of a result, so that the
/// size of one that is moderately too large can be told.
pub(crate) fn hostcall_bytes_max(limits: &grid_proto::Limits) -> usize {
    const OTHER_CALLS_BYTES: usize = 1 << 20;
    let result = usize::try_from(limits.result_bytes_max).unwrap_or(usize::MAX);
    result.saturating_mul(2).saturating_add(OTHER_CALLS_BYTES)
}

/// Whether an access outside the memory was the shadow stack running below address 0.
///
/// Two signs together. The address: a stack pointer that passed 0 wraps to just below 4 GiB, where
/// no memory of ours reaches. The pointer itself: the global that holds it has wrapped, or (when a
/// leaf function, which need not write it back, was the last straw) is all but used up. It is a
/// mutable `i32`, a multiple of 16; the store's globals come with wasmtime's core dump, which on a
/// trap costs a few handles, no copy of memory. A stray negative index of a program that is not
/// deep in its stack fails the second test, a healthy stack's odd access the first.
fn shadow_stack_overflowed(error: &wasmtime::Error, store: &mut Store<CallState>) -> bool {
    const NEARLY_EMPTY: i32 = 16 << 10;
    let (below_zero, pointer_max) = match fault_address(error) {
        Some(address) => (address > u64::from(u32::MAX / 2), NEARLY_EMPTY),
        // Bounds are checked by code, which does not tell: the pointer alone must be proof.
        None => (true, 0),
    };
    let Some(dump) = error.downcast_ref::<WasmCoreDump>().filter(|_| below_zero) else {
        return false;
    };
    dump.globals().iter().any(|global| {
        let ty = global.ty(&*store);
        if ty.mutability() != Mutability::Var || !matches!(ty.content(), ValType::I32) {
            return false;
        }
        let Val::I32(pointer) = global.get(&mut *store) else {
            return false;
        };
        pointer != 0 && pointer % 16 == 0 && pointer < pointer_max
    })
}

/// The address of a memory fault, out of the context that wasmtime adds to the error: the type is
/// private, its text is all there is. `None` where bounds are checked by code instead of by pages.
fn fault_address(error: &wasmtime::Error) -> Option<u64> {
    error.chain().find_map(|cause| {
        let mut start = Start(String::new());
        // An error means that the text was longer than looked at.
        let _ = write!(start, "{cause}");
        let digits = start.0.strip_prefix("memory fault at wasm address 0x")?;
        let end = digits.find(|char: char| !char.is_ascii_hexdigit()).unwrap_or(digits.len());
        u64::from_str_radix(&digits[..end], 16).ok()
    })
}

/// Takes the beginning of a text and stops its writer: contexts include whole backtraces.
struct Start(String);

impl fmt::Write for Start {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        const ENOUGH: usize = 64;
        self.0.push_str(text);
        if self.0.len() > ENOUGH { Err(fmt::Error) } else { Ok(()) }
    }
}
