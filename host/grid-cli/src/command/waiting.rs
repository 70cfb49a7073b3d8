//! Why a call that somebody waits for does not run: said to who waits, unasked.

use std::pin::pin;
use std::time::Duration;

use grid_client::Client;
use grid_proto::Key;

/// Who waits is told after this time,
const LOOK_FIRST: Duration = Duration::from_secs(1);
/// and the scheduler, which looks through its calls, is asked again ever more rarely.
const LOOK_MAX: Duration = Duration::from_secs(8);

/// Whoever waits for calls, and what was said last.
pub(crate) struct Waiting<'a> {
    client: &'a Client,
    said: String,
}

impl<'a> Waiting<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client, said: String::new() }
    }

    /// Waits for something of a call, and tells while no worker may run it why that is so: once, and
    /// again when the reason is another.
    pub(crate) async fn tell_until<T>(
        &mut self,
        key: Key,
        done: impl Future<Output = T>,
        tell: impl Fn(&str),
    ) -> T {
        let mut done = pin!(done);
        let mut wait = LOOK_FIRST;
        loop {
            let why = tokio::select! {
                biased;
                done = &mut done => return done,
                why = self.why_nowhere_after(wait, key) => why,
            };
            wait = (2 * wait).min(LOOK_MAX);
            if let Some(why) = why.filter(|why| *why != self.said) {
                tell(&why);
                self.said = why;
            }
        }
    }

    /// What `grid explain` says, if no worker may run it. Who does not answer leaves it to `done` to
    /// tell that.
    async fn why_nowhere_after(&self, wait: Duration, key: Key) -> Option<String> {
        tokio::time::sleep(wait).await;
        let calls = self.client.calls(&key.to_string(), Some("no-worker"), 1).await.ok()?;
        let call = calls.first()?;
        Some(format!("{} ({}) waits: {}", call.key.short(), call.task, call.explanation))
    }
}
