//! Values and calls that are held under a name, and what they cost.

use grid_proto::coordination::{ITEM_BYTES_MAX, Item};
use grid_proto::message::Refusal;
use grid_proto::{Key, Value};

use crate::call::CallId;
use crate::machine::Scheduler;

/// What an item costs beside its value's bytes.
pub(super) const ITEM_BYTES: u64 = 64;

/// An item that is here. A call is kept while one exists.
#[derive(Debug)]
pub(super) enum Held {
    Value(Value),
    Call(CallId),
}

impl Held {
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Value(value) => ITEM_BYTES + value.bytes.len() as u64,
            Self::Call(_) => ITEM_BYTES,
        }
    }

    pub(super) fn call(&self) -> Option<CallId> {
        match self {
            Self::Value(_) => None,
            Self::Call(id) => Some(*id),
        }
    }
}

impl Scheduler {
    /// Holds an item from now on.
    pub(super) fn hold_item(&mut self, item: Item) -> Result<Held, Refusal> {
        let held = match item {
            Item::Value(value) => {
                check_size(&value)?;
                Held::Value(value)
            }
            Item::Call(key) => Held::Call(self.known_call(&key)?),
        };
        self.charge(held.bytes())?;
        if let Held::Call(id) = held {
            self.keep(id);
        }
        Ok(held)
    }

    pub(super) fn known_call(&self, key: &Key) -> Result<CallId, Refusal> {
        self.calls.find(key).ok_or_else(|| Refusal::UnknownKey { key: key.to_string() })
    }

    /// The same item once more. Its bytes are counted and not judged: it is on its way out.
    pub(super) fn hold_again(&mut self, held: &Held) -> Held {
        self.coordination.bytes += held.bytes();
        match held {
            Held::Value(value) => Held::Value(value.clone()),
            Held::Call(id) => {
                self.keep(*id);
                Held::Call(*id)
            }
        }
    }

    pub(super) fn drop_held(&mut self, held: Held) {
        self.refund(held.bytes());
        if let Held::Call(id) = held {
            self.keep_no_more(id);
        }
    }

    /// As clients see it.
    pub(super) fn item(&self, held: &Held) -> Item {
        match held {
            Held::Value(value) => Item::Value(value.clone()),
            Held::Call(id) => Item::Call(self.calls[*id].key),
        }
    }
}

pub(super) fn check_size(value: &Value) -> Result<(), Refusal> {
    let size = value.bytes.len();
    if size <= ITEM_BYTES_MAX {
        return Ok(());
    }
    let message = format!(
        "a shared value has at most {ITEM_BYTES_MAX} bytes; this one has {size}: share the future of \
         a call that gives it"
    );
    Err(Refusal::OverBound { message })
}
