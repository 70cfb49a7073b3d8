//! Tasks that fail as a task should.

use std::error::Error;
use std::fmt;

use anyhow::Context;
use grid_sdk::task;
use serde::{Deserialize, Serialize, Serializer};

/// An error with a cause.
#[derive(Debug)]
pub struct Layer {
    message: String,
    source: Option<Box<Self>>,
}

impl fmt::Display for Layer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl Error for Layer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

fn layers(messages: impl DoubleEndedIterator<Item = String>) -> Option<Box<Layer>> {
    messages.rev().fold(None, |source, message| Some(Box::new(Layer { message, source })))
}

/// Fails with an error that has two causes.
#[task]
pub fn fail() -> Result<i64, Box<Layer>> {
    let messages = ["cannot read the table", "cannot open the file", "the disk is gone"];
    Err(layers(messages.map(str::to_owned).into_iter()).expect("there are three"))
}

/// Fails with an error that has so many causes.
#[task]
pub fn fail_deep(causes: usize) -> Result<(), Box<Layer>> {
    Err(layers((0..=causes).map(|depth| format!("layer {depth}"))).expect("there is one"))
}

/// Fails with a text.
#[task]
pub fn fail_text(message: String) -> Result<(), String> {
    Err(message)
}

/// Fails with a text of so many bytes.
#[task]
pub fn fail_huge(size: usize) -> Result<(), String> {
    Err("x".repeat(size))
}

/// Fails by `anyhow`, with context.
#[task]
pub fn fail_anyhow(number: String) -> anyhow::Result<i64> {
    number.parse().with_context(|| format!("`{number}` is not a number"))
}

/// Fails with a boxed error.
#[task]
pub fn fail_boxed(number: String) -> Result<i64, Box<dyn Error + Send + Sync>> {
    Ok(number.parse()?)
}

/// What can be displayed, and no more.
#[derive(Debug)]
pub struct Shown;

impl fmt::Display for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("shown")
    }
}

/// Fails with what is no error but can be displayed.
#[task]
pub fn fail_display() -> Result<(), Shown> {
    Err(Shown)
}

/// Fails at its first tries, so many times, and then gives the number of its attempt.
#[task(retries = 3)]
pub fn flaky(failures: u32) -> Result<u32, String> {
    let attempt = grid_sdk::context::current().attempt;
    if attempt < failures { Err(format!("attempt {attempt}")) } else { Ok(attempt) }
}

/// A person.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Profile {
    /// How to call them.
    pub name: String,
    /// In years, if known.
    pub age: Option<u32>,
    /// Where they were.
    pub visits: Vec<Visit>,
}

/// Where somebody was.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub enum Visit {
    /// A city.
    City(String),
    /// A place.
    Place {
        /// Degrees.
        latitude: f64,
        /// Degrees.
        longitude: f64,
    },
    /// Nowhere.
    Nowhere,
}

/// One year later, with one more visit.
#[task]
pub fn profile(mut profile: Profile) -> Profile {
    profile.age = profile.age.map(|age| age + 1);
    profile.visits.push(Visit::Nowhere);
    profile
}

/// The number plus one, or nothing.
#[task]
pub fn optional(number: Option<i64>) -> Option<i64> {
    number.map(|number| number + 1)
}

/// What nobody can encode.
#[derive(Debug)]
pub struct Unencodable;

impl Serialize for Unencodable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it does not want to"))
    }
}

/// Gives what cannot be encoded.
#[task]
pub fn unencodable() -> Unencodable {
    Unencodable
}
