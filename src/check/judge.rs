//! Turns facts about the cluster into rows. Pure; takes the time as an argument.

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::LeaseSpec,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};

use crate::{
    api::{Engine, VERSION},
    check::{permissions::default_project, report::CheckRow},
    foreign::support::{MinorVersion, Support, SupportRow},
};

/// The command that applies this program's CRDs.
const APPLY_CRDS: &str = "elpio-operator crds | kubectl apply --server-side -f -";

/// Compares the API server's version with the support matrix.
#[must_use]
pub fn server_row(git_version: Option<&str>, row: &SupportRow) -> CheckRow {
    const NAME: &str = "API server";
    let Some(git_version) = git_version else {
        return CheckRow::warning(
            NAME,
            "reachable, but this user cannot read its version",
            "bind the ClusterRole system:public-info-viewer, or run the check as an administrator",
        );
    };
    match MinorVersion::parse(git_version).map(|version| row.support(version)) {
        Some(Support::TooOld(oldest)) => CheckRow::error(
            NAME,
            format!("{git_version}, older than {oldest}"),
            format!("upgrade Kubernetes to {oldest} or newer"),
        ),
        Some(Support::Newer(tested)) => CheckRow::warning(
            NAME,
            format!("{git_version}, newer than the {tested} that is tested"),
            "upgrade Elpio",
        ),
        _ => CheckRow::ok(NAME, git_version),
    }
}

/// The facts about one of Elpio's CRDs.
#[derive(Debug)]
pub enum OwnCrd {
    /// The API server does not serve its kind.
    NotServed,
    /// The kind is served, but its CRD cannot be read for this reason.
    Unreadable(String),
    /// The CRD that serves the kind.
    Read(Box<CustomResourceDefinition>),
}

/// Compares an installed CRD with this program's.
#[must_use]
pub fn crd_row(own: &CustomResourceDefinition, found: &OwnCrd) -> CheckRow {
    let name = format!("CRD {}", own.spec.names.plural);
    match found {
        OwnCrd::NotServed => CheckRow::error(name, format!("{VERSION} is not served"), APPLY_CRDS.to_owned()),
        OwnCrd::Unreadable(why) => CheckRow::warning(
            name,
            format!("served; its schema is unknown: {why}"),
            "permit `watch` on customresourcedefinitions.apiextensions.k8s.io to compare it",
        ),
        OwnCrd::Read(live) => match difference(own, live) {
            None => CheckRow::ok(name, format!("served, matches {}", env!("CARGO_PKG_VERSION"))),
            Some(differs) => {
                let found = format!("{differs} differs from that of {}", env!("CARGO_PKG_VERSION"));
                CheckRow::error(name, found, APPLY_CRDS.to_owned())
            }
        },
    }
}

/// The first difference that affects the API server's behaviour.
fn difference(own: &CustomResourceDefinition, live: &CustomResourceDefinition) -> Option<&'static str> {
    let [own, live] = [own, live]
        .map(|crd| crd.spec.versions.iter().find(|version| version.name == VERSION && version.served));
    match (own, live) {
        (Some(own), Some(live)) if own.schema != live.schema => Some("the schema"),
        (Some(own), Some(live)) if own.subresources != live.subresources => Some("the subresources"),
        (Some(own), Some(live)) if own.additional_printer_columns != live.additional_printer_columns => {
            Some("the list of columns")
        }
        (Some(_), Some(_)) => None,
        _ => Some("the list of versions"),
    }
}

/// The facts about a project whose kinds Elpio uses.
#[derive(Clone, Debug, Default)]
pub struct EngineFacts {
    /// Whether the API server serves any API group of the project.
    pub is_installed: bool,
    /// The kinds not served at a version that Elpio uses, as `plural.group at VERSION`.
    pub missing: Vec<String>,
    /// The version in the labels of its CRDs.
    pub version: Option<String>,
}

/// Compares a project with the support matrix.
#[must_use]
pub fn engine_row(row: &SupportRow, facts: &EngineFacts, engine: Engine) -> CheckRow {
    let (name, project) = (row.project, row.project);
    if !facts.is_installed && default_project(engine) == name {
        let found = format!("not installed, and the default engine is {}", engine.as_str());
        return CheckRow::error(name, found, format!("install {project}, or set ELPIO_ENGINE"));
    }
    if !facts.is_installed {
        return CheckRow::ok(name, format!("not installed; needed for {}", row.needed_for));
    }
    if !facts.missing.is_empty() {
        let found = format!("does not serve {}", facts.missing.join(", "));
        return CheckRow::error(name, found, format!("install or upgrade {project}"));
    }
    let Some(version) = &facts.version else {
        return CheckRow::ok(name, format!("served; tested with {}", row.tested));
    };
    match MinorVersion::parse(version).map(|parsed| row.support(parsed)) {
        Some(Support::TooOld(oldest)) => CheckRow::error(
            name,
            format!("{version}, older than {oldest}"),
            format!("upgrade {project} to {oldest} or newer"),
        ),
        Some(Support::Deprecated(why)) => {
            CheckRow::warning(name, format!("{version}: {why}"), format!("stay with {}", row.tested))
        }
        Some(Support::Newer(tested)) => CheckRow::ok(name, format!("{version}; tested with {tested}")),
        Some(Support::Supported) => CheckRow::ok(name, version.clone()),
        None => CheckRow::ok(name, format!("{version}; tested with {}", row.tested)),
    }
}

/// Checks the Lease. Tolerates a clock skew of up to its duration.
#[must_use]
pub fn lease_row(name: &str, namespace: &str, lease: Option<&LeaseSpec>, now: Timestamp) -> CheckRow {
    let check = "Lease";
    let action = format!(
        "start the operator, or check its log: kubectl -n {namespace} logs -l \
         app.kubernetes.io/part-of=elpio,app.kubernetes.io/component=operator; if it serves only some \
         namespaces, set ELPIO_NAMESPACES to its value"
    );
    let Some(lease) = lease else {
        return CheckRow::error(check, format!("{namespace}/{name} does not exist"), action);
    };
    let holder = lease.holder_identity.as_deref().unwrap_or_default();
    if holder.is_empty() {
        return CheckRow::error(check, format!("{namespace}/{name} has no holder"), action);
    }
    let lasts = i64::from(lease.lease_duration_seconds.unwrap_or(15));
    let age = lease.renew_time.as_ref().map_or(i64::MAX, |at| now.as_second() - at.0.as_second());
    if age > 2 * lasts {
        let when = lease.renew_time.as_ref().map_or_else(|| "never".to_owned(), |at| at.0.to_string());
        return CheckRow::error(check, format!("held by {holder}, last renewed {when}"), action);
    }
    CheckRow::ok(check, format!("held by {holder}, renewed {} s ago", age.max(0)))
}

/// The consequence of a missing policy.
const UNPROTECTED: &str =
    "anyone who can write these objects can use any ServiceAccount, Secret, store or issuer of the namespace";

/// Checks that policies protect the resource: `actions` are the validation actions of their bindings, `None`
/// without any.
#[must_use]
pub fn policy_row(resource: &str, actions: Option<&[String]>, engine: Engine) -> CheckRow {
    let check = format!("policy for {resource}");
    match actions {
        None => CheckRow::warning(
            check,
            format!("no ValidatingAdmissionPolicy in force: {UNPROTECTED}"),
            format!(
                "set policies.lentRights: Deny in the chart's values; with kubectl, apply \
                 deploy/policies/lent-rights.yaml with this operator's user name in matchConditions, and {} as \
                 defaultEngine",
                engine.as_str()
            ),
        ),
        Some(actions) if actions.iter().any(|action| action == "Deny") => {
            CheckRow::ok(check, format!("in force ({})", actions.join(", ")))
        }
        Some(actions) => CheckRow::warning(
            check,
            format!("only {}: {UNPROTECTED}", actions.join(", ")),
            "set policies.lentRights: Deny in the chart's values, or validationActions: [Deny] in its binding",
        ),
    }
}

#[cfg(test)]
#[path = "judge_test.rs"]
mod tests;
