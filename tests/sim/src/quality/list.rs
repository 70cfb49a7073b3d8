//! The greedy list schedule of one who knows everything.

use std::cmp::Reverse;

use super::hosts::Hosts;
use super::shapes::{Call, readers};
use super::{LATENCY_US, LINK_BYTES_PER_US};

pub(super) fn makespan(work: &[Call], hosts: usize) -> u64 {
    let mut state = Hosts::new(hosts);
    let mut ends = vec![0; work.len()];
    for call in by_rank(work) {
        // Everybody knows at once that the inputs are there.
        let asked = work[call].inputs.iter().map(|input| ends[*input]).max().unwrap_or(0);
        let host = (0..hosts).min_by_key(|host| state.begin(work, call, *host, asked).0);
        ends[call] = state.run(work, call, host.unwrap_or(0), asked);
    }
    ends.into_iter().max().unwrap_or(0)
}

/// Those first behind which the longest way to the end lies; inputs thus before their readers.
fn by_rank(work: &[Call]) -> Vec<usize> {
    let readers = readers(work);
    let mut rank = vec![0; work.len()];
    for call in (0..work.len()).rev() {
        let way = work[call].bytes / LINK_BYTES_PER_US + 2 * LATENCY_US;
        let behind = readers[call].iter().map(|reader| rank[*reader] + way).max();
        rank[call] = work[call].duration_us + behind.unwrap_or(0);
    }
    let mut order: Vec<_> = (0..work.len()).collect();
    order.sort_by_key(|call| (Reverse(rank[*call]), *call));
    order
}
