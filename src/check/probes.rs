//! Queries the API server for the facts behind the rows. I/O; it judges nothing.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, future::try_join_all};
use k8s_openapi::{
    api::{
        admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
        authentication::v1::SelfSubjectReview,
        authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams, WatchParams},
    core::WatchEvent,
};

use crate::{
    api::{API_VERSION, GROUP},
    check::{
        judge::{EngineFacts, OwnCrd},
        permissions::Permission,
    },
    cluster::client::call::{ApiCall, ApiError, call_with_timeout},
    foreign::{ChildKind, support::SupportRow},
};

/// The watch sends an existing CRD at once.
const CRD_TIMEOUT: Duration = Duration::from_secs(5);
/// Labels of a CRD with its project's version.
const VERSION_LABELS: [&str; 4] = [
    "app.kubernetes.io/version",
    "serving.knative.dev/release",
    "pipeline.tekton.dev/release",
    "external-secrets.io/version",
];

fn to(verb: &'static str, resource: &str) -> ApiCall {
    ApiCall::new(verb, resource, "", "")
}

/// The user name, as the API server authenticated it.
pub async fn user_name(client: &Client) -> Result<String, ApiError> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let call = to("create", "selfsubjectreviews.authentication.k8s.io");
    let review =
        call_with_timeout(call, api.create(&PostParams::default(), &SelfSubjectReview::default())).await?;
    Ok(review.status.and_then(|status| status.user_info?.username).unwrap_or_default())
}

/// Whether a verb is permitted.
pub async fn is_permitted(
    client: &Client,
    permission: &Permission,
    verb: &str,
    namespace: Option<&str>,
) -> Result<bool, ApiError> {
    let (resource, subresource) = permission
        .resource
        .split_once('/')
        .map_or((permission.resource.as_str(), None), |(r, s)| (r, Some(s)));
    let attributes = ResourceAttributes {
        group: Some(permission.group.clone()),
        resource: Some(resource.to_owned()),
        subresource: subresource.map(str::to_owned),
        verb: Some(verb.to_owned()),
        namespace: namespace.map(str::to_owned),
        name: permission.name.map(str::to_owned),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let call = to("create", "selfsubjectaccessreviews.authorization.k8s.io");
    let response = call_with_timeout(call, api.create(&PostParams::default(), &review)).await?;
    Ok(response.status.is_some_and(|status| status.allowed))
}

/// The served plurals of the API groups that Elpio uses, by `group/version`.
pub async fn served(client: &Client) -> Result<BTreeMap<String, Vec<String>>, ApiError> {
    let groups = call_with_timeout(to("list", "API groups"), client.list_api_groups()).await?;
    let is_used = |group: &str| group == GROUP || ChildKind::ALL.iter().any(|kind| kind.group() == group);
    let groups = groups.groups.iter().filter(|group| is_used(&group.name));
    let versions = groups.flat_map(|group| &group.versions).map(|version| &version.group_version);
    let of_version = async |version: &String| {
        let resources = client.list_api_group_resources(version);
        let resources = call_with_timeout(to("list", version), resources).await?;
        Ok((version.clone(), resources.resources.into_iter().map(|r| r.name).collect()))
    };
    Ok(try_join_all(versions.map(of_version)).await?.into_iter().collect())
}

/// One CRD, read with a watch, because the operator has only that permission.
async fn crd(client: &Client, name: &str) -> Result<Option<CustomResourceDefinition>, String> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let params = WatchParams::default().fields(&format!("metadata.name={name}")).timeout(10);
    let stream = api.watch(&params, "0");
    let stream = call_with_timeout(to("watch", "customresourcedefinitions.apiextensions.k8s.io"), stream);
    let mut stream = std::pin::pin!(stream.await.map_err(|error| error.cause)?);
    match tokio::time::timeout(CRD_TIMEOUT, stream.next()).await {
        Ok(Some(Ok(WatchEvent::Added(found) | WatchEvent::Modified(found)))) => Ok(Some(found)),
        Ok(Some(Ok(WatchEvent::Error(status)))) => Err(status.message),
        Ok(Some(Err(error))) => Err(error.to_string()),
        _ => Ok(None),
    }
}

/// One of Elpio's CRDs.
pub async fn own_crd(
    client: &Client,
    served: &BTreeMap<String, Vec<String>>,
    own: &CustomResourceDefinition,
) -> OwnCrd {
    let is_served = served.get(API_VERSION).is_some_and(|all| all.contains(&own.spec.names.plural));
    if !is_served {
        return OwnCrd::NotServed;
    }
    match crd(client, own.metadata.name.as_deref().unwrap_or_default()).await {
        Ok(Some(found)) => OwnCrd::Read(Box::new(found)),
        Ok(None) => OwnCrd::Unreadable("the API server did not send it in time".to_owned()),
        Err(why) => OwnCrd::Unreadable(why),
    }
}

/// The facts about a project.
pub async fn engine(
    client: &Client,
    served: &BTreeMap<String, Vec<String>>,
    row: &SupportRow,
) -> EngineFacts {
    let has = |kind: &ChildKind, version: &str| {
        let plurals = served.get(&kind.api_version_at(version));
        plurals.is_some_and(|all| all.iter().any(|plural| plural == kind.plural()))
    };
    let is_absent = |kind: &&ChildKind| !kind.versions().iter().any(|version| has(kind, version));
    let missing =
        |kind: &ChildKind| format!("{}.{} at {}", kind.plural(), kind.group(), kind.versions().join(" or "));
    let of_group = |kind: &ChildKind| served.keys().any(|v| v.split('/').next() == Some(kind.group()));
    let is_installed = row.kinds.iter().any(of_group);
    let mut version = None;
    if let Some(name) = row.kinds.first().and_then(|kind| kind.crd()).filter(|_| is_installed)
        && let Ok(Some(found)) = crd(client, &name).await
    {
        let labels = found.metadata.labels.unwrap_or_default();
        version = VERSION_LABELS.iter().find_map(|label| labels.get(*label)).cloned();
    }
    EngineFacts { is_installed, missing: row.kinds.iter().filter(is_absent).map(missing).collect(), version }
}

/// The validation actions of the bound lent-rights policies, for each of Elpio's resources; none without a
/// binding.
pub async fn policies(client: &Client) -> Result<BTreeMap<String, Vec<String>>, ApiError> {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
    let all = ListParams::default();
    let name = "validatingadmissionpolicies.admissionregistration.k8s.io";
    let policies = call_with_timeout(to("list", name), policies.list(&all)).await?;
    let name = "validatingadmissionpolicybindings.admissionregistration.k8s.io";
    let bindings = call_with_timeout(to("list", name), bindings.list(&all)).await?;
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for policy in policies.items {
        let name = policy.metadata.name.unwrap_or_default();
        let rules = policy.spec.and_then(|spec| spec.match_constraints?.resource_rules).unwrap_or_default();
        let own_rules =
            rules.iter().filter(|rule| rule.api_groups.iter().flatten().any(|group| group == GROUP));
        let resources = own_rules.flat_map(|rule| rule.resources.clone().unwrap_or_default());
        let bound = bindings.items.iter().filter_map(|binding| binding.spec.as_ref());
        let bound = bound.filter(|spec| spec.policy_name.as_deref() == Some(&name));
        let actions: Vec<String> =
            bound.flat_map(|spec| spec.validation_actions.clone().unwrap_or_default()).collect();
        for resource in resources.filter(|_| name.contains("lent-rights") && !actions.is_empty()) {
            found.entry(resource).or_default().extend(actions.iter().cloned());
        }
    }
    Ok(found)
}
