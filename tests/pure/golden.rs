//! Golden files: each object under `tests/golden/` becomes exactly the children that stand beside it.
//!
//! `UPDATE_GOLDEN=1 cargo test --test pure` writes them anew; read the difference
//! before it is committed.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use elpio_operator::{api, cluster::store::compact::CompactObject, render::Desired};
use kube::core::DynamicObject;
use serde_json::Value;

const SUFFIX: &str = ".children.yaml";

/// The uid of every owner here.
pub const UID: &str = "11111111-2222-3333-4444-555555555555";

/// The folder of a kind: `service`, `function`.
pub fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(kind)
}

/// Names of the cases of a kind: every file that is not a result.
pub fn cases(kind: &str) -> Vec<String> {
    let names = std::fs::read_dir(folder(kind))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut cases: Vec<_> = names
        .filter(|name| !name.ends_with(SUFFIX))
        .map(|name| name.trim_end_matches(".yaml").to_owned())
        .collect();
    cases.sort();
    cases
}

/// The object of a case.
pub fn read(kind: &str, case: &str) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(folder(kind).join(format!("{case}.yaml"))).unwrap())
        .unwrap()
}

/// What the store keeps of a child that is as it was sent.
pub fn stored(manifest: Value) -> DynamicObject {
    let object: DynamicObject = serde_json::from_value(manifest).unwrap();
    CompactObject::from(object).to_object()
}

/// All children as one YAML stream; what is not part of an object stands in comments.
pub fn golden(desired: &Desired) -> String {
    let mut text = String::new();
    for ignored in &desired.ignored {
        writeln!(text, "# ignored: {}: {}", ignored.field, ignored.why).unwrap();
    }
    for child in &desired.children {
        writeln!(text, "---\n# hash: {}", child.hash()).unwrap();
        for id in &child.depends_on {
            writeln!(text, "# after: {} {}", id.kind.display(), id.name).unwrap();
        }
        text.push_str(&serde_saphyr::to_string(child.body()).unwrap());
    }
    text
}

/// Compares what each case becomes with the committed file.
pub fn compare(kind: &str, rendered: impl Fn(&str) -> Desired) {
    for case in cases(kind) {
        compare_text(&folder(kind).join(format!("{case}{SUFFIX}")), &golden(&rendered(&case)));
    }
    let files = std::fs::read_dir(folder(kind)).unwrap().count();
    assert_eq!(files, 2 * cases(kind).len(), "a result without a case");
}

/// Compares a text with the committed file.
pub fn compare_text(path: &Path, text: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, text).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(text, committed, "{}: UPDATE_GOLDEN=1 writes it anew", path.display());
}

/// Fields of a kind's schema that no case of a folder sets, among the cases whose name begins so.
pub fn unset(kind: &str, folder: &str, prefix: &str) -> Vec<String> {
    let (_, crd) = api::crds().into_iter().find(|(_, crd)| crd.spec.names.kind == kind).unwrap();
    let schema =
        serde_json::to_value(&crd).unwrap()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
            ["spec"]
            .clone();
    let (mut fields, mut set) = (BTreeSet::new(), BTreeSet::new());
    fields_of_schema("", &schema, &mut fields);
    for case in cases(folder).iter().filter(|case| case.starts_with(prefix)) {
        fields_of_value("", &read(folder, case)["spec"], &mut set);
    }
    fields.difference(&set).cloned().collect()
}

fn fields_of_schema(path: &str, schema: &Value, fields: &mut BTreeSet<String>) {
    if let Some(items) = schema.get("items") {
        fields_of_schema(path, items, fields);
    } else if let Some(properties) = schema.get("properties") {
        properties
            .as_object()
            .unwrap()
            .iter()
            .for_each(|(name, property)| fields_of_schema(&format!("{path}.{name}"), property, fields));
    } else {
        fields.insert(path.to_owned());
    }
}

fn fields_of_value(path: &str, value: &Value, fields: &mut BTreeSet<String>) {
    fields.insert(path.to_owned());
    match value {
        Value::Array(items) => items.iter().for_each(|item| fields_of_value(path, item, fields)),
        Value::Object(map) => {
            map.iter().for_each(|(name, value)| fields_of_value(&format!("{path}.{name}"), value, fields));
        }
        _ => {}
    }
}
