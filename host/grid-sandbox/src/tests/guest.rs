//! Guests made of a few lines of WebAssembly text.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A bundle with one task, `only`, whose body is text.
pub(super) struct Guest {
    /// Body of `run`: parameters `$task`, `$arguments` and `$count`; leaves a pointer to a result.
    pub(super) run: &'static str,
    /// Imports and functions beside it.
    pub(super) items: &'static str,
    /// Initial pages of 64 KiB.
    pub(super) pages: u32,
    /// Names of the tasks that it describes.
    pub(super) tasks: &'static [&'static str],
}

/// Parts of WASI that tests use; names and types are those of WASI 0.2.
const WASI: &str = r"
package test:guests@0.1.0;

world guest {
    include grid:task/task@0.1.0;
    import wasi:io/poll@0.2.0;
    import wasi:io/streams@0.2.0;
    import wasi:clocks/monotonic-clock@0.2.0;
    import wasi:random/random@0.2.0;
    import wasi:cli/exit@0.2.0;
    import wasi:cli/environment@0.2.0;
    import wasi:cli/stdout@0.2.0;
    import wasi:sockets/instance-network@0.2.0;
}
world other { export hello: func(); }

package wasi:io@0.2.0 {
    interface error { resource error; }
    interface poll { resource pollable { block: func(); } }
    interface streams {
        use error.{error};
        variant stream-error { last-operation-failed(error), closed }
        resource output-stream {
            blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
            write-zeroes: func(len: u64) -> result<_, stream-error>;
        }
    }
}
package wasi:clocks@0.2.0 {
    interface monotonic-clock {
        use wasi:io/poll@0.2.0.{pollable};
        subscribe-duration: func(when: u64) -> pollable;
    }
}
package wasi:random@0.2.0 {
    interface random { get-random-bytes: func(len: u64) -> list<u8>; }
}
package wasi:cli@0.2.0 {
    interface exit { exit: func(status: result); }
    interface environment { get-arguments: func() -> list<string>; }
    interface stdout {
        use wasi:io/streams@0.2.0.{output-stream};
        get-stdout: func() -> output-stream;
    }
}
package wasi:sockets@0.2.0 {
    interface instance-network { resource network; instance-network: func() -> network; }
}";

impl Default for Guest {
    fn default() -> Self {
        Self {
            run: "(call $ok (i32.const 0) (i32.const 0))",
            items: "",
            pages: 2,
            tasks: &["only"],
        }
    }
}

impl Guest {
    /// A guest whose task does this.
    pub(super) fn doing(run: &'static str) -> Vec<u8> {
        Self { run, ..Self::default() }.build()
    }

    /// The component.
    pub(super) fn build(&self) -> Vec<u8> {
        componentize(&self.module(), "guest")
    }

    fn module(&self) -> String {
        let Self { run, items, pages, .. } = self;
        let (address, data) = self.description();
        format!(
            r#"(module
            {items}
            (memory (export "memory") {pages})
            (global $heap (mut i32) (i32.const 65536))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
                (global.set $heap (i32.add (local.get $at) (local.get 3)))
                (loop $more
                    (if (i32.gt_u (global.get $heap) (i32.shl (memory.size) (i32.const 16)))
                        (then
                            (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
                            (br $more))))
                (local.get $at))
            ;; Answers with raw bytes.
            (func $ok (param $at i32) (param $length i32) (result i32)
                (i32.store (i32.const 1024) (i32.const 0))
                (i32.store (i32.const 1028) (i32.const 1))
                (i32.store (i32.const 1032) (local.get $at))
                (i32.store (i32.const 1036) (local.get $length))
                (i32.const 1024))
            (func (export "grid:task/tasks@0.1.0#describe") (result i32) (i32.const {address}))
            (func (export "grid:task/tasks@0.1.0#run")
                (param $task i32) (param $arguments i32) (param $count i32) (result i32)
                (local $i i32)
                {run})
            (data (i32.const 512) "main.rs")
            (data (i32.const 528) "it went wrong")
            (data (i32.const {BASE}) "{data}"))"#
        )
    }

    /// The record `bundle` in memory as the canonical ABI has it, and its address.
    fn description(&self) -> (u32, String) {
        let mut memory = Memory(Vec::new());
        let name = memory.text("guest");
        let version = memory.text("1.0.0");
        let sdk = memory.text("text@1");
        let nothing = (BASE, 0);
        let names: Vec<_> = self.tasks.iter().map(|task| memory.text(task)).collect();
        let output = memory.text("Raw");
        let tasks = memory.align();
        for name in &names {
            memory.pairs(&[*name, nothing, nothing, output]);
            memory.words(&[1, 0]);
            // No scratch directory.
            memory.words(&[0; 2]);
            // No limits: two absent 64-bit options.
            memory.words(&[0; 8]);
            memory.pairs(&[nothing, nothing]);
        }
        let bundle = memory.align();
        memory.pairs(&[name, version, sdk, (tasks, u32::try_from(names.len()).unwrap())]);
        (bundle, memory.0.iter().map(|byte| format!("\\{byte:02x}")).collect())
    }
}

const BASE: u32 = 4096;

struct Memory(Vec<u8>);

impl Memory {
    fn here(&self) -> u32 {
        BASE + u32::try_from(self.0.len()).unwrap()
    }

    fn align(&mut self) -> u32 {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        self.here()
    }

    fn text(&mut self, text: &str) -> (u32, u32) {
        let at = self.here();
        self.0.extend_from_slice(text.as_bytes());
        (at, u32::try_from(text.len()).unwrap())
    }

    fn words(&mut self, words: &[u32]) {
        words.iter().for_each(|word| self.0.extend_from_slice(&word.to_le_bytes()));
    }

    fn pairs(&mut self, pairs: &[(u32, u32)]) {
        pairs.iter().for_each(|(at, length)| self.words(&[*at, *length]));
    }
}

/// Makes a component of a core module for one of the worlds above.
pub(super) fn componentize(module: &str, world: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit");
    resolve.push_dir(wit).unwrap();
    let package = resolve.push_str("wasi.wit", WASI).unwrap();
    let world =
        resolve.select_world(&[package], Some(&format!("test:guests/{world}@0.1.0"))).unwrap();
    let mut wasm = wat::parse_str(module).unwrap();
    embed_component_metadata(&mut wasm, &resolve, world, StringEncoding::UTF8, false).unwrap();
    ComponentEncoder::default().validate(true).module(&wasm).unwrap().encode().unwrap()
}
