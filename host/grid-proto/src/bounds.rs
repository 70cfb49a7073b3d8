//! What one call may hold: checked where a call is made, so that none becomes a frame that cannot
//! be sent, and once more by the scheduler, which believes nobody.

use std::collections::BTreeSet;

use crate::call::{Amount, Arg, CallOptions, Pins};
use crate::limits::{ARGUMENTS_MAX, INLINE_ARGUMENT_BYTES_MAX, NAME_BYTES_MAX, NEEDS_MAX};
use crate::message::Refusal;

/// Verifies the bounds of one call of a task.
///
/// # Errors
/// The first bound that it breaks, and what to do instead.
pub fn check_call(task: &str, args: &[Arg], options: &CallOptions) -> Result<(), Refusal> {
    check_names([task])?;
    check_arguments(task, args)?;
    if let Some(pins) = &options.pins {
        check_pins(pins)?;
    }
    check_resources(&options.resources)
}

fn check_arguments(task: &str, args: &[Arg]) -> Result<(), Refusal> {
    let bad = |message| Err(Refusal::BadArguments { message });
    if args.len() > ARGUMENTS_MAX {
        return bad(format!(
            "a call of `{task}` has {} arguments; at most {ARGUMENTS_MAX} are allowed: reduce in a \
             tree",
            args.len()
        ));
    }
    let inline = |arg: &Arg| match arg {
        Arg::Value(value) => value.bytes.len(),
        Arg::Key(_) => 0,
    };
    let bytes: usize = args.iter().map(inline).sum();
    if bytes > INLINE_ARGUMENT_BYTES_MAX {
        return bad(format!(
            "the arguments of `{task}` hold {bytes} bytes; at most {INLINE_ARGUMENT_BYTES_MAX} \
             travel with a call: scatter the data (`client.scatter`, `grid scatter`) and pass that"
        ));
    }
    Ok(())
}

fn check_pins(pins: &Pins) -> Result<(), Refusal> {
    if pins.any_of.is_empty() {
        return refuse("a call is pinned to no worker, host or label: name one".to_owned());
    }
    if pins.any_of.len() > NEEDS_MAX {
        return refuse(format!("a call may be pinned to {NEEDS_MAX} names: give a label to more"));
    }
    check_names(pins.any_of.iter().map(String::as_str))
}

/// Verifies names of workers, hosts or labels that data may go to; none is any.
///
/// # Errors
/// Too many, or one that is too long.
pub fn check_places(names: &[String]) -> Result<(), Refusal> {
    match names.is_empty() {
        true => Ok(()),
        false => check_pins(&Pins { any_of: names.to_vec(), prefer: false }),
    }
}

/// Verifies what a call takes, or a worker offers, of abstract resources.
///
/// # Errors
/// Too many, one of them twice, or a name that is too long.
pub fn check_resources(resources: &[(String, Amount)]) -> Result<(), Refusal> {
    if resources.len() > NEEDS_MAX {
        return refuse(format!("{NEEDS_MAX} resources may be listed, not {}", resources.len()));
    }
    check_names(resources.iter().map(|(name, _)| name.as_str()))?;
    let mut names = BTreeSet::new();
    match resources.iter().find(|(name, _)| !names.insert(name)) {
        Some((name, _)) => refuse(format!("the resources name `{name}` twice")),
        None => Ok(()),
    }
}

/// Verifies names of tasks, workers, hosts, labels and resources.
///
/// # Errors
/// One is too long, or cannot be shown.
pub fn check_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<(), Refusal> {
    names.into_iter().try_for_each(|name| {
        if name.len() > NAME_BYTES_MAX {
            return refuse(format!(
                "a name of {} bytes: names of tasks, workers and resources have at most \
                 {NAME_BYTES_MAX}",
                name.len()
            ));
        }
        match has_control(name) {
            true => refuse(format!("the name {name:?} has a control character: leave it out")),
            false => Ok(()),
        }
    })
}

/// Whether a name would move the cursor, or worse, of whoever lists it.
#[must_use]
pub fn has_control(name: &str) -> bool {
    name.chars().any(char::is_control)
}

fn refuse(message: String) -> Result<(), Refusal> {
    Err(Refusal::BadSubmission { message })
}
