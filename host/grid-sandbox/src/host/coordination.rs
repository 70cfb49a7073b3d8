//! `wit/coordination.wit`: what calls and clients share by name.

use grid_proto::coordination::{
    Coordinated, DatasetOperation, EventOperation, ITEM_BYTES_MAX, Item as Held, LeaseKind,
    LeaseOperation, NAME_BYTES_MAX, NamedKind, Operation, QueueOperation, TopicOperation,
    VariableOperation,
};
use grid_proto::{Key, LeaseId, Value};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, LinkerInstance, Lower};

use super::grid::{ValueBack, ask};
use crate::access::GridError;
use crate::contract::ValueOut;
use crate::state::CallState;

type Shared<'a> = LinkerInstance<'a, CallState>;
/// What a host function gives; the outer error stops the call.
type Given<T> = wasmtime::Result<(Result<T, Error>,)>;

pub(super) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    let mut shared = linker.instance("grid:task/coordination@0.1.0")?;
    link_variables(&mut shared)?;
    link_queues(&mut shared)?;
    link_leases(&mut shared)?;
    link_events(&mut shared)?;
    shared.func_wrap("topic-publish", |store, (name, message): (String, ValueOut)| {
        let operation = value_of(message).map(TopicOperation::Publish);
        let topic = |(name, operation)| Operation::Topic { name, operation };
        carry_out(store, on(name, operation).map(topic), done)
    })?;
    link_datasets(&mut shared)
}

fn link_variables(shared: &mut Shared<'_>) -> wasmtime::Result<()> {
    let variable = |(name, operation)| Operation::Variable { name, operation };
    shared.func_wrap("variable-set", move |store, (name, item): (String, Item)| {
        let operation = item.held().map(VariableOperation::Set);
        carry_out(store, on(name, operation).map(variable), done)
    })?;
    shared.func_wrap("variable-get", move |store, (name, wait_ms): (String, Option<u64>)| {
        let operation = Ok(VariableOperation::Get { wait_ms });
        let first = |given| items(given)?.pop().ok_or_else(something_else);
        carry_out(store, on(name, operation).map(variable), first)
    })?;
    shared.func_wrap("variable-delete", move |store, (name,): (String,)| {
        carry_out(store, on(name, Ok(VariableOperation::Delete)).map(variable), done)
    })
}

fn link_queues(shared: &mut Shared<'_>) -> wasmtime::Result<()> {
    type Put = (String, u32, Item, Option<u64>);
    type Get = (String, u32, u32, Option<u64>);
    let queue = |(name, operation)| Operation::Queue { name, operation };
    shared.func_wrap("queue-put", move |store, (name, items_max, item, wait_ms): Put| {
        let put = |item| QueueOperation::Put { item, items_max, wait_ms };
        carry_out(store, on(name, item.held().map(put)).map(queue), done)
    })?;
    shared.func_wrap("queue-get", move |store, (name, items_max, count_max, wait_ms): Get| {
        let operation = Ok(QueueOperation::Get { count_max, items_max, wait_ms });
        carry_out(store, on(name, operation).map(queue), items)
    })?;
    shared.func_wrap("queue-size", |store, (name,): (String,)| {
        let describe = |(name, ())| Operation::Describe { kind: NamedKind::Queue, name };
        let size = |given| match given {
            Coordinated::List(list) => list.first().map(|it| it.size).ok_or_else(something_else),
            _ => Err(something_else()),
        };
        carry_out(store, on(name, Ok(())).map(describe), size)
    })?;
    shared.func_wrap("queue-delete", move |store, (name,): (String,)| {
        carry_out(store, on(name, Ok(QueueOperation::Delete)).map(queue), done)
    })
}

fn link_leases(shared: &mut Shared<'_>) -> wasmtime::Result<()> {
    // A call's leases end with it and it cannot hang for ever: they need no renewal.
    let acquire = |kind, name, leases_max, wait_ms| {
        let operation = LeaseOperation::Acquire { leases_max, lease_ms: None, wait_ms };
        on(name, Ok(operation)).map(|(name, operation)| Operation::Lease { kind, name, operation })
    };
    let lease = |given| match given {
        Coordinated::Lease(LeaseId(id)) => Ok(id),
        _ => Err(something_else()),
    };
    shared.func_wrap("lock-acquire", move |store, (name, wait_ms): (String, Option<u64>)| {
        carry_out(store, acquire(LeaseKind::Lock, name, 1, wait_ms), lease)
    })?;
    shared.func_wrap(
        "semaphore-acquire",
        move |store, (name, leases_max, wait_ms): (String, u32, Option<u64>)| {
            carry_out(store, acquire(LeaseKind::Semaphore, name, leases_max, wait_ms), lease)
        },
    )?;
    shared.func_wrap("release", |store, (lease,): (u64,)| {
        if let Some(grid) = &store.data().grid {
            grid.end_lease(LeaseId(lease));
        }
        Ok(())
    })
}

fn link_events(shared: &mut Shared<'_>) -> wasmtime::Result<()> {
    let event = |(name, operation)| Operation::Event { name, operation };
    shared.func_wrap("event-set", move |store, (name,): (String,)| {
        carry_out(store, on(name, Ok(EventOperation::Set)).map(event), done)
    })?;
    shared.func_wrap("event-clear", move |store, (name,): (String,)| {
        carry_out(store, on(name, Ok(EventOperation::Clear)).map(event), done)
    })?;
    shared.func_wrap("event-wait", move |store, (name, wait_ms): (String, Option<u64>)| {
        carry_out(store, on(name, Ok(EventOperation::Wait { wait_ms })).map(event), done)
    })?;
    shared.func_wrap("event-is-set", move |store, (name,): (String,)| {
        let truth = |given| match given {
            Coordinated::Truth(truth) => Ok(truth),
            _ => Err(something_else()),
        };
        carry_out(store, on(name, Ok(EventOperation::IsSet)).map(event), truth)
    })
}

fn link_datasets(shared: &mut Shared<'_>) -> wasmtime::Result<()> {
    let dataset = |(name, operation)| Operation::Dataset { name, operation };
    shared.func_wrap(
        "dataset-publish",
        move |store, (name, keys, replace): (String, Vec<String>, bool)| {
            let keys = keys.iter().map(|key| key_of(key)).collect::<Result<_, _>>();
            let operation = keys.map(|keys| DatasetOperation::Publish { keys, replace });
            carry_out(store, on(name, operation).map(dataset), done)
        },
    )?;
    shared.func_wrap("dataset-get", move |store, (name,): (String,)| {
        let key = |item| match item {
            Held::Call(key) => Ok(key.to_string()),
            Held::Value(_) => Err(something_else()),
        };
        let keys = |given| match given {
            Coordinated::Items(items) => items.into_iter().map(key).collect::<Result<Vec<_>, _>>(),
            _ => Err(something_else()),
        };
        carry_out(store, on(name, Ok(DatasetOperation::Get)).map(dataset), keys)
    })?;
    shared.func_wrap("dataset-list", |store, (): ()| {
        let names = |given| match given {
            Coordinated::List(list) => Ok(list.into_iter().map(|it| it.name).collect::<Vec<_>>()),
            _ => Err(something_else()),
        };
        carry_out(store, Ok(Operation::List(NamedKind::Dataset)), names)
    })?;
    shared.func_wrap("dataset-unpublish", move |store, (name,): (String,)| {
        carry_out(store, on(name, Ok(DatasetOperation::Unpublish)).map(dataset), done)
    })
}

/// An operation with the name that it is about, both within bounds.
fn on<T>(name: String, operation: Result<T, Error>) -> Result<(String, T), Error> {
    if name.len() > NAME_BYTES_MAX {
        let message = format!("a name has at most {NAME_BYTES_MAX} bytes");
        return Err(Error::Refused(message));
    }
    operation.map(|operation| (name, operation))
}

/// Has an operation carried out and reads what it gave.
fn carry_out<T>(
    store: StoreContextMut<'_, CallState>,
    operation: Result<Operation, Error>,
    read: impl FnOnce(Coordinated) -> Result<T, Error>,
) -> Given<T> {
    let given = match operation {
        Ok(operation) => ask(store, |grid| grid.coordinate(operation))?,
        Err(error) => Err(error),
    };
    let in_time = |given| match given {
        Coordinated::TimedOut => Err(Error::TimedOut),
        given => read(given),
    };
    Ok((given.and_then(in_time),))
}

fn done(given: Coordinated) -> Result<(), Error> {
    match given {
        Coordinated::Done => Ok(()),
        _ => Err(something_else()),
    }
}

fn items(given: Coordinated) -> Result<Vec<ItemBack>, Error> {
    match given {
        Coordinated::Items(items) => Ok(items.into_iter().map(ItemBack::from).collect()),
        _ => Err(something_else()),
    }
}

fn something_else() -> Error {
    Error::Unavailable("the scheduler answered something else".to_owned())
}

fn value_of(ValueOut { codec, bytes }: ValueOut) -> Result<Value, Error> {
    match bytes.len() {
        0..=ITEM_BYTES_MAX => Ok(Value { codec: codec.into(), bytes }),
        size => Err(Error::OverLimit(format!(
            "a shared value has at most {ITEM_BYTES_MAX} bytes; this one has {size}: share a call \
             that gives it"
        ))),
    }
}

fn key_of(key: &str) -> Result<Key, Error> {
    key.parse().map_err(|_| {
        Error::Refused("a key is 64 hexadecimal digits, as `submit` gave them".to_owned())
    })
}

/// `coordination.item` on its way out.
#[derive(ComponentType, Lift)]
#[component(variant)]
enum Item {
    #[component(name = "value")]
    Value(ValueOut),
    #[component(name = "call")]
    Call(String),
}

impl Item {
    fn held(self) -> Result<Held, Error> {
        match self {
            Self::Value(value) => value_of(value).map(Held::Value),
            Self::Call(key) => key_of(&key).map(Held::Call),
        }
    }
}

/// `coordination.item` on its way back in.
#[derive(ComponentType, Lower)]
#[component(variant)]
enum ItemBack {
    #[component(name = "value")]
    Value(ValueBack),
    #[component(name = "call")]
    Call(String),
}

impl From<Held> for ItemBack {
    fn from(item: Held) -> Self {
        match item {
            Held::Value(value) => Self::Value(value.into()),
            Held::Call(key) => Self::Call(key.to_string()),
        }
    }
}

/// `coordination.error`.
#[derive(ComponentType, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "refused")]
    Refused(String),
    #[component(name = "timed-out")]
    TimedOut,
    #[component(name = "over-limit")]
    OverLimit(String),
    #[component(name = "unavailable")]
    Unavailable(String),
}

impl From<GridError> for Error {
    fn from(error: GridError) -> Self {
        match error {
            GridError::Failed(failure) => Self::Refused(failure.to_string()),
            GridError::Refused(message) => Self::Refused(message),
            GridError::OverLimit(message) => Self::OverLimit(message),
            GridError::Unavailable(message) => Self::Unavailable(message),
        }
    }
}
