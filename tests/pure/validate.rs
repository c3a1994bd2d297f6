//! The operator's own check against the table of rules, which the schema is held to as well.

use elpio_operator::{
    api::{Engine, LenientObject, LenientService},
    render::{Defaults, FieldError, check_annotations, validate, validate_function},
};
use elpio_support::rules;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The spec, or why it is not kept.
fn read<S: DeserializeOwned>(case: &rules::Case) -> Result<S, Vec<FieldError>> {
    let object: LenientObject<S, Value> = serde_json::from_value(case.object.clone()).unwrap();
    object.spec.map_err(|error| vec![FieldError { path: error.path, message: error.message }])
}

fn faults(case: &rules::Case) -> Vec<String> {
    let engine = if case.engine == "keda" { Engine::Keda } else { Engine::Knative };
    let defaults = Defaults { engine, ..Defaults::default() };
    let name = case.object["metadata"]["name"].as_str().unwrap();
    let found = if case.object["kind"] == "ElpioFunction" {
        read(case).and_then(|spec| validate_function(name, &spec, None, &defaults)).err()
    } else {
        read(case).and_then(|spec| validate(name, &spec, None, &defaults)).err()
    };
    found.unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn every_rule_is_checked_again() {
    let mut wrong = Vec::new();
    for case in rules::cases() {
        let found = faults(&case);
        let expected: Vec<_> = case.fault.iter().map(ToString::to_string).collect();
        // A broken sum or a missing partner may follow from the fault that is meant.
        let named = case.fault.is_none_or(|fault| found.iter().any(|found| found == fault));
        if found.is_empty() != expected.is_empty() || !named {
            wrong.push(format!("{}: expected {expected:?}, found {found:?}", case.what));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_faults_are_listed_in_the_order_of_the_fields() {
    let object: LenientService = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "1"},
        "spec": {
            "image": {"repository": ""},
            "port": 0,
            "env": [{"name": "A", "value": "1"}, {"name": "PORT"}],
            "resources": {"limits": {"cpu": "x"}},
            "scaling": {"minScale": 2, "maxScale": 1},
            "ingress": {"tls": true},
            "traffic": [{"percent": 10}],
        },
    }))
    .unwrap();
    let faults = validate("1", &object.spec.unwrap(), None, &Defaults::default()).unwrap_err();
    let paths: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "metadata.name",
            "spec.image.repository",
            "spec.port",
            "spec.env[1].name",
            "spec.env[1]",
            "spec.resources.limits.cpu",
            "spec.scaling.minScale",
            "spec.ingress.tls",
            "spec.traffic",
            "spec.traffic[0]",
        ]
    );
}

/// What a newcomer applies first must be right.
#[test]
fn the_samples_are_valid() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/samples");
    let mut names = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let sample: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let (Some(kind), Some(name)) = (sample["kind"].as_str(), sample["metadata"]["name"].as_str()) else {
            panic!("{}", path.display())
        };
        let defaults = Defaults::default();
        let faults = match kind {
            "ElpioService" => {
                validate(name, &serde_json::from_value(sample["spec"].clone()).unwrap(), None, &defaults)
                    .err()
            }
            "ElpioFunction" => validate_function(
                name,
                &serde_json::from_value(sample["spec"].clone()).unwrap(),
                None,
                &defaults,
            )
            .err(),
            _ => None,
        };
        assert_eq!(faults, None, "{}", path.display());
        // A function publishes a service of its own name, so the two kinds share their names.
        assert!(names.insert(name.to_owned()), "{} takes the name of another sample", path.display());
    }
    assert!(names.len() >= 5, "{names:?}");
}

/// A changed `ELPIO_ENGINE` is for new services: what serves is not moved.
#[test]
fn a_service_keeps_the_engine_that_serves_it() {
    let engine = |spec: Value, current, default| {
        let mut fields = serde_json::json!({"image": {"repository": "r"}});
        fields.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let defaults = Defaults { engine: default, ..Defaults::default() };
        validate("a", &serde_json::from_value(fields).unwrap(), current, &defaults).unwrap().engine
    };
    let (none, named) = (serde_json::json!({}), serde_json::json!({"engine": "keda"}));
    assert_eq!(engine(none.clone(), None, Engine::Keda), Engine::Keda);
    assert_eq!(engine(none.clone(), Some(Engine::Knative), Engine::Keda), Engine::Knative);
    assert_eq!(engine(named, Some(Engine::Knative), Engine::Knative), Engine::Keda);
}

#[test]
fn annotations_that_are_read_are_bounded() {
    let check = |name: &str, length: usize| {
        let annotations = [(name.to_owned(), "x".repeat(length))].into_iter().collect();
        check_annotations(&annotations, Ok(()))
            .err()
            .unwrap_or_default()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(check("elpio.io/rebuild", 253), [""; 0]);
    assert_eq!(
        check("elpio.io/rebuild", 254),
        ["metadata.annotations[elpio.io/rebuild]: must have at most 253 characters"]
    );
    assert_eq!(
        check("elpio.io/traceparent", 257),
        ["metadata.annotations[elpio.io/traceparent]: must have at most 256 characters"]
    );
    assert_eq!(check("example.com/note", 1000), [""; 0]);
}
