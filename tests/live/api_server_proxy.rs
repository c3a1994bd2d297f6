//! An API server that is reached through a forward proxy, which the kubeconfig names.

use elpio_cluster::{Cluster, ForwardProxy, process::TempDir};
use serde_json::{Value, json};

use crate::live_env::{LiveEnv, image};

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_goes_through_the_proxy_with_its_credentials() {
    let (cluster, proxy) = (Cluster::shared().await, ForwardProxy::start().await);
    let text = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    let named = &mut config["clusters"][0]["cluster"];
    let server = named["server"].as_str().unwrap().trim_start_matches("https://").to_owned();
    // The password is `s/cret`.
    named["proxy-url"] = json!(format!("http://me:s%2Fcret@{}", proxy.address()));
    let dir = TempDir::new("proxy");
    let kubeconfig = dir.path().join("kubeconfig");
    std::fs::write(&kubeconfig, config.to_string()).unwrap();

    let env = LiveEnv::on(cluster, "through-proxy", &kubeconfig, &[]).await;
    env.apply("cart", &image("v1")).await;
    env.ready("cart").await;
    let requests = proxy.requests();
    let expected = format!("CONNECT {server} Basic bWU6cy9jcmV0");
    assert!(!requests.is_empty() && requests.iter().all(|request| *request == expected), "{requests:?}");
    assert!(!env.requests_since(0).is_empty(), "the operator's requests arrived");
}
