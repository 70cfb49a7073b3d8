//! The smallest bundle: numbers, a struct, and an error with its causes.

use std::fmt;
use std::num::ParseIntError;

use grid_sdk::task;
use serde::{Deserialize, Serialize};

/// One more.
#[task]
pub fn inc(number: i64) -> i64 {
    number + 1
}

/// Adds two numbers.
#[task]
pub fn add(a: i64, b: i64) -> i64 {
    a + b
}

/// Somebody to greet.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Person {
    /// How to call them.
    pub name: String,
    /// In years; not everybody tells.
    pub age: Option<u32>,
}

/// What is said to them.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Greeting {
    /// The words.
    pub text: String,
    /// How many letters the name has.
    pub letters: usize,
}

/// Greets somebody.
#[task]
pub fn greet(person: Person) -> Greeting {
    let text = match person.age {
        Some(age) => format!("Hello, {}! {age} is a good age.", person.name),
        None => format!("Hello, {}!", person.name),
    };
    Greeting { text, letters: person.name.chars().count() }
}

/// A text that should have been a number.
#[derive(Debug)]
pub struct NotANumber {
    text: String,
    source: ParseIntError,
}

impl fmt::Display for NotANumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}` is not a number", self.text)
    }
}

impl std::error::Error for NotANumber {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Reads a number; what is none becomes the caller's error, with its cause.
#[task]
pub fn parse(text: String) -> Result<i64, NotANumber> {
    text.parse().map_err(|source| NotANumber { text, source })
}

grid_sdk::bundle!(inc, add, greet, parse);

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn adds() {
        assert_eq!(add(inc(1), 2), 4);
    }

    #[test]
    fn greets() {
        let person = Person { name: "Zoë".to_owned(), age: None };
        assert_eq!(greet(person), Greeting { text: "Hello, Zoë!".to_owned(), letters: 3 });
    }

    #[test]
    fn says_what_is_no_number() {
        let error = parse("twelve".to_owned()).unwrap_err();
        assert_eq!(error.to_string(), "`twelve` is not a number");
        assert_eq!(error.source().unwrap().to_string(), "invalid digit found in string");
    }

    #[test]
    fn nests_calls() {
        let call = add::call(inc::call(1), 2).priority(5);
        assert_eq!(call.node().options.priority, 5);
        assert_eq!(call.node().args.len(), 2);
    }
}
