//! Tests of the whole sandbox, with guests written as core modules in text.

mod actors;
mod faults;
mod guest;
mod limits;
mod loading;
mod local;
mod residents;
mod sharing;
mod stores;
mod world;

use std::sync::Arc;

use grid_proto::{Attempt, BundleHash, Codec, Failure, FailureKind, Key, Limits, TrapKind, Value};

use crate::{
    Argument, Bundle, CallInfo, CallReport, CallRequest, CancelToken, Engine, EngineConfig,
};

/// An engine with two slots and no cache.
fn engine() -> Engine {
    Engine::new(EngineConfig { slots: 2, ..EngineConfig::default() }).unwrap()
}

fn load(engine: &Engine, bytes: &[u8]) -> Arc<Bundle> {
    engine.load(BundleHash::of(bytes), bytes).unwrap()
}

fn limits() -> Limits {
    Limits {
        memory_bytes_max: 4 << 20,
        wall_ms_max: 20_000,
        output_bytes_max: 1 << 10,
        result_bytes_max: 1 << 20,
        written_bytes_max: 1 << 20,
        scratch_bytes_max: 1 << 20,
    }
}

fn request(bundle: &Bundle) -> CallRequest<'_> {
    CallRequest {
        bundle,
        bundle_name: "guest",
        task: 0,
        arguments: &[],
        limits: limits(),
        info: CallInfo {
            key: Key([7; 32]),
            task: "only".into(),
            attempt: Attempt(3),
            worker: "w1".into(),
        },
        reads: &[],
        writes: &[],
        cancel: CancelToken::new(),
        grid: None,
        local: None,
        objects: None,
        scratch: None,
    }
}

/// Runs the only task of a guest with default limits.
fn run(bytes: &[u8]) -> CallReport {
    let engine = engine();
    engine.run(&request(&load(&engine, bytes)))
}

fn failure(bytes: &[u8]) -> Failure {
    run(bytes).outcome.unwrap_err()
}

fn trap(trap: TrapKind) -> FailureKind {
    FailureKind::Trap { trap }
}

fn raw(bytes: &[u8]) -> Value {
    Value { codec: Codec::Raw, bytes: bytes.to_vec() }
}

fn argument(bytes: &[u8]) -> Argument<'_> {
    Argument { codec: Codec::Raw, bytes }
}
