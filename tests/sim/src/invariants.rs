//! What must hold whatever happens, one invariant a file. What is broken is told with the name of
//! its file; `scheduler` and `agent` are the machines' own checks.

mod beliefs;
mod counters;
mod deaths;
mod endings;
mod failures;
mod hands;
mod leftovers;
pub(crate) mod needs;
mod news;
mod order;
mod replays;
mod values;

use grid_proto::WorkerId;
use grid_proto::message::FromWorker;

/// Invariants that remember something of their own.
#[derive(Debug, Default)]
pub(crate) struct Invariants {
    pub(crate) needs: needs::Needs,
    pub(crate) deaths: deaths::Deaths,
    pub(crate) hands: hands::Hands,
    pub(crate) order: order::Order,
    pub(crate) news: news::News,
}

impl Invariants {
    /// The scheduler is about to hear this of a worker.
    pub(crate) fn on_worker(&mut self, worker: WorkerId, message: &FromWorker) {
        self.needs.on_worker(worker, message);
        self.deaths.on_worker(worker, message);
        self.hands.on_worker(worker, message);
        self.order.on_worker(message);
    }
}

/// Tells which invariant it is that does not hold.
pub(crate) fn named<T>(name: &str, result: Result<T, String>) -> Result<T, String> {
    result.map_err(|broken| format!("{name}: {broken}"))
}
