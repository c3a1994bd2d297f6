//! The HTTPS server of [`crate::Webhook`]: it answers admission reviews by the webhook's rules, and decides
//! nothing itself.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{
    chaos::webhook::{ReviewedRequest, Rule, State},
    control_plane::pki::Authority,
};

/// An `AdmissionReview` of `admission.k8s.io/v1`, reduced to the fields in use.
#[derive(Deserialize)]
struct Review {
    request: Request,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    resource: Resource,
    #[serde(default)]
    sub_resource: String,
    operation: String,
    #[serde(default)]
    name: String,
    user_info: UserInfo,
}

#[derive(Deserialize)]
struct Resource {
    group: String,
    resource: String,
}

#[derive(Deserialize)]
struct UserInfo {
    #[serde(default)]
    username: String,
}

impl From<Request> for ReviewedRequest {
    fn from(request: Request) -> Self {
        Self {
            group: request.resource.group,
            resource: request.resource.resource,
            subresource: request.sub_resource,
            operation: request.operation,
            name: request.name,
            user: request.user_info.username,
            refused: None,
        }
    }
}

pub(crate) fn acceptor(authority: &Authority) -> TlsAcceptor {
    let identity = authority.server(&["127.0.0.1"]);
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes())
        .expect("our authority issues valid PEM");
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("our authority issues valid PEM");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring knows them")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("our authority issues valid PEM");
    TlsAcceptor::from(Arc::new(config))
}

pub(crate) async fn serve(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            // The API server retries a failed connection.
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let service = service_fn(|request| review(request, &state));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn review(
    request: http::Request<Incoming>,
    state: &Mutex<State>,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let body = match request.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Ok(bad_request()),
    };
    let Ok(Review { request }) = serde_json::from_slice(&body) else {
        return Ok(bad_request());
    };
    let uid = request.uid.clone();
    let mut reviewed = ReviewedRequest::from(request);
    let rule = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let rule = take_matching(&mut state.rules, &reviewed);
        reviewed.refused = rule.as_ref().map(|rule| rule.code).filter(|code| *code > 0);
        state.requests.push(reviewed);
        rule
    };
    if let Some(rule) = &rule {
        tokio::time::sleep(rule.delay).await;
    }
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": response(&uid, rule.filter(|rule| rule.code > 0)),
    });
    let body = Full::new(Bytes::from(review.to_string()));
    let json = http::Response::builder().header("content-type", "application/json");
    Ok(json.body(body).expect("a valid header"))
}

/// The first matching rule; it is removed after its last use.
fn take_matching(rules: &mut Vec<Rule>, request: &ReviewedRequest) -> Option<Rule> {
    let index = rules.iter().position(|rule| rule.matches(request))?;
    let rule = rules[index].clone();
    match &mut rules[index].times {
        Some(1) => drop(rules.remove(index)),
        Some(times) => *times -= 1,
        None => (),
    }
    Some(rule)
}

fn response(uid: &str, refused_by: Option<Rule>) -> Value {
    let Some(rule) = refused_by else {
        return json!({"uid": uid, "allowed": true});
    };
    let mut status = json!({
        "status": "Failure", "code": rule.code, "reason": rule.reason, "message": rule.message,
    });
    if let Some(seconds) = rule.retry_after {
        status["details"] = json!({"retryAfterSeconds": seconds});
    }
    json!({"uid": uid, "allowed": false, "status": status})
}

fn bad_request() -> http::Response<Full<Bytes>> {
    let mut response = http::Response::new(Full::new(Bytes::new()));
    *response.status_mut() = http::StatusCode::BAD_REQUEST;
    response
}
