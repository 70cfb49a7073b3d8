//! What clients share by name.

mod bounds;
mod data;
mod leases;
mod random;
mod tasks;
mod topics;

use grid_proto::coordination::{Coordinated, Item, LeaseKind, LeaseOperation, Operation};
use grid_proto::message::{Answer, FromClient, ToClient};
use grid_proto::{ClientId, Codec, LeaseId, RequestId, Value};

use super::grid::{Grid, Out};
use crate::{Action, Now};

fn ask(grid: &mut Grid, client: ClientId, request: u64, operation: Operation) -> Out {
    grid.say(client, FromClient::Coordinate { request: RequestId(request), operation })
}

/// What was given, by whom it was asked and as which request.
fn given(out: &Out) -> Vec<(ClientId, u64, Coordinated)> {
    let given = |action: &Action| match action {
        Action::ToClient(
            client,
            ToClient::Answer { request, answer: Answer::Coordinated(given) },
        ) => Some((*client, request.0, given.clone())),
        _ => None,
    };
    out.0.iter().filter_map(given).collect()
}

/// An operation that is answered at once.
fn at_once(grid: &mut Grid, client: ClientId, operation: Operation) -> Coordinated {
    let out = ask(grid, client, 0, operation);
    match given(&out).into_iter().next() {
        Some((by, 0, given)) if by == client => given,
        _ => panic!("not answered at once: {out:?}"),
    }
}

fn took(grid: &mut Grid, client: ClientId, request: u64) -> Out {
    grid.say(client, FromClient::Took(RequestId(request)))
}

fn abandon(grid: &mut Grid, client: ClientId, request: u64) -> Out {
    grid.say(client, FromClient::Abandon(RequestId(request)))
}

/// Lets time pass as far as the machine has asked for, and at most until then.
fn pass(grid: &mut Grid, until_us: u64) -> Out {
    while let Some(at) = grid.machine.poll_timeout().filter(|at| at.0 <= until_us) {
        grid.now = at.max(grid.now);
        grid.machine.handle_timeout(grid.now);
    }
    grid.now = Now(until_us).max(grid.now);
    grid.settle()
}

fn value(byte: u8) -> Value {
    Value { codec: Codec::Raw, bytes: vec![byte] }
}

fn item(byte: u8) -> Item {
    Item::Value(value(byte))
}

fn acquire(
    kind: LeaseKind,
    leases_max: u32,
    lease_ms: Option<u64>,
    wait_ms: Option<u64>,
) -> Operation {
    lease(kind, LeaseOperation::Acquire { leases_max, lease_ms, wait_ms })
}

fn lease(kind: LeaseKind, operation: LeaseOperation) -> Operation {
    Operation::Lease { kind, name: "l".to_owned(), operation }
}

fn lease_of(given: &[(ClientId, u64, Coordinated)]) -> LeaseId {
    match given {
        [(_, _, Coordinated::Lease(id))] => *id,
        other => panic!("no lease: {other:?}"),
    }
}
