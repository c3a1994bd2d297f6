//! Drift by meaning, and differences that a write cannot remove.

use elpio_cluster::{Cluster, ClusterOptions, Crds, edit, eventually};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::{
    apply_cases::{create, merge},
    live_env::{LiveEnv, TIMEOUT, image, version, with},
};

fn variables() -> Value {
    json!({"env": [{"name": "PLACE", "value": "db.example.com"}, {"name": "ADDRESS", "value": "https://$(PLACE)/v1"},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "not-there", "key": "token", "optional": true}}}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_variables_is_restored() {
    let env = LiveEnv::new("drift-order").await;
    for engine in ["keda", "knative"] {
        env.apply(engine, &with(with(image("v1"), &variables()), &json!({"engine": engine}))).await;
        env.ready(engine).await;
    }
    for (name, api) in [("keda", env.deployments()), ("knative", env.knative())] {
        let replaced = edit(&api, name, |object| {
            let list = object.data.pointer_mut("/spec/template/spec/containers/0/env").unwrap();
            let variables = list.as_array_mut().unwrap();
            variables.sort_by_key(|variable| variable["name"].as_str().unwrap().to_owned());
            variables.push(json!({"name": "ZZ", "value": "of another"}));
        })
        .await;
        let names = |object: &DynamicObject| -> Vec<String> {
            let list =
                object.data.pointer("/spec/template/spec/containers/0/env").unwrap().as_array().unwrap();
            // `PORT` is Elpio's own, where Knative does not set it.
            let names = list.iter().map(|variable| variable["name"].as_str().unwrap().to_owned());
            names.filter(|name| name != "PORT").collect()
        };
        assert_eq!(names(&replaced), ["ADDRESS", "PLACE", "TOKEN", "ZZ"]);
        let restored = env
            .object(&api, name, "the order of the spec is back", |object| {
                let own = names(object).into_iter().filter(|name| name != "ZZ");
                own.eq(["PLACE", "ADDRESS", "TOKEN"])
            })
            .await;
        // Knative's definition has the list as one value: an apply replaces all of it.
        if name == "keda" {
            assert!(names(&restored).contains(&"ZZ".to_owned()), "a variable of another stays");
        }
        let optional = restored.data.to_string().contains("\"optional\":true");
        assert!(optional, "{}", restored.data);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_equal_quantity_in_another_form_is_no_drift() {
    let env = LiveEnv::new("drift-quantity").await;
    let amounts = json!({"engine": "keda", "resources": {
        "requests": {"cpu": "0.5", "memory": 1_073_741_824, "ephemeral-storage": "1e9"},
        "limits": {"cpu": "1e0", "memory": "1Gi", "ephemeral-storage": "1G"}}});
    let mark = env.cluster.audit_offset();
    env.apply("odd", &with(image("v1"), &amounts)).await;
    env.ready("odd").await;
    env.wait_until_idle().await;
    let writes = env.requests_since(mark).writes().resource("deployments.apps");
    assert_eq!(writes.len(), 1, "it is sent as the API server stores it: {:?}", writes.count());
    let requests = |cpu: &str| {
        json!({"spec": {"template": {"spec": {"containers": [{"name": "odd",
            "resources": {"requests": {"cpu": cpu, "memory": "1048576Ki"}}}]}}}})
    };
    let api = env.deployments();
    let params = PatchParams::default();
    let mark = env.cluster.audit_offset();
    api.patch("odd", &params, &Patch::Strategic(requests("500m"))).await.unwrap();
    env.wait_until_idle().await;
    let writes = env.requests_since(mark).writes().resource("deployments.apps");
    assert!(writes.is_empty(), "the same amount in another form: {:?}", writes.count());
    api.patch("odd", &params, &Patch::Strategic(requests("501m"))).await.unwrap();
    env.object(&api, "odd", "the amount of the spec is back", |object| {
        let path = "/spec/template/spec/containers/0/resources/requests/cpu";
        object.data.pointer(path) == Some(&json!("500m"))
    })
    .await;
}

/// Waits until this process has reconciled so often: it is ready before it takes up the work.
async fn wait_until_reconciled(env: &LiveEnv, times: f64) {
    let success = [("kind", "ElpioService"), ("result", "success")];
    eventually("each service was reconciled", TIMEOUT, async || {
        match env.operator.sample("elpio_reconcile_total", &success).await {
            Some(count) if count >= times => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_on_keda_writes_nothing() {
    let mut env = LiveEnv::with("drift-restart", &[("ELPIO_ENGINE", "keda")]).await;
    for name in ["a", "b", "c"] {
        env.apply(name, &with(image("v1"), &variables())).await;
        env.ready(name).await;
        // Events are written after the status, this one last.
        env.event(name, "Normal", "Ready").await;
    }
    env.wait_until_idle().await;
    let mark = env.cluster.audit_offset();
    env.restart().await;
    wait_until_reconciled(&env, 3.0).await;
    env.wait_until_idle().await;
    let writes = env.requests_since(mark).writes();
    assert!(writes.is_empty(), "{:?}", writes.count());
}

/// An admission policy that sets a JSON pointer of Deployments in one namespace to a CEL expression.
async fn policy(env: &LiveEnv, name: &str, unless: &str, pointer: &str, value: &str) {
    let api = |kind: &str, plural: &str| -> Api<DynamicObject> {
        let gvk = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1beta1", kind);
        Api::all_with(env.client.clone(), &ApiResource::from_gvk_with_plural(&gvk, plural))
    };
    let expression = format!("[JSONPatch{{op: \"replace\", path: \"{pointer}\", value: {value}}}]");
    let spec = json!({"failurePolicy": "Fail", "reinvocationPolicy": "Never",
        "matchConstraints": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": env.namespace}},
            "resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["deployments"]}]},
        "matchConditions": [{"name": "once", "expression": format!("!({unless})")}],
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}]});
    let version = "admissionregistration.k8s.io/v1beta1";
    let policies = api("MutatingAdmissionPolicy", "mutatingadmissionpolicies");
    create(&policies, json!({"apiVersion": version, "kind": "MutatingAdmissionPolicy", "metadata": {"name": name}, "spec": spec})).await;
    let bindings = api("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings");
    create(&bindings, json!({"apiVersion": version, "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": name}, "spec": {"policyName": name}})).await;
    let probe = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "probe", "labels": {"app.kubernetes.io/managed-by": "elpio"}},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}},
            "spec": {"containers": [{"name": "c", "image": "registry.local/web:v1"}]}}}});
    let before = probe.pointer(&pointer.replace("~1", "/")).or_else(|| probe.pointer(pointer)).cloned();
    let probe: DynamicObject = serde_json::from_value(probe).unwrap();
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    eventually("the policy is in force", TIMEOUT, async || {
        let answer = env.deployments().create(&dry_run, &probe).await.map_err(|e| e.to_string())?;
        let answer = serde_json::to_value(&answer).unwrap();
        if answer.pointer(pointer).cloned() == before { Err("not changed".to_owned()) } else { Ok(()) }
    })
    .await;
}

async fn cluster_with_policies() -> &'static Cluster {
    let flags = [
        "--feature-gates=MutatingAdmissionPolicy=true",
        "--runtime-config=admissionregistration.k8s.io/v1beta1=true",
    ];
    let options = ClusterOptions {
        crds: vec![Crds::ELPIO, Crds::KEDA, Crds::HTTP_ADD_ON],
        audit: true,
        api_server_flags: flags.map(str::to_owned).to_vec(),
        ..ClusterOptions::default()
    };
    Box::leak(Box::new(Cluster::start(options).await))
}

/// Ten events of the Deployment, none of which is Elpio's business.
async fn annotate_ten_times(env: &LiveEnv) {
    for n in 0..10 {
        merge(&env.deployments(), "web", json!({"metadata": {"annotations": {"note": n.to_string()}}})).await;
    }
    env.wait_until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_rewrites_images_causes_no_write_loop() {
    let cluster = cluster_with_policies().await;
    let mut env = LiveEnv::on(cluster, "mirror", &cluster.kubeconfig(), &[("ELPIO_ENGINE", "keda")]).await;
    let image_of = "object.spec.template.spec.containers[0].image";
    let mirrored = format!("\"mirror.example.com/\" + {image_of}");
    let is_mirrored = format!("{image_of}.startsWith(\"mirror.\")");
    policy(&env, "mirror", &is_mirrored, "/spec/template/spec/containers/0/image", &mirrored).await;
    env.apply("web", &image("v1")).await;
    env.ready("web").await;
    env.wait_until_idle().await;
    let image_is = |object: &DynamicObject, image: &str| {
        object.data.pointer("/spec/template/spec/containers/0/image") == Some(&json!(image))
    };
    assert!(image_is(
        &env.deployments().get("web").await.unwrap(),
        "mirror.example.com/registry.local/web:v1"
    ));

    let mark = env.cluster.audit_offset();
    annotate_ten_times(&env).await;
    let writes = env.requests_since(mark).writes().resource("deployments.apps");
    assert!(writes.is_empty(), "a write that changes nothing: {:?}", writes.count());
    let changed = |child| [("kind", "ElpioService"), ("child", child), ("outcome", "changed")];
    env.wait_for_metric("elpio_apply_total", &changed("Deployment"), 1.0).await;

    // After a restart it may be tried once, and that is no change.
    let before = version(&env.deployments().get("web").await.unwrap());
    env.restart().await;
    wait_until_reconciled(&env, 1.0).await;
    // Another's write during that try would count as its change.
    env.wait_until_idle().await;
    annotate_ten_times(&env).await;
    let writes = env.requests_since(mark).writes().resource("deployments.apps");
    assert!(writes.len() <= 1, "{:?}", writes.count());
    assert!(matches!(
        env.operator.sample("elpio_apply_total", &changed("Deployment")).await,
        None | Some(0.0)
    ));
    assert_ne!(version(&env.deployments().get("web").await.unwrap()), before, "by the annotations alone");

    // An edit is written, and settles again.
    env.apply("web", &image("v2")).await;
    env.object(&env.deployments(), "web", "the new image", |object| {
        image_is(object, "mirror.example.com/registry.local/web:v2")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_rewrites_a_label_causes_no_write_loop() {
    let cluster = cluster_with_policies().await;
    let env = LiveEnv::on(cluster, "drift-label", &cluster.kubeconfig(), &[("ELPIO_ENGINE", "keda")]).await;
    env.apply("web", &image("v1")).await;
    env.ready("web").await;
    let label = |object: &DynamicObject| object.labels().get("app.kubernetes.io/managed-by").cloned();
    let relabel = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "platform"}}});
    merge(&env.deployments(), "web", relabel).await;
    env.object(&env.deployments(), "web", "the label is back", |o| label(o).as_deref() == Some("elpio"))
        .await;

    let pointer = "/metadata/labels/app.kubernetes.io~1managed-by";
    let rewritten =
        "object.metadata.?labels[?\"app.kubernetes.io/managed-by\"].orValue(\"platform\") == \"platform\"";
    policy(&env, "relabel", rewritten, pointer, "\"platform\"").await;
    env.apply("web", &image("v2")).await;
    env.ready("web").await;
    env.apply("new", &image("v1")).await;
    env.ready("new").await;
    assert_eq!(label(&env.deployments().get("new").await.unwrap()).as_deref(), Some("platform"));
    env.wait_until_idle().await;
    let mark = env.cluster.audit_offset();
    annotate_ten_times(&env).await;
    let writes = env.requests_since(mark).writes().resource("deployments.apps");
    assert!(writes.is_empty(), "{:?}", writes.count());
    env.ready("web").await;
}

/// A field that kubectl holds too stays when Elpio's apply drops it, unless it is removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_field_is_gone_though_another_manager_holds_it() {
    let env = LiveEnv::with("drift-held", &[("ELPIO_ENGINE", "keda")]).await;
    let variables =
        |names: &[&str]| -> Value { names.iter().map(|name| json!({"name": name, "value": "1"})).collect() };
    env.apply("web", &with(image("v1"), &json!({"env": variables(&["A", "B", "C"])}))).await;
    env.ready("web").await;
    let mut others = variables(&["A", "B", "C", "ZZ"]);
    others[0]["value"] = "2".into();
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "template": {"spec": {"containers": [{"name": "web", "env": others}]}}}});
    let api = env.deployments();
    api.patch("web", &PatchParams::apply("kubectl").force(), &Patch::Apply(object)).await.unwrap();
    // What it corrects, it has seen.
    env.object(&api, "web", "A is as the spec says", |object| {
        let list = object.data.pointer("/spec/template/spec/containers/0/env").unwrap().as_array().unwrap();
        list.iter().any(|variable| variable["name"] == "A" && variable["value"] == "1")
    })
    .await;
    env.wait_until_idle().await;
    env.apply("web", &with(image("v1"), &json!({"env": variables(&["A"])}))).await;
    env.object(&api, "web", "the dropped variables are gone, the other's stays", |object| {
        let list = object.data.pointer("/spec/template/spec/containers/0/env").unwrap().as_array().unwrap();
        list.iter()
            .map(|variable| variable["name"].as_str().unwrap())
            .filter(|name| *name != "PORT")
            .eq(["A", "ZZ"])
    })
    .await;
    env.ready("web").await;
}
