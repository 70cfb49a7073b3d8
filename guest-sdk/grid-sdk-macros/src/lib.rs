//! The attribute #[task].
