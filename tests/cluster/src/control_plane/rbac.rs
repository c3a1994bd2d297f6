//! Waits until RBAC changes take effect: the API server's authorizer learns of roles and bindings by watches,
//! shortly after they are written. It changes no permission.

use std::time::Duration;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{
    Client,
    api::{Api, PostParams},
};

use crate::eventually;

const TIMEOUT: Duration = Duration::from_mins(2);

/// Waits until the API server allows the user this verb on this group and resource in all namespaces, or
/// denies it. `*` means all.
///
/// # Panics
/// After two minutes.
pub async fn wait_for_permission(
    client: &Client,
    user: &str,
    allowed: bool,
    [verb, group, resource]: [&str; 3],
) {
    let text = |text: &str| Some(text.to_owned());
    let attributes = ResourceAttributes {
        verb: text(verb),
        group: text(group),
        resource: text(resource),
        ..ResourceAttributes::default()
    };
    let spec = SubjectAccessReviewSpec {
        user: text(user),
        resource_attributes: Some(attributes),
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let reviews = Api::<SubjectAccessReview>::all(client.clone());
    eventually(&format!("{user} may {verb} {resource} of {group:?}: {allowed}"), TIMEOUT, async || {
        let answer =
            reviews.create(&PostParams::default(), &review).await.map_err(|error| error.to_string())?;
        let status = answer.status.unwrap_or_default();
        if status.allowed == allowed { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
}
