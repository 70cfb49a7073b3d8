//! An actor: a number that stays, and what may befall it.

use std::sync::Mutex;

use grid_sdk::{context, task};

/// What the instance knows, from one method to the next.
static COUNT: Mutex<i64> = Mutex::new(0);

/// Makes a counter that begins here.
#[task(pure = false)]
pub fn create(number: i64) {
    println!("a counter from {number}");
    *COUNT.lock().unwrap() = number;
}

/// Makes no counter.
#[task(pure = false)]
pub fn refuse(why: String) -> Result<(), String> {
    Err(why)
}

/// Adds, and gives the new number.
#[task(pure = false)]
pub fn add(number: i64) -> i64 {
    let mut count = COUNT.lock().unwrap();
    *count += number;
    println!("now {count}");
    *count
}

/// Adds nothing; fails.
#[task(pure = false)]
pub fn fail(why: String) -> Result<i64, String> {
    Err(why)
}

/// Panics.
#[task(pure = false)]
pub fn panics() -> i64 {
    panic!("the counter broke")
}

/// Counts until it is stopped.
#[task(pure = false, timeout = "1h")]
pub fn count_on() -> i64 {
    let mut count = COUNT.lock().unwrap();
    loop {
        *count = std::hint::black_box(count.wrapping_add(1));
        if *count == i64::MIN {
            return *count;
        }
    }
}

/// The name of its worker.
#[task(pure = false)]
pub fn home() -> String {
    context::current().worker
}

/// A number for a method, some milliseconds later.
#[task(pure = false)]
pub fn later(number: i64, milliseconds: u64) -> i64 {
    std::thread::sleep(std::time::Duration::from_millis(milliseconds));
    number
}

grid_sdk::bundle!(create, refuse, add, fail, panics, count_on, home, later);

#[cfg(test)]
mod tests {
    #[test]
    fn natively_the_process_is_the_only_instance() {
        super::create(5);
        assert_eq!(super::add(3), 8);
        assert_eq!(super::add(-1), 7);
    }
}
