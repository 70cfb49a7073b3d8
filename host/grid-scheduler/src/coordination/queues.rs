//! Queues: bounded, first in, first out.

use std::collections::VecDeque;

use grid_proto::coordination::{
    ANSWER_BYTES_MAX, Coordinated, NamedKind, QUEUE_ITEMS_DEFAULT, QueueOperation,
};
use grid_proto::message::{Answer, Refusal};

use super::items::Held;
use super::waiters::{Place, Wish};
use super::{Asker, Given, entry_bytes, unknown};
use crate::machine::Scheduler;

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) items: VecDeque<Held>,
    pub(super) items_max: u32,
}

impl Queue {
    fn is_full(&self) -> bool {
        self.items.len() >= self.items_max as usize
    }

    /// Takes from the front, at least one item if there is one, and no more than an answer carries.
    fn take(&mut self, count_max: u32) -> Vec<Held> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        while taken.len() < count_max.max(1) as usize
            && let Some(first) = self.items.front()
            && (taken.is_empty() || bytes + first.bytes() <= ANSWER_BYTES_MAX)
        {
            bytes += first.bytes();
            taken.extend(self.items.pop_front());
        }
        taken
    }
}

impl Scheduler {
    pub(super) fn on_queue(
        &mut self,
        asker: Asker,
        name: String,
        operation: QueueOperation,
    ) -> Given {
        match operation {
            QueueOperation::Put { item, items_max, wait_ms } => {
                self.open_queue(&name, items_max)?;
                let held = self.hold_item(item)?;
                self.wait(asker, wait_ms, Place::Putters(name), Wish::Put(held))
            }
            QueueOperation::Get { count_max, items_max, wait_ms } => {
                self.open_queue(&name, items_max)?;
                self.wait(asker, wait_ms, Place::Getters(name), Wish::Get { count_max })
            }
            QueueOperation::Delete => self.delete_queue(name),
        }
    }

    /// It exists from its first use.
    fn open_queue(&mut self, name: &str, items_max: u32) -> Result<(), Refusal> {
        match self.coordination.queues.get(name) {
            Some(queue) if items_max != 0 && items_max != queue.items_max => {
                let message = format!(
                    "queue `{name}` holds at most {} items, not {items_max}: say the same, or 0 to \
                     take it as it is",
                    queue.items_max
                );
                Err(Refusal::OverBound { message })
            }
            Some(_) => Ok(()),
            None => {
                self.charge(entry_bytes(name))?;
                let items_max = if items_max == 0 { QUEUE_ITEMS_DEFAULT } else { items_max };
                let queue = Queue { items: VecDeque::new(), items_max };
                self.coordination.queues.insert(name.to_owned(), queue);
                Ok(())
            }
        }
    }

    fn delete_queue(&mut self, name: String) -> Given {
        let Some(queue) = self.coordination.queues.remove(&name) else {
            return Err(unknown(NamedKind::Queue, name));
        };
        self.refund(entry_bytes(&name));
        for held in queue.items {
            self.drop_held(held);
        }
        for place in [Place::Getters(name.clone()), Place::Putters(name.clone())] {
            while let Some(waiter) = self.coordination.waiters.take_first(&place) {
                let refusal = unknown(NamedKind::Queue, name.clone());
                let Asker { client, request } = waiter.asker;
                self.answer(client, request, Answer::Refused(refusal));
                self.dismiss(waiter);
            }
        }
        Ok(Some(Coordinated::Done))
    }

    /// Lets items in while there is room, and out while somebody waits for them.
    pub(super) fn serve_queue(&mut self, name: &str) {
        let getters = Place::Getters(name.to_owned());
        let putters = Place::Putters(name.to_owned());
        loop {
            let Some(queue) = self.coordination.queues.get_mut(name) else {
                return;
            };
            if !queue.is_full()
                && let Some(waiter) = self.coordination.waiters.take_first(&putters)
            {
                if let Wish::Put(held) = waiter.wish {
                    queue.items.push_back(held);
                }
                self.give(waiter.asker, Coordinated::Done);
            } else if !queue.items.is_empty()
                && let Some(waiter) = self.coordination.waiters.take_first(&getters)
            {
                let count_max = match waiter.wish {
                    Wish::Get { count_max } => count_max,
                    Wish::See | Wish::Put(_) | Wish::Lease { .. } => 1,
                };
                let taken = queue.take(count_max);
                self.hand_over(waiter.asker, taken, Some(name.to_owned()));
            } else {
                return;
            }
        }
    }
}
