//! A function without a body.

use grid_sdk::task;

#[task]
fn declared(number: i64) -> i64;

fn main() {}
