//! A result that a client is told is the right one, and somebody computed it.

use grid_proto::Key;

use crate::oracle::Oracle;
use crate::task::Hash;

impl Oracle {
    /// A client was told of a result.
    pub(crate) fn check_ready(&self, key: &Key, hash: Hash) -> Result<(), String> {
        let Some(recipe) = self.recipes.get(key) else {
            return Err(format!("{}: ready, but nobody submitted it", key.short()));
        };
        let produced = self.produced.get(key).is_some_and(|hashes| hashes.contains(&hash));
        match recipe.expected {
            _ if recipe.doomed => Err(format!("{}: ready, but it can only fail", key.short())),
            Some(expected) if expected != hash => {
                Err(format!("{}: ready with a wrong value", key.short()))
            }
            _ if !produced => Err(format!("{}: ready, but nobody computed it", key.short())),
            _ => Ok(()),
        }
    }
}
