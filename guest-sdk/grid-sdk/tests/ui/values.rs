//! Types that serde does not know.

use grid_sdk::task;

pub struct Opaque;

#[task]
pub fn takes(value: Opaque) {
    let _ = value;
}

#[task]
pub fn gives() -> Opaque {
    Opaque
}

#[task]
pub fn fails() -> Result<i64, Opaque> {
    Err(Opaque)
}

fn main() {}
