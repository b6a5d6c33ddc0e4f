//! The one connection that listens: channels, pinged, resubscribed after every loss.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt;
use redis::aio::{PubSub, PubSubSink};
use tokio::{
    sync::{Notify, broadcast},
    time::{MissedTickBehavior, interval, timeout},
};

use super::{pace::Turn, supervisor::Shared};

/// How often the connection is pinged; one that is silent for another such time is replaced.
const PING_EVERY: Duration = Duration::from_secs(1);
/// How long connecting and subscribing may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Messages kept for a listener that is slow; then it is told of a gap.
const QUEUE: usize = 1_024;

/// What a listener of a channel is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A message, as it was published.
    Message(Bytes),
    /// The channel is listened to (again); earlier messages may be lost.
    Gap,
}

/// A listener's end.
pub(crate) struct Notices(broadcast::Receiver<Notice>);

impl Notices {
    /// The next notice; nothing once the handle is gone.
    pub(crate) async fn next(&mut self) -> Option<Notice> {
        match self.0.recv().await {
            Ok(notice) => Some(notice),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Notice::Gap),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// Who listens to what.
#[derive(Default)]
pub(super) struct Subscriber {
    channels: Mutex<HashMap<String, broadcast::Sender<Notice>>>,
    changed: Arc<Notify>,
    turn: Arc<Turn>,
}

impl Subscriber {
    pub(super) fn subscribe(&self, channel: String) -> Notices {
        let notices = self.channels().entry(channel).or_insert_with(|| broadcast::channel(QUEUE).0).subscribe();
        self.changed.notify_one();
        Notices(notices)
    }

    /// Lets the task look whether the handle is still there.
    pub(super) fn close(&self) {
        self.changed.notify_one();
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<String, broadcast::Sender<Notice>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The channels that somebody listens to; the others are forgotten.
    fn wanted(&self) -> Vec<String> {
        let mut channels = self.channels();
        channels.retain(|_, listeners| listeners.receiver_count() > 0);
        channels.keys().cloned().collect()
    }

    fn tell(&self, channel: &str, notice: Notice) {
        if let Some(listeners) = self.channels().get(channel) {
            // Nobody listening is not an error.
            let _ = listeners.send(notice);
        }
    }
}

/// Listens for as long as the handle lives.
pub(super) async fn run(shared: Weak<Shared>) {
    loop {
        let Some(strong) = shared.upgrade() else { return };
        let (changed, mut status) = (Arc::clone(&strong.subscriber.changed), strong.gate.watch());
        if strong.subscriber.wanted().is_empty() {
            drop(strong);
            changed.notified().await;
            continue;
        }
        let (door, turn) = (strong.manager.door.clone(), Arc::clone(&strong.subscriber.turn));
        drop(strong);
        // While the breaker is open the supervisor alone connects; it may open while this waits for its turn.
        turn.free().await;
        if status.wait_for(|status| *status != crate::Status::Down).await.is_err() {
            return;
        }
        turn.come().await;
        crate::telemetry::count("towerkeep_redis_connects_total", [("by", "listener")]);
        let connecting = async { door.client().await.ok()?.get_async_pubsub().await.ok() };
        if let Ok(Some(connection)) = timeout(PATIENCE, connecting).await {
            listen(&shared, connection, &changed).await;
            // What ended this connection may have ended the one in use, which nobody asks now.
            if let Some(shared) = shared.upgrade() {
                shared.look();
            }
        }
    }
}

/// Listens on one connection until it fails or the handle is gone.
async fn listen(shared: &Weak<Shared>, connection: PubSub, changed: &Notify) {
    let (mut sink, mut messages) = connection.split();
    let mut subscribed = Vec::new();
    let mut ping = interval(PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    if !follow(shared, &mut sink, &mut subscribed).await {
        return;
    }
    loop {
        tokio::select! {
            message = messages.next() => match (message, shared.upgrade()) {
                (Some(message), Some(shared)) => {
                    let payload = Bytes::copy_from_slice(message.get_payload_bytes());
                    shared.subscriber.tell(message.get_channel_name(), Notice::Message(payload));
                }
                _ => return,
            },
            () = changed.notified() => if !follow(shared, &mut sink, &mut subscribed).await { return },
            _ = ping.tick() => if !answers(&mut sink).await { return },
        }
    }
}

/// Brings the subscriptions in line with what is wanted; tells the new channels' listeners of a gap.
async fn follow(shared: &Weak<Shared>, sink: &mut PubSubSink, subscribed: &mut Vec<String>) -> bool {
    let Some(shared) = shared.upgrade() else { return false };
    let wanted = shared.subscriber.wanted();
    let (kept, gone): (Vec<_>, Vec<_>) = subscribed.drain(..).partition(|channel| wanted.contains(channel));
    let new: Vec<_> = wanted.iter().filter(|channel| !kept.contains(channel)).cloned().collect();
    let work = async {
        if !gone.is_empty() {
            sink.unsubscribe(&gone).await?;
        }
        if !new.is_empty() {
            sink.subscribe(&new).await?;
        }
        Ok::<_, redis::RedisError>(())
    };
    let done = matches!(timeout(PATIENCE, work).await, Ok(Ok(())));
    *subscribed = wanted;
    if done {
        new.iter().for_each(|channel| shared.subscriber.tell(channel, Notice::Gap));
    }
    done
}

/// Whether the connection answers a ping in time. Messages that arrive meanwhile wait in the stream.
async fn answers(sink: &mut PubSubSink) -> bool {
    matches!(timeout(PING_EVERY, sink.ping::<redis::Value>()).await, Ok(Ok(_)))
}
