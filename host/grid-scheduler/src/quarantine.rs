//! Quarantine: a task whose calls had to be stopped too often is refused, until somebody clears it.

use std::collections::VecDeque;
use std::sync::Arc;

use grid_proto::report::{QuarantineInfo, Strike};
use grid_proto::{Failure, FailureKind};

use crate::call::CallId;
use crate::machine::Scheduler;
use crate::mutation::Mutation;

/// Strikes that are remembered in words; all are counted.
const STRIKES_TOLD_MAX: usize = 10;

/// The strikes of one task.
#[derive(Debug, Default)]
pub(crate) struct Strikes {
    count: u32,
    last: VecDeque<Strike>,
    /// What its calls fail with from now on.
    sentence: Option<Arc<Failure>>,
}

impl Scheduler {
    /// Counts an end against the call's task, if the sandbox or the worker's death was the end.
    pub(crate) fn count_strike(&mut self, id: CallId, worker: &str, failure: &Failure) {
        let counts = is_strike(&failure.kind) && !self.mutated(Mutation::StrikeNotCounted);
        if !counts && !self.mutated(Mutation::UserErrorCounted) {
            return;
        }
        let strikes_max = self.config.quarantine_strikes;
        let call = &self.calls[id];
        let strike = Strike {
            key: call.key,
            attempt: call.attempt,
            worker: worker.to_owned(),
            failure: failure.kind.label().to_owned(),
            message: failure.message.clone(),
        };
        let task = self.tasks.of_mut(call.task);
        let strikes = &mut task.strikes;
        strikes.count = strikes.count.saturating_add(1);
        if strikes.last.len() == STRIKES_TOLD_MAX {
            strikes.last.pop_front();
        }
        strikes.last.push_back(strike);
        if strikes_max > 0 && strikes.count >= strikes_max && strikes.sentence.is_none() {
            strikes.sentence = Some(Arc::new(sentence(&task.label, strikes)));
        }
    }

    /// What a call fails with because its task is in quarantine.
    pub(crate) fn quarantine(&self, id: CallId) -> Option<Arc<Failure>> {
        let task = match self.mutated(Mutation::QuarantineSpreads) {
            true => self.tasks.iter().find(|task| task.strikes.sentence.is_some())?,
            false => self.tasks.of(self.calls[id].task),
        };
        let sentence = task.strikes.sentence.as_ref()?;
        if self.mutated(Mutation::QuarantineIgnored) {
            return None;
        }
        let mut failure = Failure::clone(sentence);
        failure.site = Some(self.site(id, String::new()));
        Some(Arc::new(failure))
    }

    /// Fails a call that could be given to a worker if its task is in quarantine. Says whether it
    /// is.
    pub(crate) fn refuse_quarantined(&mut self, id: CallId) -> bool {
        let Some(failure) = self.quarantine(id) else { return false };
        self.fail(id, failure);
        true
    }

    /// The tasks that are in quarantine.
    pub(crate) fn quarantined(&self) -> Vec<QuarantineInfo> {
        let refused = self.tasks.iter().filter(|task| task.strikes.sentence.is_some());
        refused
            .map(|task| QuarantineInfo {
                task: task.label.clone(),
                strikes: task.strikes.count,
                last: task.strikes.last.iter().cloned().collect(),
            })
            .collect()
    }

    /// Forgets the strikes of these tasks, `bundle@version:task`, or of all. Says of how many.
    pub(crate) fn clear_quarantine(&mut self, label: Option<&str>) -> u32 {
        let mut cleared = 0;
        let forgotten = self.mutated(Mutation::ClearForgotten);
        for task in self.tasks.iter_mut() {
            let meant = label.is_none_or(|label| label == task.label);
            if meant && task.strikes.sentence.is_some() {
                if !forgotten {
                    task.strikes = Strikes::default();
                }
                cleared += 1;
            }
        }
        cleared
    }
}

fn is_strike(kind: &FailureKind) -> bool {
    matches!(
        kind,
        FailureKind::Trap { .. }
            | FailureKind::OutOfMemory { .. }
            | FailureKind::Deadline { .. }
            | FailureKind::KilledWorker { .. }
    )
}

fn sentence(label: &str, strikes: &Strikes) -> Failure {
    let kind = FailureKind::Quarantined { strikes: strikes.count };
    let message = format!(
        "task `{label}` is in quarantine after {} strikes; when it is mended or trusted again: \
         `grid quarantine clear {label}`",
        strikes.count
    );
    let told = |strike: &Strike| {
        format!(
            "call {} on `{}`: {}: {}",
            strike.key.short(),
            strike.worker,
            strike.failure,
            strike.message
        )
    };
    Failure { causes: strikes.last.iter().map(told).collect(), ..Failure::new(kind, message) }
}
