//! Mistakes of all kinds in one function are told in one go.

use grid_sdk::task;

#[task(retires = 3, memory = "lots")]
async fn everything<T>(name: &str, (a, b): (i64, i64)) -> &'static str {
    let _ = (name, a, b);
    ""
}

fn main() {}
