//! Which object owns a host: one per cluster, so that no namespace receives another one's requests. Makes no
//! requests.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use kube::ResourceExt;
use parking_lot::Mutex;

use crate::{
    cluster::{
        ObjectKey,
        apply::result::{ApplyError, ApplyResult},
    },
    controller::kinds::{Kind, Object},
    foreign::{ChildKind, fields},
    render::{Child, applied::LiveChildren},
    telemetry::ErrorType,
};

/// An object's claim to a host. The oldest sorts first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostClaim {
    created: Option<Timestamp>,
    key: ObjectKey,
    uid: String,
    /// The spec is valid. An invalid one is never applied, so it keeps a host only while its children serve it.
    is_valid: bool,
}

impl HostClaim {
    /// The host that an object requests, with its claim; `None` if it requests none. `is_valid` validates the
    /// spec.
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
        // Names in other namespaces are not public.
        let owner = if self.key.namespace == namespace {
            format!("ElpioService {}", self.key.name)
        } else {
            "an ElpioService in another namespace".to_owned()
        };
        let message = format!(
            "host {host} is already used by {owner}; choose another host, or wait until it is released (nothing was applied)"
        );
        ApplyError::new(ErrorType::NameConflict, message)
    }
}

/// Who claims which host, and who holds it. Covers only watched objects: with `ELPIO_NAMESPACES`, those of
/// these namespaces.
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
    /// The claim that was granted the host: it keeps it for as long as it claims it.
    holder: Option<HostClaim>,
}

impl HostClaims {
    /// Records the host that an object claims now; `None`: none, or the object was deleted. Returns the
    /// objects that may now get a host.
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

    /// Grants the host to this claim, unless another one holds it, which is then returned. `serves` reports whether a
    /// claimant's children route the host's requests to it. A claim from a `refused` namespace holds nothing.
    ///
    /// # Errors
    /// The claim that holds the host.
    pub fn acquire(
        &self,
        host: &str,
        claim: &HostClaim,
        serves: impl Fn(&HostClaim) -> bool,
        refused: &[String],
    ) -> Result<(), HostClaim> {
        let mut all = self.0.lock();
        let Some(claimants) = all.hosts.get_mut(host) else { return Ok(()) };
        let owner = host_owner(claimants, claim, serves, refused);
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
    /// Removes an object's claim. Returns the objects that may get its host.
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

/// The owner of a host: the claim that was granted it, else the one that serves it (after a restart of the
/// operator), else the oldest. An older object that claims it later takes it from nobody.
fn host_owner<'a>(
    claimants: &'a Claimants,
    asking: &'a HostClaim,
    serves: impl Fn(&HostClaim) -> bool,
    refused: &[String],
) -> &'a HostClaim {
    let is_known = |claim: &&HostClaim| !refused.contains(&claim.key.namespace);
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
        ChildKind::HttpScaledObject => fields::list(&child.data, "/spec/hosts").any(|known| known == host),
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
