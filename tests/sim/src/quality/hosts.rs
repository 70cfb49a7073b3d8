//! What the simple schedules run on: slots, links, and where results are.

use std::collections::BTreeMap;

use super::shapes::Call;
use super::{LATENCY_US, LINK_BYTES_PER_US};

/// When each host's slot and link are free, and since when it has which results.
#[derive(Clone, Debug)]
pub(super) struct Hosts {
    pub(super) slot_free: Vec<u64>,
    link_free: Vec<u64>,
    copies: Vec<BTreeMap<usize, u64>>,
}

impl Hosts {
    pub(super) fn new(hosts: usize) -> Self {
        Self {
            slot_free: vec![0; hosts],
            link_free: vec![0; hosts],
            copies: vec![BTreeMap::new(); hosts],
        }
    }

    /// When a call that fetches its inputs from `asked` on could begin here, and the link be free.
    pub(super) fn begin(&self, work: &[Call], call: usize, host: usize, asked: u64) -> (u64, u64) {
        let (mut begin, mut link) = (self.slot_free[host].max(asked), self.link_free[host]);
        for input in &work[call].inputs {
            if let Some(since) = self.copies[host].get(input) {
                begin = begin.max(*since);
            } else {
                link = link.max(asked + 2 * LATENCY_US) + work[*input].bytes / LINK_BYTES_PER_US;
                begin = begin.max(link);
            }
        }
        (begin, link)
    }

    /// Runs it there; gives its end.
    pub(super) fn run(&mut self, work: &[Call], call: usize, host: usize, asked: u64) -> u64 {
        let (begin, link) = self.begin(work, call, host, asked);
        self.link_free[host] = link;
        let end = begin + work[call].duration_us;
        self.slot_free[host] = end;
        for input in &work[call].inputs {
            self.copies[host].entry(*input).or_insert(begin);
        }
        self.copies[host].insert(call, end);
        end
    }
}
