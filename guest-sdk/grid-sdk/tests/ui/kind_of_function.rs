//! Functions that no bundle can export: each mistake on its own span, all at once.

use grid_sdk::task;

#[task]
async fn waits(number: i64) -> i64 {
    number
}

#[task]
unsafe fn trusts(number: i64) -> i64 {
    number
}

#[task]
extern "C" fn foreign(number: i64) -> i64 {
    number
}

#[task]
fn generic<T>(number: T) -> i64
where
    T: Into<i64>,
{
    number.into()
}

#[task]
fn lends<'a>(number: i64) -> i64 {
    number
}

struct Counter;

impl Counter {
    #[task]
    fn count(&self, number: i64) -> i64 {
        number
    }
}

fn main() {}
