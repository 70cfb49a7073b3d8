//! A thread of its own for a client's connections. What a program computes between its awaits must
//! not keep them from showing that they are alive, whatever runtime the program runs on.

use std::io;
use std::time::Duration;

use grid_net::Endpoint;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// How long a goodbye may take.
pub(crate) const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// The thread; it ends some time after this was dropped.
pub(crate) struct Io {
    runtime: Handle,
    end: Option<oneshot::Sender<Endpoint>>,
}

impl Io {
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<Endpoint>();
        let thread = std::thread::Builder::new().name("grid-client".to_owned());
        thread.spawn(move || {
            runtime.block_on(async {
                if let Ok(endpoint) = ended.await {
                    // Bounded: the scheduler may be gone itself.
                    let _ = tokio::time::timeout(GOODBYE_MAX, endpoint.close()).await;
                }
            });
        })?;
        Ok(Self { runtime: handle, end: Some(end) })
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Ends the thread, after the goodbyes of these connections.
    pub(crate) fn end(&mut self, endpoint: Endpoint) {
        let _ = self.end.take().map(|end| end.send(endpoint));
    }
}
