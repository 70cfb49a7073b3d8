//! What a call must be like to be taken, and what is said of one that is not.

use grid_proto::bounds::check_call;
use grid_proto::message::Refusal;
use grid_proto::{Arg, CallSpec, Key, TaskDescription};

/// Verifies a call's bounds, and its values against what its task takes.
pub(crate) fn check(spec: &CallSpec, described: &TaskDescription) -> Result<(), Refusal> {
    check_call(&described.name, &spec.args, &spec.options)?;
    let values = spec.args.iter().map(|arg| match arg {
        Arg::Value(value) => Some(value),
        Arg::Key(_) => None,
    });
    described.check_arguments(values).map_err(|message| Refusal::BadArguments { message })
}

/// An argument that is unknown because its call comes later, or is the call itself, is said to be
/// that: a circle, or a list in the wrong order. `rest` is what follows in the same piece.
pub(crate) fn in_order(error: Refusal, own: Key, rest: &[CallSpec]) -> Refusal {
    let Refusal::UnknownKey { key } = &error else { return error };
    let later = |other: &Key| other.to_string() == *key;
    if !later(&own) && !rest.iter().any(|spec| later(&spec.key)) {
        return error;
    }
    let message = format!(
        "call `{}` reads `{}`, which does not come before it in the submission: list inputs before \
         their readers; calls that read each other in a circle can never run",
        own.short(),
        &key[..8],
    );
    Refusal::BadSubmission { message }
}
