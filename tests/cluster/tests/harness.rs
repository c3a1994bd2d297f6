//! The harness itself: what the tests of the operator stand on has to be proven first.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what it finds by panicking"
)]

use std::{fmt::Write as _, path::Path, time::Duration};

use elpio_cluster::{
    Cluster, Crds, Options, OtlpReceiver, StandInEngine, Webhook, eventually,
    otlp::Fault,
    process::unique,
    samples,
    standin::{Play, Verdict},
    webhook::Rule,
};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Secret, Service, ServiceAccount},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Client,
    api::{Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use nix::{sys::signal, unistd::Pid};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const BOUND: Duration = Duration::from_secs(30);

#[tokio::test]
async fn the_shared_cluster_serves_the_crds_of_every_project() {
    let cluster = Cluster::shared().await;
    let crds: Api<CustomResourceDefinition> = Api::all(cluster.client().await);
    let served: Vec<String> = crds
        .list(&ListParams::default())
        .await
        .unwrap()
        .items
        .iter()
        .map(kube::ResourceExt::name_any)
        .collect();
    for expected in [
        "services.serving.knative.dev",
        "domainmappings.serving.knative.dev",
        "scaledobjects.keda.sh",
        "httpscaledobjects.http.keda.sh",
        "certificates.cert-manager.io",
        "externalsecrets.external-secrets.io",
        "pipelineruns.tekton.dev",
        "elpioservices.elpio.io",
    ] {
        assert!(served.iter().any(|name| name == expected), "{expected} is not among {served:?}");
    }
}

#[tokio::test]
async fn users_have_the_rights_that_rbac_gives_them_and_the_audit_log_names_them() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("users").await;
    let mark = cluster.audit_mark();

    let maps: Api<ConfigMap> = Api::namespaced(cluster.client_as("elpio-test-7").await, &namespace);
    let denied = maps.list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(&denied, kube::Error::Api(status) if status.code == 403), "{denied:?}");

    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client().await, &namespace);
    accounts.create(&PostParams::default(), &named("robot")).await.unwrap();
    let kubeconfig = cluster.kubeconfig_for_service_account(&namespace, "robot").await;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client_for(&kubeconfig).await, &namespace);
    let denied = maps.list(&ListParams::default()).await.unwrap_err();
    let robot = format!("system:serviceaccount:{namespace}:robot");
    assert!(denied.to_string().contains(&robot), "{denied}");

    let audit = cluster.audit_since(mark).namespace(&namespace);
    let lists = audit.clone().resource("configmaps").verb("list");
    assert_eq!(lists.clone().user("elpio-test-7").len(), 1);
    assert_eq!(lists.user(&robot).0.first().map(|entry| entry.code), Some(403));
    assert_eq!(
        audit.clone().writes().user("admin").resource("serviceaccounts/token").len(),
        1,
        "{:?}",
        audit.count()
    );
}

#[tokio::test]
async fn the_api_server_can_be_stopped_started_paused_and_restarted_with_other_flags() {
    let cluster = Cluster::start(Options { audit: true, ..Options::default() }).await;
    let client = cluster.client().await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    maps.create(&PostParams::default(), &named("kept")).await.unwrap();

    cluster.stop_api_server().await;
    assert!(maps.get("kept").await.is_err());
    cluster.start_api_server().await;
    maps.get("kept").await.unwrap();

    cluster.pause();
    let silent = tokio::time::timeout(Duration::from_millis(300), maps.get("kept")).await;
    assert!(silent.is_err(), "{silent:?}");
    cluster.resume();
    maps.get("kept").await.unwrap();

    cluster.restart_api_server(&["--runtime-config=apps/v1=false"]).await;
    let apps = client.list_api_group_resources("apps/v1").await;
    assert!(apps.is_err(), "{apps:?}");
    assert_eq!(cluster.audit().user("admin").resource("configmaps").verb("create").len(), 1);
}

#[tokio::test]
async fn nothing_is_left_when_a_cluster_is_dropped() {
    let cluster = Cluster::start(Options::default()).await;
    let pids = cluster.pids();
    let folder = cluster.kubeconfig().parent().unwrap().to_owned();
    assert!(pids.len() == 2 && pids.iter().all(|pid| alive(*pid)) && folder.exists());
    drop(cluster);
    assert!(!pids.iter().any(|pid| alive(*pid)));
    assert!(!folder.exists());
}

#[tokio::test]
async fn nothing_is_left_when_the_test_process_is_killed() {
    let mut other = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "in_another_process", "--ignored", "--nocapture"])
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines =
        tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(other.stdout.take().unwrap()));
    let (pids, folder): (Vec<u32>, String) = loop {
        let line = lines.next_line().await.unwrap().expect("the other process says what it started");
        if let Some(at) = line.find("[[") {
            break serde_json::from_str(&line[at..]).unwrap();
        }
    };
    assert!(pids.iter().all(|pid| alive(*pid)));
    // SIGKILL: no destructor runs.
    other.start_kill().unwrap();
    eventually("the components have ended and their folder is gone", BOUND, async || {
        let left: Vec<&u32> = pids.iter().filter(|pid| alive(**pid)).collect();
        if left.is_empty() && !Path::new(&folder).exists() {
            Ok(())
        } else {
            Err(format!("{left:?} {folder}"))
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "run by nothing_is_left_when_the_test_process_is_killed"]
async fn in_another_process() {
    let cluster = Cluster::start(Options::default()).await;
    let folder = cluster.kubeconfig().parent().unwrap().to_owned();
    println!("{}", json!([cluster.pids(), folder]));
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn without_go_the_error_says_what_to_do() {
    let empty = std::env::temp_dir().join(format!("elpio-no-go-{}", unique()));
    let output = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_binary_is_built", "--ignored", "--nocapture"])
        .env("PATH", &empty)
        .env("XDG_CACHE_HOME", &empty)
        .env_remove("KUBEBUILDER_ASSETS")
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("etcd has to be built, and `go` is not on the PATH"), "{said}");
    std::fs::remove_dir_all(empty).unwrap();
}

#[test]
#[ignore = "run by without_go_the_error_says_what_to_do"]
fn a_binary_is_built() {
    println!("{}", elpio_cluster::components::ETCD.binary().unwrap_err());
}

#[tokio::test]
async fn the_webhook_makes_the_api_server_answer_what_it_is_told() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("webhook").await;
    let client = cluster.client().await;
    let webhook = Webhook::start(client.clone(), &namespace).await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);

    for code in [403, 404, 409, 422, 429, 500, 503] {
        webhook.add(Rule::refuse("configmaps", code, "not today").times(1));
        let name = format!("refused-{code}");
        match maps.create(&PostParams::default(), &named(&name)).await {
            Err(kube::Error::Api(status)) => {
                assert_eq!(status.code, code);
                assert!(status.message.contains("not today"), "{status:?}");
            }
            other => panic!("{other:?}"),
        }
        maps.create(&PostParams::default(), &named(&name)).await.expect("only one request was to be refused");
    }
    assert_eq!(webhook.refused(), 7);
    let seen = webhook.seen();
    assert_eq!(seen.iter().filter(|seen| seen.name == "refused-409").count(), 2, "{seen:?}");

    // Elsewhere it has no say.
    webhook.refuse("*", 500, "everything");
    let elsewhere: Api<ConfigMap> = Api::namespaced(client, &cluster.namespace("elsewhere").await);
    elsewhere.create(&PostParams::default(), &named("free")).await.unwrap();
    webhook.stop().await;
}

#[tokio::test]
async fn the_webhook_tells_an_object_from_its_status_and_can_be_slow() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("webhook").await;
    let client = cluster.client().await;
    let webhook = Webhook::start(client.clone(), &namespace).await;
    webhook.refuse("services.serving.knative.dev/status", 409, "somebody was faster");
    let services = knative(&client, &namespace);
    let service = apply(&services, knative_service("one", "registry.example/app:1")).await;
    assert_eq!(service.metadata.generation, Some(1));
    let status = Patch::Merge(json!({"status": {"observedGeneration": 1}}));
    let refused = services.patch_status("one", &PatchParams::default(), &status).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 409), "{refused:?}");

    webhook.clear();
    webhook.add(Rule::delay("configmaps", Duration::from_millis(400)).times(1));
    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let start = std::time::Instant::now();
    maps.create(&PostParams::default(), &named("slow")).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(400));
}

#[tokio::test]
async fn the_receiver_keeps_what_it_is_sent_and_fails_as_told() {
    let mut receiver = OtlpReceiver::start().await;
    let export = async |name: &str| {
        let mut client =
            TraceServiceClient::connect(receiver.endpoint()).await.map_err(|error| error.to_string())?;
        client.export(request(name)).await.map(drop).map_err(|status| status.code().to_string())
    };
    export("first").await.unwrap();
    let span = receiver.wait_for_span("the span is there", BOUND, |span| span.name == "first").await;
    assert_eq!(span.trace_id, "0102030405060708090a0b0c0d0e0f10");
    assert_eq!(receiver.trace(&span.trace_id).len(), 1);

    receiver.answer(Fault::Status(tonic::Code::Unavailable, "busy".to_owned()));
    assert_eq!(export("second").await.unwrap_err(), tonic::Code::Unavailable.to_string());
    receiver.answer(Fault::None);
    assert_eq!(receiver.exports().iter().map(|export| export.accepted).collect::<Vec<_>>(), [true, false]);

    let over_http = async |path: &str| {
        let body = request("over http").encode_to_vec();
        let mut head =
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n");
        let _ = write!(head, "Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let address = receiver.http_endpoint().trim_start_matches("http://").to_owned();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&[head.into_bytes(), body].concat()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(over_http("/v1/traces").await, "HTTP/1.1 200 OK");
    assert_eq!(over_http("/v1/nothing").await, "HTTP/1.1 404 Not Found");
    receiver.wait_for_span("the span over HTTP is there", BOUND, |span| span.name == "over http").await;
    receiver.answer(Fault::Status(tonic::Code::ResourceExhausted, "slow down".to_owned()));
    assert_eq!(over_http("/v1/traces").await, "HTTP/1.1 429 Too Many Requests");
    receiver.answer(Fault::None);

    let endpoint = receiver.endpoint();
    receiver.stop();
    assert!(TraceServiceClient::connect(endpoint.clone()).await.is_err());
    receiver.restart().await;
    assert_eq!(receiver.endpoint(), endpoint);
    let mut client = TraceServiceClient::connect(endpoint).await.unwrap();
    client.export(request("third")).await.unwrap();
    assert_eq!(receiver.spans().len(), 3, "what was received before the stop is kept");
}

#[tokio::test]
async fn the_stand_in_says_what_a_knative_would() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("standin").await;
    let client = cluster.client().await;
    let engine = StandInEngine::start(client.clone(), Play::in_namespace(&namespace));
    let services = knative(&client, &namespace);

    apply(&services, knative_service("good", "registry.example/app:1")).await;
    apply(&services, knative_service("bad", "registry.example/broken:1")).await;
    let good = condition(&services, "good", "True").await;
    assert_eq!(good.data["status"]["url"], format!("http://good.{namespace}.example.com"));
    assert_eq!(good.data["status"]["observedGeneration"], 1);
    let bad = condition(&services, "bad", "False").await;
    assert!(ready(&bad)["message"].as_str().unwrap().contains("Unable to fetch image"), "{:?}", ready(&bad));

    engine.hold();
    apply(&services, knative_service("good", "registry.example/app:2")).await;
    engine.say(
        "Service",
        "good",
        Verdict::NotReady { reason: "Flapped".to_owned(), message: "told so".to_owned() },
    );
    assert_eq!(services.get("good").await.unwrap().data["status"]["observedGeneration"], 1, "it holds");
    engine.release();
    let good = condition(&services, "good", "False").await;
    assert_eq!(
        (&good.data["status"]["observedGeneration"], &ready(&good)["reason"]),
        (&json!(2), &json!("Flapped"))
    );

    // Its placeholder is there, and goes with it by the cluster's own garbage collection.
    let plain: Api<Service> = Api::namespaced(client, &namespace);
    plain.get("good").await.unwrap();
    services.delete("good", &DeleteParams::background()).await.unwrap();
    eventually("the placeholder is gone", BOUND, async || match plain.get_opt("good").await {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

#[tokio::test]
async fn the_stand_in_plays_the_node_so_that_real_deployments_become_available() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("standin").await;
    let client = cluster.client().await;
    let _engine = StandInEngine::start(client.clone(), Play::in_namespace(&namespace));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", "Deployment"));
    let deployments: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
    let pod = json!({"metadata": {"labels": {"app": "one"}}, "spec": {"containers": [{"name": "user", "image": "registry.example/app:1"}]}});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "one"},
        "spec": {"selector": {"matchLabels": {"app": "one"}}, "template": pod},
    });
    apply(&deployments, deployment).await;
    eventually("the Deployment is available", BOUND, async || {
        let live = deployments.get("one").await.unwrap();
        let status = &live.data["status"];
        if status["availableReplicas"] == 1 && status["updatedReplicas"] == 1 {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
}

#[tokio::test]
async fn crds_can_leave_and_come_back() {
    let cluster = Cluster::start(Options { crds: vec![Crds::HTTP_ADD_ON], ..Options::default() }).await;
    let client = cluster.client().await;
    assert!(client.list_api_group_resources("http.keda.sh/v1alpha1").await.is_ok());
    Crds::HTTP_ADD_ON.delete(&client).await;
    cluster.apply_crds(&[Crds::HTTP_ADD_ON]).await;
    assert!(client.list_api_group_resources("http.keda.sh/v1alpha1").await.is_ok());
    let secrets: Api<Secret> = Api::namespaced(client, "default");
    secrets.list(&ListParams::default()).await.unwrap();
}

#[tokio::test]
async fn the_api_server_takes_the_samples() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("samples").await;
    let samples = samples::read().unwrap();
    assert!(samples::names(&samples, "ElpioService").len() >= 3, "{samples:?}");
    samples::apply(&cluster.client().await, &namespace, &samples).await.unwrap();
}

fn named<T: kube::Resource<DynamicType = ()> + Default>(name: &str) -> T {
    let mut object = T::default();
    *object.meta_mut() = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    object
}

fn knative(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("serving.knative.dev", "v1", "Service"));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

fn knative_service(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"template": {"spec": {"containers": [{"image": image}]}}},
    })
}

async fn apply(api: &Api<DynamicObject>, object: Value) -> DynamicObject {
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    api.patch(&name, &PatchParams::apply("harness-test"), &Patch::Apply(object)).await.unwrap()
}

fn ready(object: &DynamicObject) -> Value {
    let conditions = object.data["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready")
        .cloned()
        .unwrap_or_default()
}

async fn condition(api: &Api<DynamicObject>, name: &str, status: &str) -> DynamicObject {
    eventually(&format!("{name} is Ready={status}"), BOUND, async || {
        let live = api.get(name).await.map_err(|error| error.to_string())?;
        if ready(&live)["status"] == status { Ok(live) } else { Err(live.data["status"].to_string()) }
    })
    .await
}

fn request(name: &str) -> ExportTraceServiceRequest {
    let span = Span {
        trace_id: (1..=16).collect(),
        span_id: vec![7; 8],
        name: name.to_owned(),
        start_time_unix_nano: 1,
        end_time_unix_nano: 2,
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    }
}

fn alive(pid: u32) -> bool {
    signal::kill(Pid::from_raw(i32::try_from(pid).unwrap()), None).is_ok()
}
