//! Rules of environment variables and of the secrets to fetch.

use serde_json::{Value, json};

use super::{Case, bad, good, many, operator};

pub fn env() -> Vec<Case> {
    let one = "spec.env[0]: exactly one of value and valueFrom must be set";
    let one_ref = "spec.env[0].valueFrom: exactly one of secretKeyRef and configMapKeyRef must be set";
    let key = json!({"name": "s", "key": "k"});
    let from = |source: Value| json!({"env": [{"name": "A", "valueFrom": source}]});
    let reserved = |name: &str| json!({"engine": "knative", "env": [{"name": name, "value": "1"}]});
    vec![
        good("an empty value counts", json!({"env": [{"name": "A", "value": ""}]})),
        bad(
            "neither value nor valueFrom",
            json!({"env": [{"name": "A"}]}),
            one,
            "env: exactly one of value and valueFrom must be set",
        ),
        bad(
            "both, though the value is empty",
            json!({"env": [{"name": "A", "value": "", "valueFrom": {"secretKeyRef": key}}]}),
            one,
            "env: exactly one of value and valueFrom must be set",
        ),
        bad(
            "no reference",
            from(json!({})),
            one_ref,
            "valueFrom: exactly one of secretKeyRef and configMapKeyRef must be set",
        ),
        bad(
            "two references",
            from(json!({"secretKeyRef": key, "configMapKeyRef": key})),
            one_ref,
            "valueFrom: exactly one of secretKeyRef and configMapKeyRef must be set",
        ),
        bad(
            "a Secret that is no name",
            from(json!({"secretKeyRef": {"name": "S", "key": "k"}})),
            "spec.env[0].valueFrom.secretKeyRef.name: must be a lower-case DNS name of at most 253 characters",
            "spec.env[0].valueFrom.secretKeyRef.name",
        ),
        bad(
            "a ConfigMap that is no name",
            from(json!({"configMapKeyRef": {"name": "", "key": "k"}})),
            "spec.env[0].valueFrom.configMapKeyRef.name: must be a lower-case DNS name of at most 253 characters",
            "spec.env[0].valueFrom.configMapKeyRef.name",
        ),
        bad(
            "a key with a slash",
            from(json!({"secretKeyRef": {"name": "s", "key": "a/b"}})),
            "spec.env[0].valueFrom.secretKeyRef.key: must be 1 to 253 letters, digits, dashes, underscores and dots",
            "spec.env[0].valueFrom.secretKeyRef.key",
        ),
        bad(
            "an empty name",
            json!({"env": [{"name": "", "value": "1"}]}),
            "spec.env[0].name: must be 1 to 256 printable ASCII characters without =",
            "spec.env[0].name",
        ),
        bad(
            "a name with =",
            json!({"env": [{"name": "A=B", "value": "1"}]}),
            "spec.env[0].name: must be 1 to 256 printable ASCII characters without =",
            "spec.env[0].name",
        ),
        good("a name that only Kubernetes takes", json!({"env": [{"name": "a.b-c 1", "value": "1"}]})),
        bad(
            "the same name twice",
            json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}, {"name": "A", "value": "2"}]}),
            "spec.env[2].name: \"A\" is already in spec.env[0]",
            "Duplicate value",
        ),
        good("the longest value", json!({"env": [{"name": "A", "value": "x".repeat(32_768)}]})),
        bad(
            "a longer value",
            json!({"env": [{"name": "A", "value": "x".repeat(32_769)}]}),
            "spec.env[0].value: must have at most 32768 bytes, not 32769",
            "spec.env[0].value",
        ),
        operator(
            "a value whose bytes are too many",
            "knative",
            json!({"env": [{"name": "A", "value": "ä".repeat(16_385)}]}),
            "spec.env[0].value: must have at most 32768 bytes, not 32770",
        ),
        operator(
            "a spec of more than 256 KiB",
            "knative",
            json!({"env": many(9, |i| json!({"name": format!("V{i}"), "value": "x".repeat(30_000)}))}),
            "spec: must have at most 262144 bytes as JSON, not 270275",
        ),
        good("500 variables", json!({"env": many(500, |i| json!({"name": format!("V{i}"), "value": "x"}))})),
        bad(
            "501 variables",
            json!({"env": many(501, |i| json!({"name": format!("V{i}"), "value": "x"}))}),
            "spec.env: must have at most 500 items, not 501",
            "spec.env",
        ),
        bad(
            "PORT on Knative",
            reserved("PORT"),
            "spec.env[0].name: PORT is a variable that Knative sets itself",
            "env must not name a variable that Knative sets",
        ),
        bad(
            "K_SERVICE on Knative",
            reserved("K_SERVICE"),
            "spec.env[0].name: K_SERVICE is a variable that Knative sets itself",
            "env must not name a variable that Knative sets",
        ),
        bad(
            "K_CONFIGURATION on Knative",
            reserved("K_CONFIGURATION"),
            "spec.env[0].name: K_CONFIGURATION is a variable that Knative sets itself",
            "env must not name a variable that Knative sets",
        ),
        bad(
            "K_REVISION on Knative",
            reserved("K_REVISION"),
            "spec.env[0].name: K_REVISION is a variable that Knative sets itself",
            "env must not name a variable that Knative sets",
        ),
        operator(
            "PORT, Knative by default",
            "knative",
            json!({"env": [{"name": "PORT", "value": "1"}]}),
            "spec.env[0].name: PORT is a variable that Knative sets itself",
        ),
        good("PORT on KEDA", json!({"engine": "keda", "env": [{"name": "PORT", "value": "1"}]})),
    ]
}

pub fn env_from() -> Vec<Case> {
    let one = "spec.envFrom[0]: exactly one of secretRef and configMapRef must be set";
    vec![
        bad(
            "no reference",
            json!({"envFrom": [{"prefix": "A_"}]}),
            one,
            "envFrom: exactly one of secretRef and configMapRef must be set",
        ),
        bad(
            "two references",
            json!({"envFrom": [{"secretRef": {"name": "a"}, "configMapRef": {"name": "a"}}]}),
            one,
            "envFrom: exactly one of secretRef and configMapRef must be set",
        ),
        bad(
            "a Secret that is no name",
            json!({"envFrom": [{"secretRef": {"name": "A"}}]}),
            "spec.envFrom[0].secretRef.name: must be a lower-case DNS name of at most 253 characters",
            "spec.envFrom[0].secretRef.name",
        ),
        bad(
            "a ConfigMap that is no name",
            json!({"envFrom": [{"configMapRef": {"name": "a."}}]}),
            "spec.envFrom[0].configMapRef.name: must be a lower-case DNS name of at most 253 characters",
            "spec.envFrom[0].configMapRef.name",
        ),
        bad(
            "a prefix with =",
            json!({"envFrom": [{"prefix": "A=", "secretRef": {"name": "a"}}]}),
            "spec.envFrom[0].prefix: must be at most 256 printable ASCII characters without =",
            "spec.envFrom[0].prefix",
        ),
        good(
            "100 sources, the same one too",
            json!({"envFrom": many(100, |_| json!({"secretRef": {"name": "a"}}))}),
        ),
        bad(
            "101 sources",
            json!({"envFrom": many(101, |_| json!({"secretRef": {"name": "a"}}))}),
            "spec.envFrom: must have at most 100 items, not 101",
            "spec.envFrom",
        ),
    ]
}

pub fn secrets() -> Vec<Case> {
    let secret = |name: &str, fields: Value| {
        let mut secret =
            json!({"name": name, "storeRef": "vault", "data": [{"secretKey": "k", "remoteKey": "r"}]});
        secret
            .as_object_mut()
            .into_iter()
            .for_each(|map| map.extend(fields.as_object().cloned().unwrap_or_default()));
        secret
    };
    let with = |fields: Value| json!({"externalSecrets": [secret("a", fields)]});
    vec![
        bad(
            "a name that is none",
            json!({"externalSecrets": [secret("A", json!({}))]}),
            "spec.externalSecrets[0].name: must be a lower-case DNS name of at most 253 characters",
            "spec.externalSecrets[0].name",
        ),
        bad(
            "a store that is no name",
            with(json!({"storeRef": ""})),
            "spec.externalSecrets[0].storeRef: must be a lower-case DNS name of at most 253 characters",
            "spec.externalSecrets[0].storeRef",
        ),
        bad(
            "a Secret that is no name",
            with(json!({"secretName": "A"})),
            "spec.externalSecrets[0].secretName: must be a lower-case DNS name of at most 253 characters",
            "spec.externalSecrets[0].secretName",
        ),
        good("an interval of many units", with(json!({"refreshInterval": "1h30m5.5s"}))),
        good("an interval of 0", with(json!({"refreshInterval": "0"}))),
        bad(
            "an interval without unit",
            with(json!({"refreshInterval": "10"})),
            "spec.externalSecrets[0].refreshInterval: \"10\" must be a duration such as 1h30m",
            "spec.externalSecrets[0].refreshInterval",
        ),
        bad(
            "no data",
            with(json!({"data": []})),
            "spec.externalSecrets[0].data: must name at least one key",
            "spec.externalSecrets[0].data",
        ),
        good(
            "100 keys",
            with(json!({"data": many(100, |i| json!({"secretKey": format!("k{i}"), "remoteKey": "r"}))})),
        ),
        bad(
            "101 keys",
            with(json!({"data": many(101, |i| json!({"secretKey": format!("k{i}"), "remoteKey": "r"}))})),
            "spec.externalSecrets[0].data: must have at most 100 items, not 101",
            "spec.externalSecrets[0].data",
        ),
        bad(
            "a key with a slash",
            with(json!({"data": [{"secretKey": "a/b", "remoteKey": "r"}]})),
            "spec.externalSecrets[0].data[0].secretKey: must be 1 to 253 letters, digits, dashes, underscores and dots",
            "spec.externalSecrets[0].data[0].secretKey",
        ),
        bad(
            "an empty remote key",
            with(json!({"data": [{"secretKey": "a", "remoteKey": ""}]})),
            "spec.externalSecrets[0].data[0].remoteKey: must have 1 to 1024 characters",
            "spec.externalSecrets[0].data[0].remoteKey",
        ),
        bad(
            "an empty property",
            with(json!({"data": [{"secretKey": "a", "remoteKey": "r", "remoteProperty": ""}]})),
            "spec.externalSecrets[0].data[0].remoteProperty: must have 1 to 1024 characters",
            "spec.externalSecrets[0].data[0].remoteProperty",
        ),
        bad(
            "the same name twice",
            json!({"externalSecrets": [secret("a", json!({})), secret("a", json!({}))]}),
            "spec.externalSecrets[1].name: \"a\" is already in spec.externalSecrets[0]",
            "Duplicate value",
        ),
        bad(
            "two that write one Secret",
            json!({"externalSecrets": [secret("a", json!({})), secret("b", json!({"secretName": "a"}))]}),
            "spec.externalSecrets[1].secretName: \"a\" is already written by spec.externalSecrets[0]",
            "externalSecrets: two of them must not write one Secret",
        ),
        good(
            "two that swap their names",
            json!({"externalSecrets": [secret("a", json!({"secretName": "b"})), secret("b", json!({"secretName": "a"}))]}),
        ),
        bad(
            "the Secret of the certificate",
            json!({"ingress": {"host": "a.example", "tls": true}, "externalSecrets": [secret("app-tls", json!({}))]}),
            "spec.externalSecrets[0].secretName: \"app-tls\" is the Secret of the certificate that spec.ingress.tls asks for",
            "externalSecrets: the Secret NAME-tls is the certificate's where ingress.tls is set",
        ),
        bad(
            "the Secret of the certificate under another name",
            json!({"ingress": {"host": "a.example", "tls": true}, "externalSecrets": [secret("a", json!({"secretName": "app-tls"}))]}),
            "spec.externalSecrets[0].secretName: \"app-tls\" is the Secret of the certificate that spec.ingress.tls asks for",
            "externalSecrets: the Secret NAME-tls is the certificate's where ingress.tls is set",
        ),
        good("NAME-tls without tls", json!({"externalSecrets": [secret("app-tls", json!({}))]})),
        good("50 secrets", json!({"externalSecrets": many(50, |i| secret(&format!("s{i}"), json!({})))})),
        bad(
            "51 secrets",
            json!({"externalSecrets": many(51, |i| secret(&format!("s{i}"), json!({})))}),
            "spec.externalSecrets: must have at most 50 items, not 51",
            "spec.externalSecrets",
        ),
    ]
}
