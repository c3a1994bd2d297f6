//! The HTTPS server behind [`crate::Webhook`]: admission reviews in, verdicts by its rules out. Decides
//! nothing by itself.

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
    pki::Authority,
    webhook::{Rule, Seen, State},
};

/// `AdmissionReview` of `admission.k8s.io/v1`, as far as it is used.
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

impl From<Request> for Seen {
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
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("our own");
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("our own");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring knows them")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("our own");
    TlsAcceptor::from(Arc::new(config))
}

pub(crate) async fn serve(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            // A connection that fails is the API server's to repeat.
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let service = service_fn(|request| answer(request, &state));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
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
    let mut seen = Seen::from(request);
    let rule = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let rule = take(&mut state.rules, &seen);
        seen.refused = rule.as_ref().map(|rule| rule.code).filter(|code| *code > 0);
        state.seen.push(seen);
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

/// The first rule that concerns it; a rule that is used up is removed.
fn take(rules: &mut Vec<Rule>, seen: &Seen) -> Option<Rule> {
    let index = rules.iter().position(|rule| rule.concerns(seen))?;
    let rule = rules[index].clone();
    match &mut rules[index].times {
        Some(1) => drop(rules.remove(index)),
        Some(times) => *times -= 1,
        None => (),
    }
    Some(rule)
}

fn response(uid: &str, refusal: Option<Rule>) -> Value {
    let Some(rule) = refusal else {
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
