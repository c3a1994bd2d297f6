//! The software bill of materials, `CycloneDX` 1.5, from what cargo knows. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// The package that is released.
const PACKAGE: &str = "elpio-operator";

/// Every package that is compiled into the binary. `metadata` is `cargo metadata`'s answer for the target,
/// `lock` is `Cargo.lock`, `created` an RFC 3339 time.
#[must_use]
pub fn sbom(metadata: &Value, lock: &str, created: &str) -> Value {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages: BTreeMap<String, Value> =
        list(&metadata["packages"]).into_iter().map(|package| (text(&package["id"]), package)).collect();
    let nodes: BTreeMap<String, Value> =
        list(&metadata["resolve"]["nodes"]).into_iter().map(|node| (text(&node["id"]), node)).collect();
    let root = packages.values().find(|package| package["name"] == PACKAGE).cloned().unwrap_or_default();
    let (mut linked, mut waiting) = (BTreeSet::new(), vec![text(&root["id"])]);
    while let Some(id) = waiting.pop() {
        let is_linked =
            |dependency: &&Value| list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
        let dependencies = nodes.get(&id).map(|node| list(&node["deps"])).unwrap_or_default();
        let next = dependencies.iter().filter(is_linked).map(|dependency| text(&dependency["pkg"]));
        waiting.extend(next.filter(|id| linked.insert(id.clone())));
    }
    let checksums = checksums(lock);
    let component = |package: &Value| {
        let (name, version) = (text(&package["name"]), text(&package["version"]));
        let purl = format!("pkg:cargo/{name}@{version}");
        let mut component =
            json!({"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl});
        if let Some(license) = package["license"].as_str() {
            component["licenses"] = json!([{"expression": license.replace('/', " OR ")}]);
        }
        if let Some(checksum) = checksums.get(&(name, version)) {
            component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
        }
        component
    };
    let mut main = component(&root);
    main["type"] = json!("application");
    let components: Vec<Value> = linked.iter().filter_map(|id| packages.get(id)).map(component).collect();
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"timestamp": created, "component": main},
        "components": components,
    })
}

/// Checksums by name and version; `Cargo.lock` has one key a line.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let mut all = BTreeMap::new();
    for package in lock.split("[[package]]") {
        let value = |key: &str| {
            let start = format!("{key} = \"");
            let line = package.lines().find_map(|line| line.strip_prefix(&start));
            line.map(|rest| rest.trim_end_matches('"').to_owned())
        };
        if let (Some(name), Some(version), Some(checksum)) =
            (value("name"), value("version"), value("checksum"))
        {
            all.insert((name, version), checksum);
        }
    }
    all
}
