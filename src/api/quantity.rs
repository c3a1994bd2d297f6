//! A Kubernetes quantity as a user writes it: an integer or a string. It is only carried here;
//! `render::quantity` reads it.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

/// The form of a quantity that a schema can hold: apimachinery's, without a sign, since less than nothing
/// cannot be asked for.
const PATTERN: &str = r"^\+?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?[0-9]+))?$";

/// An amount of a resource, as written: `1`, `"500m"`, `"1Gi"`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RawQuantity {
    /// Written as an integer.
    Int(i64),
    /// Written as a string.
    Text(String),
}

impl fmt::Display for RawQuantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl Serialize for RawQuantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for RawQuantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntOrText;
        impl Visitor<'_> for IntOrText {
            type Value = RawQuantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity: an integer or a string")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<RawQuantity, E> {
                Ok(RawQuantity::Int(number))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<RawQuantity, E> {
                i64::try_from(number)
                    .map(RawQuantity::Int)
                    .map_err(|_| E::custom("a quantity is at most 2^63 - 1"))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<RawQuantity, E> {
                Ok(RawQuantity::Text(text.to_owned()))
            }
        }
        deserializer.deserialize_any(IntOrText)
    }
}

impl JsonSchema for RawQuantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "pattern": PATTERN,
            "maxLength": 64,
            "minimum": 0,
        })
    }
}
