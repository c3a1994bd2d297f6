//! Makes the golden files of a version with its own binary, CRDs and samples:
//! `ELPIO_UPGRADE_RECORD=VERSION:BINARY:CHECKOUT cargo test --test install record -- --ignored`.

use std::{fs, path::Path};

use elpio_cluster::{FakeEngineOptions, FakeEngines, Operator, eventually};
use elpio_operator::foreign::ChildKind;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::{
    live::every_child,
    text, top,
    upgrade::{NAMESPACE, NEXT, TIMEOUT, cluster, golden, stored},
};

fn yaml_files(dir: &Path) -> Vec<Value> {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().flat_map(|path| serde_saphyr::from_multiple::<Value>(&text(path)).unwrap()).collect()
}

fn write(version: &str, file: &str, objects: &[Value]) {
    let path = top().join(golden(version, file));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let documents: Vec<String> =
        objects.iter().map(|object| serde_saphyr::to_string(object).unwrap()).collect();
    fs::write(path, documents.join("---\n")).unwrap();
}

async fn list(client: &kube::Client, api_version: &str, kind: &str) -> Vec<Value> {
    let example =
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "namespace": NAMESPACE}});
    let api = stored::api(client, &example).await;
    let items = api.list(&ListParams::default()).await.unwrap().items;
    items
        .into_iter()
        .map(|item| {
            let mut item = serde_json::to_value(item).unwrap();
            item["apiVersion"] = api_version.into();
            item["kind"] = kind.into();
            item["metadata"].as_object_mut().unwrap().remove("resourceVersion");
            item
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the binary of an older version"]
async fn record() {
    let variable = std::env::var("ELPIO_UPGRADE_RECORD").expect("VERSION:BINARY:CHECKOUT");
    let [version, binary, checkout]: [&str; 3] = variable.split(':').collect::<Vec<_>>().try_into().unwrap();
    let checkout = Path::new(checkout);
    let cluster = cluster().await;
    let client = cluster.client().await;
    let crds = yaml_files(&checkout.join("deploy/crds"));
    for crd in &crds {
        stored::apply(&client, crd, "kubectl").await;
    }
    if version != NEXT {
        write(version, "crds.yaml", &crds);
        fs::copy(checkout.join("deploy/install.yaml"), top().join(golden(version, "install.yaml"))).unwrap();
    }
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    stored::apply(&client, &namespace, "kubectl").await;
    let mut objects = yaml_files(&checkout.join("deploy/samples"));
    for object in &mut objects {
        object["metadata"]["namespace"] = NAMESPACE.into();
    }
    objects.extend(every_child(NAMESPACE));
    let mut operator =
        Operator::spawn(Path::new(binary), &cluster.kubeconfig(), &[("ELPIO_NAMESPACES", NAMESPACE)]);
    operator.wait_ready().await;
    let options =
        FakeEngineOptions { builds: true, pods: false, ..FakeEngineOptions::in_namespace(NAMESPACE) };
    let _engines = FakeEngines::start(client.clone(), options);
    for object in &objects {
        stored::apply(&client, object, "kubectl").await;
    }
    for object in &objects {
        let api = stored::api(&client, object).await;
        let name = object["metadata"]["name"].as_str().unwrap();
        eventually(&format!("{name} is ready"), TIMEOUT, async || {
            let status = api.get(name).await.map_err(|error| error.to_string())?.data["status"].take();
            if status["ready"] == true { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
    }
    drop(operator);
    let mut authored = Vec::new();
    let mut children = Vec::new();
    let kinds =
        ["ElpioFunction", "ElpioService"].map(|kind| ("elpio.io/v1alpha1".to_owned(), kind.to_owned()));
    for (api_version, kind) in kinds {
        let all = list(&client, &api_version, &kind).await;
        let (published, own): (Vec<Value>, Vec<Value>) =
            all.into_iter().partition(|object| object["metadata"]["ownerReferences"].is_array());
        authored.extend(own);
        children.extend(published);
    }
    let others =
        ChildKind::ALL.iter().filter(|kind| !matches!(kind, ChildKind::ElpioService | ChildKind::TaskRun));
    for kind in others {
        children.extend(list(&client, &kind.api_version(), kind.kind()).await);
    }
    // Only what the operator made.
    children.retain(|child| {
        let owners = child["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        owners.into_iter().any(|owner| owner["kind"].as_str().is_some_and(|kind| kind.starts_with("Elpio")))
    });
    write(version, "objects.yaml", &authored);
    write(version, "children.yaml", &children);
    println!("{version}: {} objects, {} children", authored.len(), children.len());
}
