//! Lets the few go before the many: while an item of a namespace with little to do runs beside the crowd of another
//! one, or beside what nobody waits for, few of those run. It knows no item and no queue.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

/// More than so many items of a namespace that wait are a crowd.
pub(super) const CROWD: usize = 16;

/// So many of 16 slots are left to the others while one that is preferred runs.
const OTHERS_BESIDE_PREFERRED: usize = 2;

/// They are left so few for so long after it: what was done once is often done again.
const LINGER: Duration = Duration::from_millis(200);

/// Who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precedence {
    /// One of few in its namespace, while another namespace's crowd waits, or background work.
    Preferred,
    /// Somebody did something.
    Normal,
    /// Nothing happened: a retry, or all objects after a start.
    Background,
}

/// What may be taken from the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Also those that are not preferred.
    pub all: bool,
    /// Background work is being done.
    pub background_runs: bool,
}

impl Admission {
    /// Whatever waits.
    pub const ALL: Self = Self { all: true, background_runs: false };
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
    /// Of the others.
    applying: usize,
    background: usize,
    reporting: usize,
}

/// One that runs; on drop it does no longer.
#[derive(Debug)]
pub struct PrecedenceGuard {
    gate: Arc<PrecedenceGate>,
    /// `None`: it reports.
    precedence: Option<Precedence>,
}

impl Running {
    /// The count of those that apply with this precedence, or of those that report.
    fn count(&mut self, precedence: Option<Precedence>) -> &mut usize {
        match precedence {
            Some(Precedence::Preferred) => &mut self.preferred,
            Some(Precedence::Normal) => &mut self.applying,
            Some(Precedence::Background) => &mut self.background,
            None => &mut self.reporting,
        }
    }

    /// Whether the others make room now.
    fn is_restrained(&self) -> bool {
        self.preferred > 0 || self.ended.is_some_and(|at| at.elapsed() < LINGER)
    }
}

impl PrecedenceGate {
    /// For lanes with so many slots each.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        let few = (slots * OTHERS_BESIDE_PREFERRED / 16).max(1);
        Self { running: Mutex::default(), few, changed: Notify::new() }
    }

    /// Who may begin to apply now.
    #[must_use]
    pub fn admission(&self) -> Admission {
        let running = self.running.lock();
        let all = !running.is_restrained() || running.applying + running.background < self.few;
        Admission { all, background_runs: running.background > 0 }
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
        *self.running.lock().count(Some(precedence)) += 1;
        PrecedenceGuard { gate: self.clone(), precedence: Some(precedence) }
    }

    /// One that is not preferred begins to report, as soon as it may.
    pub async fn enter_reporting(self: &Arc<Self>) -> PrecedenceGuard {
        loop {
            let changed = self.changed();
            {
                let mut running = self.running.lock();
                if !running.is_restrained() || running.reporting < self.few {
                    running.reporting += 1;
                    return PrecedenceGuard { gate: self.clone(), precedence: None };
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
        self.precedence == Some(Precedence::Preferred)
    }
}

impl Drop for PrecedenceGuard {
    fn drop(&mut self) {
        let mut running = self.gate.running.lock();
        *running.count(self.precedence) -= 1;
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
