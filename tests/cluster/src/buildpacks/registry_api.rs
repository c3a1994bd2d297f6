//! The part of the distribution specification that a client needs to pull and to push. It decides nothing of
//! what is stored.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::buildpacks::registry::{Images, digest};

type Answer = Response<Full<Bytes>>;

/// Serves until dropped.
pub(super) async fn serve(listener: TcpListener, images: Arc<Mutex<Images>>, authorization: String) {
    let authorization: Arc<str> = authorization.into();
    while let Ok((stream, _)) = listener.accept().await {
        let (images, authorization) = (Arc::clone(&images), Arc::clone(&authorization));
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &images, &authorization));
            // A client may go at any time.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    images: &Mutex<Images>,
    authorization: &str,
) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
    let mut images = images.lock().unwrap_or_else(PoisonError::into_inner);
    let is_public = head.uri.path().starts_with("/v2/run/") && head.method.is_safe();
    if !is_public && head.headers.get(header::AUTHORIZATION).is_none_or(|given| given != authorization) {
        images.refused += 1;
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"registry\"".to_owned())];
        let errors = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        return Ok(response(StatusCode::UNAUTHORIZED, &challenge, errors.into()));
    }
    let query: HashMap<&str, String> = head
        .uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name, value.replace("%3A", ":")))
        .collect();
    let path: Vec<&str> = head.uri.path().trim_start_matches("/v2").split('/').collect();
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    Ok(match path.as_slice() {
        [.., "blobs", "uploads", upload] => push_blob(&mut images, &head.method, upload, &query, body),
        [.., "blobs", name] => {
            found(images.blobs.get(*name).map(|content| ("application/octet-stream", content)))
        }
        [name @ .., "manifests", reference] => {
            let name = name.join("/").trim_start_matches('/').to_owned();
            if head.method == Method::PUT {
                push_manifest(&mut images, &name, reference, kind, &body)
            } else {
                let manifest = images.manifests.get(&(name, (*reference).to_owned()));
                found(manifest.map(|(kind, content)| (kind.as_str(), content)))
            }
        }
        _ => response(StatusCode::OK, &[], Vec::new()),
    })
}

fn response(status: StatusCode, headers: &[(header::HeaderName, String)], body: Vec<u8>) -> Answer {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Full::new(body.into())).expect("valid headers")
}

fn found(content: Option<(&str, &Vec<u8>)>) -> Answer {
    let Some((kind, content)) = content else {
        // Clients tell an image that is not there from a wrong address by the code.
        let errors = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"not found"}]}"#;
        return response(StatusCode::NOT_FOUND, &[], errors.into());
    };
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_LENGTH, content.len().to_string()),
        (header::HeaderName::from_static("docker-content-digest"), digest(content)),
    ];
    // The server leaves the body of an answer to HEAD out.
    response(StatusCode::OK, &headers, content.clone())
}

/// A POST begins an upload, or finds that the content is there; PATCH adds to it, PUT ends it.
fn push_blob(
    images: &mut Images,
    method: &Method,
    upload: &str,
    query: &HashMap<&str, String>,
    body: Vec<u8>,
) -> Answer {
    if *method == Method::DELETE {
        return response(StatusCode::NO_CONTENT, &[], Vec::new());
    }
    if query.get("mount").is_some_and(|blob| images.blobs.contains_key(blob)) {
        let at = format!("/v2/any/blobs/{}", query["mount"]);
        return response(StatusCode::CREATED, &[(header::LOCATION, at)], Vec::new());
    }
    let upload = if upload.is_empty() { images.uploads.len().to_string() } else { upload.to_owned() };
    let content = images.uploads.entry(upload.clone()).or_default();
    content.extend(body);
    let Some(name) = query.get("digest") else {
        let at = format!("/v2/any/blobs/uploads/{upload}");
        return response(StatusCode::ACCEPTED, &[(header::LOCATION, at)], Vec::new());
    };
    let content = std::mem::take(content);
    if digest(&content) != *name {
        return response(StatusCode::BAD_REQUEST, &[], Vec::new());
    }
    images.blobs.insert(name.clone(), content);
    response(StatusCode::CREATED, &[(header::LOCATION, format!("/v2/any/blobs/{name}"))], Vec::new())
}

fn push_manifest(images: &mut Images, name: &str, reference: &str, kind: &str, content: &[u8]) -> Answer {
    let of_content = digest(content);
    for reference in [reference.to_owned(), of_content.clone()] {
        images.manifests.insert((name.to_owned(), reference), (kind.to_owned(), content.to_vec()));
    }
    let header = header::HeaderName::from_static("docker-content-digest");
    response(StatusCode::CREATED, &[(header, of_content)], Vec::new())
}
