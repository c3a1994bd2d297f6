//! The resource: the identity of the emitter. It makes no call and reads no environment.

use opentelemetry::{KeyValue, trace::TraceId};
use opentelemetry_sdk::{
    Resource,
    resource::TelemetryResourceDetector,
    trace::{IdGenerator, RandomIdGenerator},
};

use crate::telemetry::config::{Identity, TelemetryConfig};

/// The default `service.name`.
const SERVICE: &str = "elpio-operator";

/// The version of the semantic conventions in use.
pub(in crate::telemetry) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// Precedence: `OTEL_SERVICE_NAME`, then `OTEL_RESOURCE_ATTRIBUTES`, then the operator's own attributes.
pub(in crate::telemetry) fn resource(config: &TelemetryConfig, identity: &Identity) -> Resource {
    let mut attributes = vec![
        KeyValue::new("service.name", SERVICE),
        KeyValue::new("service.namespace", "elpio"),
        KeyValue::new("service.version", identity.version),
        KeyValue::new("service.instance.id", identity.pod_uid.clone().unwrap_or_else(random_uuid)),
    ];
    let known = [
        ("k8s.namespace.name", &identity.namespace),
        ("k8s.pod.name", &identity.pod_name),
        ("k8s.pod.uid", &identity.pod_uid),
        ("k8s.node.name", &identity.node_name),
        ("k8s.cluster.uid", &identity.cluster_uid),
    ];
    attributes.extend(known.into_iter().filter_map(|(key, value)| Some(KeyValue::new(key, value.clone()?))));
    attributes.extend(config.resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())));
    attributes.extend(config.service_name.clone().map(|name| KeyValue::new("service.name", name)));
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_schema_url(attributes, SCHEMA_URL)
        .build()
}

/// A version 4 UUID (RFC 9562): random except for version and variant.
fn random_uuid() -> String {
    let random = u128::from_be_bytes(RandomIdGenerator::default().new_trace_id().to_bytes());
    let marked = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = TraceId::from(marked).to_string();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use opentelemetry::Key;

    use super::*;

    fn get(resource: &Resource, key: &'static str) -> Option<String> {
        resource.get(&Key::from_static_str(key)).map(|value| value.to_string())
    }

    #[test]
    fn the_service_name_beats_the_list_and_the_list_beats_us() {
        let mut config = TelemetryConfig::off();
        let identity = Identity { version: "1.2.3", pod_uid: Some("u".into()), ..Identity::default() };
        assert_eq!(get(&resource(&config, &identity), "service.name").as_deref(), Some("elpio-operator"));
        config.resource = vec![("service.name".into(), "list".into()), ("team".into(), "a,b".into())];
        assert_eq!(get(&resource(&config, &identity), "service.name").as_deref(), Some("list"));
        config.service_name = Some("own".into());
        let all = resource(&config, &identity);
        assert_eq!(get(&all, "service.name").as_deref(), Some("own"));
        assert_eq!(get(&all, "team").as_deref(), Some("a,b"));
        assert_eq!(get(&all, "service.instance.id").as_deref(), Some("u"));
        assert_eq!(get(&all, "k8s.pod.uid").as_deref(), Some("u"));
        assert_eq!(get(&all, "k8s.node.name"), None);
        assert_eq!(get(&all, "telemetry.sdk.language").as_deref(), Some("rust"));
    }

    #[test]
    fn without_a_pod_the_instance_is_a_uuid() {
        let id = random_uuid();
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "4");
        assert!("89ab".contains(&id[19..20]), "{id}");
        assert_ne!(id, random_uuid());
    }
}
