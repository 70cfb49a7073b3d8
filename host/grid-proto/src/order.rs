//! The static order of a graph of calls: inputs before their readers, depth first, the input that
//! needs most live results first, so that little data is alive at a time.
//!
//! The rule for trees is Sethi and Ullman's (The generation of optimal code for arithmetic
//! expressions, J. ACM 17, 1970): of several inputs, begin with the one whose own computation holds
//! most. A result that several calls read is computed where it is first needed. Readers are taken
//! up in the order in which they were submitted, so the order is a function of the graph alone.

/// The inputs of calls `0..len`, each earlier than its reader.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Where each call's inputs begin in `inputs`.
    starts: Vec<usize>,
    inputs: Vec<u32>,
}

impl Graph {
    /// A graph without calls.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next call. Inputs that are not earlier calls are left out, and so are repetitions
    /// that stand side by side.
    pub fn push(&mut self, inputs: impl IntoIterator<Item = u32>) {
        let own = u32::try_from(self.starts.len()).unwrap_or(u32::MAX);
        self.starts.push(self.inputs.len());
        for input in inputs.into_iter().filter(|input| *input < own) {
            if self.inputs[self.starts[own as usize]..].last() != Some(&input) {
                self.inputs.push(input);
            }
        }
    }

    /// Number of calls.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// No calls.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// No call reads another.
    #[must_use]
    pub fn is_flat(&self) -> bool {
        self.inputs.is_empty()
    }

    /// The inputs of a call.
    #[must_use]
    pub fn inputs(&self, call: u32) -> &[u32] {
        let end = self.starts.get(call as usize + 1).copied().unwrap_or(self.inputs.len());
        &self.inputs[self.starts[call as usize]..end]
    }

    /// The calls in the order in which they should run.
    #[must_use]
    pub fn order(&self) -> Vec<u32> {
        let needs = self.needs();
        let mut order = Vec::with_capacity(self.len());
        let mut placed = vec![false; self.len()];
        let mut stack = Vec::new();
        let mut inputs = Vec::new();
        for sink in self.sinks() {
            stack.push((sink, false));
            while let Some((call, inputs_done)) = stack.pop() {
                if placed[call as usize] {
                    continue;
                }
                if inputs_done {
                    placed[call as usize] = true;
                    order.push(call);
                    continue;
                }
                stack.push((call, true));
                inputs.extend(self.inputs(call).iter().filter(|input| !placed[**input as usize]));
                // What is needed first is taken from the stack first.
                inputs.sort_by_key(|input| (needs[*input as usize], std::cmp::Reverse(*input)));
                stack.extend(inputs.drain(..).map(|input| (input, false)));
            }
        }
        order
    }

    /// Results that are alive at once while a call and all that it needs are computed, were it a
    /// tree.
    fn needs(&self) -> Vec<u32> {
        let mut needs = vec![1; self.len()];
        let mut of_inputs = Vec::new();
        for call in 0..self.len() {
            let number = u32::try_from(call).unwrap_or(u32::MAX);
            of_inputs.extend(self.inputs(number).iter().map(|input| needs[*input as usize]));
            of_inputs.sort_unstable_by(|a, b| b.cmp(a));
            let most = (0u32..).zip(of_inputs.drain(..)).map(|(before, need)| before + need).max();
            needs[call] = most.unwrap_or(1);
        }
        needs
    }

    /// Calls that no other reads, as they were submitted.
    fn sinks(&self) -> Vec<u32> {
        let mut read = vec![false; self.len()];
        for input in &self.inputs {
            read[*input as usize] = true;
        }
        (0u32..).zip(read).filter(|(_, read)| !read).map(|(call, _)| call).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(inputs: &[&[u32]]) -> Graph {
        let mut graph = Graph::new();
        inputs.iter().for_each(|inputs| graph.push(inputs.iter().copied()));
        graph
    }

    /// Most results alive at once, each from its computation to that of its last reader.
    fn alive_max(graph: &Graph, order: &[u32]) -> usize {
        let mut readers = vec![0; graph.len()];
        graph.inputs.iter().for_each(|input| readers[*input as usize] += 1);
        let (mut alive, mut most) = (0_usize, 0);
        for call in order {
            alive += 1;
            most = most.max(alive);
            for input in graph.inputs(*call) {
                readers[*input as usize] -= 1;
                alive -= usize::from(readers[*input as usize] == 0);
            }
            // What nobody reads leaves for the client.
            alive -= usize::from(readers[*call as usize] == 0);
        }
        most
    }

    fn is_valid(graph: &Graph, order: &[u32]) -> bool {
        let mut place = vec![usize::MAX; graph.len()];
        order.iter().enumerate().for_each(|(at, call)| place[*call as usize] = at);
        let before = |call: &u32| {
            graph.inputs(*call).iter().all(|input| place[*input as usize] < place[*call as usize])
        };
        order.len() == graph.len() && order.iter().all(before)
    }

    /// Leaves first, then level by level, as people write it.
    fn tree(leaves: u32) -> Graph {
        let mut graph = Graph::new();
        (0..leaves).for_each(|_| graph.push([]));
        let (mut first, mut width) = (0, leaves);
        while width > 1 {
            (0..width / 2).for_each(|n| graph.push([first + 2 * n, first + 2 * n + 1]));
            (first, width) = (first + width, width / 2);
        }
        graph
    }

    #[test]
    fn a_tree_of_1024_leaves_holds_11_results_and_its_target() {
        let graph = tree(1_024);
        let order = graph.order();
        assert!(is_valid(&graph, &order));
        let by_level: Vec<_> = (0u32..).take(graph.len()).collect();
        assert_eq!((alive_max(&graph, &by_level), alive_max(&graph, &order)), (1_025, 12));
    }

    #[test]
    fn chains_side_by_side_are_run_one_after_the_other() {
        let (chains, links) = (100, 50);
        let mut graph = Graph::new();
        for link in 0..links {
            for chain in 0..chains {
                graph.push((link > 0).then(|| (link - 1) * chains + chain));
            }
        }
        let order = graph.order();
        assert!(is_valid(&graph, &order));
        assert_eq!(alive_max(&graph, &order), 2);
        let starts: Vec<_> = order.iter().filter(|call| **call < chains).copied().collect();
        assert_eq!(starts, (0..chains).collect::<Vec<_>>(), "first come, first served");
    }

    #[test]
    fn the_input_that_needs_more_comes_first() {
        // 4 reads a leaf and a chain's end that needs two at once; 5 is apart.
        let graph = graph(&[&[], &[], &[], &[1, 2], &[0, 3], &[]]);
        assert_eq!(graph.order(), [1, 2, 3, 0, 4, 5]);
    }

    #[test]
    fn what_several_read_is_computed_once_where_it_is_first_needed() {
        let graph = graph(&[&[], &[0], &[0], &[1, 2], &[0]]);
        let order = graph.order();
        assert!(is_valid(&graph, &order), "{order:?}");
        assert_eq!(order, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn inputs_that_are_no_earlier_calls_are_left_out() {
        let graph = graph(&[&[0, 7], &[0, 0]]);
        assert_eq!((graph.inputs(0), graph.inputs(1)), (&[][..], &[0][..]));
        assert_eq!(graph.order(), [0, 1]);
    }

    #[test]
    fn a_hundred_thousand_calls_of_any_shape_are_ordered_validly_without_recursion() {
        let mut chain = Graph::new();
        (0..100_000u32).for_each(|n| chain.push(n.checked_sub(1)));
        let mut layers = Graph::new();
        for n in 0..100_000u32 {
            let below = n.checked_sub(300).into_iter();
            layers.push(below.flat_map(|below| [below, below + 1 + n.wrapping_mul(7_919) % 299]));
        }
        for graph in [chain, layers, tree(1 << 16)] {
            assert!(is_valid(&graph, &graph.order()));
        }
    }
}
