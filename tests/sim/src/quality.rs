//! How good the placement is: the time from a graph's submission to its last result, on the real
//! scheduler and worker machines, against two schedules of the same work that are simpler to have:
//! a greedy list schedule by one who knows everything, and work stealing alone.
//!
//! The hosts of all three are alike: one slot each; a result reaches another host over that host's
//! own link, one after the other, at 8 Gbit/s, 200 us after it was asked for.
//! Only the real machines pay for the way of their messages and have to learn how long tasks take.

mod hosts;
mod list;
mod machines;
mod shapes;
mod stealing;

pub use shapes::{SHAPES, Shape};

/// One way between any two processes.
const LATENCY_US: u64 = 100;
/// Some 8 Gbit/s.
const LINK_BYTES_PER_US: u64 = 1_000;

/// Microseconds from submission to the last result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Makespans {
    /// The real scheduler and workers.
    pub grid_us: u64,
    /// A list schedule in the order of the longest way to the end, each call where it ends first,
    /// with all durations and sizes known (HEFT without insertion: Topcuoglu, Hariri and Wu, 2002).
    pub list_us: u64,
    /// Each host takes its own newest call, or the oldest of the host that has most (after Blumofe
    /// and Leiserson, 1999).
    pub stealing_us: u64,
}

impl Makespans {
    /// How many times as long the real machines take as the better of the two.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.grid_us as f64 / self.list_us.min(self.stealing_us) as f64
    }
}

/// Runs one shape, drawn for this many hosts, all three ways.
#[must_use]
pub fn measure(shape: Shape, hosts: usize, seed: u64) -> Makespans {
    let work = shapes::draw(shape, hosts, seed);
    Makespans {
        grid_us: machines::makespan(&work, hosts),
        list_us: list::makespan(&work, hosts),
        stealing_us: stealing::makespan(&work, hosts),
    }
}
