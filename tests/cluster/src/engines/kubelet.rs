//! Plays one node for pods of a single container: binds them, runs each as a local process with a token of its
//! `ServiceAccount`, writes its status, and serves its log to the API server. It pulls no image: the program is
//! given.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{EnvVar, Node, Pod, Secret};
use kube::{
    api::{Api, Patch, PatchParams, PostParams, WatchParams},
    core::WatchEvent,
};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    Cluster,
    chaos::admission_server::acceptor,
    control_plane::pki::Authority,
    operator::NOT_INHERITED,
    process::{CommandSpec, Exit, Process, TempDir, free_port},
};

const NODE: &str = "local";
/// No pod of the tests runs longer.
const POD_TIMEOUT: Duration = Duration::from_mins(5);

/// A running kubelet; it stops on drop, and its pods with it.
#[derive(Debug)]
pub struct Kubelet {
    _tasks: JoinSet<()>,
}

impl Kubelet {
    /// Registers a node, and runs `program` for every new pod of the namespace that `selector` selects.
    ///
    /// # Panics
    /// If the API server refuses the node.
    pub async fn start(cluster: Arc<Cluster>, namespace: &str, selector: &str, program: &Path) -> Self {
        let dir = Arc::new(TempDir::new("kubelet"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let client = cluster.client().await;
        let nodes: Api<Node> = Api::all(client.clone());
        let force = PatchParams::apply("kubelet").force();
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}});
        nodes.patch(NODE, &force, &Patch::Apply(&node)).await.expect("a node");
        let status = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, "status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        }});
        nodes.patch_status(NODE, &force, &Patch::Apply(&status)).await.expect("the node's status");
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_logs(listener, dir.path().to_owned()));
        let pods: Api<Pod> = Api::namespaced(client, namespace);
        tasks.spawn(run_pods(cluster, pods, selector.to_owned(), program.to_owned(), dir));
        Self { _tasks: tasks }
    }
}

async fn run_pods(
    cluster: Arc<Cluster>,
    pods: Api<Pod>,
    selector: String,
    program: PathBuf,
    dir: Arc<TempDir>,
) {
    let mut seen = BTreeSet::new();
    let mut running = JoinSet::new();
    loop {
        let params = WatchParams::default().labels(&selector);
        let Ok(events) = pods.watch(&params, "0").await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let mut events = std::pin::pin!(events);
        while let Some(Ok(event)) = events.next().await {
            while running.try_join_next().is_some() {}
            let (WatchEvent::Added(pod) | WatchEvent::Modified(pod)) = event else { continue };
            if seen.insert(pod.metadata.uid.clone()) {
                let (cluster, pods, program, dir) =
                    (Arc::clone(&cluster), pods.clone(), program.clone(), Arc::clone(&dir));
                running.spawn(run_pod(cluster, pods, pod, program, dir));
            }
        }
    }
}

/// Binds the pod, runs it to its end, and reports it.
async fn run_pod(cluster: Arc<Cluster>, pods: Api<Pod>, pod: Pod, program: PathBuf, dir: Arc<TempDir>) {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let spec = pod.spec.clone().expect("a pod has a spec");
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"kind": "Node", "name": NODE}});
    pods.create_subresource::<_, serde_json::Value>("binding", &name, &PostParams::default(), &binding)
        .await
        .unwrap_or_else(|error| panic!("binding {name}: {error}"));
    let container = &spec.containers[0];
    assert!(
        spec.containers.len() == 1 && container.command.is_none(),
        "one container, of the image's entrypoint"
    );
    let account = spec.service_account_name.as_deref().unwrap_or("default");
    let kubeconfig = cluster.kubeconfig_for_service_account(&namespace, account).await;
    let mut env = vec![("KUBECONFIG".into(), kubeconfig.into())];
    for variable in container.env.iter().flatten() {
        let value = value_of(&cluster, &pod, variable).await;
        env.extend(value.map(|value| (variable.name.clone().into(), value.into())));
    }
    let log = log_name(&namespace, &name, &container.name);
    // An earlier pod may have had the same name.
    let _ = std::fs::remove_file(dir.path().join(format!("{log}.log")));
    let mut process = Process::spawn(CommandSpec {
        name: &log,
        program: &program,
        args: container.args.iter().flatten().map(Into::into).collect(),
        env,
        env_removed: NOT_INHERITED,
        dir: dir.path(),
    })
    .unwrap_or_else(|error| panic!("{name}: {error}"));
    let end = tokio::time::Instant::now() + POD_TIMEOUT;
    while process.exit().is_none() && tokio::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    process.kill();
    let code = match process.exit().expect("killed at the latest") {
        Exit::Code(code) => code,
        Exit::Signal(signal) => 128 + signal,
    };
    let (phase, reason) = if code == 0 { ("Succeeded", "Completed") } else { ("Failed", "Error") };
    let terminated =
        json!({"exitCode": code, "reason": reason, "finishedAt": pod.metadata.creation_timestamp});
    let container = json!({"name": container.name, "image": container.image, "imageID": "", "ready": false,
        "restartCount": 0, "state": {"terminated": terminated}});
    let status = json!({"status": {"phase": phase, "containerStatuses": [container]}});
    let patched = pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await;
    patched.unwrap_or_else(|error| panic!("the status of {name}: {error}"));
}

/// As a kubelet resolves it; `None` where an optional Secret is absent.
async fn value_of(cluster: &Cluster, pod: &Pod, variable: &EnvVar) -> Option<String> {
    let Some(source) = &variable.value_from else { return Some(variable.value.clone().unwrap_or_default()) };
    if let Some(field) = &source.field_ref {
        let metadata = &pod.metadata;
        return Some(match field.field_path.as_str() {
            "metadata.name" => metadata.name.clone().unwrap_or_default(),
            "metadata.namespace" => metadata.namespace.clone().unwrap_or_default(),
            "metadata.uid" => metadata.uid.clone().unwrap_or_default(),
            "spec.nodeName" => NODE.to_owned(),
            other => panic!("{}: {other} is not known here", variable.name),
        });
    }
    let key = source.secret_key_ref.as_ref().unwrap_or_else(|| panic!("{}: no such source", variable.name));
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let secrets: Api<Secret> = Api::namespaced(cluster.client().await, &namespace);
    let secret = secrets.get_opt(&key.name).await.expect("the Secret can be read")?;
    let value = secret.data.unwrap_or_default().remove(&key.key)?;
    Some(String::from_utf8_lossy(&value.0).into_owned())
}

fn log_name(namespace: &str, pod: &str, container: &str) -> String {
    format!("{namespace}_{pod}_{container}")
}

/// `/containerLogs/NAMESPACE/POD/CONTAINER`, as the API server asks for them.
async fn serve_logs(listener: TcpListener, dir: PathBuf) {
    let acceptor = acceptor(&Authority::new("elpio-kubelet"));
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (acceptor, dir) = (acceptor.clone(), dir.clone());
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(async |request: http::Request<Incoming>| {
                let parts: Vec<&str> = request.uri().path().split('/').skip(1).collect();
                let file = match parts[..] {
                    ["containerLogs", namespace, pod, container] => log_name(namespace, pod, container),
                    _ => String::new(),
                };
                let log = std::fs::read(dir.join(format!("{file}.log")));
                let code = if log.is_ok() { 200 } else { 404 };
                let body = Full::new(Bytes::from(log.unwrap_or_default()));
                Ok::<_, Infallible>(http::Response::builder().status(code).body(body).expect("valid"))
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
