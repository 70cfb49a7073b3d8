//! Variables: one item under a name.

use grid_proto::coordination::{Coordinated, Item, NamedKind, VariableOperation};

use super::waiters::{Place, Wish};
use super::{Asker, Given, entry_bytes, unknown};
use crate::machine::Scheduler;

impl Scheduler {
    pub(super) fn on_variable(
        &mut self,
        asker: Asker,
        name: String,
        operation: VariableOperation,
    ) -> Given {
        match operation {
            VariableOperation::Set(item) => self.set_variable(name, item),
            VariableOperation::Get { wait_ms } => {
                if !self.coordination.variables.contains_key(&name) {
                    self.charge(entry_bytes(&name))?;
                    self.coordination.variables.insert(name.clone(), None);
                }
                self.wait(asker, wait_ms, Place::Variable(name), Wish::See)
            }
            VariableOperation::Delete => {
                let held = self.coordination.variables.get_mut(&name).and_then(Option::take);
                let Some(held) = held else {
                    return Err(unknown(NamedKind::Variable, name));
                };
                self.drop_held(held);
                self.forget_unset_variable(&name);
                Ok(Some(Coordinated::Done))
            }
        }
    }

    fn set_variable(&mut self, name: String, item: Item) -> Given {
        let held = self.hold_item(item)?;
        if !self.coordination.variables.contains_key(&name)
            && let Err(refusal) = self.charge(entry_bytes(&name))
        {
            self.drop_held(held);
            return Err(refusal);
        }
        let before = self.coordination.variables.insert(name.clone(), Some(held)).flatten();
        if let Some(before) = before {
            self.drop_held(before);
        }
        self.serve_variable(&name);
        Ok(Some(Coordinated::Done))
    }

    pub(super) fn serve_variable(&mut self, name: &str) {
        let Some(Some(held)) = self.coordination.variables.get_mut(name).map(Option::take) else {
            return;
        };
        let place = Place::Variable(name.to_owned());
        while let Some(waiter) = self.coordination.waiters.take_first(&place) {
            let copy = self.hold_again(&held);
            self.hand_over(waiter.asker, vec![copy], None);
        }
        self.coordination.variables.insert(name.to_owned(), Some(held));
    }

    /// One that is not set exists only while somebody waits for it.
    pub(super) fn forget_unset_variable(&mut self, name: &str) {
        let place = Place::Variable(name.to_owned());
        let unset = matches!(self.coordination.variables.get(name), Some(None));
        if unset && self.coordination.waiters.count_at(&place) == 0 {
            self.coordination.variables.remove(name);
            self.refund(entry_bytes(name));
        }
    }
}
