//! Whether this process leads right now: checked before each write, and by the client before it sends one.
//! Makes no requests.

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

/// A process that does not lead may write only the Lease.
#[derive(Clone, Debug, thiserror::Error)]
#[error("not the leader: refusing to write")]
pub struct NotLeading;

/// This process's claim; cheap to clone and to check.
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
    /// When the claim ends.
    expires: Arc<Deadline>,
    /// From when on another may have taken the Lease.
    writes_expire: Arc<Deadline>,
    exports: Arc<Mutex<Exports>>,
}

/// Nanoseconds since boot.
#[derive(Debug, Default)]
struct Deadline(AtomicU64);

impl Deadline {
    /// Never over.
    const NEVER: Duration = Duration::MAX;

    fn set(&self, at: Duration) {
        self.0.store(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX), Ordering::Release);
    }

    fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Acquire))
    }

    fn is_over(&self) -> bool {
        since_boot() >= self.get()
    }
}

/// All spans up to this time were exported; `None` if that is unknown.
#[derive(Clone, Copy, Debug, Default)]
struct Exports {
    /// By the predecessor, from the Lease that it released.
    predecessor: Option<Timestamp>,
    /// By this process, for the Lease that it will release.
    own: Option<Timestamp>,
}

impl Leadership {
    /// Whether this process leads now: the claim is held and has not expired, even if the process or the machine
    /// slept, and the caches were refreshed since it was acquired.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        *self.leading.borrow() && !self.is_expired()
    }

    /// Whether writes are permitted now: this process leads, and no other can have taken the Lease. While responses to
    /// renewals are slow, a leader has to wait for the next one.
    #[must_use]
    pub fn may_write(&self) -> bool {
        self.is_leading() && !self.writes_expire.is_over()
    }

    /// Observes every change of leadership. It shows an expiry only once the elector runs;
    /// [`Leadership::is_leading`] shows it at once.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<bool> {
        self.leading.subscribe()
    }

    /// Observes every claim, even before the caches are refreshed.
    #[must_use]
    pub fn subscribe_claims(&self) -> watch::Receiver<bool> {
        self.claimed.subscribe()
    }

    /// Marks the caches as fresh: work may begin if the claim is still held.
    pub fn start_leading(&self) {
        let claimed = self.claimed.borrow();
        self.leading.send_replace(*claimed);
    }

    /// Leads for ever, without an election.
    pub fn lead_without_election(&self) {
        self.renew(Deadline::NEVER, Deadline::NEVER);
        self.set(true);
    }

    /// Up to when the predecessor had exported all spans, if it recorded that when it released the Lease.
    #[must_use]
    pub fn predecessor_exported_until(&self) -> Option<Timestamp> {
        self.exports.lock().predecessor
    }

    pub(super) fn set_predecessor_exported_until(&self, until: Option<Timestamp>) {
        self.exports.lock().predecessor = until;
    }

    /// Records for the successor that all spans up to `until` were exported.
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

    /// The time left of the claim; `None` without one.
    pub(super) fn remaining(&self) -> Option<Duration> {
        self.holds_lease().then(|| self.expires.get().saturating_sub(since_boot()))
    }

    /// Extends the claim to `until`, and its permission to write to `writes_until`, since boot.
    pub(super) fn renew(&self, until: Duration, writes_until: Duration) {
        self.writes_expire.set(writes_until);
        self.expires.set(until);
    }

    /// Acquires or releases the claim. Returns whether it was held before. A release takes effect at once;
    /// after an acquisition, [`Leadership::start_leading`] must follow.
    #[allow(clippy::must_use_candidate, reason = "a change, whatever held before")]
    pub fn set(&self, claimed: bool) -> bool {
        let before = self.claimed.send_replace(claimed);
        if !claimed {
            self.leading.send_replace(false);
        }
        before
    }

    pub(super) fn is_expired(&self) -> bool {
        self.expires.is_over()
    }
}

/// Time since boot including suspension: `Instant` stands still while a machine sleeps.
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
        let (soon, over) = (since_boot() + Duration::from_mins(1), since_boot());
        leadership.renew(soon, soon);
        assert!(!leadership.is_leading() && !leadership.may_write(), "renewed, and not claimed");
        leadership.set(true);
        leadership.start_leading();
        assert!(leadership.is_leading() && leadership.may_write());
        leadership.renew(soon, over);
        assert!(leadership.is_leading() && !leadership.may_write(), "another may have taken the Lease");
        leadership.renew(over, soon);
        assert!(!leadership.is_leading() && !leadership.may_write() && leadership.holds_lease());
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
        assert!(*leading.borrow() && leadership.is_leading() && leadership.may_write());
        leadership.set(false);
        assert!(!*leading.borrow() && !leadership.is_leading());
    }
}
