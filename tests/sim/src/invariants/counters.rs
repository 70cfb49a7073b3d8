//! Counters add up: each end of an attempt is counted once, with its kind.

use grid_proto::message::{Answer, Query};

use crate::world::World;

impl World {
    pub(crate) fn check_counters(&mut self) -> Result<(), String> {
        let Some(Answer::Counts(counts)) = self.ask(Query::Counts) else {
            return Err("the scheduler does not tell its counters".to_owned());
        };
        let mut calls = 0;
        for task in &counts {
            calls += task.calls;
            let failures: u64 = task.failures.values().sum();
            if task.calls != task.successes + failures {
                return Err(format!("{}: its ends do not add up", task.task));
            }
        }
        match calls == self.ends_counted {
            true => Ok(()),
            false => Err(format!("{calls} ends counted of {}", self.ends_counted)),
        }
    }
}
