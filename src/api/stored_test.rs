//! Tests of the lenient form of our kinds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::json;

use super::*;

fn stored(value: Value) -> LenientService {
    serde_json::from_value(value).expect("a stored object is always readable")
}

#[test]
fn a_whole_object_is_read() {
    let object = stored(json!({
        "apiVersion": "elpio.io/v1alpha1", "kind": "ElpioService",
        "metadata": {"name": "a", "namespace": "n", "uid": "u"},
        "spec": {"image": {"repository": "r"}},
        "status": {"ready": true},
    }));
    assert_eq!(object.meta().name.as_deref(), Some("a"));
    let spec = object.spec.expect("readable");
    assert_eq!((spec.port, spec.scaling.target, spec.ingress.enabled), (8080, 100, true));
    assert!(object.status.expect("readable").ready);
}

#[test]
fn only_what_is_read_is_kept_of_the_metadata_and_of_a_long_spec() {
    let env: Vec<Value> =
        (0..9).map(|n| json!({"name": format!("V{n}"), "value": "x".repeat(32_000)})).collect();
    let object = stored(json!({
        "metadata": {
            "name": "a", "generation": 3, "labels": {"team": "x"}, "finalizers": ["a/b"],
            "annotations": {"elpio.io/rebuild": "x".repeat(9_999), "tracing.k8s.io/traceparent": "00", "team": "x"},
            "managedFields": [{"manager": "kubectl"}],
            "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "1"}],
        },
        "spec": {"image": {"repository": "r"}, "env": env},
    }));
    let ObjectMeta { annotations, generation, name, .. } = object.metadata.clone();
    let annotations = annotations.expect("two are read");
    assert_eq!(annotations.keys().collect::<Vec<_>>(), ["elpio.io/rebuild", "tracing.k8s.io/traceparent"]);
    assert_eq!(annotations["elpio.io/rebuild"].len(), MAX_ANNOTATION, "still longer than it may be");
    let rest = ObjectMeta { annotations: None, generation: None, name: None, ..object.metadata };
    assert_eq!((rest, name.as_deref(), generation), (ObjectMeta::default(), Some("a"), Some(3)));
    let error = object.spec.expect_err("288 kB");
    assert_eq!(error.path, "spec");
    assert!(error.message.contains("262144"), "{error}");
}

#[test]
fn a_broken_spec_names_the_field_and_never_fails_the_object() {
    let cases = [
        (
            json!({"image": {"repository": "r"}, "env": [{"name": "A", "value": "1"}, {"name": 5}]}),
            "spec.env[1].name",
            "invalid type: integer `5`, expected a string",
        ),
        (json!({"image": {}}), "spec.image", "missing field `repository`"),
        (json!({}), "spec", "missing field `image`"),
        (
            json!({"image": {"repository": "r"}, "engine": "nomad"}),
            "spec.engine",
            "unknown variant `nomad`, expected `knative` or `keda`",
        ),
        (
            json!({"image": {"repository": "r"}, "scaling": {"maxScale": "x"}}),
            "spec.scaling.maxScale",
            "invalid type: string \"x\", expected i32",
        ),
        (
            json!({"image": {"repository": "r"}, "resources": {"limits": {"cpu": 0.5}}}),
            "spec.resources.limits.cpu",
            "invalid type: floating point `0.5`, expected a quantity: an integer or a string",
        ),
        (json!([]), "spec", "invalid length 0, expected struct ElpioServiceSpec with 13 elements"),
        (Value::Null, "spec", "is missing"),
    ];
    for (spec, path, message) in cases {
        let object = stored(json!({"metadata": {"name": "a"}, "spec": spec}));
        assert_eq!(
            object.spec,
            Err(SpecError { path: path.to_owned(), message: message.to_owned() }),
            "{spec}"
        );
        assert_eq!(object.metadata.name.as_deref(), Some("a"));
    }
}

#[test]
fn a_status_without_a_readable_field_is_none() {
    for status in [json!(5), json!({"ready": "yes"}), Value::Null] {
        let object = stored(
            json!({"metadata": {"name": "a"}, "spec": {"image": {"repository": "r"}}, "status": status}),
        );
        assert_eq!(object.status, None, "{status}");
        assert!(object.spec.is_ok());
    }
}

#[test]
fn it_stands_for_its_kind() {
    assert_eq!(
        LenientService::url_path(&(), Some("n")),
        "/apis/elpio.io/v1alpha1/namespaces/n/elpioservices"
    );
    assert_eq!(LenientService::kind(&()), "ElpioService");
    assert_eq!(
        LenientFunction::url_path(&(), Some("n")),
        "/apis/elpio.io/v1alpha1/namespaces/n/elpiofunctions"
    );
}

#[test]
fn a_function_is_read_as_leniently() {
    let read = |spec: Value| {
        serde_json::from_value::<LenientFunction>(json!({"metadata": {"name": "f"}, "spec": spec}))
            .expect("readable")
            .spec
    };
    let spec = read(json!({"source": {"git": {"url": "https://a"}}, "runtime": "go", "image": "i"}))
        .expect("readable");
    assert_eq!(
        (spec.builder.as_str(), spec.build.timeout.as_str(), spec.build.keep),
        ("paketobuildpacks/builder-jammy-base", "30m", 3)
    );
    assert_eq!(spec.source.git.expect("git").revision, "main");
    let error = read(json!({"source": {"git": {}}, "runtime": "go", "image": "i"}))
        .expect_err("a git source has a URL");
    assert_eq!(error.to_string(), "spec.source.git: missing field `url`");
}

/// A newer version may have words that this one does not know; what it can read, it keeps.
#[test]
fn a_status_is_read_field_by_field() {
    let status = |status: Value| {
        let object = stored(json!({"metadata": {"name": "a"}, "spec": {}, "status": status}));
        (object.status, object.unreadable_status)
    };
    assert_eq!(status(Value::Null), (None, None));
    let (read, unreadable) = status(json!({"engine": "keda"}));
    assert_eq!((read.unwrap().engine, unreadable), (Some(crate::api::Engine::Keda), None));
    let newer = json!({"engine": "keda", "url": "u", "rollout": {"generation": 1, "outcome": "Abandoned"}});
    let (read, unreadable) = status(newer.clone());
    let read = read.unwrap();
    assert_eq!((read.engine, read.url.as_deref()), (Some(crate::api::Engine::Keda), Some("u")));
    assert_eq!((read.rollout, unreadable), (None, Some(newer)));
    assert_eq!(status(json!("none")), (None, Some(json!("none"))));
}
