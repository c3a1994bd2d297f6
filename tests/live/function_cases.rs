//! Functions in clusters of others: runs that hang, come back, lose their labels or are restored, inputs that
//! come back, images that somebody edits, annotations in a loop.

use std::time::Duration;

use elpio_cluster::eventually;
use elpio_operator::api::ElpioFunction;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::{DynamicObject, ObjectMeta},
};
use serde_json::{Value, json};

use crate::{
    function_env::{DIGEST, Functions, OTHER, condition, spec},
    live_env::TIMEOUT,
};

const FINALIZER: &str = "chains.tekton.dev/pipelinerun";

async fn patch(api: &Api<DynamicObject>, name: &str, patch: Value) {
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

async fn hang_in_deletion(f: &Functions, run: &str) {
    patch(&f.runs, run, json!({"metadata": {"finalizers": [FINALIZER]}})).await;
    f.runs.delete(run, &DeleteParams::default()).await.unwrap();
}

/// Waits until `BuildReady` names what holds the run; as the function was then.
async fn reports_what_holds(f: &Functions, run: &str) -> ElpioFunction {
    eventually("BuildReady names what holds the run", TIMEOUT, async || {
        let object = f.api.get("hello").await.map_err(|e| e.to_string())?;
        let message = condition(&object, "BuildReady").message;
        let named = [run, "being deleted", FINALIZER].iter().all(|part| message.contains(part));
        if named { Ok(object) } else { Err(message) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stuck_in_deletion_is_reported() {
    let f = Functions::new("fn-stuck").await;
    f.apply(&spec("v1"), &json!({})).await;
    let run = f.run().await;
    f.phase("Building").await;
    hang_in_deletion(&f, &run.name_any()).await;
    let held = reports_what_holds(&f, &run.name_any()).await;
    assert_eq!(condition(&held, "Ready").reason, "Progressing");
    let mark = f.env.cluster.audit_offset();
    f.env.wait_until_idle().await;
    assert_eq!(f.all_runs().await, [run.name_any()], "none is made beside it");

    patch(&f.runs, &run.name_any(), json!({"metadata": {"finalizers": null}})).await;
    let other = f.env.object(&f.runs, &run.name_any(), "made again", |o| o.uid() != run.uid()).await;
    // The audit log has a request when it was answered.
    f.env.wait_until_idle().await;
    let creations = f.env.requests_since(mark).verb("create").resource("pipelineruns").len();
    assert_eq!(creations, 1, "exactly one, and none while it hung");

    // One that failed stays failed, as it does when it is pruned.
    f.end(&other.name_any(), "False", "Failed", "it does not compile", "").await;
    f.phase("BuildFailed").await;
    hang_in_deletion(&f, &other.name_any()).await;
    let held = reports_what_holds(&f, &other.name_any()).await;
    assert_eq!(condition(&held, "BuildReady").reason, "BuildFailed");
    assert!(condition(&held, "BuildReady").message.contains("it does not compile"));
    patch(&f.runs, &other.name_any(), json!({"metadata": {"finalizers": null}})).await;
    f.env.wait_until_deleted(&f.runs, &other.name_any()).await;
    f.env.wait_until_idle().await;
    f.phase("BuildFailed").await;
    assert!(f.all_runs().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_that_return_to_an_earlier_value_are_built_again() {
    let f = Functions::new("fn-return").await;
    let timeout = |timeout: &str| {
        let mut spec = spec("main");
        spec["build"] = json!({"timeout": timeout});
        spec
    };
    let mut known = Vec::new();
    for (value, digest) in [("30m", DIGEST), ("60m", OTHER)] {
        f.apply(&timeout(value), &json!({})).await;
        let run = f.other_run(&known).await.name_any();
        f.end(&run, "True", "Succeeded", "", digest).await;
        f.serves(digest).await;
        known.push(run);
    }
    f.apply(&timeout("30m"), &json!({})).await;
    let third = f.other_run(&known).await.name_any();
    f.phase("Building").await;
    f.serves(OTHER).await;
    f.end(&third, "True", "Succeeded", "", DIGEST).await;
    f.serves(DIGEST).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_that_name_a_commit_use_the_run_that_is_there() {
    let f = Functions::new("fn-commit").await;
    let commit = spec("0123456789abcdef0123456789abcdef01234567");
    f.apply(&commit, &json!({})).await;
    let first = f.run().await.name_any();
    f.end(&first, "True", "Succeeded", "", DIGEST).await;
    f.serves(DIGEST).await;
    f.apply(&spec("main"), &json!({})).await;
    let second = f.other_run(std::slice::from_ref(&first)).await.name_any();
    f.end(&second, "True", "Succeeded", "", OTHER).await;
    f.serves(OTHER).await;
    f.apply(&commit, &json!({})).await;
    f.serves(DIGEST).await;
    f.phase("Ready").await;
    assert_eq!(f.all_runs().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_the_rebuild_annotation_starts_no_build() {
    let f = Functions::new("fn-annotation").await;
    f.apply(&spec("main"), &json!({})).await;
    let first = f.run().await.name_any();
    f.end(&first, "True", "Succeeded", "", DIGEST).await;
    f.serves(DIGEST).await;
    f.rebuild(Some("1")).await;
    let second = f.other_run(std::slice::from_ref(&first)).await.name_any();
    f.end(&second, "True", "Succeeded", "", OTHER).await;
    f.serves(OTHER).await;
    let rollout = f.phase("Ready").await.status.unwrap().rollout;
    for value in [None, Some("1")] {
        f.rebuild(value).await;
        f.env.wait_until_idle().await;
        let status = f.phase("Ready").await.status.unwrap();
        assert_eq!((status.build.as_ref(), &status.rollout), (Some(&second), &rollout), "{value:?}");
        f.serves(OTHER).await;
        assert_eq!(f.all_runs().await.len(), 2, "{value:?} asks for nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_by_tag_is_not_ready_before_it_serves() {
    let f = Functions::new("fn-tag").await;
    f.apply(&spec("main"), &json!({})).await;
    let first = f.run().await.name_any();
    f.end(&first, "True", "Succeeded", "", "").await;
    f.phase("Ready").await;
    let service = f.env.service("hello", "it names its build", |o| {
        o.status.as_ref().and_then(|s| s.build.as_ref()) == Some(&first)
    });
    service.await;
    let readies = |events: &[k8s_openapi::api::events::v1::Event]| {
        let of_function = |e: &&k8s_openapi::api::events::v1::Event| {
            e.regarding.as_ref().and_then(|r| r.kind.as_deref()) == Some("ElpioFunction")
        };
        events.iter().filter(of_function).filter(|e| e.reason.as_deref() == Some("Ready")).count()
    };
    // The service of that name has one too, and before.
    let before = eventually("the function's own Event", TIMEOUT, async || {
        match readies(&f.env.events("hello").await) {
            0 => Err("none"),
            count => Ok(count),
        }
    })
    .await;

    f.env.engine.hold();
    f.rebuild(Some("1")).await;
    let second = f.other_run(std::slice::from_ref(&first)).await.name_any();
    f.end(&second, "True", "Succeeded", "", "").await;
    f.env.service("hello", "the new build", |o| o.annotations().get("elpio.io/build") == Some(&second)).await;
    let deploying = f.phase("Deploying").await;
    f.env.wait_until_idle().await;
    let rollout = deploying.status.unwrap().rollout.unwrap();
    assert_eq!((rollout.rebuild.as_deref(), rollout.outcome), (Some("1"), None), "its rollout has not ended");
    assert_eq!(readies(&f.env.events("hello").await), before, "and no Event claims it");
    f.env.engine.release();
    let ready = f.phase("Ready").await;
    assert_eq!(ready.status.unwrap().rollout.unwrap().rebuild.as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_image_is_corrected_after_its_run_is_pruned() {
    let f = Functions::new("fn-edited").await;
    f.apply(&spec("main"), &json!({})).await;
    let run = f.run().await.name_any();
    f.end(&run, "True", "Succeeded", "", DIGEST).await;
    f.phase("Ready").await;
    f.runs.delete(&run, &DeleteParams::default()).await.unwrap();
    f.env.wait_until_deleted(&f.runs, &run).await;
    let evil = json!({"spec": {"image": {"repository": "evil.example/x", "digest": OTHER}}});
    let edit = async || {
        let service: Api<DynamicObject> = f.env.any("elpio.io/v1alpha1", "ElpioService", "elpioservices");
        patch(&service, "hello", evil.clone()).await;
        let own = |o: &elpio_operator::api::ElpioService| o.spec.image.repository == "registry.local/hello";
        f.env.service("hello", "its own image is back", own).await;
        f.serves(DIGEST).await;
    };
    edit().await;
    // Also while other inputs are built, and after they failed.
    f.apply(&spec("bad"), &json!({})).await;
    let bad = f.other_run(std::slice::from_ref(&run)).await.name_any();
    edit().await;
    f.end(&bad, "False", "Failed", "no", "").await;
    f.phase("BuildFailed").await;
    edit().await;
}

/// What a backup tool does: ownerReferences and status are not restored.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_function_adopts_its_run_and_its_service() {
    let mut f = Functions::new("fn-restored").await;
    f.apply(&spec("main"), &json!({})).await;
    let name = f.run().await.name_any();
    f.end(&name, "True", "Succeeded", "", DIGEST).await;
    f.phase("Ready").await;
    let (run, service) = (f.runs.get(&name).await.unwrap(), f.env.services().get("hello").await.unwrap());
    f.env.operator.kill();
    let background = DeleteParams::background();
    f.api.delete("hello", &background).await.unwrap();
    let _ = f.runs.delete(&name, &background).await;
    let _ = f.env.services().delete("hello", &background).await;
    f.env.wait_until_deleted(&f.runs, &name).await;
    eventually("the service is gone", TIMEOUT, async || {
        match f.env.services().get_opt("hello").await.map_err(|e| e.to_string())? {
            None => Ok(()),
            Some(_) => Err("it is there".to_owned()),
        }
    })
    .await;

    let restored = |meta: &ObjectMeta| json!({"name": meta.name, "labels": meta.labels, "annotations": meta.annotations});
    let object = json!({"apiVersion": "tekton.dev/v1", "kind": "PipelineRun",
        "metadata": restored(&run.metadata), "spec": run.data["spec"]});
    f.runs.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    let object = json!({"apiVersion": "elpio.io/v1alpha1", "kind": "ElpioService",
        "metadata": restored(&service.metadata), "spec": service.spec});
    let params = PatchParams::apply("elpio").force();
    f.env.services().patch("hello", &params, &Patch::Apply(object)).await.unwrap();
    f.apply(&spec("main"), &json!({})).await;
    f.env.restart().await;

    let uid = f.api.get("hello").await.unwrap().uid().unwrap();
    let owned =
        |o: &DynamicObject| o.owner_references().iter().any(|r| r.uid == uid && r.controller == Some(true));
    f.env.object(&f.runs, &name, "adopted", owned).await;
    f.end(&name, "True", "Succeeded", "", DIGEST).await;
    f.phase("Ready").await;
    let services = f.env.any("elpio.io/v1alpha1", "ElpioService", "elpioservices");
    f.env.object(&services, "hello", "adopted", owned).await;
    assert_eq!(f.all_runs().await, [name]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_loses_a_label_gets_it_back() {
    let f = Functions::new("fn-label").await;
    f.apply(&spec("main"), &json!({})).await;
    let run = f.run().await;
    let name = run.name_any();
    f.phase("Building").await;
    for label in ["app.kubernetes.io/managed-by", "elpio.io/function"] {
        patch(&f.runs, &name, json!({"metadata": {"labels": {label: null}}})).await;
        f.env.object(&f.runs, &name, label, |o| o.labels().contains_key(label)).await;
    }
    assert_eq!(f.runs.get(&name).await.unwrap().uid(), run.uid());
    patch(&f.runs, &name, json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "somebody"}}}))
        .await;
    f.end(&name, "True", "Succeeded", "", DIGEST).await;
    f.serves(DIGEST).await;
    f.phase("Ready").await;
    assert_eq!(f.all_runs().await, [name]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_of_rebuilds_begins_a_build_in_10_s_and_then_in_20_s() {
    let f = Functions::new("fn-loop").await;
    f.apply(&spec("main"), &json!({})).await;
    f.run().await;
    for value in 1..=50 {
        f.rebuild(Some(&value.to_string())).await;
    }
    let ended = tokio::time::Instant::now() + Duration::from_secs(40);
    eventually("three builds", TIMEOUT, async || {
        let runs = f.runs.list(&ListParams::default()).await.map_err(|e| e.to_string())?.items;
        let mut begun: Vec<i64> =
            runs.iter().map(|run| run.creation_timestamp().unwrap().0.as_second()).collect();
        begun.sort_unstable();
        let pauses: Vec<i64> = begun.windows(2).map(|pair| pair[1] - pair[0]).collect();
        // A time-stamp has whole seconds.
        for (pause, least) in pauses.iter().zip([10, 20, 40]) {
            assert!(*pause >= least, "{pauses:?}");
        }
        f.rebuild(Some(&format!("{:?}", tokio::time::Instant::now()))).await;
        if tokio::time::Instant::now() > ended { Ok(()) } else { Err(format!("{pauses:?}")) }
    })
    .await;
    assert_eq!(f.all_runs().await.len(), 3, "at 0 s, 10 s and 30 s");
}
