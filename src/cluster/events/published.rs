//! Which of Elpio's Events exist in a namespace: read after a start or a change of leader. Writes none.

use std::collections::BTreeSet;

use k8s_openapi::api::events::v1::Event;
use kube::{
    Api, ResourceExt,
    api::{ListParams, ObjectList, PartialObjectMeta},
};

use crate::cluster::{
    client::call::{ApiError, call_with_timeout},
    events::{
        object::CONTROLLER,
        recorder::{Recorder, call},
    },
};

/// As in client-go. Only metadata is read.
const PAGE_SIZE: u32 = 500;

impl Recorder {
    /// I/O: the names of Elpio's Events in a namespace, possibly tens of thousands. Incomplete if listing
    /// fails; that is harmless, because names are derived and a republished Event is found under its name.
    pub async fn published_names(&self, namespace: &str) -> BTreeSet<String> {
        let own = ListParams::default().fields(&format!("reportingController={CONTROLLER}"));
        let (mut params, mut names) = (own.limit(PAGE_SIZE), BTreeSet::new());
        loop {
            let page = match self.list(namespace, &params).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::debug!(%error, "failed to list Events");
                    return names;
                }
            };
            names.extend(page.items.iter().map(ResourceExt::name_any));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return names,
            }
        }
    }

    async fn list(
        &self,
        namespace: &str,
        params: &ListParams,
    ) -> Result<ObjectList<PartialObjectMeta<Event>>, ApiError> {
        let api: Api<Event> = Api::namespaced(self.0.client.clone(), namespace);
        call_with_timeout(call("list", namespace, ""), api.list_metadata(params)).await
    }
}
