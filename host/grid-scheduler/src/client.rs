//! Clients as the machine sees them.

use std::collections::BTreeSet;

use crate::call::CallId;
use crate::submit::Partial;

#[derive(Debug, Default)]
pub(crate) struct Client {
    /// Calls on which it holds futures.
    pub(crate) wants: BTreeSet<CallId>,
    /// A submission of which more is to come.
    pub(crate) partial: Option<Partial>,
    /// What follows belongs to a submission that was refused already.
    pub(crate) skips_rest: bool,
}
