//! When nobody wants anything, nothing is left: neither at the scheduler nor at any worker.

use grid_proto::coordination::{NamedInfo, NamedKind};
use grid_proto::message::{Answer, Query};

use crate::world::World;

impl World {
    pub(crate) fn check_empty(&mut self) -> Result<(), String> {
        if let Some(call) = self.calls().first() {
            return Err(format!(
                "the scheduler keeps {} ({}), which nobody wants",
                call.key.short(),
                call.state
            ));
        }
        for kind in [NamedKind::Lock, NamedKind::Semaphore, NamedKind::Queue] {
            let used = |info: &NamedInfo| kind != NamedKind::Queue || info.waiting > 0;
            if let Some(info) = self.named(kind).into_iter().find(used) {
                let NamedInfo { name, size, waiting, .. } = info;
                return Err(format!("{kind} {name}: {size} hold it and {waiting} wait for it"));
            }
        }
        let Some(Answer::Workers(known)) = self.ask(Query::Workers) else {
            return Err("the scheduler does not tell its workers".to_owned());
        };
        if let Some(busy) = known.iter().find(|known| {
            known.in_hand > 0 || known.executing > 0 || known.objects > 0 || known.object_bytes > 0
        }) {
            return Err(format!("the scheduler believes that {} has something", busy.name));
        }
        for worker in &self.workers {
            if !worker.is_idle() {
                return Err(format!(
                    "{} holds {:?} and has {:?} in hand, which nobody wants",
                    worker.name,
                    worker.store.keys().collect::<Vec<_>>(),
                    worker.agent.in_hand()
                ));
            }
            if !worker.alive || worker.link.is_none() {
                return Err(format!("{} is not connected", worker.name));
            }
        }
        match known.len() == self.workers.len() {
            true => Ok(()),
            false => Err(format!("{} workers of {} are known", known.len(), self.workers.len())),
        }
    }
}
