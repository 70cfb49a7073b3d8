//! The work: calls with their true durations and sizes, inputs before their readers.

use crate::rng::Rng;

/// A call, as one who knows everything sees it.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// Calls of one task take similar times.
    pub(super) task: usize,
    pub(super) duration_us: u64,
    pub(super) bytes: u64,
    pub(super) inputs: Vec<usize>,
}

/// A kind of graph.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// Calls without inputs, sixteen for each host.
    Wide,
    /// Sums of pairs over sixteen leaves for each host.
    Tree,
    /// Two chains of twelve calls for each host.
    Chains,
    /// 32 parts, each cut into 32, joined across.
    Shuffle,
    /// Eight layers of four calls for each host, each of which reads up to three of the layer before.
    Layers,
}

/// All of them.
pub const SHAPES: [Shape; 5] =
    [Shape::Wide, Shape::Tree, Shape::Chains, Shape::Shuffle, Shape::Layers];

/// Tasks of all shapes: what each takes on average, and the size of its results.
const TASKS: [(u64, u64); 3] = [(20_000, 256 << 10), (5_000, 32 << 10), (10_000, 1 << 20)];

struct Draft {
    calls: Vec<Call>,
    rng: Rng,
}

impl Draft {
    /// A call takes between half and one and a half of its task's average.
    fn add(&mut self, task: usize, inputs: Vec<usize>) -> usize {
        let (average_us, bytes) = TASKS[task];
        let duration_us = self.rng.range(average_us / 2, average_us * 3 / 2);
        self.calls.push(Call { task, duration_us, bytes, inputs });
        self.calls.len() - 1
    }
}

pub(super) fn draw(shape: Shape, hosts: usize, seed: u64) -> Vec<Call> {
    let mut draft = Draft { calls: Vec::new(), rng: Rng::stream(seed, shape as u64) };
    match shape {
        Shape::Wide => {
            for _ in 0..16 * hosts {
                draft.add(0, Vec::new());
            }
        }
        Shape::Tree => {
            let mut level: Vec<_> = (0..16 * hosts).map(|_| draft.add(0, Vec::new())).collect();
            while level.len() > 1 {
                level = level.chunks(2).map(|pair| draft.add(1, pair.to_vec())).collect();
            }
        }
        Shape::Chains => {
            for _ in 0..2 * hosts {
                let mut last = draft.add(0, Vec::new());
                for _ in 1..12 {
                    last = draft.add(2, vec![last]);
                }
            }
        }
        Shape::Shuffle => {
            let parts: Vec<_> = (0..32).map(|_| draft.add(2, Vec::new())).collect();
            let cut = |draft: &mut Draft, part| (0..32).map(|_| draft.add(1, vec![part])).collect();
            let cuts: Vec<Vec<_>> = parts.iter().map(|part| cut(&mut draft, *part)).collect();
            for join in 0..32 {
                draft.add(0, cuts.iter().map(|cuts| cuts[join]).collect());
            }
        }
        Shape::Layers => {
            let mut above: Vec<usize> = Vec::new();
            for _ in 0..8 {
                let layer = (0..4 * hosts).map(|_| {
                    let count = if above.is_empty() { 0 } else { 1 + draft.rng.index(3) };
                    let mut inputs: Vec<_> = (0..count).map(|_| draft.rng.pick(&above)).collect();
                    inputs.sort_unstable();
                    inputs.dedup();
                    let task = draft.rng.index(TASKS.len());
                    draft.add(task, inputs)
                });
                above = layer.collect();
            }
        }
    }
    draft.calls
}

/// Readers of each call.
pub(super) fn readers(work: &[Call]) -> Vec<Vec<usize>> {
    let mut readers = vec![Vec::new(); work.len()];
    for (number, call) in work.iter().enumerate() {
        for input in &call.inputs {
            readers[*input].push(number);
        }
    }
    readers
}
