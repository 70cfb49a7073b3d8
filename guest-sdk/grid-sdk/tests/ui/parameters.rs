//! Parameters and results that cannot cross the wall of a sandbox.

use grid_sdk::task;

#[task]
fn text(text: &str) -> usize {
    text.len()
}

#[task]
fn slice(numbers: &[f64], flags: &mut Vec<bool>) -> usize {
    numbers.len() + flags.len()
}

#[task]
fn inside(texts: Vec<&'static str>) -> usize {
    texts.len()
}

#[task]
fn any(text: impl Into<String>) -> usize {
    text.into().len()
}

#[task]
fn nameless((a, b): (i64, i64), _: i64) -> i64 {
    a + b
}

#[task]
fn borrowed(number: i64) -> &'static str {
    if number > 0 { "positive" } else { "negative" }
}

#[task]
fn hidden(number: i64) -> impl Iterator<Item = i64> {
    0..number
}

#[task]
fn half() -> std::fmt::Result {
    Ok(())
}

fn main() {}
