//! Work stealing alone: what becomes ready goes to the host that made it so.

use std::collections::{BTreeSet, VecDeque};

use super::LATENCY_US;
use super::hosts::Hosts;
use super::shapes::{Call, readers};

pub(super) fn makespan(work: &[Call], hosts: usize) -> u64 {
    let readers = readers(work);
    let mut state = Hosts::new(hosts);
    let mut missing: Vec<_> = work.iter().map(|call| call.inputs.len()).collect();
    let mut queues = vec![VecDeque::new(); hosts];
    let roots = (0..work.len()).filter(|call| missing[*call] == 0);
    for (place, root) in roots.enumerate() {
        queues[place % hosts].push_front(root);
    }
    // Calls that run, by their ends; hosts that look for work, by the time from which they do.
    let mut running = BTreeSet::new();
    let mut idle: BTreeSet<_> = (0..hosts).map(|host| (0, host)).collect();
    let mut now = 0;
    loop {
        for (since, host) in std::mem::take(&mut idle) {
            let own = queues[host].pop_back().map(|call| (call, now));
            let taken = own.or_else(|| {
                let victim = (0..hosts).max_by_key(|other| queues[*other].len())?;
                Some((queues[victim].pop_front()?, now + 2 * LATENCY_US))
            });
            match taken {
                Some((call, asked)) => {
                    let end = state.run(work, call, host, asked);
                    running.insert((end, host, call));
                }
                None => drop(idle.insert((since, host))),
            }
        }
        let Some((end, host, call)) = running.pop_first() else { return now };
        now = end;
        idle.insert((now, host));
        for reader in &readers[call] {
            missing[*reader] -= 1;
            if missing[*reader] == 0 {
                queues[host].push_back(*reader);
            }
        }
    }
}
