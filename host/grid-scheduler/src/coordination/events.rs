//! Events: flags to wait for.

use grid_proto::coordination::{Coordinated, EventOperation};

use super::waiters::{Place, Wish};
use super::{Asker, Given, entry_bytes};
use crate::machine::Scheduler;

impl Scheduler {
    pub(super) fn on_event(
        &mut self,
        asker: Asker,
        name: String,
        operation: EventOperation,
    ) -> Given {
        match operation {
            EventOperation::Set => {
                self.open_event(&name)?;
                self.coordination.events.insert(name.clone(), true);
                self.serve_event(&name);
                Ok(Some(Coordinated::Done))
            }
            EventOperation::Clear => {
                if let Some(set) = self.coordination.events.get_mut(&name) {
                    *set = false;
                }
                self.forget_unset_event(&name);
                Ok(Some(Coordinated::Done))
            }
            EventOperation::Wait { wait_ms } => {
                self.open_event(&name)?;
                self.wait(asker, wait_ms, Place::Event(name), Wish::See)
            }
            EventOperation::IsSet => {
                let set = self.coordination.events.get(&name).copied().unwrap_or(false);
                Ok(Some(Coordinated::Truth(set)))
            }
        }
    }

    fn open_event(&mut self, name: &str) -> Result<(), grid_proto::message::Refusal> {
        if !self.coordination.events.contains_key(name) {
            self.charge(entry_bytes(name))?;
            self.coordination.events.insert(name.to_owned(), false);
        }
        Ok(())
    }

    pub(super) fn serve_event(&mut self, name: &str) {
        let place = Place::Event(name.to_owned());
        while self.coordination.events.get(name) == Some(&true)
            && let Some(waiter) = self.coordination.waiters.take_first(&place)
        {
            self.give(waiter.asker, Coordinated::Done);
        }
    }

    /// One that is not set exists only while somebody waits for it.
    pub(super) fn forget_unset_event(&mut self, name: &str) {
        let place = Place::Event(name.to_owned());
        let unset = self.coordination.events.get(name) == Some(&false);
        if unset && self.coordination.waiters.count_at(&place) == 0 {
            self.coordination.events.remove(name);
            self.refund(entry_bytes(name));
        }
    }
}
