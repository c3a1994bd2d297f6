//! `kubectl elpio` over real rollouts: what it tells is what the API server and the spans in Jaeger have.

use std::{
    path::{Path, PathBuf},
    process::Output,
    sync::OnceLock,
    time::Duration,
};

use elpio_cluster::{
    Cluster, ClusterOptions, FakeStatus, Jaeger,
    components::clients::{ClientProgram, KUBECTL},
    eventually,
    otlp::Span,
    process::TempDir,
};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::live_env::{LiveEnv, binary, image};

const TIMEOUT: Duration = Duration::from_mins(1);

/// The binary under the name by which kubectl finds it.
pub fn plugin() -> PathBuf {
    // Removed when the process ends.
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = TempDir::new("plugin");
        std::os::unix::fs::symlink(binary(), folder.path().join("kubectl-elpio")).unwrap();
        folder
    });
    folder.path().join("kubectl-elpio")
}

pub async fn run(kubeconfig: &Path, arguments: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(plugin());
    command.args(arguments).env_clear().env("KUBECONFIG", kubeconfig).output().await.unwrap()
}

async fn text(kubeconfig: &Path, arguments: &[&str]) -> String {
    let output = run(kubeconfig, arguments).await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

pub async fn timeline(kubeconfig: &Path, arguments: &[&str]) -> Value {
    let all = [&["trace", "-o", "json"], arguments].concat();
    serde_json::from_str(&text(kubeconfig, &all).await).unwrap()
}

/// The longest time within the root span in which no child of it is open.
fn longest_gap(spans: &[Span]) -> u64 {
    let root = spans.iter().find(|span| span.parent_id.is_empty()).unwrap();
    let mut children: Vec<_> = spans.iter().filter(|span| span.parent_id == root.span_id).collect();
    children.sort_by_key(|span| span.start);
    let (mut covered, mut longest) = (root.start, 0);
    for child in children {
        longest = longest.max(child.start.min(root.end).saturating_sub(covered));
        covered = covered.max(child.end);
    }
    longest.max(root.end.saturating_sub(covered))
}

fn micros(part: &Value) -> u128 {
    Duration::from_secs_f64(part["seconds"].as_f64().unwrap()).as_micros()
}

struct Rollout {
    env: LiveEnv,
    jaeger: Jaeger,
    kubeconfig: PathBuf,
}

impl Rollout {
    async fn new(name: &str, more: &[(&str, &str)]) -> Self {
        let jaeger = Jaeger::start().await;
        let endpoint = format!("http://{}", jaeger.otlp());
        let extra = [&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint.as_str())], more].concat();
        let env = LiveEnv::with(name, &extra).await;
        let kubeconfig = env.cluster.kubeconfig();
        Self { env, jaeger, kubeconfig }
    }

    /// The timeline when the rollout has this outcome, its root span has come, and its longest part is the longest
    /// wait of the spans.
    async fn ended(&self, outcome: &str) -> (Value, Vec<Span>) {
        let url = self.jaeger.url();
        let arguments = ["service/web", "-n", &self.env.namespace, "--jaeger", &url];
        eventually(&format!("the timeline ends with {outcome}"), TIMEOUT, async || {
            let trace = self.timeline(&arguments).await["traceId"].clone();
            let spans = self.jaeger.trace(trace.as_str().unwrap_or_default()).await;
            let timeline = self.timeline(&arguments).await;
            if timeline["outcome"] != outcome || !spans.iter().any(|span| span.parent_id.is_empty()) {
                return Err(format!("{} spans, {timeline:#}", spans.len()));
            }
            // The last reconcile ends after the root: its spans may come between the two answers.
            let expected = u128::from(longest_gap(&spans) / 1000);
            if micros(&timeline["longest"]) == expected {
                Ok((timeline, spans))
            } else {
                Err(format!("not {expected} us: {timeline:#}"))
            }
        })
        .await
    }

    async fn timeline(&self, arguments: &[&str]) -> Value {
        timeline(&self.kubeconfig, arguments).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_of_a_rollout_has_its_longest_part_as_the_spans_have_it() {
    let rollout = Rollout::new("plugin", &[]).await;
    let (env, kubeconfig) = (&rollout.env, &rollout.kubeconfig);
    let here = ["-n", env.namespace.as_str()];
    env.engine.hold();
    env.apply("web", &image("v1")).await;
    env.condition("web", "Ready", "False", "Progressing").await;

    // While it waits: nothing is over, and a pipe that follows ends with the rollout.
    let running = timeline(kubeconfig, &[&["web"], &here[..]].concat()).await;
    assert_eq!((&running["outcome"], &running["endedAt"]), (&json!("Running"), &Value::Null), "{running:#}");
    let follow = [&["trace", "web", "--watch"], &here[..]].concat();
    let followed = async {
        // The part that has to be longest.
        for _ in 0..3 {
            text(kubeconfig, &[&["status"], &here[..]].concat()).await;
        }
        env.engine.release();
        env.ready("web").await;
    };
    let (followed, ()) = tokio::join!(text(kubeconfig, &follow), followed);
    assert!(followed.contains("Running") && followed.contains("Ready after"), "{followed}");
    assert!(!followed.contains('\x1b'), "a pipe has no colours: {followed}");

    let (with_spans, spans) = rollout.ended("Ready").await;
    let longest = &with_spans["longest"];
    let calls = spans.iter().filter(|span| span.kind == "client").map(|span| span.end - span.start);
    assert!(calls.max().unwrap() < longest_gap(&spans), "the wait is the longest part");
    assert_eq!(longest["name"], "wait for Knative Service web");
    env.event("web", "Normal", "Ready").await;
    let plain = timeline(kubeconfig, &[&["web"], &here[..]].concat()).await;
    assert_eq!(plain["longest"]["name"], longest["name"], "the API server alone");
    assert_eq!(plain["asked"]["manager"], "test");
    assert_eq!(plain["children"][0]["kind"], "Knative Service");
    let reasons: Vec<_> = plain["events"].as_array().unwrap().iter().map(|e| e["reason"].clone()).collect();
    assert_eq!(reasons, ["Reconciled", "Progressing", "Ready"]);

    let url = rollout.jaeger.url();
    let drawn = text(kubeconfig, &[&["trace", "web", "--jaeger", &url], &here[..]].concat()).await;
    println!("{drawn}");
    for part in ["CRITICAL PATH", "◀ longest", "Knative Service web", &format!("{url}/trace/")] {
        assert!(drawn.contains(part), "{part}: {drawn}");
    }
    let painted = text(kubeconfig, &[&["trace", "web", "--color", "always"], &here[..]].concat()).await;
    assert!(painted.contains("\x1b[32mReady after"), "{painted}");
    println!("{}", text(kubeconfig, &[&["status"], &here[..]].concat()).await);
    println!("{}", text(kubeconfig, &[&["events", "service/web"], &here[..]].concat()).await);
    let events = text(kubeconfig, &[&["events", "-o", "json"], &here[..]].concat()).await;
    assert_eq!(serde_json::from_str::<Vec<Value>>(&events).unwrap().len(), 3, "{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_of_a_rollout_that_fails_has_its_reason() {
    let rollout = Rollout::new("plugin-late", &[("ELPIO_ROLLOUT_DEADLINE", "2s")]).await;
    let env = &rollout.env;
    let message = "the container \u{1b}[2Jends".to_owned();
    env.engine.set_status(
        "Service",
        "web",
        FakeStatus::NotReady { reason: "RevisionFailed".to_owned(), message },
    );
    env.apply("web", &image("v1")).await;
    let (timeline, _) = rollout.ended("TimedOut").await;
    assert_eq!(timeline["ready"]["reason"], "RevisionFailed", "{timeline:#}");
    assert_eq!(timeline["children"][0]["ready"], false);
    let warnings = timeline["events"].as_array().unwrap().iter().filter(|event| event["type"] == "Warning");
    assert!(warnings.count() > 0, "{timeline:#}");
    assert!(
        !timeline["spans"]["failed"].as_array().unwrap().is_empty(),
        "the root is in error: {timeline:#}"
    );
    let here = ["-n", env.namespace.as_str()];
    let drawn = text(&rollout.kubeconfig, &[&["trace", "web"], &here[..]].concat()).await;
    println!("{drawn}");
    assert!(drawn.contains("TimedOut after") && drawn.contains("RevisionFailed"), "{drawn}");
    assert!(!drawn.contains('\x1b') && drawn.contains("\\u{1b}"), "escapes are shown, not sent: {drawn}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plugin_reports_in_one_line_why_there_is_nothing_to_show() {
    let cluster = Cluster::shared().await;
    let (admin, namespace) = (cluster.kubeconfig(), cluster.namespace("plugin-none").await);
    let unreachable = admin.with_file_name("plugin-unreachable.kubeconfig");
    let original = std::fs::read_to_string(&admin).unwrap();
    std::fs::write(&unreachable, original.replace(&cluster.url(), "https://127.0.0.1:1")).unwrap();
    let empty = Cluster::start(ClusterOptions::default()).await;
    let client = empty.client().await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody"}});
    let accounts: kube::Api<k8s_openapi::api::core::v1::ServiceAccount> =
        kube::Api::namespaced(client, "default");
    accounts.patch("nobody", &PatchParams::apply("test"), &Patch::Apply(account)).await.unwrap();
    let stranger = empty.kubeconfig_for_service_account("default", "nobody").await;
    let bare = empty.kubeconfig();
    let nothing = Path::new("/nonexistent/kubeconfig");
    for command in ["trace", "status", "events"] {
        for (kubeconfig, name, expected) in [
            (&*admin, "web", "there is no ElpioFunction or ElpioService web in namespace plugin-none"),
            (&*admin, "efn/web", "there is no ElpioFunction web"),
            (&*bare, "web", "Elpio is not installed in this cluster"),
            (&*stranger, "web", "User \"system:serviceaccount:default:nobody\" cannot get"),
            (&*unreachable, "web", "cannot reach the API server https://127.0.0.1:1"),
            (nothing, "web", "set KUBECONFIG"),
        ] {
            let output = run(kubeconfig, &[command, name, "-n", &namespace]).await;
            let line = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{command} {name}: {line}");
            assert!(output.stdout.is_empty() && line.lines().count() == 1, "{command}: {line}");
            assert!(line.starts_with("kubectl elpio: ") && line.contains(expected), "{command}: {line}");
        }
    }
    let none = run(&admin, &["status", "-n", &namespace]).await;
    assert!(none.status.success(), "no object at all is an answer");
    let printed = String::from_utf8(none.stdout).unwrap();
    assert_eq!(printed, format!("no ElpioFunction or ElpioService in namespace {namespace}\n"));
    let printed = text(&admin, &["events", "-n", &namespace]).await;
    assert_eq!(printed, format!("no Elpio Events in namespace {namespace}\n"));
    assert_eq!(text(&admin, &["status", "-n", &namespace, "-o", "json"]).await, "[]\n");
}

/// Lines as kubectl prints them: three spaces between columns, without those of `-o wide`.
fn widths(table: &Value) -> Vec<usize> {
    let shown: Vec<usize> = (0..table["columnDefinitions"].as_array().unwrap().len())
        .filter(|at| table["columnDefinitions"][at]["priority"] == 0)
        .collect();
    let cell =
        |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned).chars().count();
    let columns = shown.iter().map(|at| {
        let head = cell(&table["columnDefinitions"][at]["name"]);
        table["rows"].as_array().unwrap().iter().map(|row| cell(&row["cells"][at])).max().unwrap().max(head)
    });
    columns.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_get_of_both_kinds_fits_120_columns() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("team-payment").await;
    let client = cluster.client().await;
    let name = "checkout-service";
    let digest = "a".repeat(64);
    let image = format!("registry.example.com/team-payments/{name}:v1.2.3@sha256:{digest}");
    let url = format!("http://{name}.team-payment.apps.example.com");
    let time = "2026-01-01T00:00:00Z";
    let condition = json!({"type": "Ready", "status": "False", "reason": "DependencyMissing", "message": "m", "lastTransitionTime": time});
    let service = json!({"image": {"repository": "registry.example.com/app"}});
    let function = json!({"source": {"archive": "https://example.com/a.tgz"}, "runtime": "python", "image": "registry.example.com/app"});
    for (kind, plural, spec, more) in [
        ("ElpioService", "elpioservices", service, json!({"engine": "knative"})),
        ("ElpioFunction", "elpiofunctions", function, json!({"phase": "BuildFailed", "image": image})),
    ] {
        let mut status = json!({"ready": false, "url": url, "conditions": [condition]});
        status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let path = format!("/apis/elpio.io/v1alpha1/namespaces/{namespace}/{plural}");
        let object = json!({"apiVersion": "elpio.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
        let create = http::Request::post(&path).header("content-type", "application/json");
        client.request::<Value>(create.body(object.to_string().into_bytes()).unwrap()).await.unwrap();
        let write_status = http::Request::patch(format!("{path}/{name}/status"))
            .header("content-type", "application/merge-patch+json")
            .body(json!({"status": status}).to_string().into_bytes())
            .unwrap();
        client.request::<Value>(write_status).await.unwrap();
        let table =
            http::Request::get(&path).header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
        let table: Value = client.request(table.body(Vec::new()).unwrap()).await.unwrap();
        let widths = widths(&table);
        let line = widths.iter().sum::<usize>() + 3 * (widths.len() - 1);
        let wide = table["columnDefinitions"].as_array().unwrap().len() - widths.len();
        println!("kubectl get {plural}: {line} columns, {widths:?}; {wide} more with -o wide");
        assert!(line <= 120, "{kind}: {line} columns {widths:?}\n{table:#}");
        assert!(widths.len() >= 6, "{kind}: {widths:?}");
        // What people see.
        let home = TempDir::new("kubectl");
        let kubectl =
            ClientProgram::new(KUBECTL, home.path()).unwrap().with_kubeconfig(&cluster.kubeconfig());
        let printed = kubectl.output(&["get", plural, "-n", &namespace], "");
        println!("{printed}");
        assert!(printed.contains(name) && printed.contains(&url), "nothing is cut: {printed}");
        assert_eq!(
            printed.lines().map(|line| line.trim_end().chars().count()).max(),
            Some(line),
            "{printed}"
        );
        let wide = kubectl.output(&["get", plural, "-n", &namespace, "-o", "wide"], "");
        assert_eq!(wide.contains(&image), kind == "ElpioFunction", "{wide}");
    }
}
