//! Tasks that fail, attack and misbehave in every way we know, for tests of what contains them.
//!
//! Each is named after what it does. What none of them can do is told by the tests that run them.

pub mod crash;
pub mod greed;
pub mod pry;
pub mod scratch;
pub mod user_error;

pub use crash::{
    abort, deep_recursion, divide_by_zero, exit, index_out_of_bounds, out_of_bounds, overflow,
    panic, panic_huge, shadow_stack, unreachable, unwrap_none,
};
pub use greed::{
    allocate, flood, flood_forever, huge_allocation, huge_result, log_flood, loop_forever,
    memory_bomb, random_flood, sleep_forever,
};
pub use pry::{
    arguments, clock, environment, lie, list_directory, log_lines, read_file, whoami,
    write_bad_utf8, write_escapes, write_file, write_stderr, write_stdout,
};
pub use scratch::{scratch_append, scratch_begin, scratch_climb, scratch_fill, scratch_hole};
pub use user_error::{
    fail, fail_anyhow, fail_boxed, fail_deep, fail_display, fail_huge, fail_text, flaky, optional,
    profile, unencodable,
};

grid_sdk::bundle!(
    abort,
    allocate,
    arguments,
    clock,
    deep_recursion,
    divide_by_zero,
    environment,
    exit,
    fail,
    fail_anyhow,
    fail_boxed,
    fail_deep,
    fail_display,
    fail_huge,
    fail_text,
    flaky,
    flood,
    flood_forever,
    huge_allocation,
    huge_result,
    index_out_of_bounds,
    lie,
    list_directory,
    log_flood,
    log_lines,
    loop_forever,
    memory_bomb,
    optional,
    out_of_bounds,
    overflow,
    panic,
    panic_huge,
    profile,
    random_flood,
    read_file,
    scratch_append,
    scratch_begin,
    scratch_climb,
    scratch_fill,
    scratch_hole,
    shadow_stack,
    sleep_forever,
    unencodable,
    unreachable,
    unwrap_none,
    whoami,
    write_bad_utf8,
    write_escapes,
    write_file,
    write_stderr,
    write_stdout,
);
