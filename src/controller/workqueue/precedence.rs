//! Lets the few go before the many, and what somebody did before what nobody did: while an item goes first, few of
//! the others run. It knows no item and no queue.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

/// More than so many items of a namespace that wait are a crowd.
pub(super) const CROWD: usize = 16;

/// So many of 16 slots are left to the others.
const FEW_OF_16: usize = 2;

/// They are left so few for so long after it: what was done once is often done again.
const LINGER: Duration = Duration::from_millis(200);

/// Who goes first. Each goes before those that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precedence {
    /// One of few in its namespace, while another namespace's crowd waits.
    Preferred,
    /// Somebody did something.
    Normal,
    /// Nothing happened: a retry, or all objects after a start.
    Background,
}

/// What may begin now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Only what is preferred.
    Preferred,
    /// All but background work.
    Normal,
    /// Whatever waits.
    All,
}

/// Counts who runs, in all lanes of a kind.
#[derive(Debug)]
pub struct PrecedenceGate {
    running: Mutex<Running>,
    few: usize,
    changed: Notify,
}

/// By precedence.
#[derive(Debug, Default)]
struct Running([RunningClass; 3]);

#[derive(Debug, Default)]
struct RunningClass {
    applying: usize,
    reporting: usize,
    /// When the last one ended.
    ended: Option<Instant>,
}

/// One that runs; on drop it does no longer.
#[derive(Debug)]
pub struct PrecedenceGuard {
    gate: Arc<PrecedenceGate>,
    precedence: Precedence,
    reports: bool,
}

impl RunningClass {
    fn is_running(&self) -> bool {
        self.applying + self.reporting > 0
    }

    /// When the others need no longer make room; `None`: they need not, or one still runs.
    fn lingers_until(&self) -> Option<Instant> {
        let until = self.ended.filter(|_| !self.is_running())? + LINGER;
        (until > Instant::now()).then_some(until)
    }

    fn goes_first(&self) -> bool {
        self.is_running() || self.lingers_until().is_some()
    }

    fn count(&mut self, reports: bool) -> &mut usize {
        if reports { &mut self.reporting } else { &mut self.applying }
    }
}

impl Running {
    /// Whether one more may apply, or report, beside those that go first.
    fn admits(&self, precedence: Precedence, reports: bool, few: usize) -> bool {
        let Self([preferred, normal, background]) = self;
        let count = |class: &RunningClass| if reports { class.reporting } else { class.applying };
        let (all, retries) = (count(normal) + count(background), count(background));
        let makes_room_for_preferred = preferred.goes_first() && all >= few;
        match precedence {
            Precedence::Preferred => true,
            Precedence::Normal => !makes_room_for_preferred,
            Precedence::Background => !makes_room_for_preferred && (!normal.goes_first() || retries < few),
        }
    }
}

impl PrecedenceGate {
    /// For lanes with so many slots each.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        let few = (slots * FEW_OF_16 / 16).max(1);
        Self { running: Mutex::default(), few, changed: Notify::new() }
    }

    /// Who may begin to apply now.
    #[must_use]
    pub fn admission(&self) -> Admission {
        let running = self.running.lock();
        if running.admits(Precedence::Background, false, self.few) {
            Admission::All
        } else if running.admits(Precedence::Normal, false, self.few) {
            Admission::Normal
        } else {
            Admission::Preferred
        }
    }

    /// When that may have changed.
    pub fn changed(&self) -> impl Future<Output = ()> {
        let (changed, running) = (self.changed.notified(), self.running.lock());
        let next = running.0.iter().filter_map(RunningClass::lingers_until).min();
        async move {
            match next {
                Some(at) => drop(tokio::time::timeout_at(at, changed).await),
                None => changed.await,
            }
        }
    }

    /// One begins to apply, whoever runs.
    #[must_use]
    pub fn enter(self: &Arc<Self>, precedence: Precedence) -> PrecedenceGuard {
        self.running.lock().0[precedence as usize].applying += 1;
        PrecedenceGuard { gate: self.clone(), precedence, reports: false }
    }

    /// One begins to report, as soon as it may.
    pub async fn enter_reporting(self: &Arc<Self>, precedence: Precedence) -> PrecedenceGuard {
        loop {
            let changed = self.changed();
            {
                let mut running = self.running.lock();
                if running.admits(precedence, true, self.few) {
                    running.0[precedence as usize].reporting += 1;
                    return PrecedenceGuard { gate: self.clone(), precedence, reports: true };
                }
            }
            changed.await;
        }
    }
}

impl PrecedenceGuard {
    /// Whose it is.
    #[must_use]
    pub fn precedence(&self) -> Precedence {
        self.precedence
    }
}

impl Drop for PrecedenceGuard {
    fn drop(&mut self) {
        let mut running = self.gate.running.lock();
        let class = &mut running.0[self.precedence as usize];
        *class.count(self.reports) -= 1;
        class.ended = Some(Instant::now());
        // Else nobody waits that could go on.
        let is_last = !class.is_running();
        if is_last || self.precedence == Precedence::Background || running.0[0].goes_first() {
            self.gate.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
#[path = "precedence_test.rs"]
mod tests;
