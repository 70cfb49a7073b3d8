//! Tasks: their definition, what they cost, how they end.

use std::collections::BTreeMap;

use grid_proto::message::TaskDefinition;
use grid_proto::report::TaskCounts;
use grid_proto::{BundleHash, Failure, Spent, TaskDescription, TaskId, TaskLimits};

use crate::quarantine::Strikes;

/// What is assumed of a task that never ran.
const UNKNOWN_DURATION_US: u64 = 5_000;
/// Nothing is expected to take longer than an hour: sums over all calls stay small, whatever workers
/// report.
const EXPECTED_US_MAX: u64 = 3_600_000_000;

/// The name of what clients bring, among the tasks.
const DATA: &str = "data";

#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) definition: TaskDefinition,
    pub(crate) label: String,
    pub(crate) retries: u32,
    pub(crate) strikes: Strikes,
    duration_us: Option<u64>,
    counts: TaskCounts,
    failures: BTreeMap<&'static str, u64>,
}

impl Task {
    pub(crate) fn expected_us(&self) -> u64 {
        self.duration_us.unwrap_or(UNKNOWN_DURATION_US).clamp(1, EXPECTED_US_MAX)
    }

    /// An attempt ended.
    pub(crate) fn count(&mut self, failure: Option<&Failure>, spent: &Spent) {
        let counts = &mut self.counts;
        counts.calls += 1;
        match failure {
            None => counts.successes += 1,
            Some(failure) => *self.failures.entry(failure.kind.label()).or_default() += 1,
        }
        counts.output_cut += u64::from(spent.output_dropped_bytes > 0);
        counts.wall_us = counts.wall_us.saturating_add(spent.wall_us);
        counts.wall_us_max = counts.wall_us_max.max(spent.wall_us);
        counts.peak_memory_bytes = counts.peak_memory_bytes.max(spent.peak_memory_bytes);
        // A moving average that weighs the newest attempt by a fourth.
        self.duration_us = Some(match self.duration_us {
            None => spent.wall_us,
            Some(old) => (old * 3 + spent.wall_us) / 4,
        });
    }

    pub(crate) fn counts(&self) -> TaskCounts {
        let failures = self.failures.iter().map(|(kind, n)| ((*kind).to_owned(), *n)).collect();
        TaskCounts { failures, ..self.counts.clone() }
    }
}

/// All tasks that calls ever named, by number and by bundle and position.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    list: Vec<Task>,
    ids: BTreeMap<(BundleHash, u32), TaskId>,
    data: Option<TaskId>,
}

impl Tasks {
    pub(crate) fn intern(
        &mut self,
        bundle: BundleHash,
        bundle_name: &str,
        label: &str,
        index: u32,
        described: &TaskDescription,
    ) -> TaskId {
        *self.ids.entry((bundle, index)).or_insert_with(|| {
            let id = TaskId(u32::try_from(self.list.len()).expect("tasks are bounded by bundles"));
            self.list.push(Task {
                definition: TaskDefinition {
                    id,
                    bundle,
                    bundle_name: bundle_name.to_owned(),
                    index,
                    name: described.name.clone(),
                    limits: described.limits,
                    resident: described.resident,
                    lazy: described.lazy(),
                    scratch_bytes: described.scratch_bytes,
                    reads: described.reads.clone(),
                    writes: described.writes.clone(),
                },
                label: format!("{label}:{}", described.name),
                retries: described.retries,
                strikes: Strikes::default(),
                duration_us: None,
                counts: TaskCounts {
                    bundle: label.to_owned(),
                    task: described.name.clone(),
                    ..TaskCounts::default()
                },
                failures: BTreeMap::new(),
            });
            id
        })
    }

    /// What stands for a task where a client brought the data.
    pub(crate) fn data(&mut self) -> TaskId {
        *self.data.get_or_insert_with(|| {
            let id = TaskId(u32::try_from(self.list.len()).expect("tasks are bounded by bundles"));
            let counts = TaskCounts { task: DATA.to_owned(), ..TaskCounts::default() };
            self.list.push(Task {
                definition: TaskDefinition {
                    id,
                    bundle: BundleHash([0; 32]),
                    bundle_name: String::new(),
                    index: 0,
                    name: DATA.to_owned(),
                    limits: TaskLimits::default(),
                    resident: false,
                    lazy: Vec::new(),
                    scratch_bytes: 0,
                    reads: Vec::new(),
                    writes: Vec::new(),
                },
                label: DATA.to_owned(),
                retries: 0,
                strikes: Strikes::default(),
                duration_us: None,
                counts,
                failures: BTreeMap::new(),
            });
            id
        })
    }

    pub(crate) fn is_data(&self, id: TaskId) -> bool {
        self.data == Some(id)
    }

    pub(crate) fn of(&self, id: TaskId) -> &Task {
        &self.list[id.0 as usize]
    }

    pub(crate) fn of_mut(&mut self, id: TaskId) -> &mut Task {
        &mut self.list[id.0 as usize]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Task> {
        self.list.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Task> {
        self.list.iter_mut()
    }
}
