//! Which container of a build's pod mounts what, in the pod that Tekton makes and that the API server admits
//! in a namespace with Pod Security `restricted` and a quota.

use elpio_cluster::{eventually, progress::print, suite::StepTimer};
use elpio_operator::render::function::pipeline_run::BUILD_TASK;
use k8s_openapi::api::core::v1::{Container, Namespace, Pod, PodSpec, ResourceQuota, Secret, ServiceAccount};
use kube::{
    Client, Error,
    api::{Api, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::run::{Run, TIMEOUT, cluster, succeeded};

/// The steps, and Tekton's own init containers, in their order.
const CONTAINERS: [&str; 9] = [
    "prepare",
    "place-scripts",
    "step-fetch",
    "step-analyze",
    "step-detect",
    "step-restore",
    "step-build",
    "step-export",
    "step-digest",
];

async fn create<K>(client: &Client, namespace: &str, object: Value)
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + serde::de::DeserializeOwned
        + serde::Serialize
        + Clone
        + std::fmt::Debug,
{
    let object: K = serde_json::from_value(object).unwrap();
    Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &object).await.unwrap();
}

/// A namespace that admits only pods which pass `restricted`, and only containers with requests and limits.
async fn strict_namespace(client: &Client) -> String {
    let namespace = cluster().await.namespace("strict").await;
    let label = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.patch(&namespace, &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
    let hard =
        json!({"requests.cpu": "2", "requests.memory": "2Gi", "limits.cpu": "8", "limits.memory": "16Gi"});
    create::<ResourceQuota>(
        client,
        &namespace,
        json!({"metadata": {"name": "quota"}, "spec": {"hard": hard}}),
    )
    .await;
    let quotas: Api<ResourceQuota> = Api::namespaced(client.clone(), &namespace);
    eventually("the quota is counted", TIMEOUT, async || {
        let status = quotas.get("quota").await.map_err(|error| error.to_string())?.status;
        if status.as_ref().is_some_and(|it| it.hard.is_some()) { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
    namespace
}

async fn finished_pod(run: &Run) -> PodSpec {
    let status = run.ended().await;
    let task = run.task(BUILD_TASK).await.unwrap_or_default();
    assert_eq!(succeeded(&status)["reason"], "Succeeded", "{}", succeeded(&task));
    let mut pods = run.pods().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(pods.len(), 1, "one pod: no other holds a volume for the build");
    pods.remove(0).spec.unwrap()
}

fn containers(pod: &PodSpec) -> impl Iterator<Item = &Container> {
    pod.init_containers.iter().flatten().chain(&pod.containers)
}

/// Where a container mounts a volume; empty: it does not.
fn mounted(container: &Container, volume: &str) -> String {
    let mounts = container.volume_mounts.iter().flatten();
    mounts
        .filter(|mount| mount.name == volume)
        .map(|mount| mount.mount_path.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Prints which container mounts what: the volumes of the build by their paths, Tekton's own by their number.
fn print_table(pod: &PodSpec, secret: &str) {
    let columns = ["source", "layers", secret];
    print(format_args!(
        "  {:14}{:20}{:10}{:22}{:7}Tekton's own",
        "container", "source", "layers", "push Secret", "token"
    ));
    for container in containers(pod) {
        let paths = columns.map(|volume| Some(mounted(container, volume)).filter(|path| !path.is_empty()));
        let [source, layers, secret] = paths.clone().map(|path| path.unwrap_or_else(|| "-".to_owned()));
        let all = container.volume_mounts.iter().flatten();
        let tokens = all.clone().filter(|mount| mount.mount_path.contains("/run/secrets")).count();
        let others = all.count() - tokens - paths.iter().flatten().count();
        print(format_args!("  {:14}{source:20}{layers:10}{secret:22}{tokens:<7}{others}", container.name));
    }
}

/// The names of the containers that mount one of these volumes.
fn that_mount(pod: &PodSpec, is: impl Fn(&str) -> bool) -> Vec<&str> {
    let has = |it: &&Container| it.volume_mounts.iter().flatten().any(|mount| is(&mount.name));
    containers(pod).filter(has).map(|it| it.name.as_str()).collect()
}

pub async fn the_push_secret_is_mounted_in_three_steps_and_no_token_in_any() {
    let client = cluster().await.client().await;
    let mut clock = StepTimer::start("the_push_secret_is_mounted_in_three_steps_and_no_token_in_any");
    let namespace = strict_namespace(&client).await;
    let secret = json!({"metadata": {"name": "push"}, "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": "{\"auths\":{}}"}});
    create::<Secret>(&client, &namespace, secret).await;
    let run = Run::create_in(namespace, &json!({"build": {"pushSecret": "push"}}), &json!({})).await;
    let pod = finished_pod(&run).await;
    clock.step("the run succeeded, under Pod Security restricted and a quota");
    assert_eq!(containers(&pod).map(|it| it.name.as_str()).collect::<Vec<_>>(), CONTAINERS);

    // What a volume can hold decides what a mount shows: the one Secret, and folders of the pod itself.
    let volumes = pod.volumes.clone().unwrap();
    let secrets: Vec<_> = volumes.iter().filter(|volume| volume.secret.is_some()).collect();
    assert_eq!(secrets.len(), 1);
    assert_eq!(secrets[0].secret.as_ref().unwrap().secret_name.as_deref(), Some("push"));
    for volume in volumes.iter().filter(|volume| volume.name != secrets[0].name) {
        assert!(volume.empty_dir.is_some() || volume.downward_api.is_some(), "{volume:?}");
    }
    let name = secrets[0].name.clone();
    print_table(&pod, &name);
    assert_eq!(that_mount(&pod, |volume| volume == name), ["step-analyze", "step-restore", "step-export"]);
    for container in containers(&pod).filter(|it| !mounted(it, &name).is_empty()) {
        assert_eq!(mounted(container, &name), "/workspace/registry");
    }
    assert_eq!(pod.automount_service_account_token, Some(false));
    for container in containers(&pod) {
        let paths: Vec<_> =
            container.volume_mounts.iter().flatten().map(|it| it.mount_path.as_str()).collect();
        assert!(!paths.iter().any(|path| path.contains("/run/secrets")), "{}: {paths:?}", container.name);
        let from_secrets = container.env.iter().flatten().filter(|it| it.value_from.is_some()).count()
            + container.env_from.iter().flatten().count();
        assert_eq!(from_secrets, 0, "{}", container.name);
    }
    for name in ["source", "layers"] {
        let volume = volumes.iter().find(|volume| volume.name == name).unwrap();
        assert!(volume.empty_dir.as_ref().unwrap().size_limit.is_some(), "{volume:?}");
    }
    let claims: Api<k8s_openapi::api::core::v1::PersistentVolumeClaim> =
        Api::namespaced(client.clone(), &run.namespace);
    assert_eq!(claims.list(&ListParams::default()).await.unwrap().items.len(), 0, "no claim is left");
    admission_judges_every_container(&run, &pod).await;
}

/// The same pod is refused when one container has no security context, or no limits.
async fn admission_judges_every_container(run: &Run, pod: &PodSpec) {
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let mut tried = 0;
    for index in 0..CONTAINERS.len() {
        for (without, expected) in
            [("security context", "violates PodSecurity \"restricted"), ("limits", "must specify limits.cpu")]
        {
            let mut copy = Pod { spec: Some(pod.clone()), ..Pod::default() };
            copy.metadata.name = Some("copy".to_owned());
            let spec = copy.spec.as_mut().unwrap();
            spec.node_name = None;
            let init = spec.init_containers.as_mut().unwrap();
            let container = match index.checked_sub(init.len()) {
                Some(at) => &mut spec.containers[at],
                None => &mut init[index],
            };
            if without == "limits" {
                container.resources = None;
            } else {
                container.security_context = None;
            }
            let name = container.name.clone();
            match run.pods().create(&dry_run, &copy).await {
                Err(Error::Api(status)) if status.message.contains(expected) => tried += 1,
                other => panic!("{name} without {without}: {other:?}"),
            }
        }
    }
    print(format_args!("  {tried} of {tried} pods with one container weaker are refused"));
    let same = Pod { spec: Some(PodSpec { node_name: None, ..pod.clone() }), ..Pod::default() };
    let same = Pod {
        metadata: kube::api::ObjectMeta { name: Some("copy".to_owned()), ..Default::default() },
        ..same
    };
    run.pods().create(&dry_run, &same).await.expect("the pod as it is passes");
}

/// Why `build.pushSecret` exists: Tekton copies what a service account has into every step.
pub async fn those_of_a_service_account_are_in_every_step() {
    let client = cluster().await.client().await;
    let namespace = cluster().await.namespace("account").await;
    let secret = json!({"metadata": {"name": "push", "annotations": {"tekton.dev/docker-0": "https://registry.example"}},
        "type": "kubernetes.io/basic-auth", "stringData": {"username": "u", "password": "p"}});
    create::<Secret>(&client, &namespace, secret).await;
    let account = json!({"metadata": {"name": "builder"}, "secrets": [{"name": "push"}]});
    create::<ServiceAccount>(&client, &namespace, account).await;
    let run = Run::create_in(namespace, &json!({"build": {"serviceAccount": "builder"}}), &json!({})).await;
    let pod = finished_pod(&run).await;
    let secrets: Vec<_> = pod.volumes.iter().flatten().filter(|volume| volume.secret.is_some()).collect();
    let is_secret = |name: &str| secrets.iter().any(|volume| volume.name == name);
    let steps: Vec<_> = CONTAINERS.into_iter().filter(|name| name.starts_with("step-")).collect();
    assert_eq!(that_mount(&pod, is_secret), steps);
    let projected = pod.volumes.iter().flatten().filter(|volume| volume.projected.is_some()).count();
    assert_eq!((projected, pod.automount_service_account_token), (0, Some(false)), "its token is in none");
}
