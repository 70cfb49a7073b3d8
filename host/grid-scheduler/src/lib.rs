//! The pure scheduling machine: events in, actions out. No IO, clock, async or randomness of its own.
