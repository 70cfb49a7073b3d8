//! Calls are checked like functions.

use grid_sdk::task;

#[task]
pub fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[task]
pub fn name() -> String {
    String::new()
}

fn main() {
    let _ = add::call("one", 2);
    let _ = add::call(1, name::call());
    let _ = add::call(1);
}
