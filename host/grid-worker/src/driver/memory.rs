//! What the worker's memory holds, and what it does when that is nearly full.

use grid_proto::report::MemoryUse;

use super::{Worker, free};
use crate::memory::{Held, Orders};
use crate::process;

impl Worker {
    pub(super) fn memory_use(&self) -> MemoryUse {
        let usage = self.store.usage();
        let (local_values, local_bytes) = self.locals.usage();
        let (residents, resident_instances_bytes) = self.residents.usage();
        MemoryUse {
            objects_bytes: usage.memory_bytes,
            sandboxes_bytes: self.engine.memory_bytes(),
            local_values,
            local_bytes,
            code_bytes: self.bundles.values().map(|bundle| bundle.code_bytes()).sum(),
            residents,
            resident_instances_bytes,
            spilled: usage.spilled,
            spilled_bytes: usage.spilled_bytes,
        }
    }

    /// Sends to disk what memory has no room for, drops what can be made again, and takes no calls
    /// while that is not enough.
    pub(super) fn look_at_memory(&mut self) {
        let MemoryUse { objects_bytes, sandboxes_bytes, local_bytes, code_bytes, .. } =
            self.memory_use();
        let others_bytes = sandboxes_bytes.saturating_add(local_bytes).saturating_add(code_bytes);
        self.store.count_others(others_bytes);
        let counted = objects_bytes.saturating_add(others_bytes);
        let Orders { press_bytes, evict_bytes, paused } =
            self.memory.look(Held { counted, process: process::resident_bytes() });
        if press_bytes > 0 {
            self.store.press(press_bytes);
        }
        self.locals.evict_aside(evict_bytes);
        self.look_at_residents(evict_bytes > 0, paused);
        if paused != self.agent.is_paused() {
            let limit = self.config.memory.limit_bytes;
            tracing::warn!(paused, counted, limit, "memory is nearly full, or no longer");
        }
        self.agent.on_paused(paused);
    }

    /// Instances that stay are the first to go, all of them: it is not known what each holds.
    fn look_at_residents(&self, pressed: bool, paused: bool) {
        self.residents.set_open(!paused);
        let gone = match pressed {
            true => self.residents.drain(),
            false => self.residents.take_spent(&self.engine),
        };
        if !gone.is_empty() {
            free(gone);
        }
    }

    /// A process that holds more than it may before it has done anything would pause for ever.
    pub(super) fn warn_of_small_limit(&self) {
        let (resident, mark) = (
            process::resident_bytes(),
            self.config.memory.bytes_at(self.config.memory.marks.pause),
        );
        if self.config.memory.watch_process && resident > mark {
            let limit = self.config.memory.limit_bytes;
            tracing::warn!(
                limit,
                resident,
                "the memory limit is less than the process itself needs: it will run nothing; raise \
                 `--memory-limit`"
            );
        }
    }
}
