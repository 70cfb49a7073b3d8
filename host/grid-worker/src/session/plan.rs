//! From the calls that a guest names to a submission, within bounds.

use std::collections::{BTreeMap, BTreeSet};

use grid_proto::limits::NESTED_CALLS_MAX;
use grid_proto::message::Submission;
use grid_proto::{Arg, BundleHash, CallSpec, Key, TaskRef, bounds, call};
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
        bounds::check_call(&task, &args, &options)
            .map_err(|refusal| GridError::Refused(refusal.to_string()))?;
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

#[cfg(test)]
mod tests {
    use grid_proto::{CallOptions, Codec, Value};

    use super::*;

    fn call(args: Vec<NestedArg>) -> NestedCall {
        let (task, options) = ("t".to_owned(), CallOptions::default());
        NestedCall { bundle: None, task, args, pure: true, options }
    }

    fn refused(args: Vec<NestedArg>) -> String {
        let calls = vec![call(Vec::new()), call(args)];
        match Children::default().plan(BundleHash([1; 32]), calls, &[1]) {
            Err(GridError::Refused(message)) => message,
            other => panic!("{:?}", other.map(|(_, keys)| keys)),
        }
    }

    /// Else it would be a frame that no worker can send, and cost all of its calls.
    #[test]
    fn a_nested_call_over_its_bounds_is_refused_before_it_is_sent() {
        let wide = (0..1_000_000).map(|_| NestedArg::Call(0)).collect();
        let message = refused(wide);
        assert!(message.contains("1000000 arguments; at most 4096"), "{message}");
        let bytes = vec![0; (4 << 20) + 1];
        let message = refused(vec![NestedArg::Value(Value { codec: Codec::Raw, bytes })]);
        assert!(message.contains("4194305 bytes; at most 4194304"), "{message}");
        let message = refused(vec![NestedArg::Call(1)]);
        assert!(message.contains("position 1 is not before"), "{message}");
    }
}
