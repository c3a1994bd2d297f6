//! Finds unknown `ELPIO_*` variables: a typo must not widen what the operator does. It reads values only to
//! tell service links from variables.

use strsim::levenshtein;

use crate::config::{ConfigError, FATAL_IF_INVALID, KNOWN};

const PREFIX: &str = "ELPIO_";

/// A warning for each unknown variable.
///
/// # Errors
/// [`ConfigError::Misspelt`] for a name similar to a variable whose invalid values end the program.
pub fn unknown(variables: impl Iterator<Item = (String, String)>) -> Result<Vec<String>, ConfigError> {
    let mut warnings = Vec::new();
    for (name, value) in variables {
        let upper = name.to_ascii_uppercase();
        if !upper.starts_with(PREFIX) || KNOWN.contains(&name.as_str()) || is_service_link(&upper, &value) {
            continue;
        }
        let nearest = KNOWN.iter().copied().min_by_key(|known| levenshtein(&upper, known));
        let nearest = nearest.unwrap_or_default();
        let meant = FATAL_IF_INVALID
            .iter()
            .copied()
            .find(|known| contains_stem(&upper, known) || (*known == nearest && is_near(&upper, known)));
        if let Some(known) = meant {
            return Err(ConfigError::Misspelt { name, known });
        }
        warnings.push(format!("unknown variable {name} is ignored; did you mean {nearest}?"));
    }
    warnings.sort();
    Ok(warnings)
}

/// Whether the name contains the words of a known variable, as in `ELPIO_WATCH_NAMESPACE`.
fn contains_stem(name: &str, known: &str) -> bool {
    let stem = known.strip_prefix(PREFIX).unwrap_or(known);
    name.contains(stem.strip_suffix('S').unwrap_or(stem))
}

fn is_near(name: &str, known: &str) -> bool {
    levenshtein(name, known) <= ((known.len() - PREFIX.len()) / 3).min(3)
}

/// Whether Kubernetes set the variable for a Service whose name begins with `elpio`.
fn is_service_link(name: &str, value: &str) -> bool {
    let address = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let of_port = ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| {
        ["", "_PROTO", "_PORT", "_ADDR"].iter().any(|end| name.ends_with(&format!("{protocol}{end}")))
    });
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && address)
        || (name.contains("_PORT_") && of_port)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(name: &str, value: &str) -> Result<Vec<String>, ConfigError> {
        unknown([(name.to_owned(), value.to_owned())].into_iter())
    }

    #[test]
    fn a_near_miss_of_what_would_end_the_program_ends_it() {
        for (name, known) in [
            ("ELPIO_NAMESPACE", "ELPIO_NAMESPACES"),
            ("ELPIO_NAMESPACS", "ELPIO_NAMESPACES"),
            ("elpio_namespaces", "ELPIO_NAMESPACES"),
            ("ELPIO_WATCH_NAMESPACE", "ELPIO_NAMESPACES"),
            ("ELPIO_LEADER_ELECTION", "ELPIO_LEADER_ELECT"),
            ("ELPIO_LEADER_ELEKT", "ELPIO_LEADER_ELECT"),
            ("ELPIO_METRICS_ADDRESS", "ELPIO_METRICS_ADDR"),
            ("ELPIO_METRIC_ADDR", "ELPIO_METRICS_ADDR"),
            ("ELPIO_ENGINES", "ELPIO_ENGINE"),
            ("ELPIO_DEFAULT_ENGINE", "ELPIO_ENGINE"),
            ("ELPIO_POD_SECURTIY", "ELPIO_POD_SECURITY"),
            ("ELPIO_TRACEPARENT", "ELPIO_TRACE_PARENT"),
        ] {
            let message = of(name, "x").unwrap_err().to_string();
            assert!(message.contains(name) && message.contains(known), "{message}");
        }
    }

    #[test]
    fn another_unknown_one_is_a_warning_with_the_nearest() {
        for (name, nearest) in [
            ("ELPIO_CONCURENCY", "ELPIO_CONCURRENCY"),
            ("ELPIO_METRICS_PRT", "ELPIO_METRICS_PORT"),
            ("ELPIO_METRIC", "ELPIO_METRICS"),
            ("ELPIO_METRIC_PORT", "ELPIO_METRICS_PORT"),
            ("ELPIO_LOGS", "ELPIO_LOG"),
        ] {
            let warnings = of(name, "9095").unwrap();
            assert!(warnings.len() == 1, "{name}: {warnings:?}");
            assert!(
                warnings[0].contains(name) && warnings[0].ends_with(&format!("{nearest}?")),
                "{warnings:?}"
            );
        }
    }

    #[test]
    fn what_is_known_and_what_kubernetes_sets_is_no_typing_error() {
        for (name, value) in [
            ("ELPIO_NAMESPACES", "a"),
            ("PATH", "/bin"),
            ("ELPIO_OPERATOR_SERVICE_HOST", "10.0.0.1"),
            ("ELPIO_OPERATOR_METRICS_SERVICE_PORT", "9095"),
            ("ELPIO_OPERATOR_METRICS_SERVICE_PORT_METRICS", "9095"),
            ("ELPIO_OPERATOR_METRICS_PORT", "tcp://10.0.0.1:9095"),
            ("ELPIO_OPERATOR_METRICS_PORT_9095_TCP", "tcp://10.0.0.1:9095"),
            ("ELPIO_OPERATOR_METRICS_PORT_9095_TCP_ADDR", "10.0.0.1"),
            ("ELPIO_OPERATOR_METRICS_PORT_9095_TCP_PROTO", "tcp"),
        ] {
            assert_eq!(of(name, value).unwrap(), Vec::<String>::new(), "{name}");
        }
    }
}
