//! A signal from one task to any number of others. It carries nothing.

use tokio::sync::watch;

/// A signal that watches wait for.
#[derive(Debug)]
pub struct Broadcast(watch::Sender<u64>);

impl Default for Broadcast {
    fn default() -> Self {
        Self(watch::channel(0).0)
    }
}

impl Broadcast {
    /// Wakes everyone who waits, and everyone who subscribed before this and waits later.
    pub fn send(&self) {
        self.0.send_modify(|count| *count += 1);
    }

    /// Observes every signal from now on.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}
