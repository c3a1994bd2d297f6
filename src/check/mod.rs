//! `elpio-operator check`: whether the operator can work with this cluster, these permissions and this
//! configuration. Read-only.

pub mod command;
pub mod judge;
pub mod permissions;
mod probes;
pub mod report;

use std::time::Duration;

use futures::{StreamExt, future::join_all, stream};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};

use crate::{
    api,
    check::{
        judge::{crd_row, engine_row, lease_row, policy_row, server_row},
        permissions::{PermissionGroup, PermissionScope, permission_groups},
        report::CheckRow,
    },
    cluster::{
        client::{
            call::{ApiCall, call_with_timeout},
            open::{ClusterChoice, open},
        },
        leader_election::lease::lease_name,
    },
    command_line::LineError,
    config::{OperatorConfig, ProcessConfig},
    foreign::support::{ENGINES, KUBERNETES},
    runtime_info,
    telemetry::{ErrorType, ExporterProbe, TelemetryConfig, probe_exporters},
};

/// How many permissions are checked concurrently.
const CONCURRENCY: usize = 16;
/// The interval between attempts with `--wait`.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How many missing permissions a row lists.
const NAMED_PERMISSIONS: usize = 4;

/// The options of a check.
#[derive(Clone, Debug, Default)]
pub struct CheckOptions {
    /// The cluster.
    pub cluster: ClusterChoice,
    /// The operator's namespace.
    pub namespace: Option<String>,
    /// How long to retry while a check fails.
    pub wait: Duration,
}

/// Runs every check.
///
/// # Errors
/// If there is no cluster, it does not answer, or nothing is permitted at all.
pub async fn check(options: &CheckOptions, config: &ProcessConfig) -> Result<Vec<CheckRow>, LineError> {
    let opened = open(&options.cluster).await?;
    let runtime = runtime_info::runtime_info(&opened.config);
    let known = runtime.in_cluster || std::env::var_os("POD_NAMESPACE").is_some();
    let default = if known { runtime.namespace } else { "elpio-system".to_owned() };
    let namespace = options.namespace.clone().unwrap_or(default);
    let deadline = tokio::time::Instant::now() + options.wait;
    loop {
        let rows = rows(&opened.client, opened.version.as_deref(), &namespace, config).await;
        let is_passed = rows.as_ref().is_ok_and(|rows| report::is_passed(rows));
        if is_passed || tokio::time::Instant::now() + RETRY_INTERVAL > deadline {
            return rows;
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

async fn rows(
    client: &Client,
    version: Option<&str>,
    namespace: &str,
    config: &ProcessConfig,
) -> Result<Vec<CheckRow>, LineError> {
    let user = probes::user_name(client).await?;
    let served = probes::served(client).await?;
    let mut rows = vec![server_row(version, &KUBERNETES), CheckRow::ok("user", &user)];
    rows.push(if config.warnings.is_empty() {
        CheckRow::ok("configuration", "ELPIO_* and OTEL_* are valid")
    } else {
        CheckRow::warning("configuration", config.warnings.join("; "), "fix these variables")
    });
    let own = api::crds().into_iter().map(|(_, own)| own).collect::<Vec<_>>();
    // Each one waits for a watch.
    let (crds, facts) = tokio::join!(
        join_all(own.iter().map(|own| probes::own_crd(client, &served, own))),
        join_all(ENGINES.iter().map(|row| probes::engine(client, &served, row))),
    );
    rows.extend(own.iter().zip(&crds).map(|(own, found)| crd_row(own, found)));
    let installed: Vec<&str> = ENGINES
        .iter()
        .zip(&facts)
        .filter(|(_, facts)| facts.is_installed)
        .map(|(row, _)| row.project)
        .collect();
    let engine = config.operator.engine;
    rows.extend(ENGINES.iter().zip(&facts).map(|(row, facts)| engine_row(row, facts, engine)));
    rows.extend(permission_rows(client, &user, namespace, &config.operator, &installed).await?);
    rows.push(lease(client, namespace, &config.operator).await);
    rows.extend(policy_rows(client, &config.operator).await);
    rows.extend(otlp_rows(&config.telemetry).await);
    Ok(rows)
}

/// The missing permissions, each as `VERB RESOURCE[ in NAMESPACE]`, and the number of permissions in the group.
async fn missing(
    client: &Client,
    group: &PermissionGroup,
    own_namespace: &str,
    namespaces: &[String],
) -> Result<(Vec<String>, usize), LineError> {
    let served: Vec<Option<&str>> = match namespaces {
        [] => vec![None],
        some => some.iter().map(|name| Some(name.as_str())).collect(),
    };
    let own = [Some(own_namespace)];
    let mut questions = Vec::new();
    for permission in &group.permissions {
        let scopes = match permission.scope {
            PermissionScope::ServedNamespaces => &served[..],
            PermissionScope::OwnNamespace => &own,
            PermissionScope::Cluster => &[None],
        };
        for scope in scopes {
            questions.extend(permission.verbs.iter().map(|verb| (permission, *verb, *scope)));
        }
    }
    let count = questions.len();
    let asked = stream::iter(questions).map(async |(permission, verb, scope)| {
        let permitted = probes::is_permitted(client, permission, verb, scope).await?;
        let within = scope.map_or_else(String::new, |name| format!(" in namespace {name}"));
        Ok::<_, LineError>((!permitted).then(|| format!("{verb} {}{within}", full_name(permission))))
    });
    let results: Vec<_> = asked.buffered(CONCURRENCY).collect().await;
    let missing: Result<Vec<Option<String>>, _> = results.into_iter().collect();
    Ok((missing?.into_iter().flatten().collect(), count))
}

fn full_name(permission: &permissions::Permission) -> String {
    let name = permission.name.map_or_else(String::new, |name| format!(" {name}"));
    let (resource, sub) = permission.resource.split_once('/').unwrap_or((&permission.resource, ""));
    let dot = if permission.group.is_empty() { "" } else { "." };
    let slash = if sub.is_empty() { "" } else { "/" };
    format!("{resource}{dot}{}{slash}{sub}{name}", permission.group)
}

async fn permission_rows(
    client: &Client,
    user: &str,
    namespace: &str,
    config: &OperatorConfig,
    installed: &[&str],
) -> Result<Vec<CheckRow>, LineError> {
    let (mut rows, mut granted) = (Vec::new(), 0);
    for group in permission_groups(config.engine) {
        let (missing, count) = missing(client, &group, namespace, &config.namespaces).await?;
        granted += count - missing.len();
        let name = format!("permissions: {}", group.purpose);
        let mut named = missing.iter().take(NAMED_PERMISSIONS).cloned().collect::<Vec<_>>().join(", ");
        if missing.len() > NAMED_PERMISSIONS {
            named = format!("{named} and {} more", missing.len() - NAMED_PERMISSIONS);
        }
        let is_unused = group.project.is_some_and(|project| !installed.contains(&project));
        let action = "upgrade the Helm release to what is installed, or apply the roles of your manifests, and \
                      bind them to the operator's ServiceAccount";
        rows.push(match (missing.len(), group.without) {
            (0, _) => CheckRow::ok(name, format!("{count} granted")),
            (_, Some(_)) if is_unused => CheckRow::ok(name, "not granted, and not installed"),
            (all, Some(without)) if all == count => {
                CheckRow::warning(name, format!("not granted: {without}"), action)
            }
            _ => CheckRow::error(name, format!("{user} cannot {named}"), action),
        });
    }
    if granted == 0 {
        return Err(format!(
            "{user} has none of the operator's permissions: bind it to the roles in deploy/install.yaml, or \
             run the check as the operator's ServiceAccount"
        )
        .into());
    }
    Ok(rows)
}

async fn lease(client: &Client, namespace: &str, config: &OperatorConfig) -> CheckRow {
    if config.leader_elect == Some(false) {
        return CheckRow::ok("Lease", "leader election is off");
    }
    let name = lease_name(&config.namespaces);
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let call = ApiCall::new("get", "leases.coordination.k8s.io", namespace, &name);
    match call_with_timeout(call, api.get_opt(&name)).await {
        Ok(lease) => {
            let spec = lease.map(|lease| lease.spec.unwrap_or_default());
            lease_row(&name, namespace, spec.as_ref(), Timestamp::now())
        }
        Err(error) => CheckRow::error("Lease", error.to_string(), "grant the role for leader election"),
    }
}

async fn policy_rows(client: &Client, config: &OperatorConfig) -> Vec<CheckRow> {
    let found = probes::policies(client).await;
    let row = |resource: &str| match &found {
        Ok(found) => policy_row(resource, found.get(resource).map(Vec::as_slice), config.engine),
        Err(error) if error.class == ErrorType::Forbidden => CheckRow::warning(
            format!("policy for {resource}"),
            "unknown: this user cannot list validatingadmissionpolicies and their bindings",
            "run the check as an administrator",
        ),
        Err(error) => CheckRow::warning(format!("policy for {resource}"), error.to_string(), "try again"),
    };
    api::crds().iter().map(|(_, crd)| row(&crd.spec.names.plural)).collect()
}

async fn otlp_rows(config: &TelemetryConfig) -> Vec<CheckRow> {
    let probed = probe_exporters(config).await;
    if probed.is_empty() {
        return vec![CheckRow::ok("OTLP", "nothing is pushed: no OTEL_EXPORTER_OTLP_ENDPOINT is set")];
    }
    let row = |probe: ExporterProbe| {
        let name = format!("OTLP {}", probe.signal);
        match probe.failure {
            None => CheckRow::ok(name, format!("{} accepts an export", probe.endpoint)),
            Some(cause) => CheckRow::error(
                name,
                format!("{}: {cause}", probe.endpoint),
                "start the collector, or correct OTEL_EXPORTER_OTLP_ENDPOINT and related variables",
            ),
        }
    };
    probed.into_iter().map(row).collect()
}
