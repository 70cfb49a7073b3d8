//! The thread that makes running code look whether it has to stop.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

/// Ticks without a running call after which the thread goes to sleep: long enough that a stream of
/// short calls does not wake it for each of them.
const IDLE_TICKS: u32 = 50;

/// Counts running calls and, while there are any, moves the engine's epoch on every tick.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    running: AtomicUsize,
    asleep: AtomicBool,
    closed: AtomicBool,
}

/// A running call; the ticker ticks while one exists.
pub(crate) struct Running<'a>(&'a Shared);

impl Ticker {
    pub(crate) fn start(tick: Duration, advance: impl Fn() + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            running: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        });
        let inner = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("grid-ticker".into())
            .stack_size(128 << 10)
            .spawn(move || inner.tick_until_closed(tick, advance))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Registers a call. To be held while wasm runs.
    pub(crate) fn running(&self) -> Running<'_> {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.thread().unpark();
        }
        Running(&self.shared)
    }

    #[cfg(test)]
    pub(crate) fn running_calls(&self) -> usize {
        self.shared.running.load(Ordering::SeqCst)
    }

    #[cfg(test)]
    pub(crate) fn is_asleep(&self) -> bool {
        self.shared.asleep.load(Ordering::SeqCst)
    }

    fn thread(&self) -> &Thread {
        self.thread.as_ref().expect("taken in drop only").thread()
    }
}

impl Shared {
    fn tick_until_closed(&self, tick: Duration, advance: impl Fn()) {
        let mut idle = 0;
        while !self.closed.load(Ordering::SeqCst) {
            if self.running.load(Ordering::SeqCst) > 0 {
                idle = 0;
            } else {
                idle += 1;
            }
            if idle >= IDLE_TICKS {
                self.sleep();
                idle = 0;
            } else {
                thread::park_timeout(tick);
                advance();
            }
        }
    }

    /// Says that it sleeps before it looks for calls, while a call registers before it looks
    /// whether the thread sleeps: one of the two sees the other.
    fn sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        while self.running.load(Ordering::SeqCst) == 0 && !self.closed.load(Ordering::SeqCst) {
            thread::park();
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread may hold the last reference to nothing of ours: joining cannot deadlock.
            let _ = thread.join();
        }
    }
}
