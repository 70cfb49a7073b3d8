//! What goes wrong in a run. Each kind is on in about half of the runs, so that the others are also
//! seen without it.

use crate::rng::Rng;

/// Something that goes wrong once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// A connection ends; both ends notice, each in its time.
    Cut,
    /// Nothing arrives any more and the scheduler does not notice before its timer.
    Silence,
    /// A connection stands still for a while.
    Pause,
    /// Two workers cannot reach each other, or can again.
    Part,
    /// A worker process dies and is started anew.
    Kill,
    /// A worker's memory is nearly full for a while.
    Full,
    /// A message that the scheduler had before comes again, perhaps of a connection that is over.
    ReplayUp,
    /// A worker gets an old assignment or cancellation again.
    ReplayDown,
}

/// The faults of one run.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    kinds: Vec<Fault>,
    pub(crate) count: u64,
    /// Percent of calls of the kind that always fail, or fail sometimes.
    pub(crate) poison_percent: u64,
    pub(crate) flaky_percent: u64,
    /// Percent of executions of the kind `killer` that take their worker along.
    pub(crate) kill_percent: u64,
    pub(crate) fetch_fail_percent: u64,
    pub(crate) load_fail_percent: u64,
    pub(crate) slow_link_percent: u64,
    /// Percent of messages with a fence that come twice.
    pub(crate) twice_percent: u64,
    /// Workers tell which calls they are executing.
    pub(crate) reports_started: bool,
    /// Nothing of the above goes wrong any more; calls still fail as they are written.
    pub(crate) quiet: bool,
}

impl Faults {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let all = [
            Fault::Cut,
            Fault::Silence,
            Fault::Pause,
            Fault::Part,
            Fault::Kill,
            Fault::ReplayUp,
            Fault::ReplayDown,
            Fault::Full,
        ];
        let kinds: Vec<_> = all.into_iter().filter(|_| rng.chance(50)).collect();
        let mut sometimes = |low, high| if rng.chance(50) { rng.range(low, high) } else { 0 };
        Self {
            kinds,
            poison_percent: sometimes(1, 40),
            flaky_percent: sometimes(10, 80),
            kill_percent: sometimes(30, 101),
            fetch_fail_percent: sometimes(1, 40),
            load_fail_percent: sometimes(1, 40),
            slow_link_percent: sometimes(10, 60),
            twice_percent: sometimes(1, 20),
            count: rng.pick(&[10, 40, 150]),
            reports_started: rng.chance(50),
            quiet: false,
        }
    }

    /// Some of these, and slow links; calls fail as they are written.
    pub(crate) fn light(kinds: Vec<Fault>, count: u64) -> Self {
        Self {
            kinds,
            count,
            poison_percent: 0,
            flaky_percent: 10,
            kill_percent: 0,
            fetch_fail_percent: 0,
            load_fail_percent: 0,
            slow_link_percent: 5,
            twice_percent: 0,
            reports_started: true,
            quiet: false,
        }
    }

    pub(crate) fn pick(&self, rng: &mut Rng) -> Option<Fault> {
        (!self.kinds.is_empty()).then(|| rng.pick(&self.kinds))
    }

    /// Whether something that goes wrong so often does now.
    pub(crate) fn strikes(&self, percent: u64, rng: &mut Rng) -> bool {
        !self.quiet && rng.chance(percent)
    }
}
