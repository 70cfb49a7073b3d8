//! The native twin: threads of one process share. Names differ from test to test.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use super::{Dataset, Event, Lock, Queue, Semaphore, Shared, Topic, Variable};
use crate::grid::{self, Error};
use crate::task;

const SOON: Duration = Duration::from_millis(10);

#[task]
fn double(number: u64) -> u64 {
    number * 2
}

#[task]
fn fails() -> Result<u64, String> {
    Err("on purpose".to_owned())
}

fn refused<T: std::fmt::Debug>(ended: Result<T, Error>) -> String {
    match ended {
        Err(Error::Refused(message) | Error::OverLimit(message)) => message,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_producer_and_a_consumer_share_a_queue() {
    let producer = thread::spawn(|| {
        let queue = Queue::bounded("numbers", 2);
        (0..100_u64).try_for_each(|number| queue.put(number)).unwrap();
    });
    let queue = Queue::<u64>::bounded("numbers", 2);
    for number in 0..100 {
        assert_eq!(queue.get().unwrap().result().unwrap(), number);
    }
    producer.join().unwrap();
    assert_eq!(queue.size().unwrap(), 0);
    assert!(queue.get_within(SOON).unwrap().is_none());
    assert!(queue.put_within(1, SOON).unwrap() && queue.put_within(2, SOON).unwrap());
    assert!(!queue.put_within(3, SOON).unwrap(), "it is full");
    assert_eq!(queue.get_batch(5, None).unwrap().len(), 2);
    assert!(refused(Queue::bounded("numbers", 3).put(1)).contains("at most 2 items, not 3"));
    queue.delete().unwrap();
    assert!(refused(queue.delete()).contains("no queue is named `numbers`"));
}

#[test]
fn one_at_a_time_is_under_a_lock() {
    let count = Variable::new("count");
    assert!(count.get_within(Duration::ZERO).unwrap().is_none());
    count.set(0_u64).unwrap();
    let add = || {
        for _ in 0..100 {
            let _held = Lock::new("count").acquire().unwrap();
            let count = Variable::<u64>::new("count");
            let before = count.get().unwrap().result().unwrap();
            count.set(before + 1).unwrap();
        }
    };
    let threads: Vec<_> = (0..4).map(|_| thread::spawn(add)).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(count.get().unwrap().result().unwrap(), 400);
    let held = Lock::new("count").try_acquire().unwrap().unwrap();
    assert!(Lock::new("count").try_acquire().unwrap().is_none());
    assert!(Lock::new("count").acquire_within(SOON).unwrap().is_none());
    held.release();
    let panicked = thread::spawn(|| {
        let _held = Lock::new("count").acquire().unwrap();
        panic!("with the lock in hand");
    });
    assert!(panicked.join().is_err());
    assert!(Lock::new("count").try_acquire().unwrap().is_some());
    count.delete().unwrap();
    assert!(refused(count.delete()).contains("no variable is named `count`"));
}

#[test]
fn a_semaphore_lets_as_many_in_as_it_has_leases() {
    static INSIDE: AtomicU32 = AtomicU32::new(0);
    let work = || {
        for _ in 0..50 {
            let held = Semaphore::new("three", 3).acquire().unwrap();
            assert!(INSIDE.fetch_add(1, Ordering::SeqCst) < 3);
            thread::yield_now();
            INSIDE.fetch_sub(1, Ordering::SeqCst);
            drop(held);
        }
    };
    let threads: Vec<_> = (0..8).map(|_| thread::spawn(work)).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let held: Vec<_> =
        (0..3).map(|_| Semaphore::new("three", 3).try_acquire().unwrap().unwrap()).collect();
    assert!(Semaphore::new("three", 3).acquire_within(SOON).unwrap().is_none());
    assert!(refused(Semaphore::new("three", 4).try_acquire()).contains("has 3 leases"));
    drop(held);
    assert!(Semaphore::new("three", 4).try_acquire().unwrap().is_some(), "it is not in use");
    assert!(refused(Semaphore::new("none", 0).try_acquire()).contains("at least one"));
}

#[test]
fn an_event_wakes_all() {
    let event = Event::new("go");
    assert!(!event.is_set().unwrap() && !event.wait_within(SOON).unwrap());
    let threads: Vec<_> =
        (0..4).map(|_| thread::spawn(|| Event::new("go").wait().unwrap())).collect();
    event.set().unwrap();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(event.is_set().unwrap() && event.wait_within(Duration::ZERO).unwrap());
    event.clear().unwrap();
    assert!(!event.is_set().unwrap());
}

#[test]
fn calls_are_shared_with_their_results_and_failures() {
    let doubles = grid::map((0..3).map(double::call)).unwrap();
    let dataset = Dataset::new("doubles");
    dataset.publish(&doubles).unwrap();
    assert!(refused(dataset.publish(&doubles)).contains("already"));
    dataset.publish_override(&doubles[1..]).unwrap();
    drop(doubles);
    assert!(Dataset::names().unwrap().contains(&"doubles".to_owned()));
    let found = dataset.get::<u64>().unwrap();
    assert_eq!(grid::gather(&found).unwrap(), [2, 4]);
    assert_eq!(grid::run(double::call(&found[1])).unwrap(), 8);
    dataset.unpublish().unwrap();
    assert!(refused(dataset.unpublish()).contains("no dataset"));
    assert!(refused(dataset.get::<u64>()).contains("no dataset"));

    let variable = Variable::<u64>::new("shared");
    variable.set_call(&grid::submit(double::call(4)).unwrap()).unwrap();
    let Shared::Call(eight) = variable.get().unwrap() else { panic!("a value") };
    assert_eq!(grid::run(double::call(&eight)).unwrap(), 16);
    let queue = Queue::<u64>::new("shared");
    queue.put_call(&grid::submit(fails::call()).unwrap()).unwrap();
    assert!(matches!(queue.get().unwrap().result(), Err(Error::Failed(_))));
}

#[test]
fn what_is_too_large_or_of_another_type_is_told_so() {
    let large = "x".repeat(64 << 10);
    assert!(refused(Variable::new("large").set(large.clone())).contains("at most 65536 bytes"));
    assert!(refused(Queue::new("large").put(large.clone())).contains("at most 65536 bytes"));
    assert!(refused(Topic::new("large").publish(large)).contains("at most 65536 bytes"));
    Topic::new("small").publish(1).unwrap();
    Variable::new("typed").set("text".to_owned()).unwrap();
    let other = Variable::<u64>::new("typed").get().unwrap_err();
    assert!(other.to_string().contains("cannot be read"), "{other}");
}
