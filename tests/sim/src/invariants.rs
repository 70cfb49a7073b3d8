//! What must hold whatever happens, one invariant a file. What is broken is told with the name of
//! its file; `scheduler` and `agent` are the machines' own checks.

mod balance;
mod beliefs;
mod copies;
mod counters;
mod data;
mod deaths;
mod elsewhere;
mod endings;
mod failures;
pub(crate) mod hands;
mod holdings;
mod leftovers;
pub(crate) mod memory;
pub(crate) mod needs;
mod news;
mod order;
mod pause;
pub(crate) mod pile;
mod quarantine;
mod replays;
mod room;
mod values;

use grid_proto::message::{FromClient, FromWorker};
use grid_proto::{ClientId, Key, WorkerId};

/// Invariants that remember something of their own.
#[derive(Debug, Default)]
pub(crate) struct Invariants {
    pub(crate) needs: needs::Needs,
    pub(crate) deaths: deaths::Deaths,
    pub(crate) hands: hands::Hands,
    pub(crate) order: order::Order,
    pub(crate) news: news::News,
    pub(crate) room: room::Room,
    pub(crate) balance: balance::Balance,
    pub(crate) memory: memory::Memory,
    pub(crate) quarantine: quarantine::Quarantine,
    pub(crate) elsewhere: elsewhere::Elsewhere,
    pub(crate) data: data::Data,
    pub(crate) copies: copies::Copies,
    pub(crate) pause: pause::Pause,
}

impl Invariants {
    /// The scheduler is about to hear this of a worker.
    pub(crate) fn on_worker(&mut self, worker: WorkerId, message: &FromWorker) {
        self.needs.on_worker(worker, message);
        self.deaths.on_worker(worker, message);
        self.room.on_worker(worker, message);
        self.memory.on_worker(worker, message);
        self.data.on_worker(worker, message);
        self.pause.on_worker(worker, message);
        self.elsewhere.on_worker(worker, message);
        self.on_withdrawn(worker, message);
        self.hands.on_worker(worker, message);
        self.order.on_worker(message);
        if let FromWorker::FromTask { message, .. } = message {
            self.elsewhere.on_client(message);
        }
    }

    /// The scheduler is about to hear this of a client.
    pub(crate) fn on_client(&mut self, client: ClientId, message: &FromClient) {
        self.order.on_client(message);
        self.news.on_client(client, message);
        self.quarantine.on_client(message);
        self.data.on_client(client, message);
        self.copies.on_client(message);
        self.elsewhere.on_client(message);
    }

    /// A call is about to be given to a worker.
    pub(crate) fn check_given_back(&mut self, worker: WorkerId, key: &Key) -> Result<(), String> {
        self.balance.check_run(worker, key)
    }
}

/// Tells which invariant it is that does not hold.
pub(crate) fn named<T>(name: &str, result: Result<T, String>) -> Result<T, String> {
    result.map_err(|broken| format!("{name}: {broken}"))
}
