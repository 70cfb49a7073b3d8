//! From the calls that a guest names to a submission, within bounds.

use std::collections::{BTreeMap, BTreeSet};

use grid_proto::limits::{INLINE_ARGUMENT_BYTES_MAX, NESTED_CALLS_MAX};
use grid_proto::message::Submission;
use grid_proto::{Arg, BundleHash, CallSpec, Key, TaskRef, call};
use grid_sandbox::{GridError, NestedArg, NestedCall};

use super::children::Children;

/// Arguments of all calls that an attempt has submitted and not let go of, in bytes: they stay with
/// the scheduler.
const NESTED_BYTES_MAX: usize = 256 << 20;

impl Children {
    /// The submission of these calls, and the keys of those that are wanted.
    ///
    /// # Errors
    /// [`GridError::OverLimit`], or [`GridError::Refused`] for what makes no sense.
    pub(super) fn plan(
        &mut self,
        own: BundleHash,
        calls: Vec<NestedCall>,
        wanted: &[u32],
    ) -> Result<(Submission, Vec<Key>), GridError> {
        let (held, held_bytes) = self.in_use();
        if held + calls.len().max(wanted.len()) > NESTED_CALLS_MAX {
            return Err(GridError::OverLimit(format!(
                "a call may have submitted {NESTED_CALLS_MAX} calls at a time: this one has {held} \
                 and wants {} more; wait for some and let go of them first",
                calls.len()
            )));
        }
        let mut planned = Planned::default();
        for call in calls {
            self.add(&mut planned, own, call)?;
        }
        let Planned { submission, keys, bytes, .. } = planned;
        if held_bytes + bytes > NESTED_BYTES_MAX {
            return Err(GridError::OverLimit(format!(
                "the arguments of the calls that one call has submitted may hold \
                 {NESTED_BYTES_MAX} bytes together; pass results of other calls instead"
            )));
        }
        let wanted = wanted.iter().map(|position| find(&keys, *position));
        let wanted: Vec<_> = wanted.collect::<Result<_, _>>()?;
        let request = self.next_request();
        self.on_submitted(request, &wanted, bytes);
        Ok((Submission { request, wanted: wanted.clone(), ..submission }, wanted))
    }

    fn add(
        &self,
        planned: &mut Planned,
        own: BundleHash,
        call: NestedCall,
    ) -> Result<(), GridError> {
        let NestedCall { bundle, task, args, pure, options } = call;
        let bundle = match bundle {
            None => own,
            Some(name) => *self.bundles.get(&name).ok_or_else(|| {
                GridError::Unavailable(format!("the bundle `{name}` was not looked up"))
            })?,
        };
        let mut bytes = 0;
        let arg = |arg| match arg {
            NestedArg::Value(value) => {
                bytes += value.bytes.len();
                Ok(Arg::Value(value))
            }
            NestedArg::Call(position) => find(&planned.keys, position).map(Arg::Key),
            NestedArg::Key(key) => self.check_held(&[key]).map(|()| Arg::Key(key)),
        };
        let args = args.into_iter().map(arg).collect::<Result<Vec<_>, _>>()?;
        if bytes > INLINE_ARGUMENT_BYTES_MAX {
            return Err(GridError::Refused(format!(
                "the arguments of `{task}` hold {bytes} bytes; at most \
                 {INLINE_ARGUMENT_BYTES_MAX} travel with a call: let a task make the data, and \
                 pass its result"
            )));
        }
        let key = if pure { call::pure_key(bundle, &task, &args) } else { random_key()? };
        planned.keys.push(key);
        if planned.known.insert(key) {
            let task = planned.task(TaskRef { bundle, task });
            planned.bytes += bytes;
            planned.submission.calls.push(CallSpec { key, task, args, options });
        }
        Ok(())
    }
}

#[derive(Default)]
struct Planned {
    submission: Submission,
    tasks: BTreeMap<TaskRef, u32>,
    /// By position of the guest's list.
    keys: Vec<Key>,
    known: BTreeSet<Key>,
    bytes: usize,
}

impl Planned {
    fn task(&mut self, task: TaskRef) -> u32 {
        let next = u32::try_from(self.tasks.len()).unwrap_or(u32::MAX);
        let Self { submission, tasks, .. } = self;
        *tasks.entry(task).or_insert_with_key(|task| {
            submission.tasks.push(task.clone());
            next
        })
    }
}

fn find(keys: &[Key], position: u32) -> Result<Key, GridError> {
    keys.get(position as usize).copied().ok_or_else(|| {
        GridError::Refused(format!("position {position} is not before the call that names it"))
    })
}

fn random_key() -> Result<Key, GridError> {
    let mut key = Key([0; 32]);
    getrandom::fill(&mut key.0).map_err(|error| {
        GridError::Unavailable(format!("the system gives no randomness: {error}"))
    })?;
    Ok(key)
}
