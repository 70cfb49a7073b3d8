//! Where sandboxes run: the one seam. Today a slot is a thread of this process that runs one
//! sandbox at a time; whatever else a slot may become takes [`Work`] and gives [`Done`].

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use grid_proto::{Arg, Attempt, Failure, FailureKind, FailureSite, Key, Limits, Spent};
use grid_sandbox::{Argument, Bundle, CallInfo, CallRequest, CancelToken, Engine};
use grid_store::Object;
use tokio::sync::mpsc;

use crate::agent::Execution;

/// Stack of a slot's thread: the wasm stack and the host's frames above it.
const THREAD_STACK_BYTES: usize = 4 << 20;

/// A call with all that it needs to run.
pub(crate) struct Work {
    pub(crate) execution: Execution,
    pub(crate) bundle: Arc<Bundle>,
    /// The objects behind the arguments that are keys, in their order.
    pub(crate) inputs: Vec<Object>,
    pub(crate) limits: Limits,
    pub(crate) cancel: CancelToken,
}

/// How it ended.
pub(crate) struct Done {
    pub(crate) key: Key,
    pub(crate) attempt: Attempt,
    pub(crate) outcome: Result<Object, Failure>,
    pub(crate) spent: Spent,
    /// What it wrote, as people may read it.
    pub(crate) output: String,
}

/// The slots of one worker.
pub(crate) struct Slots {
    shared: Arc<Shared>,
    threads: Vec<thread::JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    work_or_stop: Condvar,
    engine: Engine,
    worker: Arc<str>,
}

#[derive(Default)]
struct Queue {
    work: VecDeque<Work>,
    /// What each slot is executing.
    executing: Vec<Option<(Key, Attempt)>>,
    stopped: bool,
}

impl Slots {
    /// Starts the threads. `done` must have room for everything that is dispatched at once.
    pub(crate) fn start(
        count: usize,
        engine: &Engine,
        worker: &str,
        done: &mpsc::Sender<Done>,
    ) -> std::io::Result<Self> {
        let queue = Queue { executing: vec![None; count], ..Queue::default() };
        let shared = Arc::new(Shared {
            queue: Mutex::new(queue),
            work_or_stop: Condvar::new(),
            engine: engine.clone(),
            worker: worker.into(),
        });
        let mut threads = Vec::with_capacity(count);
        for slot in 0..count {
            let (shared, done) = (Arc::clone(&shared), done.clone());
            let builder =
                thread::Builder::new().name(format!("slot-{slot}")).stack_size(THREAD_STACK_BYTES);
            threads.push(builder.spawn(move || run_slot(slot, &shared, &done))?);
        }
        Ok(Self { shared, threads })
    }

    pub(crate) fn submit(&self, work: Work) {
        self.shared.lock().work.push_back(work);
        self.shared.work_or_stop.notify_one();
    }

    /// What the slots are executing at this moment.
    pub(crate) fn executing(&self) -> Vec<(Key, Attempt)> {
        self.shared.lock().executing.iter().flatten().copied().collect()
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        {
            let mut queue = self.shared.lock();
            queue.stopped = true;
            queue.work.clear();
        }
        self.shared.work_or_stop.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next work for a slot; `None` when the worker stops.
    fn next(&self, slot: usize) -> Option<Work> {
        let mut queue = self.lock();
        queue.executing[slot] = None;
        loop {
            if queue.stopped {
                return None;
            }
            if let Some(work) = queue.work.pop_front() {
                queue.executing[slot] = Some((work.execution.key, work.execution.attempt));
                return Some(work);
            }
            queue = self.work_or_stop.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn run_slot(slot: usize, shared: &Shared, done: &mpsc::Sender<Done>) {
    while let Some(work) = shared.next(slot) {
        let result = execute(shared, &work);
        // The inputs' last reader may be this call: let them go before the next begins.
        drop(work);
        if done.blocking_send(result).is_err() {
            return;
        }
    }
}

fn execute(shared: &Shared, work: &Work) -> Done {
    let Execution { key, attempt, task, args, .. } = &work.execution;
    let mut inputs = work.inputs.iter();
    let arguments: Option<Vec<_>> = args
        .iter()
        .map(|arg| match arg {
            Arg::Value(value) => Some(Argument::from(value)),
            Arg::Key(_) => inputs
                .next()
                .map(|object| Argument { codec: object.meta.codec, bytes: &object.bytes }),
        })
        .collect();
    let Some(arguments) = arguments else {
        let failure = Failure::new(FailureKind::LostData, "an input is not in this worker's store");
        return Done {
            key: *key,
            attempt: *attempt,
            outcome: Err(failure),
            spent: Spent::default(),
            output: String::new(),
        };
    };
    let report = shared.engine.run(&CallRequest {
        bundle: &work.bundle,
        bundle_name: &task.bundle_name,
        task: task.index,
        arguments: &arguments,
        limits: work.limits,
        info: CallInfo {
            key: *key,
            task: task.name.as_str().into(),
            attempt: *attempt,
            worker: Arc::clone(&shared.worker),
        },
        reads: &task.reads,
        writes: &task.writes,
        cancel: work.cancel.clone(),
    });
    let outcome = report.outcome.map(Object::new).map_err(|failure| Failure {
        site: Some(FailureSite {
            key: *key,
            task: format!("{}:{}", task.bundle_name, task.name),
            worker: shared.worker.to_string(),
            attempt: *attempt,
        }),
        ..failure
    });
    Done { key: *key, attempt: *attempt, outcome, spent: report.spent, output: report.output }
}
