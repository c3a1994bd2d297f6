//! Runs edits in namespaces with few items before a backlog, and edits before retries: while such a reconcile runs,
//! only few others apply or write a status, and they pause afterwards. It knows neither items nor the queue.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use crate::{
    controller::workqueue::lane::{LANES, Lane},
    telemetry::Trigger,
};

/// A namespace with more waiting items than this has a backlog.
pub(super) const BACKLOG: usize = 16;

/// Of every 16 slots of a lane, how many the other reconciles may still use for applying and for statuses.
const LIMIT_OF_16: usize = 1;

/// How long the limit lasts afterwards, since one edit often follows another. A saturated API server delivers the
/// next edit late, and stays saturated while the other reconciles continue.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// The classes of reconciles, highest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precedence {
    /// An edit in a namespace with few items, while another namespace has a backlog: before everything else.
    Preferred,
    /// An edit: before background work.
    Edit,
    /// Another change: before nothing.
    Normal,
    /// No change: a retry, or a resync after a start.
    Background,
}

impl From<Trigger> for Precedence {
    fn from(trigger: Trigger) -> Self {
        match trigger {
            Trigger::Spec => Self::Edit,
            Trigger::Child | Trigger::Dependency => Self::Normal,
            Trigger::Retry | Trigger::Resync => Self::Background,
        }
    }
}

/// The reconciles that may begin now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eligibility {
    /// Only those in namespaces with few items.
    Preferred,
    /// All except background work.
    Foreground,
    /// All.
    All,
}

/// Counts the running reconciles in all lanes of a kind.
#[derive(Debug)]
pub struct PrecedenceGate {
    running: Mutex<Running>,
    limit: usize,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Running {
    by_precedence: [RunningClass; 4],
    /// By lane: how many status writes that are not preferred are running.
    statuses: [usize; LANES],
}

#[derive(Debug, Default)]
struct RunningClass {
    /// By lane.
    applying: [usize; LANES],
    /// How many write their status or wait to.
    writing_status: usize,
    /// When the last reconcile ended.
    ended: Option<Instant>,
}

/// Counts a running reconcile until dropped.
#[derive(Debug)]
pub struct PrecedenceGuard {
    gate: Arc<PrecedenceGate>,
    lane: Lane,
    precedence: Precedence,
    writes_status: bool,
}

/// Counts a status write that is not preferred until dropped.
#[derive(Debug)]
pub struct StatusGuard {
    gate: Arc<PrecedenceGate>,
    lane: Lane,
}

impl RunningClass {
    fn is_running(&self) -> bool {
        self.writing_status > 0 || self.applying.iter().any(|count| *count > 0)
    }

    /// When the limit ends after the last reconcile; `None` if it has ended, or a reconcile still runs.
    fn lingers_until(&self) -> Option<Instant> {
        let until = self.ended.filter(|_| !self.is_running())? + LINGER;
        (until > Instant::now()).then_some(until)
    }

    fn goes_first(&self) -> bool {
        self.is_running() || self.lingers_until().is_some()
    }
}

impl Running {
    /// Whether preferred reconciles limit the others.
    fn is_limited(&self) -> bool {
        self.by_precedence[Precedence::Preferred as usize].goes_first()
    }

    /// Whether another reconcile that is not preferred may write in a lane.
    fn may_write(&self, lane: Lane, limit: usize) -> bool {
        let [_, edits, normal, background] = &self.by_precedence;
        let applying: usize = [edits, normal, background].map(|class| class.applying[lane]).iter().sum();
        !self.is_limited() || applying + self.statuses[lane] < limit
    }

    /// Which reconciles may begin to apply in a lane beside those that go first.
    fn eligibility(&self, lane: Lane, limit: usize) -> Eligibility {
        let [_, edits, _, background] = &self.by_precedence;
        if !self.may_write(lane, limit) {
            Eligibility::Preferred
        } else if edits.goes_first() && background.applying[lane] >= limit {
            Eligibility::Foreground
        } else {
            Eligibility::All
        }
    }
}

impl PrecedenceGate {
    /// A gate for lanes of `slots` slots each.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        let limit = (slots * LIMIT_OF_16 / 16).max(1);
        Self { running: Mutex::default(), limit, changed: Notify::new() }
    }

    /// While a preferred reconcile goes first, pauses every other one for half as long as it used the API server.
    pub async fn pause(&self, precedence: Precedence, used: Duration) {
        if precedence != Precedence::Preferred && self.running.lock().is_limited() {
            tokio::time::sleep(used / 2).await;
        }
    }

    /// Which reconciles may begin to apply in a lane now.
    #[must_use]
    pub fn eligibility(&self, lane: Lane) -> Eligibility {
        self.running.lock().eligibility(lane, self.limit)
    }

    /// Completes when the eligibility may have changed.
    pub fn changed(&self) -> impl Future<Output = ()> {
        let (changed, running) = (self.changed.notified(), self.running.lock());
        let next = running.by_precedence.iter().filter_map(RunningClass::lingers_until).min();
        async move {
            match next {
                Some(at) => drop(tokio::time::timeout_at(at, changed).await),
                None => changed.await,
            }
        }
    }

    /// Counts a reconcile that begins to apply, whatever the limit.
    #[must_use]
    pub fn enter(self: &Arc<Self>, lane: Lane, precedence: Precedence) -> PrecedenceGuard {
        self.running.lock().by_precedence[precedence as usize].applying[lane] += 1;
        PrecedenceGuard { gate: self.clone(), lane, precedence, writes_status: false }
    }

    /// Counts a status write that is not preferred, if the limit allows one in this lane.
    #[must_use]
    pub fn try_begin_status(self: &Arc<Self>, lane: Lane) -> Option<StatusGuard> {
        let mut running = self.running.lock();
        running.may_write(lane, self.limit).then(|| {
            running.statuses[lane] += 1;
            StatusGuard { gate: self.clone(), lane }
        })
    }

    fn end(&self, running: &mut Running, guard: &PrecedenceGuard) {
        let class = &mut running.by_precedence[guard.precedence as usize];
        if guard.writes_status {
            class.writing_status -= 1;
        } else {
            class.applying[guard.lane] -= 1;
        }
        class.ended = Some(Instant::now());
        // Otherwise, no waiter could proceed.
        let is_last = !class.is_running();
        if is_last || guard.precedence == Precedence::Background || running.is_limited() {
            self.changed.notify_waiters();
        }
    }
}

impl PrecedenceGuard {
    /// The reconcile has applied: it now writes its status, or waits to.
    pub fn begin_status(&mut self) {
        let mut running = self.gate.running.lock();
        running.by_precedence[self.precedence as usize].writing_status += 1;
        self.gate.end(&mut running, self);
        drop(running);
        self.writes_status = true;
    }
}

impl Drop for StatusGuard {
    fn drop(&mut self) {
        let mut running = self.gate.running.lock();
        running.statuses[self.lane] -= 1;
        if running.is_limited() {
            self.gate.changed.notify_waiters();
        }
    }
}

impl Drop for PrecedenceGuard {
    fn drop(&mut self) {
        self.gate.end(&mut self.gate.running.lock(), self);
    }
}

#[cfg(test)]
#[path = "precedence_test.rs"]
mod tests;
