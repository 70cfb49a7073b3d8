//! Clients as the machine sees them.

use std::collections::BTreeMap;

use crate::call::CallId;
use crate::submit::Partial;

#[derive(Debug, Default)]
pub(crate) struct Client {
    /// Calls on which it holds futures, with the age of the last submission that named each.
    pub(crate) wants: BTreeMap<CallId, u64>,
    /// A submission of which more is to come.
    pub(crate) partial: Option<Partial>,
    /// Its submissions that are whole and about to start.
    pub(crate) starting: usize,
    /// What follows belongs to a submission that was refused already.
    pub(crate) skips_rest: bool,
}
