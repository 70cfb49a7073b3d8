//! When memory is nearly full: what goes to disk, and whether calls are taken.
//!
//! The marks are fractions of the limit. Counted bytes (objects and sandboxes) are exact; the
//! process's own are looked at too, because it holds what nobody counts: code, buffers, what the
//! allocator keeps.

use std::path::PathBuf;

use grid_store::StoreConfig;

/// A worker that paused takes calls again when it is so much of the limit below the mark: at the mark
/// itself it would go to and fro.
const RESUME_BELOW: f64 = 0.05;

/// What a worker may hold.
#[derive(Clone, Debug)]
pub struct MemoryConfig {
    /// Bytes; 0 is no limit.
    pub limit_bytes: u64,
    /// When what happens.
    pub marks: Marks,
    /// Where objects go that memory has no room for; without it they stay.
    pub directory: Option<PathBuf>,
    /// Bytes that files may hold together.
    pub spilled_bytes_max: u64,
    /// Whether the process is this worker's own, so that its memory says something of the worker.
    pub watch_process: bool,
}

/// Fractions of the limit, from 0 to 1; infinite is never.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Marks {
    /// Counted bytes above it go to disk, least recently used first.
    pub target: f64,
    /// A process above it sends objects to disk until it is below the target.
    pub spill: f64,
    /// Above it, no calls are taken and nothing is fetched.
    pub pause: f64,
    /// A process above it is ended by its supervisor.
    pub terminate: f64,
}

impl Default for Marks {
    fn default() -> Self {
        Self { target: 0.60, spill: 0.70, pause: 0.80, terminate: 0.95 }
    }
}

impl MemoryConfig {
    /// No limit, so nothing is spilled.
    #[must_use]
    pub fn unlimited() -> Self {
        Self {
            limit_bytes: 0,
            marks: Marks::default(),
            directory: None,
            spilled_bytes_max: u64::MAX,
            watch_process: false,
        }
    }

    /// A fraction of the limit, in bytes.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a mark is no exact number, and floats are cut to the range of the integer"
    )]
    pub fn bytes_at(&self, mark: f64) -> u64 {
        match self.limit_bytes {
            0 => u64::MAX,
            limit_bytes => (limit_bytes as f64 * mark) as u64,
        }
    }

    /// What the inputs of one call may hold; `u64::MAX` without a limit.
    #[must_use]
    pub fn inputs_bytes_max(&self) -> u64 {
        self.bytes_at(1.0)
    }

    /// What one object may have: what memory holds, or what files may.
    #[must_use]
    pub fn object_bytes_max(&self) -> u64 {
        let spilled_bytes = self.directory.as_ref().map_or(0, |_| self.spilled_bytes_max);
        self.inputs_bytes_max().max(spilled_bytes)
    }

    pub(crate) fn store(&self) -> StoreConfig {
        StoreConfig {
            directory: self.directory.clone(),
            target_bytes: self.bytes_at(self.marks.target),
            spilled_bytes_max: self.spilled_bytes_max,
        }
    }
}

/// What there is at one moment, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) counted: u64,
    /// Resident memory of the process.
    pub(crate) process: u64,
}

/// What is to be done about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Orders {
    /// So many bytes shall go to disk though the counted ones may be few.
    pub(crate) press_bytes: u64,
    /// So many bytes that can be made again shall be dropped: what bundles keep beyond their calls.
    /// Not as soon as objects are spilled, or a worker that always spills would keep none.
    pub(crate) evict_bytes: u64,
    pub(crate) paused: bool,
}

/// Looks at memory from time to time. Pure.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    config: MemoryConfig,
    paused: bool,
}

impl MemoryWatch {
    pub(crate) fn new(config: MemoryConfig) -> Self {
        Self { config, paused: false }
    }

    pub(crate) fn look(&mut self, held: Held) -> Orders {
        let config = &self.config;
        let process = if config.watch_process { held.process } else { 0 };
        let most = held.counted.max(process);
        let pause = config.marks.pause;
        let mark = if self.paused { pause - RESUME_BELOW } else { pause };
        self.paused = most > config.bytes_at(mark.max(0.0));
        let press_bytes = match process > config.bytes_at(config.marks.spill) {
            true => process.saturating_sub(config.bytes_at(config.marks.target)),
            false => 0,
        };
        let evict_bytes = if self.paused {
            u64::MAX
        } else if most > config.bytes_at(config.marks.spill) {
            most.saturating_sub(config.bytes_at(config.marks.target))
        } else {
            0
        };
        Orders { press_bytes, evict_bytes, paused: self.paused }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(config: MemoryConfig) -> MemoryWatch {
        MemoryWatch::new(MemoryConfig { watch_process: true, ..config })
    }

    fn limited() -> MemoryConfig {
        MemoryConfig { limit_bytes: 1_000, ..MemoryConfig::unlimited() }
    }

    #[test]
    fn it_pauses_above_the_mark_and_resumes_well_below() {
        let mut watch = watch(limited());
        let mut paused = |counted, process| watch.look(Held { counted, process }).paused;
        assert!(!paused(800, 700));
        assert!(paused(801, 0), "what is counted is above");
        assert!(paused(751, 0), "not enough below");
        assert!(!paused(750, 0));
        assert!(!paused(800, 0), "not above");
        assert!(paused(0, 900), "the process is above");
        assert!(paused(0, 760));
        assert!(!paused(0, 700));
    }

    #[test]
    fn a_process_above_its_mark_is_pressed_down_to_the_target() {
        let mut watch = watch(limited());
        let mut press = |process| watch.look(Held { counted: 100, process }).press_bytes;
        assert_eq!([press(600), press(700), press(701), press(950)], [0, 0, 101, 350]);
    }

    #[test]
    fn what_can_be_made_again_goes_when_spilling_is_not_enough_and_all_of_it_in_a_pause() {
        let mut watch = watch(limited());
        let mut evict = |counted, process| watch.look(Held { counted, process }).evict_bytes;
        assert_eq!([evict(700, 0), evict(701, 0), evict(100, 750)], [0, 101, 150]);
        assert_eq!([evict(801, 0), evict(760, 0), evict(720, 0)], [u64::MAX, u64::MAX, 120]);
    }

    #[test]
    fn others_in_the_process_are_none_of_its_business() {
        let mut watch = MemoryWatch::new(limited());
        let orders = watch.look(Held { counted: 100, process: 5_000 });
        assert_eq!(orders, Orders { press_bytes: 0, evict_bytes: 0, paused: false });
    }

    #[test]
    fn marks_can_be_switched_off_and_so_can_the_limit() {
        let never = f64::INFINITY;
        let marks = Marks { target: never, spill: never, pause: never, terminate: never };
        let all = Held { counted: u64::MAX - 1, process: u64::MAX - 1 };
        let none = Orders { press_bytes: 0, evict_bytes: 0, paused: false };
        assert_eq!(watch(MemoryConfig { marks, ..limited() }).look(all), none);
        assert_eq!(watch(MemoryConfig::unlimited()).look(all), none);
        assert_eq!(MemoryConfig { marks, ..limited() }.store().target_bytes, u64::MAX);
        assert_eq!(limited().store().target_bytes, 600);
    }
}
