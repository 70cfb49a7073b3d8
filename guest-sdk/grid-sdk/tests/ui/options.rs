//! Options that are none.

use grid_sdk::task;

#[task(colour = "red")]
fn unknown() {}

#[task(memory = "64 bananas", timeout = 5, retries = "two", pure = "yes")]
fn wrong_values() {}

#[task(memory = 64, timeout = "5 seconds", retries = -1)]
fn wrong_forms() {}

#[task(reads = "flights", writes = ["/out", "/../etc"])]
fn wrong_paths() {}

#[task(reads = ["gs://bucket/", "file://host/x"], writes = "s3://bucket/../x")]
fn wrong_urls() {}

#[task(pure = true, pure = false, memory)]
fn twice() {}

#[task(memory "64MiB")]
fn no_equals() {}

fn main() {}
