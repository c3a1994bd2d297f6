//! The tower layer for a bearer token from a file: reads the file again periodically, and at once after a
//! 401, which it retries once. Reports when the API server is unreachable. It handles no other credentials.

use std::{
    future::{Future, poll_fn},
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt as _, Either, Full};
use kube::{
    client::{AuthError, Body},
    config::AuthInfo,
};
use parking_lot::Mutex;
use tower::{BoxError, Layer, Service};

use crate::{
    cluster::client::{
        error_class::is_unauthorized,
        health::{ApiServerHealth, HealthChange, RequestOutcome},
        retry_after::ResponseBody,
    },
    telemetry::error_chain,
};

/// The age at which the file is read again; the kubelet rotates the token long before it expires.
const TOKEN_TTL: Duration = Duration::from_secs(30);
/// After a 401, the file is read at most once in this interval.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// The token from a file, as a header.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    cached: Mutex<CachedToken>,
}

#[derive(Debug)]
struct CachedToken {
    header: HeaderValue,
    read_at: Instant,
}

impl TokenFile {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// If the file cannot be read, or its content is not valid in a header.
    pub fn open(path: PathBuf) -> Result<Self, AuthError> {
        let header = read(&path)?;
        Ok(Self { path, cached: Mutex::new(CachedToken { header, read_at: Instant::now() }) })
    }

    fn header(&self, now: Instant) -> HeaderValue {
        let mut cached = self.cached.lock();
        if now.saturating_duration_since(cached.read_at) >= TOKEN_TTL {
            self.read_again(&mut cached, now);
        }
        cached.header.clone()
    }

    /// A token other than the refused one, if the file has one by now. Waits until the file may be read
    /// again, so that calls that are refused together share one read.
    async fn replacement(&self, refused: &HeaderValue) -> Option<HeaderValue> {
        tokio::time::sleep(self.pause(refused, Instant::now())).await;
        self.read_after(refused, Instant::now())
    }

    fn pause(&self, refused: &HeaderValue, now: Instant) -> Duration {
        let cached = self.cached.lock();
        let since_read = now.saturating_duration_since(cached.read_at);
        if cached.header == refused { REFRESH_INTERVAL.saturating_sub(since_read) } else { Duration::ZERO }
    }

    fn read_after(&self, refused: &HeaderValue, now: Instant) -> Option<HeaderValue> {
        let mut cached = self.cached.lock();
        if cached.header == refused && now.saturating_duration_since(cached.read_at) >= REFRESH_INTERVAL {
            self.read_again(&mut cached, now);
        }
        (cached.header != refused).then(|| cached.header.clone())
    }

    fn read_again(&self, cached: &mut CachedToken, now: Instant) {
        cached.read_at = now;
        // The last token is better than none while the file is being replaced.
        if let Ok(header) = read(&self.path) {
            cached.header = header;
        }
    }
}

fn read(path: &PathBuf) -> Result<HeaderValue, AuthError> {
    let token =
        std::fs::read_to_string(path).map_err(|error| AuthError::ReadTokenFile(error, path.clone()))?;
    let mut header =
        HeaderValue::try_from(format!("Bearer {}", token.trim())).map_err(AuthError::InvalidBearerToken)?;
    header.set_sensitive(true);
    Ok(header)
}

/// Makes [`CredentialsService`].
#[derive(Clone, Debug, Default)]
pub struct CredentialsLayer {
    token: Option<Arc<TokenFile>>,
    health: Arc<Mutex<ApiServerHealth>>,
}

impl CredentialsLayer {
    /// Takes the token file over from kube if kube would use it: kube itself reads the file again only every
    /// 50 s. kube keeps all other credentials.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn take_from(auth: &mut AuthInfo) -> Result<Self, AuthError> {
        let others = auth.token.is_some()
            || auth.auth_provider.is_some()
            || (auth.username.is_some() && auth.password.is_some());
        let file = if others { None } else { auth.token_file.take() };
        let token = file.map(|path| TokenFile::open(path.into())).transpose()?.map(Arc::new);
        Ok(Self { token, health: Arc::default() })
    }
}

impl<S> Layer<S> for CredentialsLayer {
    type Service = CredentialsService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CredentialsService { inner: Arc::new(Mutex::new(inner)), layer: self.clone() }
    }
}

/// Sets the token and retries a 401 once; see the module. The inner service is behind a lock because it
/// cannot be cloned, and the second request is sent after the first is answered.
#[derive(Clone, Debug)]
pub struct CredentialsService<S> {
    inner: Arc<Mutex<S>>,
    layer: CredentialsLayer,
}

impl<S, B> Service<Request<Body>> for CredentialsService<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError> + Send + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody<B>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.lock().poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let Some(token) = self.layer.token.clone() else {
            let (future, layer) = (self.inner.lock().call(request), self.layer.clone());
            return Box::pin(async move { layer.checked(future.await).await.map(|(response, _)| response) });
        };
        let header = token.header(Instant::now());
        request.headers_mut().insert(AUTHORIZATION, header.clone());
        let repeated = copy(&request);
        let future = self.inner.lock().call(request);
        let (inner, layer) = (Arc::clone(&self.inner), self.layer.clone());
        Box::pin(async move {
            let (response, unauthorized) = layer.checked(future.await).await?;
            let replacement = if unauthorized { token.replacement(&header).await } else { None };
            let (Some(header), Some(mut request)) = (replacement, repeated) else { return Ok(response) };
            request.headers_mut().insert(AUTHORIZATION, header);
            poll_fn(|cx| inner.lock().poll_ready(cx)).await?;
            let future = inner.lock().call(request);
            layer.checked(future.await).await.map(|(response, _)| response)
        })
    }
}

impl CredentialsLayer {
    /// The response, and whether it rejects the credentials.
    async fn checked<B>(
        &self,
        result: Result<Response<B>, BoxError>,
    ) -> Result<(Response<ResponseBody<B>>, bool), BoxError>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let response = match result {
            Ok(response) if response.status() == StatusCode::UNAUTHORIZED => {
                let (parts, body) = response.into_parts();
                let text = body.collect().await.map_err(Into::into)?.to_bytes();
                let unauthorized = is_unauthorized(&text);
                self.record(
                    if unauthorized { RequestOutcome::Unauthorized } else { RequestOutcome::Answered },
                    None,
                );
                return Ok((Response::from_parts(parts, Either::Right(Full::new(text))), unauthorized));
            }
            Ok(response) => response,
            Err(error) => {
                self.record(RequestOutcome::Unreachable, Some(error.as_ref()));
                return Err(error);
            }
        };
        self.record(RequestOutcome::Answered, None);
        Ok((response.map(Either::Left), false))
    }

    fn record(
        &self,
        outcome: RequestOutcome,
        error: Option<&(dyn std::error::Error + Send + Sync + 'static)>,
    ) {
        let change = self.health.lock().record(outcome, Instant::now());
        match change {
            Some(HealthChange::Unreachable) => {
                let error = error.map(|error| error_chain(error)).unwrap_or_default();
                tracing::warn!(error, "the API server is unreachable");
            }
            Some(HealthChange::Reachable(after)) => {
                tracing::info!("the API server is reachable again after {} s", after.as_secs());
            }
            Some(HealthChange::Unauthorized) => {
                tracing::warn!("the API server rejects the credentials (401 Unauthorized)");
            }
            Some(HealthChange::Authorized(after)) => {
                tracing::info!("the API server accepts the credentials again after {} s", after.as_secs());
            }
            None => {}
        }
    }
}

/// A copy of the request for the retry. Every body that Elpio sends can be copied.
fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_refused_token_is_read_again_at_most_once_a_second() {
        let path = std::env::temp_dir().join(format!("elpio-token-{}", std::process::id()));
        std::fs::write(&path, "old\n").unwrap();
        let file = TokenFile::open(path.clone()).unwrap();
        let start = file.cached.lock().read_at;
        let at = |millis| start + Duration::from_millis(millis);
        let old = file.header(at(0));
        assert_eq!((old.to_str().unwrap(), old.is_sensitive()), ("Bearer old", true));
        std::fs::write(&path, "new").unwrap();
        assert_eq!(file.header(at(29_999)), old, "not read before its time");
        assert_eq!(file.pause(&old, at(400)), Duration::from_millis(600));
        assert_eq!(file.read_after(&old, at(999)), None, "read less than a second ago");
        let new = file.read_after(&old, at(1000)).unwrap();
        assert_eq!(new, "Bearer new");
        assert_eq!(file.pause(&old, at(1001)), Duration::ZERO, "another call has read it");
        assert_eq!(file.read_after(&old, at(1001)), Some(new.clone()));
        assert_eq!(file.read_after(&new, at(1500)), None);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(file.header(at(60_000)), new, "the last token stays");
    }

    #[test]
    fn only_the_file_that_kube_would_use_is_taken() {
        let path = std::env::temp_dir().join(format!("elpio-taken-{}", std::process::id()));
        std::fs::write(&path, "t").unwrap();
        let file = Some(path.display().to_string());
        let mut auth = AuthInfo { token_file: file.clone(), ..AuthInfo::default() };
        assert!(CredentialsLayer::take_from(&mut auth).unwrap().token.is_some() && auth.token_file.is_none());
        let mut inline =
            AuthInfo { token: Some("t".to_owned().into()), token_file: file.clone(), ..AuthInfo::default() };
        assert!(CredentialsLayer::take_from(&mut inline).unwrap().token.is_none());
        assert_eq!(inline.token_file, file);
        let mut missing = AuthInfo { token_file: Some("/nowhere".into()), ..AuthInfo::default() };
        assert!(CredentialsLayer::take_from(&mut missing).is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
