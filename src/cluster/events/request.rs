//! One request that writes an Event; it decides nothing.

use k8s_openapi::api::events::v1::Event;
use kube::{
    Client, Resource as _,
    core::{Request, request},
};
use serde::de::IgnoredAny;

use crate::cluster::{client::error_class::is_namespace_gone, events::write::EventWriteResult};

/// Sends a request to the Events of a namespace. The Event is not parsed from the answer, which has nothing new.
///
/// # Errors
/// What the API server refuses, but in a namespace that is being deleted: that is no error.
pub async fn send(
    client: &Client,
    name: &'static str,
    namespace: &str,
    build: impl FnOnce(&Request) -> Result<http::Request<Vec<u8>>, request::Error>,
) -> kube::Result<EventWriteResult> {
    let events = Request::new(Event::url_path(&(), Some(namespace)));
    let mut request = build(&events).map_err(kube::Error::BuildRequest)?;
    // As kube names it in its own spans.
    request.extensions_mut().insert(name);
    match client.request::<IgnoredAny>(request).await {
        Ok(IgnoredAny) => Ok(EventWriteResult::Written),
        Err(kube::Error::Api(status)) if is_namespace_gone(&status) => Ok(EventWriteResult::NamespaceGone),
        Err(error) => Err(error),
    }
}
