//! The list and watch protocol for one resource: pages, resourceVersions, bookmarks and errors. It stores no
//! objects and never backs off.
//!
//! kube's own watcher hides bookmarks, resourceVersions and the kinds of its errors. Here they decide how
//! soon a watch resumes and whether its resourceVersion is still usable.

use std::{future::Future, time::Duration};

use futures::{AsyncReadExt, Stream, StreamExt};
use kube::{
    Client, Resource,
    api::{ListParams, WatchParams},
    core::{ObjectList, Request, Status, WatchEvent, request},
};
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::cluster::{
    client::call::{CALL_TIMEOUT, complete_within, retry_after},
    store::{backoff::WatchFailure, list_page, stored_object::StoredObject},
};

/// Smaller than client-go's 500, to limit the memory for parsing.
const PAGE_SIZE: u32 = 100;
/// The largest response to a list. A larger one is requested again with fewer objects.
const MAX_PAGE_BYTES: u64 = 2 << 20;
/// The factor by which the page then shrinks.
const PAGE_DIVISOR: u32 = 4;
/// How long the API server keeps a watch open; the same as in kube's watcher.
pub const WATCH_TIMEOUT: Duration = Duration::from_secs(290);
/// Selects nothing: no object can have this name.
const NO_OBJECT: &str = "metadata.name=-";
/// The timeout of one page.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// A point in the history of a resource: resourceVersions are integers that can be compared (KEP-5504).
pub type ResourceVersion = u64;

/// A watch event.
#[derive(Debug)]
pub enum WatchChange<K> {
    /// An object was added or modified.
    Applied(K),
    /// An object was deleted.
    Deleted(K),
    /// No change up to the new resourceVersion.
    Bookmark,
}

/// Lists and watches one resource in one scope.
#[derive(Clone)]
pub struct ListWatch {
    client: Client,
    url: String,
    /// Label selector; "" for none.
    selector: &'static str,
}

impl ListWatch {
    /// A `ListWatch` for this resource in a namespace; "" for all.
    #[must_use]
    pub fn new<R: Resource>(
        client: Client,
        resource: &R::DynamicType,
        scope: &str,
        selector: &'static str,
    ) -> Self {
        let url = R::url_path(resource, Some(scope).filter(|scope| !scope.is_empty()));
        Self { client, url, selector }
    }

    /// The path of the resource.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    fn request(
        &self,
        build: impl FnOnce(&Request) -> Result<http::Request<Vec<u8>>, request::Error>,
    ) -> kube::Result<http::Request<Vec<u8>>> {
        build(&Request::new(&self.url)).map_err(kube::Error::BuildRequest)
    }

    fn list_params(&self) -> ListParams {
        ListParams::default().labels(self.selector)
    }

    /// Passes all objects to `take`, page by page, with the resourceVersion of the list. Returns that
    /// resourceVersion.
    ///
    /// # Errors
    /// [`WatchFailure`].
    pub async fn list<K: Clone + DeserializeOwned>(
        &self,
        mut take: impl FnMut(ResourceVersion, Vec<K>),
    ) -> Result<ResourceVersion, WatchFailure> {
        let (mut params, mut limit) = (self.list_params(), PAGE_SIZE);
        loop {
            params = params.limit(limit);
            let Some(page) = in_time(PAGE_TIMEOUT, self.page(&params, limit)).await? else {
                limit = (limit / PAGE_DIVISOR).max(1);
                continue;
            };
            let version = version_of(page.metadata.resource_version.as_deref())?;
            take(version, page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(version),
            }
        }
    }

    /// One page; `None` if it is too large. A page of a single object is read whatever its size, which the
    /// API server limits.
    async fn page<K: Clone + DeserializeOwned>(
        &self,
        params: &ListParams,
        limit: u32,
    ) -> kube::Result<Option<ObjectList<K>>> {
        let request = self.request(|request| request.list(params))?;
        let response = self.client.request_stream(request).await?;
        let max = if limit > 1 { MAX_PAGE_BYTES } else { u64::MAX };
        let mut text = Vec::new();
        let read = std::pin::pin!(response).take(max.saturating_add(1)).read_to_end(&mut text).await;
        read.map_err(|error| kube::Error::Service(error.into()))?;
        if text.len() as u64 > max {
            return Ok(None);
        }
        list_page::decode(&text).map(Some).map_err(kube::Error::SerdeError)
    }

    /// Whether the API server is behind a resourceVersion that it has already shown, as after a restore of
    /// etcd and the restart of the API server that this requires. The response contains at most one object.
    ///
    /// # Errors
    /// [`WatchFailure`].
    pub async fn is_rewound(&self, shown: ResourceVersion) -> Result<bool, WatchFailure> {
        // The watch cache answers at once. A consistent read may take seconds while the API server is busy,
        // so it happens only if the cache is behind; another API server's cache may merely lag. The cache
        // ignores the limit.
        let cached = self.list_params().fields(NO_OBJECT).match_any();
        Ok(self.newest(&cached).await? < shown && self.newest(&self.list_params().limit(1)).await? < shown)
    }

    /// The resourceVersion of the response to a list.
    async fn newest(&self, params: &ListParams) -> Result<ResourceVersion, WatchFailure> {
        let page = async {
            let request = self.request(|request| request.list_metadata(params))?;
            self.client.request::<ObjectList<IgnoredAny>>(request).await
        };
        version_of(in_time(CALL_TIMEOUT, page).await?.metadata.resource_version.as_deref())
    }

    /// Opens a watch that starts at a resourceVersion.
    ///
    /// # Errors
    /// [`WatchFailure`].
    pub async fn watch<K: Clone + DeserializeOwned + Send + 'static>(
        &self,
        from: ResourceVersion,
    ) -> Result<impl Stream<Item = kube::Result<WatchEvent<K>>> + Send + Unpin + use<K>, WatchFailure> {
        let seconds = u32::try_from(WATCH_TIMEOUT.as_secs()).unwrap_or_default();
        let params = WatchParams::default().labels(self.selector).timeout(seconds);
        let stream = async {
            let request = self.request(|request| request.watch(&params, &from.to_string()))?;
            self.client.request_events(request).await
        };
        Ok(in_time(CALL_TIMEOUT, stream).await?.boxed())
    }
}

/// Interprets one item of a watch and advances the resourceVersion. `None`: nothing to act on.
///
/// # Errors
/// [`WatchFailure`]: leave the stream.
pub fn advance<K: StoredObject>(
    item: kube::Result<WatchEvent<K>>,
    version: &mut ResourceVersion,
) -> Result<Option<WatchChange<K>>, WatchFailure> {
    let (brought, change) = match item {
        Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
            (object.resource_version(), WatchChange::Applied(object))
        }
        Ok(WatchEvent::Deleted(object)) => (object.resource_version(), WatchChange::Deleted(object)),
        Ok(WatchEvent::Bookmark(bookmark)) => {
            (bookmark.metadata.resource_version.parse().ok(), WatchChange::Bookmark)
        }
        Ok(WatchEvent::Error(status)) => return Err(of_status(&status)),
        // One object that cannot be decoded must not hide the others.
        Err(kube::Error::SerdeError(error)) => {
            tracing::warn!(%error, "failed to decode a watched object");
            return Ok(None);
        }
        Err(error) => return Err(of_error(&error)),
    };
    let next = brought.ok_or_else(no_version)?;
    if next < *version {
        return Err(WatchFailure::Expired);
    }
    *version = next;
    Ok(Some(change))
}

fn version_of(version: Option<&str>) -> Result<ResourceVersion, WatchFailure> {
    version.and_then(|version| version.parse().ok()).ok_or_else(no_version)
}

fn no_version() -> WatchFailure {
    WatchFailure::Failed("the response has no resourceVersion, or one that is not a number".to_owned(), None)
}

async fn in_time<T>(bound: Duration, call: impl Future<Output = kube::Result<T>>) -> Result<T, WatchFailure> {
    match complete_within(bound, call).await {
        Some(result) => result.map_err(|error| of_error(&error)),
        None => Err(WatchFailure::Unreachable(format!("no response within {} s", bound.as_secs()))),
    }
}

/// Classifies a client error.
#[must_use]
pub fn of_error(error: &kube::Error) -> WatchFailure {
    match error {
        kube::Error::Api(status) => of_status(status),
        kube::Error::SerdeError(_) | kube::Error::BuildRequest(_) => {
            WatchFailure::Failed(error.to_string(), None)
        }
        _ => WatchFailure::Unreachable(error.to_string()),
    }
}

fn of_status(status: &Status) -> WatchFailure {
    match status.code {
        403 => WatchFailure::Forbidden(status.message.clone()),
        404 => WatchFailure::Absent,
        410 => WatchFailure::Expired,
        // The API server timed out waiting to reach the resourceVersion.
        504 if status.details.as_ref().is_some_and(too_large) => WatchFailure::Expired,
        code => {
            WatchFailure::Failed(format!("{code} {}: {}", status.reason, status.message), retry_after(status))
        }
    }
}

fn too_large(details: &kube::core::response::StatusDetails) -> bool {
    details.causes.iter().any(|cause| cause.reason == "ResourceVersionTooLarge")
}

#[cfg(test)]
#[path = "list_watch_test.rs"]
mod tests;
