//! When a right is in force: the API server's authorizer learns of roles and bindings by watches of its own,
//! a moment after they are written.

use std::time::Duration;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{
    Client,
    api::{Api, PostParams},
};

use crate::eventually;

const BOUND: Duration = Duration::from_mins(2);

/// Waits until the API server allows that user to do this in every namespace, or no longer does. `*` stands
/// for every verb, group or resource.
///
/// # Panics
/// When it does not happen.
pub async fn in_force(client: &Client, user: &str, allowed: bool, [verb, group, resource]: [&str; 3]) {
    let text = |text: &str| Some(text.to_owned());
    let asked = ResourceAttributes {
        verb: text(verb),
        group: text(group),
        resource: text(resource),
        ..ResourceAttributes::default()
    };
    let spec = SubjectAccessReviewSpec {
        user: text(user),
        resource_attributes: Some(asked),
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let reviews = Api::<SubjectAccessReview>::all(client.clone());
    eventually(&format!("{user} may {verb} {resource} of {group:?}: {allowed}"), BOUND, async || {
        let answer =
            reviews.create(&PostParams::default(), &review).await.map_err(|error| error.to_string())?;
        let status = answer.status.unwrap_or_default();
        if status.allowed == allowed { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
}
