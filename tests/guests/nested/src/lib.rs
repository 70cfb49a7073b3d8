//! Tasks that submit calls, wait for them, and ask to run elsewhere.

use grid_sdk::grid::{self, Error};
use grid_sdk::{Call, CallNode, IntoArg, Raw, context, task};

/// The `n`th Fibonacci number, the naive way: calls of calls.
#[task]
pub fn fibonacci(n: u32) -> Result<u64, Error> {
    if n < 2 {
        return Ok(n.into());
    }
    let both = grid::map([fibonacci::call(n - 1), fibonacci::call(n - 2)])?;
    Ok(grid::gather(&both)?.into_iter().sum())
}

/// The number of leaves of a tree so deep and so wide. `salt` tells trees apart.
#[task]
pub fn leaves(depth: u32, width: u32, salt: u64) -> Result<u64, Error> {
    if depth == 0 {
        return Ok(1);
    }
    let salts = (0..width).map(|n| salt * u64::from(width) + u64::from(n));
    let below = grid::map(salts.map(|salt| leaves::call(depth - 1, width, salt)))?;
    Ok(grid::gather(&below)?.into_iter().sum())
}

/// The bytes of all chunks together: too large to travel with the news.
#[task]
pub fn total(chunks: u32, size: usize) -> Result<u64, Error> {
    let chunks = grid::map((0..chunks).map(|n| chunk::call(n, size)))?;
    let mut total = 0;
    for (n, chunk) in chunks.iter().enumerate() {
        let Raw(bytes) = chunk.result()?;
        assert!(bytes.iter().all(|byte| *byte == n as u8), "chunk {n} is another one");
        total += bytes.len() as u64;
    }
    Ok(total)
}

/// So many bytes of a number.
#[task]
pub fn chunk(number: u32, size: usize) -> Raw {
    Raw(vec![number as u8; size])
}

/// The lengths of chunks, by calls that take what other calls give.
#[task]
pub fn chained(size: usize) -> Result<Vec<usize>, Error> {
    let shared = chunk::call(0, size);
    let pending = grid::submit(shared.clone())?;
    let lengths = grid::map([length::call(&shared), length::call(&pending)])?;
    grid::gather(&lengths)
}

/// The number of bytes.
#[task]
pub fn length(bytes: Raw) -> usize {
    bytes.len()
}

/// Works until it is stopped.
#[task(pure = false, timeout = "1h")]
pub fn endless(number: u64) -> u64 {
    let mut state = number;
    loop {
        state = std::hint::black_box(state.wrapping_mul(3) + 1);
        if state == u64::MAX {
            return state;
        }
    }
}

/// Waits for what never ends.
#[task(pure = false, timeout = "1h")]
pub fn patient(children: u64) -> Result<u64, Error> {
    let endless = grid::map((0..children).map(endless::call))?;
    Ok(grid::gather(&endless)?.into_iter().sum())
}

/// Panics while calls of its own run; waits for the first of them, which is short.
#[task(pure = false)]
pub fn careless() -> Result<u64, Error> {
    let endless = grid::submit(endless::call(1))?;
    let short = grid::submit(fibonacci::call(1))?;
    let first = grid::wait_any([&endless, &short])?;
    panic!("number {first} was first");
}

/// Which of an endless and a short call ends first; the endless one is let go of.
#[task(pure = false)]
pub fn race() -> Result<usize, Error> {
    let endless = grid::submit(endless::call(1))?;
    let short = grid::submit(fibonacci::call(1))?;
    grid::wait_any([&endless, &short])
}

/// Fails.
#[task]
pub fn fails(why: String) -> Result<u64, String> {
    Err(why)
}

/// What a child's failure looks like to its parent.
#[task]
pub fn looks() -> String {
    let failed = grid::run(fails::call("on purpose")).unwrap_err();
    let crashed = grid::run(crashes::call(vec![])).unwrap_err();
    format!("{failed}; {crashed}")
}

/// Panics for an empty list.
#[task]
pub fn crashes(list: Vec<u64>) -> u64 {
    list[0]
}

/// Calls itself with the same argument: the same call.
#[task]
pub fn circle(number: u64) -> Result<u64, Error> {
    grid::run(circle::call(number))
}

/// Calls itself for ever; gives the depth at which it was refused, and why.
#[task]
pub fn deep(depth: u32) -> Result<(u32, String), Error> {
    match grid::run(deep::call(depth + 1)) {
        Err(Error::Refused(why)) => Ok((depth, why)),
        other => other,
    }
}

/// Submits more than a call may.
#[task]
pub fn flood(calls: u32) -> String {
    match grid::map((0..calls).map(|n| chunk::call(n, 1))) {
        Ok(pending) => format!("{} were taken", pending.len()),
        Err(error) => format!("{error:?}"),
    }
}

/// Submits what the scheduler cannot know, and what no call can take.
#[task]
pub fn wrong() -> Vec<String> {
    let by_name = |bundle, task| -> Call<u64> {
        Call::from_node(CallNode {
            bundle,
            task,
            pure: true,
            args: vec![IntoArg::<u64>::into_arg(1u64)],
            options: Default::default(),
            native: Default::default(),
        })
    };
    let calls = [by_name("nowhere", "f"), by_name("nested", "f"), by_name("nested", "leaves")];
    let large = length::call(Raw(vec![0; 5 << 20]));
    let mut said: Vec<_> = calls
        .map(|call| grid::run(call).map_or_else(|error| format!("{error:?}"), |_| String::new()))
        .into();
    said.push(grid::run(large).map_or_else(|error| format!("{error:?}"), |_| String::new()));
    said
}

/// A task of another bundle, by name.
#[task]
pub fn stranger(a: i64, b: i64) -> Result<i64, Error> {
    grid::run(Call::from_node(CallNode {
        bundle: "noop",
        task: "add",
        pure: true,
        args: vec![IntoArg::<i64>::into_arg(a), IntoArg::<i64>::into_arg(b)],
        options: Default::default(),
        native: Default::default(),
    }))
}

/// The name of the worker that runs it, which is not this one.
#[task(pure = false)]
pub fn avoids(worker: String) -> String {
    let here = context::current().worker;
    if here == worker {
        grid::reschedule();
    }
    here
}

/// The names of the workers of calls that run where this says, or prefer to, and take so much of a
/// resource each.
#[task(pure = false)]
pub fn placed(on: String, prefer: bool, amount: f64, count: u32) -> Result<Vec<String>, Error> {
    let one = |n| match prefer {
        true => whereabouts::call(n).prefer(&on).resource("GPU", amount),
        false => whereabouts::call(n).on(&on).resource("GPU", amount),
    };
    grid::gather(&grid::map((0..count).map(one))?)
}

/// The name of the worker that runs it.
#[task(pure = false)]
pub fn whereabouts(_number: u32) -> String {
    context::current().worker
}

/// Asks to run elsewhere, wherever it is.
#[task(pure = false)]
pub fn restless() {
    grid::reschedule();
}

grid_sdk::bundle!(
    fibonacci,
    leaves,
    total,
    chunk,
    chained,
    length,
    endless,
    patient,
    careless,
    race,
    fails,
    looks,
    crashes,
    circle,
    deep,
    flood,
    wrong,
    stranger,
    avoids,
    restless,
    placed,
    whereabouts,
);

#[cfg(test)]
mod tests {
    #[test]
    fn natively_calls_of_calls_are_functions() {
        assert_eq!(super::fibonacci(12).unwrap(), 144);
        assert_eq!(super::leaves(3, 4, 0).unwrap(), 64);
        assert_eq!(super::total(3, 10).unwrap(), 30);
        assert_eq!(super::chained(7).unwrap(), [7, 7]);
    }
}
