//! One request that writes an Event; it retries nothing.

use k8s_openapi::{Resource as _, api::events::v1::Event};
use kube::{
    Client, Resource,
    core::{Request, TypeMeta, request},
};
use serde::de::Unexpected;

use crate::cluster::{client::error_class::is_namespace_gone, events::write::EventWriteResult};

/// Sends a request for the Events of a namespace. Parses only the kind of the answer: the rest is known.
///
/// # Errors
/// If the API server refuses the request, except in a namespace that is being deleted, or if the answer is
/// not an Event.
pub async fn send(
    client: &Client,
    namespace: &str,
    build: impl FnOnce(&Request) -> Result<http::Request<Vec<u8>>, request::Error>,
) -> kube::Result<EventWriteResult> {
    let events = Request::new(<Event as Resource>::url_path(&(), Some(namespace)));
    let request = build(&events).map_err(kube::Error::BuildRequest)?;
    write_result(client.request(request).await)
}

fn write_result(response: kube::Result<TypeMeta>) -> kube::Result<EventWriteResult> {
    match response {
        Ok(written) if written.kind == Event::KIND => Ok(EventWriteResult::Written),
        Ok(other) => {
            let kind = Unexpected::Str(&other.kind);
            Err(kube::Error::SerdeError(serde::de::Error::invalid_value(kind, &Event::KIND)))
        }
        Err(kube::Error::Api(status)) if is_namespace_gone(&status) => Ok(EventWriteResult::NamespaceGone),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use super::*;

    #[test]
    fn only_an_event_was_written() {
        let result_for = |kind: &str| {
            write_result(Ok(TypeMeta { api_version: "events.k8s.io/v1".to_owned(), kind: kind.to_owned() }))
        };
        assert!(matches!(result_for("Event"), Ok(EventWriteResult::Written)));
        let error = result_for("Status").expect_err("no Event").to_string();
        assert!(error.contains(r#"invalid value: string "Status", expected Event"#), "{error}");
    }
}
