//! Whether this process leads at this instant: asked before each write, and by the client before it sends
//! one. It makes no request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;

/// A process that does not lead writes nothing but the Lease.
#[derive(Clone, Debug, thiserror::Error)]
#[error("not the leader: write refused")]
pub struct NotLeading;

/// The claim of this process; cheap to clone and to ask.
///
/// ```
/// # use elpio_operator::cluster::leader_election::leadership::Leadership;
/// let leadership = Leadership::default();
/// assert!(!leadership.is_leading(), "a follower writes nothing");
/// leadership.lead_without_election();
/// assert!(!leadership.is_leading(), "its lists are not fresh yet");
/// leadership.start_leading();
/// assert!(leadership.is_leading());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Leadership {
    claimed: watch::Sender<bool>,
    leading: watch::Sender<bool>,
    /// Nanoseconds since boot at which the claim ends.
    expires: Arc<AtomicU64>,
    exports: Arc<Mutex<Exports>>,
}

/// Up to when every span was exported; `None` where that is not known.
#[derive(Clone, Copy, Debug, Default)]
struct Exports {
    /// By the predecessor, when it released the Lease.
    predecessor: Option<Timestamp>,
    /// By this process, when it is to release the Lease.
    own: Option<Timestamp>,
}

impl Leadership {
    /// Whether writes are permitted now: the claim is held, the views were refreshed since, and it has not
    /// expired, also when the process or the machine slept meanwhile.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        *self.leading.borrow() && !self.is_expired()
    }

    /// Sees every change of leadership; an expiry is seen when the elector runs, which
    /// [`Leadership::is_leading`] does not wait for.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<bool> {
        self.leading.subscribe()
    }

    /// Sees every claim: before the views are refreshed.
    #[must_use]
    pub fn subscribe_claims(&self) -> watch::Receiver<bool> {
        self.claimed.subscribe()
    }

    /// The views are fresh: work may begin, if the claim is still held.
    pub fn start_leading(&self) {
        let claimed = self.claimed.borrow();
        self.leading.send_replace(*claimed);
    }

    /// Leads for ever: there is no election.
    pub fn lead_without_election(&self) {
        self.expires.store(u64::MAX, Ordering::Release);
        self.set(true);
    }

    /// Up to when the predecessor had exported every span, if it said so when it released the Lease.
    #[must_use]
    pub fn predecessor_exported_until(&self) -> Option<Timestamp> {
        self.exports.lock().predecessor
    }

    pub(super) fn set_predecessor_exported_until(&self, until: Option<Timestamp>) {
        self.exports.lock().predecessor = until;
    }

    /// Every span up to then was exported: the successor is to know.
    pub fn set_exported_until(&self, until: Timestamp) {
        self.exports.lock().own = Some(until);
    }

    pub(super) fn exported_until(&self) -> Option<Timestamp> {
        self.exports.lock().own
    }

    /// Whether the claim is held, expired or not.
    pub(super) fn holds_lease(&self) -> bool {
        *self.claimed.borrow()
    }

    /// What is left of the claim; `None` without one.
    pub(super) fn remaining(&self) -> Option<Duration> {
        let expires = Duration::from_nanos(self.expires.load(Ordering::Acquire));
        self.holds_lease().then(|| expires.saturating_sub(since_boot()))
    }

    /// The claim holds until then, since boot.
    pub(super) fn renew(&self, until: Duration) {
        self.expires.store(u64::try_from(until.as_nanos()).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Acquires or releases. Returns what was so before. Whoever releases stops at once; whoever acquires begins
    /// after [`Leadership::start_leading`].
    #[allow(clippy::must_use_candidate, reason = "a change, whatever held before")]
    pub fn set(&self, claimed: bool) -> bool {
        let before = self.claimed.send_replace(claimed);
        if !claimed {
            self.leading.send_replace(false);
        }
        before
    }

    /// Whether the time of the claim is over.
    pub(super) fn is_expired(&self) -> bool {
        let expires = self.expires.load(Ordering::Acquire);
        expires != u64::MAX && since_boot() >= Duration::from_nanos(expires)
    }
}

/// Time since boot, suspension included: `Instant` stands still while a machine sleeps.
#[must_use]
pub fn since_boot() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_expired_permits_nothing_though_nobody_released_it() {
        let leadership = Leadership::default();
        assert!(!leadership.is_leading());
        leadership.renew(since_boot() + Duration::from_mins(1));
        assert!(!leadership.is_leading(), "renewed, and not claimed");
        leadership.set(true);
        leadership.start_leading();
        assert!(leadership.is_leading());
        leadership.renew(since_boot().saturating_sub(Duration::from_nanos(1)));
        assert!(!leadership.is_leading() && leadership.holds_lease());
        assert_eq!(leadership.remaining(), Some(Duration::ZERO));
    }

    #[test]
    fn work_begins_with_fresh_views_and_ends_with_the_claim() {
        let leadership = Leadership::default();
        let leading = leadership.subscribe();
        leadership.start_leading();
        assert!(!*leading.borrow(), "without a claim");
        leadership.lead_without_election();
        assert!(!*leading.borrow() && !leadership.is_leading());
        leadership.start_leading();
        assert!(*leading.borrow() && leadership.is_leading());
        leadership.set(false);
        assert!(!*leading.borrow() && !leadership.is_leading());
    }
}
