//! A proxy before the API server that answers some requests itself or loses their answers, as a broken network
//! or API Priority and Fairness would. Everything else is the real API server's.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    response::Response,
};
use http::{
    StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, TRANSFER_ENCODING},
    request::Parts,
};
use kube::{
    Client, Config,
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};

/// What happens to a request instead of its answer.
pub enum Fault {
    /// It is answered here.
    Answer(Response),
    /// The API server gets it; the connection breaks before its answer.
    LoseAnswer,
    /// The API server gets it once there is a permit.
    Hold(Arc<Semaphore>),
    /// The API server gets it; its answer comes once there is a permit.
    HoldAnswer(Arc<Semaphore>),
}

/// When each of some requests arrived.
pub type Arrivals = Arc<Mutex<Vec<Instant>>>;

type Rule = Box<dyn FnMut(&Parts) -> Option<Fault> + Send>;

struct Shared {
    client: Client,
    rule: Mutex<Rule>,
}

/// Forwards until it is dropped.
pub struct FaultProxy {
    kubeconfig: PathBuf,
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

impl FaultProxy {
    /// Before the API server of that kubeconfig. Clients bring its credentials, or the token of a file.
    pub async fn start(kubeconfig: &Path, token_file: Option<&Path>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let own = listener.local_addr().unwrap();
        let read = Kubeconfig::read_from(kubeconfig).unwrap();
        let mut config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.unwrap();
        config.auth_info = AuthInfo::default();
        config.default_retry = false;
        let client = Client::try_from(config).unwrap();
        let shared = Arc::new(Shared { client, rule: Mutex::new(Box::new(|_| None)) });

        let mut text: Value = serde_json::from_str(&std::fs::read_to_string(kubeconfig).unwrap()).unwrap();
        text["clusters"][0]["cluster"] = json!({"server": format!("http://{own}")});
        if let Some(file) = token_file {
            text["users"][0]["user"] = json!({"tokenFile": file});
        }
        let path = kubeconfig.with_file_name(format!("faults-{}.kubeconfig", own.port()));
        std::fs::write(&path, text.to_string()).unwrap();

        let router = Router::new().fallback(forward).with_state(Arc::clone(&shared));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { kubeconfig: path, shared, _server: server }
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// From now on this decides about each request.
    pub fn set(&self, rule: impl FnMut(&Parts) -> Option<Fault> + Send + 'static) {
        *self.shared.rule.lock() = Box::new(rule);
    }

    /// From now on the first of these requests fails and the others pass. Returns when each of them arrives.
    pub fn fail_first(
        &self,
        is_one: impl Fn(&Parts) -> bool + Send + 'static,
        fault: impl Fn() -> Fault + Send + 'static,
    ) -> Arrivals {
        let arrivals = Arrivals::default();
        let recorded = Arc::clone(&arrivals);
        self.set(move |parts| {
            if !is_one(parts) {
                return None;
            }
            let mut recorded = recorded.lock();
            recorded.push(Instant::now());
            (recorded.len() == 1).then(&fault)
        });
        arrivals
    }

    /// From now on every request passes.
    pub fn clear(&self) {
        self.set(|_| None);
    }
}

/// An error as the API server answers it.
pub fn status(code: u16, reason: &str, message: &str) -> Fault {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": reason, "code": code});
    let answer = Response::builder().status(code).header(CONTENT_TYPE, "application/json");
    Fault::Answer(answer.body(Body::from(body.to_string())).unwrap())
}

/// 429 as API Priority and Fairness answers it: plain text, the pause in the header alone.
pub fn too_many_requests(seconds: u32) -> Fault {
    let answer = Response::builder().status(StatusCode::TOO_MANY_REQUESTS).header(RETRY_AFTER, seconds);
    Fault::Answer(answer.body(Body::from("Too many requests, please try again later.\n")).unwrap())
}

/// The time between the first two arrivals.
pub fn first_pause(arrivals: &Arrivals) -> Duration {
    let arrivals = arrivals.lock();
    arrivals[1].duration_since(arrivals[0])
}

/// Whether a request writes an Event.
pub fn writes_event(parts: &Parts) -> bool {
    parts.method != http::Method::GET && parts.uri.path().starts_with("/apis/events.k8s.io/")
}

async fn forward(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let fault = (shared.rule.lock())(&parts);
    if let Some(Fault::Answer(answer)) = fault {
        return answer;
    }
    if let Some(Fault::Hold(gate)) = &fault {
        gate.acquire().await.unwrap().forget();
    }
    for name in [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        parts.headers.remove(name);
    }
    let body: Bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let request = http::Request::from_parts(parts, kube::client::Body::from(body));
    let Ok(answer) = shared.client.send(request).await else {
        return Response::builder().status(StatusCode::BAD_GATEWAY).body(Body::empty()).unwrap();
    };
    if let Some(Fault::HoldAnswer(gate)) = &fault {
        gate.acquire().await.unwrap().forget();
    }
    if matches!(fault, Some(Fault::LoseAnswer)) {
        let broken = futures::stream::iter([Err::<Bytes, _>(std::io::Error::other("the answer is lost"))]);
        return Response::builder().header(CONTENT_LENGTH, 1000).body(Body::from_stream(broken)).unwrap();
    }
    let (mut parts, body) = answer.into_parts();
    for name in [CONNECTION, TRANSFER_ENCODING] {
        parts.headers.remove(name);
    }
    parts.version = http::Version::HTTP_11;
    Response::from_parts(parts, Body::new(body))
}
