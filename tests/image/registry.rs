//! The layout against go-containerregistry: validated, pushed to a registry on loopback, and pulled back.

use std::{process::Command, time::Duration};

use elpio_cluster::{
    components::{CRANE, REGISTRY},
    eventually,
    process::{CommandSpec, Process, TempDir, free_port},
    repository_root,
};
use elpio_release::oci::OciLayout;
use serde_json::Value;

use crate::{made, members};

const TIMEOUT: Duration = Duration::from_mins(1);

fn crane(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(CRANE.binary().unwrap()).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("crane {arguments:?}: {}{}", text(&output.stdout), text(&output.stderr)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_survives_a_registry_with_the_same_digest() {
    let (layout, dir, port) = (made(&members()), TempDir::new("image"), free_port());
    let registry = tokio::task::spawn_blocking(|| REGISTRY.binary().unwrap()).await.unwrap();
    let _registry = Process::spawn(CommandSpec {
        name: "registry",
        program: &registry,
        args: vec!["-port".into(), port.to_string().into()],
        env: Vec::new(),
        env_removed: &[],
        dir: dir.path(),
    })
    .unwrap();
    eventually("the registry listens", TIMEOUT, async || {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    let push = |layout: &OciLayout, name: &str| {
        let folder = dir.path().join(name.replace(['/', ':'], "-"));
        layout.write(&folder).unwrap();
        crane(&["push", folder.to_str().unwrap(), name, "--insecure"])
    };
    // What is broken is found.
    let mut broken = layout.clone();
    let layer = broken.files.values_mut().max_by_key(|bytes| bytes.len()).unwrap();
    *layer.last_mut().unwrap() ^= 1;
    assert!(push(&broken, &format!("localhost:{port}/broken:test")).is_err());

    let name = format!("localhost:{port}/elpio-operator:test");
    push(&layout, &name).unwrap();
    assert_eq!(crane(&["digest", &name, "--insecure"]).unwrap(), layout.digest);
    println!("{}", crane(&["validate", "--remote", &name, "--insecure"]).unwrap());

    let config: Value = serde_json::from_str(&crane(&["config", &name, "--insecure"]).unwrap()).unwrap();
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["Entrypoint"][0], "/usr/local/bin/elpio-operator");
    assert_eq!(config["config"]["Labels"]["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    let dockerfile = std::fs::read_to_string(repository_root().join("deploy/Dockerfile")).unwrap();
    for variable in config["config"]["Env"].as_array().unwrap().iter().filter_map(Value::as_str) {
        let is_there = variable.starts_with("PATH=") || dockerfile.contains(&format!("ENV {variable}\n"));
        assert!(is_there, "{variable} is not in the Dockerfile");
    }
    assert_eq!(config["created"], "2026-01-01T00:00:00Z");

    let back = dir.path().join("back");
    crane(&["pull", "--format", "oci", &name, back.to_str().unwrap(), "--insecure"]).unwrap();
    let manifest = layout.digest.trim_start_matches("sha256:");
    for (path, bytes) in layout.files.iter().filter(|(path, _)| path.starts_with("blobs/")) {
        assert_eq!(&std::fs::read(back.join(path)).unwrap(), bytes, "{path}");
    }
    let index: Value = serde_json::from_slice(&std::fs::read(back.join("index.json")).unwrap()).unwrap();
    assert!(index.to_string().contains(manifest), "{index}");
}
