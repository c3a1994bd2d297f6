//! Leader election by a Lease: an expiring claim, written with its resourceVersion so that two can never both
//! win it, given back at exit.
//!
//! Clocks of different machines are not compared: a claim has expired when we have watched it stand still for
//! its whole duration.

use std::time::{Duration, Instant};

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
    cluster::client::call::{ApiCall, ApiError, call_with_timeout},
    telemetry::ErrorType,
};

/// The Lease's name, and the `name` of `leader_election_master_status`.
pub const LEASE_NAME: &str = "elpio-operator";

/// A claim that is not renewed for so long may be taken by another.
const LEASE_DURATION: Duration = Duration::from_secs(15);
/// A leader that could not renew for so long stops to lead, well before another may begin.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How often a leader renews and a follower looks.
const RETRY_PERIOD: Duration = Duration::from_secs(3);

/// One candidate.
#[derive(Debug)]
pub struct LeaderElector {
    api: Api<Lease>,
    namespace: String,
    identity: String,
    /// The claim last seen, and when it was first seen to be so.
    observed: Option<(Lease, Instant)>,
    /// Our own claim as last written.
    own_lease: Option<Lease>,
}

impl LeaderElector {
    /// A candidate for the Lease in `namespace`; `identity` must differ between processes.
    #[must_use]
    pub fn new(client: Client, namespace: &str, identity: String) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            identity,
            observed: None,
            own_lease: None,
        }
    }

    /// Tries to lead, and to go on leading, until `stop` says true; `leading` tells how it stands. Gives the
    /// claim back in the end.
    pub async fn run(mut self, leading: watch::Sender<bool>, mut stop: watch::Receiver<bool>) {
        let mut renewed = Instant::now();
        while !*stop.borrow() {
            let asked = Instant::now();
            // A leader whose call hangs stops to lead in time, whatever comes of the call.
            let bound = if *leading.borrow() {
                RENEW_DEADLINE.saturating_sub(renewed.elapsed())
            } else {
                RENEW_DEADLINE
            };
            let claimed = tokio::time::timeout(bound, self.try_acquire_or_renew())
                .await
                .unwrap_or_else(|_| Err(self.timeout_error()));
            match claimed {
                Ok(true) => {
                    renewed = asked;
                    self.set_leading(&leading, true);
                }
                Ok(false) => self.set_leading(&leading, false),
                Err(error) => {
                    let lost = *leading.borrow() && renewed.elapsed() >= RENEW_DEADLINE;
                    if lost || !*leading.borrow() {
                        tracing::warn!(%error, namespace = self.namespace, "cannot claim the Lease; trying on");
                    }
                    if lost {
                        self.set_leading(&leading, false);
                    }
                }
            }
            let _ = tokio::time::timeout(RETRY_PERIOD, stop.wait_for(|s| *s)).await;
        }
        self.set_leading(&leading, false);
        if let Err(error) = self.release().await {
            tracing::warn!(%error, "the Lease could not be given back; it expires after {} s", LEASE_DURATION.as_secs());
        }
    }

    fn set_leading(&self, leading: &watch::Sender<bool>, now: bool) {
        if leading.send_replace(now) != now {
            tracing::info!(
                lease = LEASE_NAME,
                namespace = self.namespace,
                identity = self.identity,
                "{}",
                if now { "leading" } else { "not leading" }
            );
        }
    }

    fn timeout_error(&self) -> ApiError {
        let cause = "no answer in time".to_owned();
        ApiError { call: Box::new(self.call("update")), cause, class: ErrorType::Timeout, retry_after: None }
    }

    /// I/O: renews what we hold, else looks, and writes where the claim is ours to make. Returns whether we
    /// lead.
    async fn try_acquire_or_renew(&mut self) -> Result<bool, ApiError> {
        if let Some(mut held) = self.own_lease.take() {
            let (acquired, transitions) = held
                .spec
                .as_ref()
                .map_or((None, 0), |s| (s.acquire_time.clone(), s.lease_transitions.unwrap_or(0)));
            held.spec = Some(LeaseSpec { acquire_time: acquired, ..self.spec(transitions) });
            match call_with_timeout(
                self.call("update"),
                self.api.replace(LEASE_NAME, &PostParams::default(), &held),
            )
            .await
            {
                Ok(renewed) => {
                    self.own_lease = Some(renewed);
                    return Ok(true);
                }
                // Somebody changed it: look again.
                Err(error) if matches!(error.class, ErrorType::Conflict | ErrorType::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        let Some(lease) = call_with_timeout(self.call("get"), self.api.get_opt(LEASE_NAME)).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(LEASE_NAME.into()), ..ObjectMeta::default() },
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
            return Ok(false);
        }
        let mut claim = lease;
        let mut spec = self.spec(transitions + i32::from(holder != self.identity));
        if holder == self.identity {
            spec.acquire_time = claim.spec.and_then(|s| s.acquire_time);
        }
        claim.spec = Some(spec);
        let replaced = call_with_timeout(
            self.call("update"),
            self.api.replace(LEASE_NAME, &PostParams::default(), &claim),
        )
        .await;
        self.acquired(replaced)
    }

    /// Whether another's claim has stood still for its whole duration while we looked.
    fn expired(&mut self, lease: &Lease) -> bool {
        let version = |l: &Lease| l.metadata.resource_version.clone();
        match &self.observed {
            Some((known, since)) if version(known) == version(lease) => {
                let seconds = lease
                    .spec
                    .as_ref()
                    .and_then(|s| s.lease_duration_seconds)
                    .and_then(|s| u64::try_from(s).ok());
                since.elapsed() >= seconds.map_or(LEASE_DURATION, Duration::from_secs)
            }
            _ => {
                self.observed = Some((lease.clone(), Instant::now()));
                false
            }
        }
    }

    async fn release(&self) -> Result<(), ApiError> {
        let Some(mut lease) = call_with_timeout(self.call("get"), self.api.get_opt(LEASE_NAME)).await? else {
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
        call_with_timeout(self.call("update"), self.api.replace(LEASE_NAME, &PostParams::default(), &lease))
            .await
            .map(|_| ())
    }

    fn spec(&self, transitions: i32) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    /// A conflict means that another was faster.
    fn acquired(&mut self, answer: Result<Lease, ApiError>) -> Result<bool, ApiError> {
        match answer {
            Ok(lease) => {
                self.own_lease = Some(lease);
                Ok(true)
            }
            Err(error) if error.class == ErrorType::Conflict => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn call(&self, verb: &'static str) -> ApiCall {
        ApiCall {
            verb,
            resource: "leases.coordination.k8s.io".into(),
            namespace: self.namespace.clone(),
            name: LEASE_NAME.into(),
        }
    }
}
