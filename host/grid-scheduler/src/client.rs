//! Clients as the machine sees them.

use std::collections::BTreeMap;

use grid_proto::RequestId;

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
    /// What it has let go of since: it stays until those are on their way.
    pub(crate) let_go: Vec<CallId>,
    /// What follows of this one belongs to a submission that was refused already.
    pub(crate) skips_rest: Option<RequestId>,
}
