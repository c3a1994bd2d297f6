//! Leader election with a Lease, as in client-go: a claim that expires, written with its resourceVersion so
//! that two candidates can never both acquire it, and released on exit. It starts and stops nothing itself.
//!
//! It never compares clocks of different machines: a claim has expired once it has been observed unchanged
//! for its whole duration.

pub mod leadership;
pub mod lease;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::sync::watch;

use crate::{
    cluster::{
        client::call::{ApiCall, ApiError, call_with_timeout},
        clock,
        leader_election::{
            leadership::{Leadership, since_boot},
            lease::{set_exported_until, take_exported_until},
        },
    },
    telemetry::ErrorType,
};

/// Another candidate may take a claim that has not been renewed for this long.
const LEASE_DURATION: Duration = Duration::from_secs(15);
/// The timeout of one renewal.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// The interval, from start to start, at which a leader renews and a follower tries.
const RETRY_PERIOD: Duration = Duration::from_secs(2);
/// A leader that could not renew for this long stops leading, before another candidate may start. Leaves the
/// next renewal its whole timeout.
const CLAIM_DURATION: Duration = Duration::from_secs(RETRY_PERIOD.as_secs() + RENEW_DEADLINE.as_secs());

/// Until when a claim leads, and until when it permits writes, by the times of the request and of its response.
///
/// As in client-go, the lead counts from the response, so that slow renewals keep it. Other candidates count from the
/// write, which may be as old as the request. If the process was paused, the response that it finds may be about a
/// claim that has long expired.
fn claim(begun: Duration, ended: Duration) -> Option<(Duration, Duration)> {
    let is_current = ended.saturating_sub(begun) <= RENEW_DEADLINE;
    is_current.then(|| (ended + CLAIM_DURATION, begun + LEASE_DURATION))
}

/// One candidate.
#[derive(Debug)]
pub struct LeaderElector {
    api: Api<Lease>,
    namespace: String,
    name: String,
    identity: String,
    /// Another candidate's claim as last seen, and when it was first seen in this state, since boot.
    observed: Option<(Lease, Duration)>,
    /// Our own claim as last written.
    own_lease: Option<Lease>,
    /// The predecessor had exported all spans up to this time.
    predecessor_exported_until: Option<Timestamp>,
    /// The holder when that was last logged.
    logged_holder: String,
}

impl LeaderElector {
    /// A candidate for the Lease `name` in `namespace`; `identity` must differ between processes.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: String, identity: String) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name,
            identity,
            observed: None,
            own_lease: None,
            predecessor_exported_until: None,
            logged_holder: String::new(),
        }
    }

    /// Acquires the Lease and renews it until `stop` is true, then releases it.
    pub async fn run(mut self, leadership: Leadership, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            let begun = since_boot();
            // A leader whose call hangs must stop leading in time, whatever the call returns.
            let bound = leadership.remaining().unwrap_or(RENEW_DEADLINE).min(RENEW_DEADLINE);
            let claimed = tokio::time::timeout(bound, self.try_acquire_or_renew())
                .await
                .unwrap_or_else(|_| Err(self.timeout_error()));
            let claim = claim(begun, since_boot());
            let mut due = begun + RETRY_PERIOD;
            match claimed.map(|held| claim.filter(|_| held)) {
                Ok(Some((leads_until, writes_until))) => {
                    leadership.renew(leads_until, writes_until);
                    leadership.set_predecessor_exported_until(self.predecessor_exported_until);
                    self.set_leading(&leadership, true);
                }
                Ok(None) => self.set_leading(&leadership, false),
                Err(error) => {
                    due = due.max(since_boot() + error.retry_after.unwrap_or_default());
                    if !leadership.holds_lease() || leadership.is_expired() {
                        tracing::warn!(%error, lease = self.name, namespace = self.namespace, "failed to acquire the Lease, retrying");
                    }
                }
            }
            self.pause(&leadership, due, &mut stop).await;
        }
        self.set_leading(&leadership, false);
        if let Err(error) = self.release(leadership.exported_until()).await {
            tracing::warn!(%error, "the Lease was not released; it expires after {} s", LEASE_DURATION.as_secs());
        }
    }

    /// Waits until the next attempt is due, and stops leading when the claim expires.
    async fn pause(&self, leadership: &Leadership, due: Duration, stop: &mut watch::Receiver<bool>) {
        let expiry = leadership.remaining().map_or(Duration::MAX, |left| since_boot() + left);
        // `Retry-After` may exceed the rest of the claim.
        for until in [due.min(expiry), due] {
            let pause = until.saturating_sub(since_boot());
            let _ = tokio::time::timeout(pause, stop.wait_for(|stop| *stop)).await;
            if leadership.holds_lease() && leadership.is_expired() {
                self.set_leading(leadership, false);
            }
        }
    }

    fn set_leading(&self, leadership: &Leadership, leading: bool) {
        if leadership.set(leading) != leading {
            tracing::info!(
                lease = self.name,
                namespace = self.namespace,
                identity = self.identity,
                "{}",
                if leading { "became leader" } else { "lost leadership" }
            );
        }
    }

    fn timeout_error(&self) -> ApiError {
        let cause = "no response in time".to_owned();
        ApiError { call: Box::new(self.call("update")), cause, class: ErrorType::Timeout, retry_after: None }
    }

    /// I/O: renews a held claim; otherwise reads the Lease and writes it if the claim is available. Returns
    /// whether this process holds it.
    async fn try_acquire_or_renew(&mut self) -> Result<bool, ApiError> {
        if let Some(mut held) = self.own_lease.take() {
            let (acquired, transitions) = held
                .spec
                .as_ref()
                .map_or((None, 0), |s| (s.acquire_time.clone(), s.lease_transitions.unwrap_or(0)));
            held.spec = Some(LeaseSpec { acquire_time: acquired, ..self.spec(transitions) });
            match self.replace(&held).await {
                Ok(renewed) => {
                    self.own_lease = Some(renewed);
                    return Ok(true);
                }
                // Another candidate changed it: read it again.
                Err(error) if matches!(error.class, ErrorType::Conflict | ErrorType::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        let Some(lease) = call_with_timeout(self.call("get"), self.api.get_opt(&self.name)).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                spec: Some(self.spec(0)),
            };
            let created =
                call_with_timeout(self.call("create"), self.api.create(&PostParams::default(), &lease)).await;
            return self.acquired(created);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        let transitions = spec.lease_transitions.unwrap_or(0);
        if !holder.is_empty() && holder != self.identity && !self.expired(&lease) {
            self.log_holder(holder);
            return Ok(false);
        }
        let mut claim = lease;
        self.predecessor_exported_until = take_exported_until(&mut claim);
        let mut spec = self.spec(transitions + i32::from(holder != self.identity));
        if holder == self.identity {
            spec.acquire_time = claim.spec.and_then(|s| s.acquire_time);
        }
        claim.spec = Some(spec);
        let replaced = self.replace(&claim).await;
        self.acquired(replaced)
    }

    fn log_holder(&mut self, holder: String) {
        if self.logged_holder != holder {
            tracing::info!(
                lease = self.name,
                namespace = self.namespace,
                holder,
                "another process holds the Lease; waiting to acquire it"
            );
            self.logged_holder = holder;
        }
    }

    /// Whether another candidate's claim was observed unchanged for its whole duration.
    fn expired(&mut self, lease: &Lease) -> bool {
        let version = |l: &Lease| l.metadata.resource_version.clone();
        match &self.observed {
            Some((known, since)) if version(known) == version(lease) => {
                let seconds = lease
                    .spec
                    .as_ref()
                    .and_then(|s| s.lease_duration_seconds)
                    .and_then(|s| u64::try_from(s).ok());
                since_boot().saturating_sub(*since) >= seconds.map_or(LEASE_DURATION, Duration::from_secs)
            }
            _ => {
                self.observed = Some((lease.clone(), since_boot()));
                false
            }
        }
    }

    async fn release(&self, exported_until: Option<Timestamp>) -> Result<(), ApiError> {
        let Some(mut lease) = call_with_timeout(self.call("get"), self.api.get_opt(&self.name)).await? else {
            return Ok(());
        };
        if lease.spec.as_ref().and_then(|s| s.holder_identity.as_ref()) != Some(&self.identity) {
            return Ok(());
        }
        let transitions = lease.spec.as_ref().and_then(|s| s.lease_transitions).unwrap_or(0);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            ..self.spec(transitions)
        });
        set_exported_until(&mut lease, exported_until);
        self.replace(&lease).await.map(|_| ())
    }

    async fn replace(&self, lease: &Lease) -> Result<Lease, ApiError> {
        let params = PostParams::default();
        call_with_timeout(self.call("update"), self.api.replace(&self.name, &params, lease)).await
    }

    fn spec(&self, transitions: i32) -> LeaseSpec {
        let now = MicroTime(clock::now());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    /// A conflict means that another candidate was faster.
    fn acquired(&mut self, response: Result<Lease, ApiError>) -> Result<bool, ApiError> {
        match response {
            Ok(lease) => {
                self.own_lease = Some(lease);
                self.logged_holder.clear();
                Ok(true)
            }
            Err(error) if error.class == ErrorType::Conflict => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn call(&self, verb: &'static str) -> ApiCall {
        ApiCall::new(verb, "leases.coordination.k8s.io", &self.namespace, &self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_claim_permits() {
        for (begun, ended, expected) in [
            (100, 100, Some((112, 115))),
            (100, 103, Some((115, 115))),
            (100, 109, Some((121, 115))),
            (100, 110, Some((122, 115))),
            (100, 111, None),
        ] {
            let permitted = claim(Duration::from_secs(begun), Duration::from_secs(ended));
            let permitted = permitted.map(|(leads, writes)| (leads.as_secs(), writes.as_secs()));
            assert_eq!(permitted, expected, "{begun} {ended}");
        }
    }
}
