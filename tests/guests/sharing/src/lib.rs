//! Tasks that share by name with others, and hold what others wait for.

use std::time::Duration;

use grid_sdk::coordination::{Dataset, Event, Lock, Queue, Semaphore, Shared, Topic, Variable};
use grid_sdk::grid::{self, Error};
use grid_sdk::task;

const SOON: Duration = Duration::from_millis(20);

/// Puts the numbers below `count` into a queue of so many items at most.
#[task(pure = false)]
pub fn produce(queue: String, count: u64, items_max: u32) -> Result<(), Error> {
    let queue = Queue::bounded(queue, items_max);
    (0..count).try_for_each(|number| queue.put(number))
}

/// Takes so many numbers from a queue; gives their sum.
#[task(pure = false)]
pub fn consume(queue: String, count: u64) -> Result<u64, Error> {
    let queue = Queue::<u64>::new(queue);
    let mut sum = 0;
    for _ in 0..count {
        sum += queue.get()?.result()?;
    }
    Ok(sum)
}

/// Adds 1 to a variable so many times: reads it, and writes what it read and 1, under a lock.
#[task(pure = false)]
pub fn increment(name: String, times: u64) -> Result<(), Error> {
    let (lock, variable) = (Lock::new(&name), Variable::<u64>::new(&name));
    for _ in 0..times {
        let held = lock.acquire()?;
        let before = variable.get()?.result()?;
        variable.set(before + 1)?;
        held.release();
    }
    Ok(())
}

/// Acquires a lock, sets the event of the same name, and goes on as told with the lock in hand.
#[task(pure = false, timeout = "1h")]
pub fn hold(name: String, then: String) -> Result<u64, Error> {
    let held = Lock::new(&name).acquire()?;
    Event::new(&name).set()?;
    match then.as_str() {
        "panic" => panic!("with the lock in hand"),
        "fail" => Err(Error::Value("with the lock in hand".to_owned())),
        "forget" => {
            std::mem::forget(held);
            Ok(1)
        }
        "wait" => Event::new("never").wait().map(|()| 0),
        _ => {
            let mut state = 1_u64;
            while state != 0 {
                state = std::hint::black_box(state.wrapping_mul(3) | 1);
            }
            Ok(state)
        }
    }
}

/// Acquires a semaphore, says so in a queue, and waits for an event, both of the same name.
#[task(pure = false)]
pub fn guarded(name: String, leases_max: u32) -> Result<(), Error> {
    let _held = Semaphore::new(&name, leases_max).acquire()?;
    Queue::new(&name).put(1_u64)?;
    Event::new(&name).wait()
}

/// Waits for an event; gives a number.
#[task(pure = false)]
pub fn wakes(event: String, number: u64) -> Result<u64, Error> {
    let event = Event::new(event);
    event.wait()?;
    assert!(event.is_set()?);
    Ok(number)
}

/// What does not come about in time. The lock and the one lease of the semaphore are others'.
#[task(pure = false)]
pub fn impatient(name: String) -> Result<Vec<bool>, Error> {
    let full = Queue::bounded(format!("{name}-full"), 1);
    full.put(1_u64)?;
    Ok(vec![
        Variable::<u64>::new(&name).get_within(SOON)?.is_none(),
        Queue::<u64>::new(&name).get_within(SOON)?.is_none(),
        Queue::<u64>::new(&name).get_batch(5, Some(Duration::ZERO))?.is_empty(),
        !full.put_within(2, SOON)?,
        Lock::new(&name).acquire_within(SOON)?.is_none(),
        Lock::new(&name).try_acquire()?.is_none(),
        Semaphore::new(&name, 1).acquire_within(SOON)?.is_none(),
        Semaphore::new(&name, 1).try_acquire()?.is_none(),
        !Event::new(&name).wait_within(SOON)?,
        full.size()? == 1,
    ])
}

/// A number, squared.
#[task]
pub fn square(number: u64) -> u64 {
    number * number
}

/// So many bytes: too many to travel with the news.
#[task]
pub fn large(bytes: usize) -> Vec<u8> {
    vec![7; bytes]
}

/// The sum of two numbers.
#[task]
pub fn add(a: u64, b: u64) -> u64 {
    a + b
}

/// Publishes the squares of the numbers below `count`; another one under the name of a variable,
/// and one in a queue.
#[task(pure = false)]
pub fn publish(name: String, count: u64) -> Result<(), Error> {
    let squares = grid::map((0..count).map(square::call))?;
    Dataset::new(&name).publish(&squares)?;
    let taken = Dataset::new(&name).publish(&squares[..1]);
    assert!(matches!(taken, Err(Error::Refused(_))), "{taken:?}");
    Dataset::new(&name).publish_override(&squares)?;
    Variable::new(&name).set_call(&grid::submit(square::call(count))?)?;
    Queue::new(&name).put_call(&grid::submit(square::call(count + 1))?)?;
    Topic::new(&name).publish(count)
}

/// The sum of what [`publish`] published, by way of calls that read it; then nothing of it is left.
#[task(pure = false)]
pub fn sum_up(name: String) -> Result<u64, Error> {
    assert!(Dataset::names()?.contains(&name));
    let dataset = Dataset::new(&name);
    let mut sum = 0;
    for square in dataset.get::<u64>()? {
        sum = grid::run(add::call(sum, &square))?;
    }
    dataset.unpublish()?;
    let (variable, queue) = (Variable::<u64>::new(&name), Queue::<u64>::new(&name));
    for shared in [variable.get()?, queue.get()?] {
        let Shared::Call(square) = &shared else { panic!("{shared:?}") };
        sum = grid::run(add::call(sum, square))?;
        assert!(shared.result()? > 0);
    }
    variable.delete()?;
    queue.delete()?;
    Ok(sum)
}

/// The length of what a variable's call gives.
#[task(pure = false)]
pub fn reads(variable: String) -> Result<usize, Error> {
    Ok(Variable::<Vec<u8>>::new(variable).get()?.result()?.len())
}

/// Sets a variable to the future of a call of many bytes.
#[task(pure = false)]
pub fn shares(variable: String, bytes: usize) -> Result<(), Error> {
    Variable::new(variable).set_call(&grid::submit(large::call(bytes))?)
}

/// What is said to a call that breaks the rules, one line for each of them.
#[task(pure = false)]
pub fn unruly(leases: u64) -> Result<Vec<String>, Error> {
    let mut said = Vec::new();
    let mut note = |ended: Result<(), Error>| said.push(format!("{:?}", ended.err()));
    note(Variable::new("n".repeat(257)).set(1));
    note(Variable::new("").set(1));
    note(Variable::new("v").set("x".repeat(64 << 10)));
    note(Variable::<u64>::new("v").delete());
    note(Topic::new("t").publish("x".repeat(64 << 10)));
    note(Dataset::new("none").unpublish());
    note(Queue::bounded("q", 2).put(1));
    note(Queue::bounded("q", 3).put(1));
    note(Semaphore::new("s", 0).try_acquire().map(drop));
    note(not_its_own());
    let mut held = Vec::new();
    let greedy = loop {
        match Lock::new(format!("lock {}", held.len())).acquire() {
            Ok(lease) if (held.len() as u64) < leases => held.push(lease),
            Ok(_) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    note(greedy);
    drop(held);
    // All of them are free again.
    note(Lock::new("lock 0").try_acquire().map(|held| drop(held.unwrap())));
    Ok(said)
}

/// Names a call that it does not hold, past the SDK, and gives back what it never had.
#[cfg(target_family = "wasm")]
fn not_its_own() -> Result<(), Error> {
    use grid_sdk::bindings::grid::task::coordination as wit;
    wit::release(1);
    wit::release(u64::MAX);
    Ok(wit::dataset_publish("d", &[grid_sdk::context::current().key], false)?)
}

#[cfg(not(target_family = "wasm"))]
fn not_its_own() -> Result<(), Error> {
    Ok(())
}

grid_sdk::bundle!(
    produce, consume, increment, hold, guarded, wakes, impatient, square, large, add, publish,
    sum_up, reads, shares, unruly,
);

#[cfg(test)]
mod tests {
    #[test]
    fn natively_threads_share() {
        // Its first user says how many it holds.
        super::Queue::bounded("q", 1).put(0_u64).unwrap();
        let producer = std::thread::spawn(|| super::produce("q".to_owned(), 100, 1).unwrap());
        assert_eq!(super::consume("q".to_owned(), 101).unwrap(), 4_950);
        producer.join().unwrap();
        super::publish("p".to_owned(), 4).unwrap();
        assert_eq!(super::sum_up("p".to_owned()).unwrap(), 14 + 16 + 25);
    }
}
