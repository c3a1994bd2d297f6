//! Which object has a host: one of the whole cluster, so that no namespace gets the requests of another. It
//! makes no request.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use kube::ResourceExt;
use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    cluster::{
        ObjectKey,
        apply::result::{ApplyError, ApplyResult},
    },
    controller::kinds::{Kind, Object},
    foreign::ChildKind,
    render::{Child, applied::LiveChildren},
    telemetry::ErrorType,
};

/// An object that asks for a host. The oldest is the first in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostClaim {
    created: Option<Timestamp>,
    key: ObjectKey,
    uid: String,
    /// Its spec follows the rules. One that does not is never applied, and has a host only while it serves.
    is_valid: bool,
}

impl HostClaim {
    /// The host that an object asks for, with its claim; `None` where it asks for none. `is_valid` says whether its
    /// spec follows the rules.
    pub fn of_object<K: Kind>(object: &Object<K>, is_valid: impl FnOnce() -> bool) -> Option<(String, Self)> {
        let host = K::host(object.spec.as_ref().ok()?)?.to_owned();
        let (key, uid) = (ObjectKey::from_object(object), object.uid().unwrap_or_default());
        let created = object.creation_timestamp().map(|at| at.0);
        Some((host, Self { created, key, uid, is_valid: is_valid() }))
    }

    /// The uid of the object.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// Why an object of this namespace does not get the host.
    fn conflict(&self, host: &str, namespace: &str) -> ApplyError {
        // The names in other namespaces are not for everybody.
        let owner = if self.key.namespace == namespace {
            format!("ElpioService {}", self.key.name)
        } else {
            "an ElpioService of another namespace".to_owned()
        };
        let message = format!(
            "host {host} is already used by {owner}; choose another host, or wait until it is released (nothing was applied)"
        );
        ApplyError::new(ErrorType::NameConflict, message)
    }
}

/// Who asks for which host, and who has it. Only what is watched is known: with `ELPIO_NAMESPACES`, these
/// namespaces.
#[derive(Debug, Default)]
pub struct HostClaims(Mutex<ClaimsByHost>);

#[derive(Debug, Default)]
struct ClaimsByHost {
    hosts: HashMap<String, Claimants>,
    host_of: HashMap<ObjectKey, (String, HostClaim)>,
}

#[derive(Debug, Default)]
struct Claimants {
    claims: BTreeSet<HostClaim>,
    /// To whom the host was given: it keeps it for as long as it asks for it.
    holder: Option<HostClaim>,
}

impl HostClaims {
    /// Takes note of what an object asks for now; `None`: nothing, or it is deleted. Returns the objects that
    /// may get a host by that.
    pub fn observe(&self, key: &ObjectKey, claim: Option<(String, HostClaim)>) -> Vec<ObjectKey> {
        let mut all = self.0.lock();
        if all.host_of.get(key) == claim.as_ref() {
            return Vec::new();
        }
        let waiting = all.remove(key);
        if let Some((host, claim)) = claim {
            all.hosts.entry(host.clone()).or_default().claims.insert(claim.clone());
            all.host_of.insert(key.clone(), (host, claim));
        }
        waiting
    }

    /// Gives the host to this claim, unless another has it, which is returned then. `serves` says whether the
    /// children of a claimant lead requests for the host to it. A claim of a `lost` namespace holds nothing.
    ///
    /// # Errors
    /// The claim that has the host.
    pub fn acquire(
        &self,
        host: &str,
        claim: &HostClaim,
        serves: impl Fn(&HostClaim) -> bool,
        lost: &[String],
    ) -> Result<(), HostClaim> {
        let mut all = self.0.lock();
        let Some(claimants) = all.hosts.get_mut(host) else { return Ok(()) };
        let owner = host_owner(claimants, claim, serves, lost);
        if owner.uid != claim.uid {
            return Err(owner.clone());
        }
        if claimants.claims.contains(claim) {
            claimants.holder = Some(claim.clone());
        }
        Ok(())
    }
}

impl ClaimsByHost {
    /// Returns the objects that may get the host of this one.
    fn remove(&mut self, key: &ObjectKey) -> Vec<ObjectKey> {
        let Some((host, claim)) = self.host_of.remove(key) else { return Vec::new() };
        let Some(claimants) = self.hosts.get_mut(&host) else { return Vec::new() };
        claimants.claims.remove(&claim);
        if claimants.claims.is_empty() {
            self.hosts.remove(&host);
            return Vec::new();
        }
        claimants.holder.take_if(|holder| *holder == claim);
        if claimants.holder.is_some() {
            return Vec::new();
        }
        claimants.claims.iter().map(|claim| claim.key.clone()).collect()
    }
}

/// Who has a host: to whom it was given, else who serves it (the operator has been started anew), else the
/// oldest. An older object that asks later takes it from nobody.
fn host_owner<'a>(
    claimants: &'a Claimants,
    asking: &'a HostClaim,
    serves: impl Fn(&HostClaim) -> bool,
    lost: &[String],
) -> &'a HostClaim {
    let is_known = |claim: &&HostClaim| !lost.contains(&claim.key.namespace);
    if let Some(holder) = claimants.holder.as_ref().filter(is_known) {
        return holder;
    }
    let may_have =
        |claim: &&HostClaim| claim.uid != asking.uid && is_known(claim) && (claim.is_valid || serves(claim));
    let others: Vec<&HostClaim> = claimants.claims.iter().filter(may_have).collect();
    if others.is_empty() {
        return asking;
    }
    let first = others.into_iter().chain([asking]).min_by_key(|claim| (!serves(claim), *claim));
    first.unwrap_or(asking)
}

/// Whether these children lead requests for the host to their owner.
#[must_use]
pub fn serves_host(live: &LiveChildren, host: &str) -> bool {
    live.iter().any(|(id, child)| match id.kind {
        ChildKind::DomainMapping => id.name == host,
        ChildKind::HttpScaledObject => {
            let hosts = child.data.pointer("/spec/hosts").and_then(Value::as_array);
            hosts.is_some_and(|hosts| hosts.iter().any(|known| known == host))
        }
        _ => false,
    })
}

/// What an apply comes to that is not begun, because another has the host.
#[must_use]
pub fn refused(desired: &[Child], host: &str, owner: &HostClaim, namespace: &str) -> ApplyResult {
    let routes =
        |child: &&Child| matches!(child.id.kind, ChildKind::DomainMapping | ChildKind::HttpScaledObject);
    let mut result = ApplyResult::default();
    if let Some(route) = desired.iter().find(routes).or(desired.last()) {
        result.withhold(desired, &route.id, owner.conflict(host, namespace));
    }
    result
}

#[cfg(test)]
#[path = "hosts_test.rs"]
mod tests;
