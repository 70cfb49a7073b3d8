//! The scheduler host: driver loop, sessions, bundles.
