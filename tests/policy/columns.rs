//! The fields whose writers are judged, and the permission that each needs. Data only: nothing is sent here.

use serde_json::{Value, json};

use crate::writers::{ANY, Permission};

/// A kind that users write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Service,
    Function,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Service, Self::Function];

    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "ElpioService",
            Self::Function => "ElpioFunction",
        }
    }

    pub fn plural(self) -> &'static str {
        match self {
            Self::Service => "elpioservices",
            Self::Function => "elpiofunctions",
        }
    }

    /// The name of the policy and of its binding.
    pub fn policy(self) -> &'static str {
        match self {
            Self::Service => "elpio-lent-rights-services",
            Self::Function => "elpio-lent-rights-functions",
        }
    }

    /// A spec that lends nothing.
    pub fn base(self) -> Value {
        match self {
            Self::Service => json!({"image": {"repository": "registry.local/app"}}),
            Self::Function => json!({
                "source": {"git": {"url": "https://example.com/hello.git"}},
                "runtime": "go", "image": "registry.local/hello:latest", "build": {"keep": 3},
            }),
        }
    }
}

/// A column of the table.
pub struct Column {
    pub kind: Kind,
    pub name: &'static str,
    /// The spec without the field.
    pub plain: Value,
    /// With it, and what its writer needs.
    pub with: (Value, Vec<Permission>),
    /// With another value of it.
    pub changed: (Value, Vec<Permission>),
    /// Where a refusal places the fault; nothing where none is refused.
    pub path: Option<&'static str>,
}

impl Column {
    /// As the table shows it.
    pub fn title(&self) -> String {
        let kind = if self.kind == Kind::Service { "service" } else { "function" };
        format!("{kind} {}", self.name)
    }

    fn on(mut self, more: &Value) -> Self {
        for spec in [&mut self.plain, &mut self.with.0, &mut self.changed.0] {
            *spec = merged(spec, more);
        }
        self
    }
}

/// JSON merge (RFC 7396), without removals.
pub fn merged(base: &Value, more: &Value) -> Value {
    let (Value::Object(base), Value::Object(more)) = (base, more) else { return more.clone() };
    let mut all = base.clone();
    for (key, value) in more {
        let value = base.get(key).map_or_else(|| value.clone(), |old| merged(old, value));
        all.insert(key.clone(), value);
    }
    Value::Object(all)
}

type Case = (Value, Vec<Permission>);

fn column(kind: Kind, name: &'static str, path: &'static str, with: Case, changed: Case) -> Column {
    let plain = kind.base();
    let over = |(more, needs): Case| (merged(&plain, &more), needs);
    let path = (!path.is_empty()).then_some(path);
    Column { kind, name, with: over(with), changed: over(changed), path, plain }
}

fn secret(field: &dyn Fn(&str) -> Value) -> [Case; 2] {
    ["s1", "s2"].map(|name| (field(name), vec![Permission::GetSecrets(name)]))
}

fn account(field: &dyn Fn(&str) -> Value) -> [Case; 2] {
    ["runner", "other"].map(|name| (field(name), vec![Permission::Impersonate(name)]))
}

fn free(values: [Value; 2]) -> [Case; 2] {
    values.map(|value| (value, Vec::new()))
}

/// What makes addresses and certificates, for both kinds.
fn ingress(kind: Kind) -> Vec<Column> {
    let of = |name, path, [with, changed]: [Case; 2]| column(kind, name, path, with, changed);
    let needs = |permission: Permission, values: [Value; 2]| values.map(|value| (value, vec![permission]));
    let hosts = ["a.example.com", "b.example.com"].map(|host| json!({"ingress": {"host": host}}));
    let tls = hosts.clone().map(|host| merged(&host, &json!({"ingress": {"tls": true}})));
    let issuers =
        ["ca", "other"].map(|name| json!({"ingress": {"issuer": {"name": name, "kind": "Issuer"}}}));
    let keda = json!({"engine": "keda"});
    let mut with_tls = of("ingress.tls", "spec.ingress.tls", needs(Permission::CreateCertificates, tls));
    with_tls.plain = merged(&with_tls.plain, &hosts[0]);
    let domain = |name| of(name, "spec.ingress.host", needs(Permission::CreateDomainMappings, hosts.clone()));
    vec![
        // A host on KEDA is free: what is refused here is refused for the certificate.
        with_tls.on(&keda),
        of("ingress.issuer", "spec.ingress.issuer", needs(Permission::CreateCertificates, issuers)),
        domain("ingress.host, knative").on(&json!({"engine": "knative"})),
        domain("ingress.host, default engine"),
        of("ingress.host, keda", "", free(hosts.clone())).on(&keda),
    ]
}

/// What pods run as and read, for both kinds.
fn pods(kind: Kind) -> Vec<Column> {
    let of = |name, path, [with, changed]: [Case; 2]| column(kind, name, path, with, changed);
    let env = |source: &str, name: &str| {
        let key_ref = json!({"name": name, "key": "k", "optional": true});
        json!({"env": [{"name": "V", "valueFrom": {source: key_ref}}]})
    };
    let from = |source: &str, name: &str| json!({"envFrom": [{"prefix": "P_", source: {"name": name, "optional": true}}]});
    let config = |name: &str| merged(&env("configMapKeyRef", name), &from("configMapRef", name));
    let run_as = |name: &str| json!({"serviceAccount": name});
    let pull = |name: &str| json!({"imagePullSecrets": [name]});
    vec![
        of("serviceAccount", "spec.serviceAccount", account(&run_as)),
        of("serviceAccount: default", "", free(["default", ""].map(run_as))),
        of("env secretKeyRef", "spec.env", secret(&|name| env("secretKeyRef", name))),
        of("envFrom secretRef", "spec.envFrom", secret(&|name| from("secretRef", name))),
        of("imagePullSecrets", "spec.imagePullSecrets", secret(&pull)),
        of("ConfigMaps", "", free(["c1", "c2"].map(config))),
    ]
}

/// The columns.
pub fn columns() -> Vec<Column> {
    let external = |key: &str| {
        let data = json!([{"secretKey": "password", "remoteKey": key, "remoteProperty": "value"}]);
        let secret = json!({"name": "db", "storeRef": "vault", "storeKind": "ClusterSecretStore",
            "secretName": "s1", "refreshInterval": "1h", "data": data});
        let needs = vec![Permission::CreateExternalSecrets, Permission::GetSecrets(ANY)];
        (json!({"externalSecrets": [secret]}), needs)
    };
    let [secret_a, secret_b] = secret(&|name| json!({"build": {"pushSecret": name}}));
    let [account_a, account_b] = account(&|name| json!({"build": {"serviceAccount": name}}));
    let [default, none] = free(["default", ""].map(|name| json!({"build": {"serviceAccount": name}})));
    let external =
        column(Kind::Service, "externalSecrets", "spec.externalSecrets", external("a"), external("b"));
    let function = |name, path, with, changed| column(Kind::Function, name, path, with, changed);
    let mut all = vec![external];
    all.extend(Kind::ALL.into_iter().flat_map(|kind| ingress(kind).into_iter().chain(pods(kind))));
    all.extend([
        function("build.serviceAccount", "spec.build.serviceAccount", account_a, account_b),
        function("build.serviceAccount: default", "", default, none),
        function("build.pushSecret", "spec.build.pushSecret", secret_a, secret_b),
    ]);
    all
}
