//! What happens, as it happens, for pages that watch (`GET /api/v1/events`).

use crate::http::{ApiError, ApiResult};
use futures_util::stream::{self, Stream};
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

/// Watchers at a time; each holds a connection.
const MAX_WATCHERS: usize = 64;
/// Events that a slow watcher may be behind before it misses some.
const BACKLOG: usize = 64;

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// `pipeline_status`, `sessions`, `models`, `lora_download`, `renders` or `error`.
    pub name: &'static str,
    /// The document that goes with it.
    pub data: Value,
}

/// Where events are sent, and where watchers subscribe.
pub struct Events {
    sender: broadcast::Sender<Event>,
    watchers: Arc<Semaphore>,
}

impl Default for Events {
    fn default() -> Self {
        Self { sender: broadcast::channel(BACKLOG).0, watchers: Arc::new(Semaphore::new(MAX_WATCHERS)) }
    }
}

/// A place among the watchers.
pub struct Watcher {
    receiver: broadcast::Receiver<Event>,
    first: std::vec::IntoIter<Event>,
    _permit: OwnedSemaphorePermit,
}

impl Events {
    /// Tells all watchers.
    pub fn send(&self, name: &'static str, data: Value) {
        // Nobody watching is no error.
        self.sender.send(Event { name, data }).ok();
    }

    /// One more watcher. It gets what happens from now on; see [`Watcher::into_stream`] for what comes first.
    ///
    /// # Errors
    /// 503 when there are too many.
    pub fn watch(&self) -> ApiResult<Watcher> {
        let permit =
            Arc::clone(&self.watchers).try_acquire_owned().map_err(|_| ApiError::busy("watchers"))?;
        Ok(Watcher { receiver: self.sender.subscribe(), first: Vec::new().into_iter(), _permit: permit })
    }
}

impl Watcher {
    /// The next event, or `None` when the server ends. What a slow reader missed is skipped.
    pub async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.first.next() {
            return Some(event);
        }
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::debug!(missed, "a watcher was too slow");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// `first`, then everything sent since [`Events::watch`], as [`Watcher::next`].
    pub fn into_stream(mut self, first: Vec<Event>) -> impl Stream<Item = Event> + Send {
        self.first = first.into_iter();
        stream::unfold(self, |mut watcher| async move {
            let event = watcher.next().await?;
            Some((event, watcher))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use serde_json::json;

    #[tokio::test]
    async fn a_watcher_sees_the_present_first_and_survives_falling_behind() {
        let events = Events::default();
        let watcher = events.watch().unwrap();
        for n in 0..200 {
            events.send("sessions", json!(n));
        }
        let first = Event { name: "pipeline_status", data: json!("now") };
        let mut stream = std::pin::pin!(watcher.into_stream(vec![first.clone()]));
        assert_eq!(stream.next().await, Some(first));
        assert_eq!(stream.next().await.unwrap().data, json!(200 - BACKLOG as u64));
    }

    #[test]
    fn watchers_are_counted() {
        let events = Events::default();
        let held: Vec<_> = (0..MAX_WATCHERS).map(|_| events.watch().unwrap()).collect();
        assert!(events.watch().is_err());
        drop(held);
        assert!(events.watch().is_ok());
    }
}
