//! What no worker can truly say. Sums are kept of what workers report; a number that would break
//! them costs the worker its connection, not the scheduler its state.

use grid_proto::bounds::{check_names, check_resources};
use grid_proto::message::{FromWorker, Outcome, Registration};
use grid_proto::{ObjectMeta, Spent};

/// A result of more bytes, or an hour's transfer of more: a million of them still have a sum.
const BYTES_MAX: u64 = 1 << 42;
/// No attempt, and no transfer, takes longer than ten years.
const TIME_US_MAX: u64 = 10 * 365 * 24 * 3_600 * 1_000_000;
const SLOTS_MAX: u32 = 1 << 16;

/// Says what is wrong with a message that cannot be true.
pub(crate) fn check_message(message: &FromWorker) -> Result<(), String> {
    match message {
        FromWorker::Finished { outcome, spent, .. } => {
            check_spent(spent)?;
            match outcome {
                Outcome::Memory { meta, .. } => check_object(meta),
                Outcome::Failed(_) | Outcome::Reschedule => Ok(()),
            }
        }
        FromWorker::Heartbeat { fetched_bytes, fetching_us, memory, .. } => {
            within("bytes fetched", *fetched_bytes, BYTES_MAX)?;
            within("bytes of sandboxes", memory.sandboxes_bytes, BYTES_MAX)?;
            within("microseconds of fetching", *fetching_us, TIME_US_MAX)
        }
        FromWorker::Register(_)
        | FromWorker::Started(_)
        | FromWorker::Output { .. }
        | FromWorker::MissingInputs { .. }
        | FromWorker::Holds(_)
        | FromWorker::NotAcquired(_)
        | FromWorker::Missing(_)
        | FromWorker::Inspected { .. }
        | FromWorker::FromTask { .. }
        | FromWorker::Waits { .. }
        | FromWorker::Withdrawn { .. }
        | FromWorker::ActorLost { .. }
        | FromWorker::Paused(_)
        | FromWorker::Leaving => Ok(()),
    }
}

/// The same of what a worker says when it connects.
pub(crate) fn check_registration(registration: &Registration) -> Result<(), String> {
    within("slots", registration.slots.into(), SLOTS_MAX.into())?;
    let names = [&registration.name, &registration.host].into_iter().chain(&registration.labels);
    check_names(names.map(String::as_str)).map_err(|refusal| refusal.to_string())?;
    check_resources(&registration.resources).map_err(|refusal| refusal.to_string())?;
    registration.holds.iter().try_for_each(|(_, meta)| check_object(meta))
}

fn check_object(meta: &ObjectMeta) -> Result<(), String> {
    within("bytes of one result", meta.size, BYTES_MAX)
}

fn check_spent(spent: &Spent) -> Result<(), String> {
    within("microseconds of one attempt", spent.wall_us, TIME_US_MAX)
}

fn within(what: &str, number: u64, most: u64) -> Result<(), String> {
    match number <= most {
        true => Ok(()),
        false => Err(format!("it reports {number} {what}, and no worker has more than {most}")),
    }
}
