//! From wasm to native code, in this process or in a child that may burst.
//!
//! The child gets the wasm on its standard input, behind one byte that says how it is tuned, and
//! answers on its standard output with one byte and then the code or the reason why there is none.

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Instant;

use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};

use crate::config::{Compiler, EngineConfig};
use crate::error::BundleError;
use crate::native::TrustedCode;
use crate::tuning::{self, Space};

/// The child's answers.
const COMPILED: u8 = 1;
const REFUSED: u8 = 2;
/// Native code, as a multiple of what a bundle may be: far above what any compiler makes of it.
const CODE_BYTES_MAX: u64 = 2 << 30;
/// What is kept of a child's complaints.
const COMPLAINT_BYTES_MAX: u64 = 8 << 10;
/// Environment variables through which the parent limits its child.
const MEMORY_VARIABLE: &str = "GRID_COMPILE_MEMORY_BYTES";
const SECONDS_VARIABLE: &str = "GRID_COMPILE_CPU_SECONDS";

/// Compiles a component.
pub(crate) fn compile(
    config: &EngineConfig,
    space: Space,
    engine: &wasmtime::Engine,
    wasm: &[u8],
) -> Result<TrustedCode, BundleError> {
    match &config.compiler {
        Compiler::InProcess => engine
            .precompile_component(wasm)
            .map(TrustedCode::assert_made_here)
            .map_err(|error| BundleError::Invalid(format!("{error:#}"))),
        Compiler::Child { program, args } => {
            let mut command = Command::new(program);
            command.args(args);
            in_child(command, config, space, wasm)
        }
    }
}

fn in_child(
    mut command: Command,
    config: &EngineConfig,
    space: Space,
    wasm: &[u8],
) -> Result<TrustedCode, BundleError> {
    let failed = |error: io::Error| BundleError::Compiler(error.to_string());
    let deadline = Instant::now() + config.compile_timeout;
    // Several threads compile, so cpu time runs faster than the clock.
    let cores = thread::available_parallelism().map_or(1, usize::from) as u64;
    let cpu_seconds = config.compile_timeout.as_secs().saturating_add(1).saturating_mul(cores);
    let mut child = command
        // The worker's holds credentials of stores; what compiles strangers' bytes needs nothing of it.
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env(MEMORY_VARIABLE, config.compile_memory_bytes_max.to_string())
        .env(SECONDS_VARIABLE, cpu_seconds.to_string())
        .spawn()
        .map_err(failed)?;
    let answer = converse(&mut child, space, wasm, deadline);
    if answer.is_none() {
        // It may have ended by itself in the meantime.
        let _ = child.kill();
    }
    let status = child.wait().map_err(failed)?;
    let limit_ms = u64::try_from(config.compile_timeout.as_millis()).unwrap_or(u64::MAX);
    let (answer, complaint) = answer.ok_or(BundleError::CompileTimeout { limit_ms })?;
    match answer.split_first() {
        Some((&COMPILED, code)) if status.success() => {
            Ok(TrustedCode::assert_made_here(code.to_vec()))
        }
        Some((&REFUSED, reason)) if status.success() => {
            Err(BundleError::Invalid(crate::output::plain_text(reason)))
        }
        _ => Err(death(status, &complaint, config, limit_ms)),
    }
}

/// Writes the wasm, reads the answer and the complaints; `None` when the time is over. The threads
/// end with the pipes, which end with the child.
fn converse(
    child: &mut Child,
    space: Space,
    wasm: &[u8],
    deadline: Instant,
) -> Option<(Vec<u8>, String)> {
    let mut stdin = child.stdin.take().expect("piped above");
    let stdout = child.stdout.take().expect("piped above");
    let stderr = child.stderr.take().expect("piped above");
    thread::scope(|scope| {
        scope.spawn(move || {
            // A child that died reads no more; its status says why.
            let _ = stdin.write_all(&[space_byte(space)]).and_then(|()| stdin.write_all(wasm));
        });
        let (sender, receiver) = mpsc::sync_channel(1);
        let complaints = scope.spawn(move || read_up_to(stderr, COMPLAINT_BYTES_MAX));
        scope.spawn(move || sender.send(read_up_to(stdout, CODE_BYTES_MAX)));
        let answer = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        if answer == Err(RecvTimeoutError::Timeout) {
            // The scope waits for the threads: the pipes must close first.
            let _ = child.kill();
            return None;
        }
        let complaints = complaints.join().unwrap_or_default();
        Some((answer.unwrap_or_default(), crate::output::plain_text(&complaints)))
    })
}

fn read_up_to(stream: impl Read, bytes_max: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut stream = stream.take(bytes_max);
    // What came before an error is still worth reading.
    let _ = stream.read_to_end(&mut bytes);
    let _ = io::copy(&mut stream.into_inner(), &mut io::sink());
    bytes
}

/// Why a child died without an answer.
fn death(status: ExitStatus, complaint: &str, config: &EngineConfig, limit_ms: u64) -> BundleError {
    let signal = status.signal();
    if signal == Some(Signal::XCPU.as_raw()) || signal == Some(Signal::KILL.as_raw()) {
        return BundleError::CompileTimeout { limit_ms };
    }
    // What Rust and wasmtime say when the limit on the address space strikes.
    let starved =
        ["memory allocation of", "Cannot allocate memory", "Resource temporarily unavailable"];
    if starved.iter().any(|sign| complaint.contains(sign)) {
        return BundleError::CompileMemory { limit_bytes: config.compile_memory_bytes_max };
    }
    let said = complaint.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    BundleError::Compiler(format!("it ended with {status}: {said}"))
}

fn space_byte(space: Space) -> u8 {
    match space {
        Space::Ample => 0,
        Space::Scarce => 1,
    }
}

/// What a process does that was started as [`Compiler::Child`]: reads a bundle, writes its native
/// code, and is limited in memory and time by what its parent set in the environment. It uses no
/// other input. Call it first thing in `main` and return what it returns.
#[must_use]
pub fn compile_child_main() -> ExitCode {
    match serve(&mut io::stdin().lock(), &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn limit_self() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let limit = |resource, value| {
        // A limit that is lower already stays.
        let _ = setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) });
    };
    if let Some(bytes) = number(MEMORY_VARIABLE) {
        limit(Resource::As, bytes);
    }
    if let Some(seconds) = number(SECONDS_VARIABLE) {
        limit(Resource::Cpu, seconds);
    }
    limit(Resource::Core, 0);
    limit(Resource::Fsize, 0);
    // Nobody would read the answer of an orphan.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
}

/// The child's life: one bundle in, one answer out.
pub(crate) fn serve(input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    limit_self();
    let mut bundle = Vec::new();
    input.read_to_end(&mut bundle)?;
    let (tuned, wasm) =
        bundle.split_first().ok_or_else(|| io::Error::other("a bundle was expected on stdin"))?;
    let space = if *tuned == space_byte(Space::Scarce) { Space::Scarce } else { Space::Ample };
    let engine = wasmtime::Engine::new(&tuning::compiling(space));
    let compiled = engine.and_then(|engine| engine.precompile_component(wasm));
    match compiled {
        Ok(code) => {
            output.write_all(&[COMPILED])?;
            output.write_all(&code)?;
        }
        Err(error) => {
            output.write_all(&[REFUSED])?;
            output.write_all(format!("{error:#}").as_bytes())?;
        }
    }
    output.flush()
}
