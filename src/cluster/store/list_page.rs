//! Decodes a page of a list without the objects that cannot be decoded. Makes no requests.

use kube::core::ObjectList;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

/// The fields that identify an object; the others are skipped, however deeply nested.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Identity {
    metadata: Name,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Name {
    namespace: String,
    name: String,
}

/// Decodes a page; one object that cannot be decoded must not hide the others.
///
/// # Errors
/// If the page itself cannot be decoded.
pub fn decode<K: Clone + DeserializeOwned>(text: &[u8]) -> serde_json::Result<ObjectList<K>> {
    // Nearly every page can be decoded as a whole, in one pass.
    serde_json::from_slice(text).or_else(|_| decode_each(text))
}

fn decode_each<K: Clone + DeserializeOwned>(text: &[u8]) -> serde_json::Result<ObjectList<K>> {
    let ObjectList { types, metadata, items } = serde_json::from_slice::<ObjectList<&RawValue>>(text)?;
    let items = items.into_iter().filter_map(decode_item).collect();
    Ok(ObjectList { types, metadata, items })
}

fn decode_item<K: DeserializeOwned>(item: &RawValue) -> Option<K> {
    serde_json::from_str(item.get()).inspect_err(|error| warn(item, error)).ok()
}

fn warn(item: &RawValue, error: &serde_json::Error) {
    let Name { namespace, name } = serde_json::from_str::<Identity>(item.get()).unwrap_or_default().metadata;
    tracing::warn!(namespace, name, %error, "failed to decode a listed object");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;
    use crate::cluster::store::{StoredObject, compact::CompactObject};

    /// Deeper than the decoder allows.
    const DEPTH: usize = 200;

    fn page(items: &str) -> String {
        format!(r#"{{"apiVersion":"v1","items":{items},"kind":"List","metadata":{{"resourceVersion":"7"}}}}"#)
    }

    fn names<K: Clone + DeserializeOwned + StoredObject>(items: &str) -> Vec<String> {
        let list = decode::<K>(page(items).as_bytes()).unwrap();
        assert_eq!(list.metadata.resource_version.as_deref(), Some("7"), "{items}");
        list.items.iter().map(|object| object.key().to_string()).collect()
    }

    #[test]
    fn an_object_that_cannot_be_decoded_does_not_hide_the_others() {
        let deep = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
        let object = |name: &str, more: &str| {
            format!(r#"{{"metadata":{{"namespace":"shop","name":"{name}"}}{more}}}"#)
        };
        let (good, other) = (object("good", ""), object("other", r#","spec":{"a":1}"#));
        let nested = object("deep", &format!(r#","spec":{{"params":{deep}}}"#));
        for (what, bad) in [
            ("deep", nested.as_str()),
            ("of other types", &object("bad", r#","metadata":7"#)),
            ("no object", "7"),
        ] {
            let items = format!("[{good},{bad},{other}]");
            assert_eq!(names::<CompactObject>(&items), ["shop/good", "shop/other"], "{what}");
        }
        let typed = object("typed", r#","data":7"#);
        assert_eq!(names::<ConfigMap>(&format!("[{typed},{good}]")), ["shop/good"]);
        for nothing in ["[]", "null", &format!("[{nested}]")] {
            assert_eq!(names::<CompactObject>(nothing), [""; 0], "{nothing}");
        }
    }

    #[test]
    fn a_page_that_cannot_be_decoded_is_an_error() {
        for text in ["", "{", "7", &page("7"), &page("[{]")] {
            assert!(decode::<CompactObject>(text.as_bytes()).is_err(), "{text}");
        }
    }
}
