//! Lets the few go before the many: while an item of a namespace with little to do runs, few of those that wait in
//! crowds, or that nobody waits for, run beside it. It knows no item and no queue.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

/// Where more than so many items of a namespace wait, they yield.
pub(super) const CROWD: usize = 16;

/// So many of 16 slots are left to those that yield while one that is preferred runs.
const YIELDING_BESIDE_PREFERRED: usize = 2;

/// They are left so few for so long after it: what was done once is often done again.
const LINGER: Duration = Duration::from_millis(200);

/// Who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precedence {
    /// Somebody did something where little happens.
    Preferred,
    /// It is one of many, or nothing happened.
    Yielding,
}

/// Counts who runs, in all lanes of a kind.
#[derive(Debug)]
pub struct PrecedenceGate {
    running: Mutex<Running>,
    few: usize,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Running {
    preferred: usize,
    /// When the last one that was preferred ended.
    ended: Option<Instant>,
    applying: usize,
    reporting: usize,
}

/// What those that yield do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    Preferred,
    Applying,
    Reporting,
}

/// One that runs; on drop it does no longer.
#[derive(Debug)]
pub struct PrecedenceGuard {
    gate: Arc<PrecedenceGate>,
    activity: Activity,
}

impl Running {
    fn count(&mut self, activity: Activity) -> &mut usize {
        match activity {
            Activity::Preferred => &mut self.preferred,
            Activity::Applying => &mut self.applying,
            Activity::Reporting => &mut self.reporting,
        }
    }

    /// Whether those that yield make room now.
    fn is_restrained(&self) -> bool {
        self.preferred > 0 || self.ended.is_some_and(|at| at.elapsed() < LINGER)
    }

    fn admits(&mut self, activity: Activity, few: usize) -> bool {
        !self.is_restrained() || *self.count(activity) < few
    }
}

impl PrecedenceGate {
    /// For lanes with so many slots each.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        let few = (slots * YIELDING_BESIDE_PREFERRED / 16).max(1);
        Self { running: Mutex::default(), few, changed: Notify::new() }
    }

    /// Whether one that yields may apply now.
    #[must_use]
    pub fn admits_yielding(&self) -> bool {
        self.running.lock().admits(Activity::Applying, self.few)
    }

    /// When that may have changed.
    pub fn changed(&self) -> impl Future<Output = ()> {
        let (changed, running) = (self.changed.notified(), self.running.lock());
        let ended = running.ended.filter(|_| running.preferred == 0 && running.is_restrained());
        async move {
            match ended {
                Some(at) => drop(tokio::time::timeout_at(at + LINGER, changed).await),
                None => changed.await,
            }
        }
    }

    /// One begins to apply, whoever runs.
    #[must_use]
    pub fn enter(self: &Arc<Self>, precedence: Precedence) -> PrecedenceGuard {
        let activity = match precedence {
            Precedence::Preferred => Activity::Preferred,
            Precedence::Yielding => Activity::Applying,
        };
        *self.running.lock().count(activity) += 1;
        PrecedenceGuard { gate: self.clone(), activity }
    }

    /// One that yields begins to report, as soon as it may.
    pub async fn enter_reporting(self: &Arc<Self>) -> PrecedenceGuard {
        loop {
            let changed = self.changed();
            {
                let mut running = self.running.lock();
                if running.admits(Activity::Reporting, self.few) {
                    running.reporting += 1;
                    return PrecedenceGuard { gate: self.clone(), activity: Activity::Reporting };
                }
            }
            changed.await;
        }
    }
}

impl PrecedenceGuard {
    /// Whether it is one that is preferred.
    #[must_use]
    pub fn is_preferred(&self) -> bool {
        self.activity == Activity::Preferred
    }
}

impl Drop for PrecedenceGuard {
    fn drop(&mut self) {
        let mut running = self.gate.running.lock();
        *running.count(self.activity) -= 1;
        if self.is_preferred() {
            running.ended = Some(Instant::now());
        }
        // Else nobody waits.
        if running.is_restrained() {
            self.gate.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
#[path = "precedence_test.rs"]
mod tests;
