//! How a call fails when its function says so.

use std::cell::Cell;
use std::error::Error;
use std::fmt::Display;
use std::marker::PhantomData;

/// What stops a chain of sources that bites its own tail.
const CAUSES_MAX: usize = 64;

/// Why a call gave no value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The function returned an error.
    User(UserError),
    /// An argument does not fit its parameter.
    BadArgument {
        /// Position, from 0.
        index: u32,
        /// The parameter's name.
        parameter: &'static str,
        /// What does not fit.
        message: String,
    },
    /// Number of arguments: expected.
    WrongArity(u32),
    /// No task has this number.
    UnknownTask,
}

/// The error that a task's function returned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UserError {
    /// What it says.
    pub message: String,
    /// What its sources say, outermost first.
    pub causes: Vec<String>,
}

impl UserError {
    fn of(error: &dyn Error) -> Self {
        let sources = std::iter::successors(error.source(), |error| (*error).source());
        let causes = sources.take(CAUSES_MAX).map(ToString::to_string).collect();
        Self { message: error.to_string(), causes }
    }
}

/// An error on its way to the caller. The traits below give it the method `tell` by what its type
/// can do; method lookup takes the first that fits `&&&Thrown`, `&&Thrown`, `&Thrown`, so no type
/// needs an implementation of ours.
pub struct Thrown<E>(Cell<Option<E>>);

impl<E> Thrown<E> {
    /// Takes the error.
    pub fn new(error: E) -> Self {
        Self(Cell::new(Some(error)))
    }

    fn take(&self) -> E {
        self.0.take().expect("an error is told once")
    }
}

/// First: errors, texts, `anyhow::Error`, `Box<dyn Error>`.
pub trait ThrownError {
    /// The type of the error.
    type Error;

    /// Its message and its sources.
    fn tell(&self) -> Told<Self::Error>;
}

impl<E: Into<Box<dyn Error>>> ThrownError for &&Thrown<E> {
    type Error = E;

    fn tell(&self) -> Told<E> {
        Told::new(UserError::of(&*self.take().into()))
    }
}

/// Second: the boxes that are no `Error` themselves and that nothing converts.
pub trait ThrownBox {
    /// The type of the error.
    type Error;

    /// Its message and its sources.
    fn tell(&self) -> Told<Self::Error>;
}

impl ThrownBox for &Thrown<Box<dyn Error + Send>> {
    type Error = Box<dyn Error + Send>;

    fn tell(&self) -> Told<Self::Error> {
        Told::new(UserError::of(&*self.take()))
    }
}

impl ThrownBox for &Thrown<Box<dyn Error + Send + Sync>> {
    type Error = Box<dyn Error + Send + Sync>;

    fn tell(&self) -> Told<Self::Error> {
        Told::new(UserError::of(&*self.take()))
    }
}

/// Third: all the others, of which [`report`] takes what can be displayed.
pub trait ThrownOther {
    /// The type of the error.
    type Error;

    /// The error as it is.
    fn tell(&self) -> Untold<Self::Error>;
}

impl<E> ThrownOther for Thrown<E> {
    type Error = E;

    fn tell(&self) -> Untold<E> {
        Untold(self.take())
    }
}

/// An error of type `E` that has told its message.
pub struct Told<E>(UserError, PhantomData<E>);

impl<E> Told<E> {
    fn new(error: UserError) -> Self {
        Self(error, PhantomData)
    }
}

/// An error that has not.
pub struct Untold<E>(E);

/// What the `E` of a task's `Result<T, E>` can be.
pub trait Report<E> {
    /// Its message and its sources.
    fn report(self) -> UserError;
}

impl<E> Report<E> for Told<E> {
    fn report(self) -> UserError {
        self.0
    }
}

impl<E: Display> Report<E> for Untold<E> {
    fn report(self) -> UserError {
        UserError { message: self.0.to_string(), causes: Vec::new() }
    }
}

/// Its message and its sources.
pub fn report<E>(error: impl Report<E>) -> Failure {
    Failure::User(error.report())
}
