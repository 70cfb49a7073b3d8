//! Many operations of clients and of running calls in an order that nobody chose: every invariant
//! holds after each, and nothing is left behind when everybody has gone and every name is given up.

use grid_proto::coordination::{
    Coordinated, DatasetOperation, EventOperation, Item, LeaseKind, LeaseOperation, NamedKind,
    Operation, QueueOperation, TopicOperation, VariableOperation,
};
use grid_proto::message::FromClient;
use grid_proto::{ClientId, FailureKind, LeaseId, RequestId, WorkerId};

use super::{ask, at_once, item, pass, value};
use crate::Event;
use crate::tests::grid::{ANN, Grid, call, key};

const CALLS: u64 = 6;
const STEPS: u64 = 600;
const SEEDS: u64 = 60;

/// A xorshift generator: the same seed, the same run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn item(&mut self) -> Item {
        match self.below(2) {
            0 => item(1),
            _ => Item::Call(key(self.below(CALLS))),
        }
    }

    fn wait_ms(&mut self) -> Option<u64> {
        [None, Some(0), Some(5)][self.below(3) as usize]
    }

    fn operation(&mut self) -> Operation {
        let name = ["a", "b"][self.below(2) as usize].to_owned();
        let wait_ms = self.wait_ms();
        let kind = [LeaseKind::Lock, LeaseKind::Semaphore][self.below(2) as usize];
        match self.below(18) {
            0 | 1 => {
                let keys = (0..self.below(4)).map(|_| key(self.below(CALLS))).collect();
                let operation = DatasetOperation::Publish { keys, replace: self.below(2) == 0 };
                Operation::Dataset { name, operation }
            }
            2 => Operation::Dataset { name, operation: DatasetOperation::Get },
            3 => Operation::Dataset { name, operation: DatasetOperation::Unpublish },
            4 => Operation::Variable { name, operation: VariableOperation::Set(self.item()) },
            5 => Operation::Variable { name, operation: VariableOperation::Get { wait_ms } },
            6 => Operation::Variable { name, operation: VariableOperation::Delete },
            7..=9 => {
                let operation = QueueOperation::Put { item: self.item(), items_max: 2, wait_ms };
                Operation::Queue { name, operation }
            }
            10 | 11 => {
                let count_max = self.below(4) as u32;
                let operation = QueueOperation::Get { count_max, items_max: 2, wait_ms };
                Operation::Queue { name, operation }
            }
            12 => Operation::Queue { name, operation: QueueOperation::Delete },
            13 | 14 => {
                let leases_max = if kind == LeaseKind::Lock { 1 } else { 2 };
                let lease_ms = self.wait_ms();
                let operation = LeaseOperation::Acquire { leases_max, lease_ms, wait_ms };
                Operation::Lease { kind, name, operation }
            }
            15 => {
                let lease = LeaseId(self.below(40));
                let operation = match self.below(2) {
                    0 => LeaseOperation::Release(lease),
                    _ => LeaseOperation::Renew(lease),
                };
                Operation::Lease { kind, name, operation }
            }
            16 => {
                let operation = match self.below(3) {
                    0 => EventOperation::Set,
                    1 => EventOperation::Clear,
                    _ => EventOperation::Wait { wait_ms },
                };
                Operation::Event { name, operation }
            }
            _ => {
                let operation = match self.below(4) {
                    0 => TopicOperation::Publish(value(1)),
                    1 => TopicOperation::Subscribe,
                    2 => TopicOperation::Unsubscribe,
                    _ => TopicOperation::Delete,
                };
                Operation::Topic { name, operation }
            }
        }
    }
}

fn step(grid: &mut Grid, dice: &mut Dice, clients: &mut [ClientId], number: u64) {
    let place = dice.below(clients.len() as u64) as usize;
    let client = clients[place];
    let some = dice.below(CALLS);
    let request = RequestId(number - dice.below(number.min(40) + 1));
    match dice.below(26) {
        0..=8 => drop(ask(grid, client, number, dice.operation())),
        9 | 10 => drop(grid.say(client, FromClient::Took(request))),
        11 => drop(grid.say(client, FromClient::Abandon(request))),
        12 => {
            let chain: Vec<_> = (0..=some).map(|n| call(n, &recipe(n))).collect();
            grid.submit(client, &chain, &[key(some)]);
        }
        13 => drop(grid.say(client, FromClient::Release(vec![key(some)]))),
        14 => {
            let force = dice.below(2) == 0;
            grid.say(client, FromClient::Cancel { keys: vec![key(some)], force });
        }
        15 => drop(grid.say(client, FromClient::Retry { request, keys: vec![key(some)] })),
        16 => {
            let now = grid.now.0;
            pass(grid, now + dice.below(10_000));
        }
        17 | 18 => {
            let runs = grid.calls();
            for info in runs.iter().filter(|info| info.state == "processing") {
                let (number, attempt) = (crate::tests::grid::number(info.key), info.attempt.0);
                match dice.below(4) {
                    0 => drop(grid.fail(10, number, attempt, FailureKind::User)),
                    _ => drop(grid.finish(10, number, attempt, 1)),
                }
            }
        }
        20..=22 => {
            let (request, operation) = (RequestId(number), dice.operation());
            from_task(grid, dice, FromClient::Coordinate { request, operation });
        }
        23 => from_task(grid, dice, FromClient::Took(request)),
        24 => from_task(grid, dice, FromClient::Abandon(request)),
        25 => {
            if let Some((number, attempt)) = running(grid, dice) {
                grid.waits(10, number, attempt, dice.below(2) == 0);
            }
        }
        _ => {
            grid.tell(Event::ClientGone(client));
            clients[place] = ClientId(2_000 + number as u32);
            grid.tell(Event::ClientConnected(clients[place]));
        }
    }
}

/// A call that runs, and its attempt.
fn running(grid: &mut Grid, dice: &mut Dice) -> Option<(u64, u32)> {
    let mut calls = grid.calls();
    calls.retain(|info| info.state == "processing");
    let info = calls.get(dice.below(calls.len().max(1) as u64) as usize)?;
    Some((crate::tests::grid::number(info.key), info.attempt.0))
}

/// A running call, if there is one, says this as a client.
fn from_task(grid: &mut Grid, dice: &mut Dice, message: FromClient) {
    if let Some((number, attempt)) = running(grid, dice) {
        grid.speak(10, number, attempt, message);
    }
}

/// What a call of this number needs: the same whoever submits it.
fn recipe(number: u64) -> Vec<u64> {
    (0..number).rev().take((number % 3) as usize).collect()
}

#[test]
fn whatever_happens_in_whatever_order_all_invariants_hold_and_nothing_is_left() {
    for seed in 1..=SEEDS {
        let mut grid = Grid::new();
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        grid.worker(10, 2);
        let mut clients = [ANN, ClientId(2), ClientId(1_999)];
        grid.tell(Event::ClientConnected(clients[2]));
        for number in 1..=STEPS {
            step(&mut grid, &mut dice, &mut clients, number);
            // A worker that falls silent is another story.
            grid.hear(
                10,
                grid_proto::message::FromWorker::Heartbeat {
                    resident_bytes: 0,
                    descriptors: 0,
                    fetched_bytes: 0,
                    fetching_us: 0,
                    memory: grid_proto::report::MemoryUse::default(),
                },
            );
        }
        for client in clients {
            grid.tell(Event::ClientGone(client));
        }
        leave_nothing(&mut grid);
        let left = grid.calls();
        assert!(left.is_empty(), "seed {seed}: {left:?}");
    }
}

/// Gives up every name.
fn leave_nothing(grid: &mut Grid) {
    let last = ClientId(9_999);
    grid.tell(Event::ClientConnected(last));
    let kinds = [
        NamedKind::Dataset,
        NamedKind::Variable,
        NamedKind::Queue,
        NamedKind::Lock,
        NamedKind::Semaphore,
        NamedKind::Event,
        NamedKind::Topic,
    ];
    for kind in kinds {
        let Coordinated::List(named) = at_once(grid, last, Operation::List(kind)) else { panic!() };
        for info in named {
            let name = info.name;
            let operation = match kind {
                NamedKind::Dataset => {
                    Operation::Dataset { name, operation: DatasetOperation::Unpublish }
                }
                NamedKind::Variable => {
                    Operation::Variable { name, operation: VariableOperation::Delete }
                }
                NamedKind::Queue => Operation::Queue { name, operation: QueueOperation::Delete },
                NamedKind::Event => Operation::Event { name, operation: EventOperation::Clear },
                NamedKind::Topic => Operation::Topic { name, operation: TopicOperation::Delete },
                NamedKind::Lock | NamedKind::Semaphore => {
                    panic!("{kind} `{name}` has no client and is there")
                }
            };
            assert_eq!(at_once(grid, last, operation), Coordinated::Done);
        }
    }
    assert_eq!(grid.machine.coordination.bytes, 0);
    grid.tell(Event::WorkerGone(WorkerId(10)));
}
