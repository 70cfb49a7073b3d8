//! The clock: what happens next, by time and then by the order in which it was put down.

use std::collections::BTreeMap;

use grid_proto::message::{FromClient, FromWorker, ToClient, ToWorker};
use grid_proto::{BundleHash, Key, ObjectMeta, WorkerId};

use crate::data::Upload;

/// A connection to the scheduler; also the number that the scheduler gives its peer.
pub(crate) type LinkId = u32;

/// Something that is going to happen.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A client's connection is open at the scheduler.
    ClientOpened(LinkId),
    FromClient(LinkId, Vec<FromClient>),
    FromWorker(LinkId, Vec<FromWorker>),
    ToClient(LinkId, Vec<ToClient>),
    ToWorker(LinkId, Vec<ToWorker>),
    /// The scheduler's end of a connection notices that it is over.
    LostByScheduler(LinkId),
    /// The other end does.
    LostByPeer(LinkId),
    /// The scheduler's host gets around to a placement round.
    Flush,
    /// The scheduler's host looks whether its machine's timer is due.
    Timer,
    /// Something inside the worker at this place, if it is still this process.
    Worker(usize, Process, WorkerEvent),
    /// Something inside the client at this place.
    Client(usize, ClientEvent),
    /// Something goes wrong.
    Fault,
    /// The operator changes what a worker offers.
    Tune,
    /// From now on nothing goes wrong any more.
    Quiet,
}

/// Counts the processes that a worker had: events of an earlier one are void.
pub(crate) type Process = u32;

#[derive(Clone, Debug)]
pub(crate) enum WorkerEvent {
    /// The supervisor starts the process.
    Start,
    Connect,
    Heartbeat,
    /// An execution has run long enough to be reported as started.
    Look(u64),
    /// An execution ends, if it has not ended otherwise.
    Ended(u64),
    Loaded(BundleHash, Option<String>),
    Inspected(BundleHash),
    /// A value that a client brings has come.
    Brought(Upload),
    /// Its memory is nearly full, or no longer.
    Full(bool),
    /// A request of a peer arrives here.
    Asked {
        by: usize,
        process: Process,
        from: WorkerId,
        keys: Vec<Key>,
    },
    /// The answer to an own request arrives.
    Fetched {
        from: WorkerId,
        found: Vec<(Key, ObjectMeta)>,
        failed: Vec<Key>,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum ClientEvent {
    Connect,
    /// The next thing on its list.
    Turn,
    /// Reads a result from the holders that it was told.
    Read(Key),
    /// Brings values once more: a worker did not take them, or there was none.
    Bring {
        link: LinkId,
        values: Vec<(Key, ObjectMeta)>,
        failed: Vec<WorkerId>,
    },
}

impl Event {
    /// Clockwork, which goes on for ever: it is not counted as work that is still to be done.
    fn is_tick(&self) -> bool {
        matches!(self, Self::Timer | Self::Worker(_, _, WorkerEvent::Heartbeat))
    }
}

/// Events that are still to come.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    pub(crate) now: u64,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    work: usize,
}

impl Agenda {
    /// Puts an event down for a time in microseconds; for now if that is over.
    pub(crate) fn at(&mut self, time: u64, event: Event) {
        self.work += usize::from(!event.is_tick());
        self.sequence += 1;
        self.events.insert((time.max(self.now), self.sequence), event);
    }

    pub(crate) fn after(&mut self, delay: u64, event: Event) {
        self.at(self.now + delay, event);
    }

    /// Moves the clock to the next event.
    pub(crate) fn pop(&mut self) -> Option<Event> {
        let ((time, _), event) = self.events.pop_first()?;
        self.now = time;
        self.work -= usize::from(!event.is_tick());
        Some(event)
    }

    /// Events that are not clockwork.
    pub(crate) fn work(&self) -> usize {
        self.work
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }
}
