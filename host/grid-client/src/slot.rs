//! What this client knows of a key, shared by all its futures on it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use grid_proto::message::Holder;
use grid_proto::{Failure, ObjectMeta, Value};
use tokio::sync::{Notify, mpsc};

use crate::error::ClientError;

/// How a call stands, as far as this client was told.
#[derive(Clone, Debug)]
pub(crate) enum Standing {
    Pending,
    /// Small enough to have come with the news, or fetched before.
    Here(Value),
    Elsewhere(ObjectMeta, Vec<Holder>),
    Failed(Box<Failure>),
    /// It will never be told: the submission was refused or the connection is lost.
    Lost(ClientError),
}

/// The standing, and how often it was told.
#[derive(Debug)]
struct News {
    count: u64,
    standing: Standing,
    /// To be told, each once, when it has ended; with a number of their own.
    watchers: Vec<(mpsc::UnboundedSender<usize>, usize)>,
}

#[derive(Debug)]
pub(crate) struct Slot {
    news: Mutex<News>,
    changed: Notify,
    output: Mutex<String>,
}

impl Slot {
    pub(crate) fn new() -> Self {
        Self {
            news: Mutex::new(News { count: 0, standing: Standing::Pending, watchers: Vec::new() }),
            changed: Notify::new(),
            output: Mutex::default(),
        }
    }

    pub(crate) fn set(&self, standing: Standing) {
        let mut news = self.lock();
        news.count += 1;
        news.standing = standing;
        let told = match news.standing {
            Standing::Pending => Vec::new(),
            _ => std::mem::take(&mut news.watchers),
        };
        drop(news);
        self.changed.notify_waiters();
        for (watcher, number) in told {
            // It may have lost interest.
            let _ = watcher.send(number);
        }
    }

    /// The call had failed and runs again.
    pub(crate) fn set_again(&self) {
        if self.has_failed() {
            self.set(Standing::Pending);
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.lock().standing, Standing::Failed(_) | Standing::Lost(_))
    }

    /// Why there will be no result, if that is known.
    pub(crate) fn failure(&self) -> Option<ClientError> {
        match &self.lock().standing {
            Standing::Failed(failure) => Some(ClientError::Failed(failure.clone())),
            Standing::Lost(error) => Some(error.clone()),
            Standing::Pending | Standing::Here(_) | Standing::Elsewhere(..) => None,
        }
    }

    /// Sends `number` once, as soon as the call has ended.
    pub(crate) fn watch(&self, watcher: &mpsc::UnboundedSender<usize>, number: usize) {
        let mut news = self.lock();
        match news.standing {
            Standing::Pending => news.watchers.push((watcher.clone(), number)),
            _ => {
                let _ = watcher.send(number);
            }
        }
    }

    pub(crate) fn set_output(&self, text: String) {
        *self.output.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    pub(crate) fn output(&self) -> String {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The size of a result that has to be fetched.
    pub(crate) fn size_elsewhere(&self) -> Option<u64> {
        match &self.lock().standing {
            Standing::Elsewhere(meta, _) => Some(meta.size),
            Standing::Pending | Standing::Here(_) | Standing::Failed(_) | Standing::Lost(_) => None,
        }
    }

    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.lock().standing, Standing::Pending)
    }

    /// Waits until it is no longer pending.
    pub(crate) async fn ended(&self) -> Standing {
        self.ended_after(None).await.1
    }

    /// Waits until it is no longer pending, and told anew since the news of this number. Gives the
    /// number of the news.
    pub(crate) async fn ended_after(&self, known: Option<u64>) -> (u64, Standing) {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // Registered before the look, so that no change falls between the two.
            changed.as_mut().enable();
            let (count, standing) = {
                let news = self.lock();
                (news.count, news.standing.clone())
            };
            if !matches!(standing, Standing::Pending) && known != Some(count) {
                return (count, standing);
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
