//! The attribute `#[grid_sdk::task]`. Use it through `grid-sdk`, which documents and tests it.

mod expand;
mod options;
mod signature;
mod units;

use proc_macro::TokenStream;

/// Makes a task of a function.
///
/// The function stays as it is: call it, test it and debug it natively. Beside it stands a type of
/// the same name with `call(arguments...) -> Call<Output>`, where each argument is a value, a call,
/// or a client's future. A function that returns `Result<T, E>` gives a `Call<T>`; `E` is an error,
/// a text, `anyhow::Error`, or anything with `Display`.
///
/// Parameters and results are owned types: `String`, not `&str`. The first paragraph of the
/// documentation goes into the bundle, as do the names and types of the parameters.
///
/// # Options
///
/// `#[task(memory = "64MiB", timeout = "5s", retries = 2, pure = false, resident, scratch = "1GiB",
/// reads = "/flights")]`
///
/// - `pure`: equal arguments give equal results, so the grid runs equal calls once and shares the
///   result. **The default is `true`**; say `pure = false` for a task that reads the clock, random
///   numbers, or data that changes.
/// - `memory`: what one call may use, in `B`, `KiB`, `MiB`, `GiB` (or `kB`, `MB`, `GB`).
/// - `timeout`: wall time of one attempt, in `ms`, `s`, `min`, `h`.
/// - `retries`: how often a failed call is tried again; 0 is the default.
/// - `resident`: the instance in which it ran may stay, with its statics, for the next call of a resident
///   task of the bundle on the same worker and on behalf of the same client: a table that is open, a
///   model that is loaded. It may as well not: an instance is gone after a failure, after a number of
///   calls, when another call is in it, when memory is needed. So what the result is must not depend
///   on it, or say `pure = false` and mean it.
/// - `scratch`: what one call may write into a directory of its own, `/scratch`, which is empty when the
///   call begins and gone when it has ended. A file or a directory counts as 4 KiB beside its bytes, and
///   what is removed counts on. Not for resident tasks and actors.
/// - `reads`, `writes`: guest paths of directories and URLs of objects that the task wants, one text
///   or a list of them: `reads = ["/flights", "s3://bucket/airports/"]`. The operator grants them.
#[proc_macro_attribute]
pub fn task(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::task(options.into(), item.into()).into()
}
