//! The attribute on something else.

use grid_sdk::task;

#[task]
struct Point {
    x: f64,
}

#[task]
const NUMBER: i64 = 1;

fn main() {}
