//! Rules of the container: image, port, environment, resources, probe.

use serde_json::json;

use super::{Case, bad, good, many, operator};

pub fn image() -> Vec<Case> {
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    vec![
        good("tag and digest", json!({"image": {"repository": "r", "tag": "1", "digest": digest}})),
        bad(
            "an empty repository",
            json!({"image": {"repository": ""}}),
            "spec.image.repository: \"\" must be a repository such as registry.example/team/app, of at most 255 characters: no scheme, no tag, no digest, no capitals in the path",
            "spec.image.repository",
        ),
        bad(
            "a repository with a space",
            json!({"image": {"repository": "a b"}}),
            "spec.image.repository: \"a b\" must be a repository such as registry.example/team/app, of at most 255 characters: no scheme, no tag, no digest, no capitals in the path",
            "image.repository must be a repository such as",
        ),
        bad(
            "a tag in the repository",
            json!({"image": {"repository": "registry.example/app:v1"}}),
            "spec.image.repository: \"registry.example/app:v1\" must be a repository such as registry.example/team/app, of at most 255 characters: no scheme, no tag, no digest, no capitals in the path",
            "image.repository must be a repository such as",
        ),
        bad(
            "a tag in a short repository",
            json!({"image": {"repository": "app:v1"}}),
            "spec.image.repository: \"app:v1\" must be a repository such as registry.example/team/app, of at most 255 characters: no scheme, no tag, no digest, no capitals in the path",
            "image.repository must be a repository such as",
        ),
        bad(
            "a digest in the repository",
            json!({"image": {"repository": "app@sha256:0"}}),
            "spec.image.repository: \"app@sha256:0\" must be a repository such as registry.example/team/app, of at most 255 characters: no scheme, no tag, no digest, no capitals in the path",
            "image.repository must be a repository such as",
        ),
        bad(
            "capitals in the path",
            json!({"image": {"repository": "registry.example/Team/app"}}),
            "spec.image.repository: \"registry.example/Team/app\" must be a repository such as registry.example/team/app, of at most 255 characters: no scheme, no tag, no digest, no capitals in the path",
            "image.repository must be a repository such as",
        ),
        bad(
            "a capital alone",
            json!({"image": {"repository": "App"}}),
            "spec.image.repository: \"App\" must be a repository such as registry.example/team/app, of at most 255 characters: no scheme, no tag, no digest, no capitals in the path",
            "image.repository must be a repository such as",
        ),
        bad(
            "a scheme",
            json!({"image": {"repository": "https://registry.example/app"}}),
            "spec.image.repository: \"https://registry.example/app\" must be a repository such as registry.example/team/app, of at most 255 characters: no scheme, no tag, no digest, no capitals in the path",
            "image.repository must be a repository such as",
        ),
        bad(
            "a port that is none",
            json!({"image": {"repository": "registry.example:x/app"}}),
            "spec.image.repository: \"registry.example:x/app\" must be a repository such as registry.example/team/app, of at most 255 characters: no scheme, no tag, no digest, no capitals in the path",
            "image.repository must be a repository such as",
        ),
        bad(
            "an empty word in the path",
            json!({"image": {"repository": "team//app"}}),
            "spec.image.repository: \"team//app\" must be a repository such as registry.example/team/app, of at most 255 characters: no scheme, no tag, no digest, no capitals in the path",
            "image.repository must be a repository such as",
        ),
        bad(
            "two dots",
            json!({"image": {"repository": "app..b"}}),
            "spec.image.repository: \"app..b\" must be a repository such as registry.example/team/app, of at most 255 characters: no scheme, no tag, no digest, no capitals in the path",
            "image.repository must be a repository such as",
        ),
        bad(
            "a slash at the end",
            json!({"image": {"repository": "app/"}}),
            "spec.image.repository: \"app/\" must be a repository such as registry.example/team/app, of at most 255 characters: no scheme, no tag, no digest, no capitals in the path",
            "image.repository must be a repository such as",
        ),
        good("a registry with a port", json!({"image": {"repository": "registry.example:5000/team/app"}})),
        good("capitals in the host", json!({"image": {"repository": "Registry.Example/team/app"}})),
        good("an address of a registry", json!({"image": {"repository": "[2001:db8::1]:5000/app"}})),
        good("every separator", json!({"image": {"repository": "localhost/a.b_c__d---e"}})),
        good("a repository of 255 characters", json!({"image": {"repository": "a".repeat(255)}})),
        bad(
            "a tag with a slash",
            json!({"image": {"repository": "r", "tag": "a/b"}}),
            "spec.image.tag: must be 1 to 128 letters, digits, underscores, dots and dashes, beginning with neither dot nor dash",
            "spec.image.tag",
        ),
        good("a tag of 128 characters", json!({"image": {"repository": "r", "tag": "a".repeat(128)}})),
        bad(
            "a tag of 129 characters",
            json!({"image": {"repository": "r", "tag": "a".repeat(129)}}),
            "spec.image.tag: must be 1 to 128 letters, digits, underscores, dots and dashes, beginning with neither dot nor dash",
            "spec.image.tag",
        ),
        bad(
            "a digest without sha256:",
            json!({"image": {"repository": "r", "digest": "0123456789abcdef".repeat(4)}}),
            "spec.image.digest: must be sha256: and 64 hexadecimal digits",
            "spec.image.digest",
        ),
        bad(
            "a digest of 63 digits",
            json!({"image": {"repository": "r", "digest": digest[..70]}}),
            "spec.image.digest: must be sha256: and 64 hexadecimal digits",
            "spec.image.digest",
        ),
    ]
}

pub fn container() -> Vec<Case> {
    let mut cases = vec![
        good("port 1", json!({"port": 1})),
        good("port 65535", json!({"port": 65535})),
        bad("port 0", json!({"port": 0}), "spec.port: must be 1 to 65535, not 0", "spec.port"),
        bad("port 65536", json!({"port": 65536}), "spec.port: must be 1 to 65535, not 65536", "spec.port"),
        good("a port of Knative's on KEDA", json!({"engine": "keda", "port": 8012})),
        operator(
            "a port of Knative's by default",
            "knative",
            json!({"port": 8022}),
            "spec.port: 8022 is reserved by Knative (8008, 8012, 8013, 8022, 9090, 9091)",
        ),
        Case { engine: "keda", ..good("a port of Knative's, KEDA by default", json!({"port": 8012})) },
        good("no service account is the same as an empty one", json!({"serviceAccount": ""})),
        good("no pull secret", json!({"imagePullSecrets": []})),
        good("ten pull secrets", json!({"imagePullSecrets": many(10, |i| json!(format!("s{i}")))})),
        bad(
            "eleven pull secrets",
            json!({"imagePullSecrets": many(11, |i| json!(format!("s{i}")))}),
            "spec.imagePullSecrets: must have at most 10 items, not 11",
            "spec.imagePullSecrets",
        ),
        bad(
            "a pull secret that is no name",
            json!({"imagePullSecrets": ["a", "B"]}),
            "spec.imagePullSecrets[1]: must be a lower-case DNS name of at most 253 characters",
            "spec.imagePullSecrets[1]",
        ),
        bad(
            "the same pull secret twice",
            json!({"imagePullSecrets": ["a", "a"]}),
            "spec.imagePullSecrets[1]: \"a\" is already in spec.imagePullSecrets",
            "Duplicate value",
        ),
        bad(
            "a service account that is no name",
            json!({"serviceAccount": "A_b"}),
            "spec.serviceAccount: must be a lower-case DNS name of at most 253 characters",
            "spec.serviceAccount",
        ),
    ];
    let faults = [
        (8008, "spec.port: 8008 is reserved by Knative (8008, 8012, 8013, 8022, 9090, 9091)"),
        (8012, "spec.port: 8012 is reserved by Knative (8008, 8012, 8013, 8022, 9090, 9091)"),
        (8013, "spec.port: 8013 is reserved by Knative (8008, 8012, 8013, 8022, 9090, 9091)"),
        (8022, "spec.port: 8022 is reserved by Knative (8008, 8012, 8013, 8022, 9090, 9091)"),
        (9090, "spec.port: 9090 is reserved by Knative (8008, 8012, 8013, 8022, 9090, 9091)"),
        (9091, "spec.port: 9091 is reserved by Knative (8008, 8012, 8013, 8022, 9090, 9091)"),
    ];
    cases.extend(faults.map(|(port, fault)| {
        bad(
            "a port of Knative's",
            json!({"engine": "knative", "port": port}),
            fault,
            "port must not be one that Knative reserves",
        )
    }));
    cases
}

pub fn resources() -> Vec<Case> {
    vec![
        good(
            "integers and strings",
            json!({"resources": {"requests": {"cpu": 1, "memory": "1.5Gi"}, "limits": {"cpu": "1000m", "memory": "2e9", "x.example.com/y": 3}}}),
        ),
        bad(
            "a word",
            json!({"resources": {"limits": {"cpu": "much"}}}),
            "spec.resources.limits.cpu: \"much\" is not a quantity",
            "spec.resources.limits",
        ),
        bad(
            "a suffix that is none",
            json!({"resources": {"requests": {"memory": "1K"}}}),
            "spec.resources.requests.memory: \"1K\" is not a quantity",
            "spec.resources.requests",
        ),
        bad(
            "less than nothing",
            json!({"resources": {"limits": {"cpu": "-1"}}}),
            "spec.resources.limits.cpu: must be at least 0, not -1",
            "spec.resources.limits",
        ),
        bad(
            "less than nothing as an integer",
            json!({"resources": {"limits": {"cpu": -1}}}),
            "spec.resources.limits.cpu: must be at least 0, not -1",
            "spec.resources.limits",
        ),
        bad(
            "more than the limit",
            json!({"resources": {"requests": {"cpu": 2}, "limits": {"cpu": "1500m"}}}),
            "spec.resources.requests.cpu: 2 is more than the limit, 1500m",
            "resources.requests must be at most resources.limits",
        ),
        good(
            "as much as the limit",
            json!({"resources": {"requests": {"cpu": 2}, "limits": {"cpu": "2000m"}}}),
        ),
        good(
            "50 resources",
            json!({"resources": {"limits": (0..50).map(|i| (format!("r{i}"), json!(1))).collect::<serde_json::Map<_, _>>()}}),
        ),
        bad(
            "51 resources",
            json!({"resources": {"limits": (0..51).map(|i| (format!("r{i}"), json!(1))).collect::<serde_json::Map<_, _>>()}}),
            "spec.resources.limits: must have at most 50 items, not 51",
            "spec.resources.limits",
        ),
    ]
}

pub fn probe() -> Vec<Case> {
    vec![
        good("at the bounds", json!({"readinessProbe": {"initialDelaySeconds": 0, "periodSeconds": 1}})),
        bad(
            "a negative delay",
            json!({"readinessProbe": {"initialDelaySeconds": -1}}),
            "spec.readinessProbe.initialDelaySeconds: must be at least 0, not -1",
            "spec.readinessProbe.initialDelaySeconds",
        ),
        bad(
            "a period of 0",
            json!({"readinessProbe": {"periodSeconds": 0}}),
            "spec.readinessProbe.periodSeconds: must be at least 1, not 0",
            "spec.readinessProbe.periodSeconds",
        ),
        bad(
            "a path that is too long",
            json!({"readinessProbe": {"path": "a".repeat(2049)}}),
            "spec.readinessProbe.path: must have at most 2048 characters",
            "spec.readinessProbe.path",
        ),
    ]
}
