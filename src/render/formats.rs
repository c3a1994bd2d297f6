//! The formats that Kubernetes, DNS and image references require of names, and derived names. Pure; the
//! schema has the same formats as patterns.

/// Whether the text has at most `max` characters, counted as the API server counts `maxLength`.
pub(crate) fn at_most_chars(text: &str, max: usize) -> bool {
    text.len() <= max || text.chars().count() <= max
}

/// A label: begins with `first`, ends with a letter or digit, may have dashes in between.
fn is_label(text: &str, first: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let inner = |byte: u8| byte == b'-' || lower_or_digit(byte);
    bytes.first().is_some_and(|byte| first(*byte))
        && bytes.last().is_some_and(|byte| lower_or_digit(*byte))
        && bytes.iter().all(|byte| inner(*byte))
}

fn lower_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// A DNS-1035 label of at most `max` characters.
pub(crate) fn is_dns_1035_label(text: &str, max: usize) -> bool {
    text.len() <= max && is_label(text, |byte| byte.is_ascii_lowercase())
}

/// A DNS-1123 subdomain, the format of most object names.
pub(crate) fn is_dns_1123_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(|label| is_label(label, lower_or_digit))
}

/// A domain name: at least two labels of at most 63 characters each.
pub(crate) fn is_domain(text: &str) -> bool {
    is_dns_1123_subdomain(text) && text.contains('.') && text.split('.').all(|label| label.len() <= 63)
}

/// Whether the last label is a number, so that resolvers treat the whole as an IP address.
pub(crate) fn is_address(text: &str) -> bool {
    text.rsplit('.')
        .next()
        .is_some_and(|label| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A key in a Secret or `ConfigMap`.
pub(crate) fn is_data_key(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// Characters allowed in the name of an environment variable.
pub(crate) fn is_env_text(text: &str) -> bool {
    text.len() <= 256 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=')
}

/// A non-empty label value.
pub(crate) fn is_label_value(text: &str) -> bool {
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    text.len() <= 63 && ends(text.bytes().next()) && ends(text.bytes().last()) && text.bytes().all(inner)
}

/// `sha256:` and 64 lower-case hexadecimal digits.
#[must_use]
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

/// An image repository in the grammar of distribution references: `[host[:port]/]path`.
pub(crate) fn is_repository(text: &str) -> bool {
    let in_registry =
        text.split_once('/').is_some_and(|(host, path)| is_registry(host) && is_image_path(path));
    text.len() <= 255 && (in_registry || is_image_path(text))
}

/// A registry: a host name or an IPv6 address in brackets, with an optional port.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let label = |label: &str| {
        label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let named = match address {
        Some(address) => {
            !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':')
        }
        None => host.split('.').all(label),
    };
    named && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The path of a repository: lower-case words separated by `.`, `_`, `__` or dashes.
fn is_image_path(text: &str) -> bool {
    let component = |component: &str| {
        let separators = component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let known = |separator: &str| {
            matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
        };
        component.bytes().next().is_some_and(lower_or_digit)
            && component.bytes().last().is_some_and(lower_or_digit)
            && separators.into_iter().all(known)
    };
    text.split('/').all(component)
}

/// The Secret that cert-manager writes and the `DomainMapping` of a service reads.
pub(crate) fn tls_secret(service: &str) -> String {
    format!("{service}-tls")
}

/// The tag of an image.
pub(crate) fn is_image_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

/// An image's repository and tag. A colon after the last slash starts the tag; an earlier one starts the
/// registry's port.
pub(crate) fn split_tag(image: &str) -> (&str, Option<&str>) {
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (image, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_have_two_short_labels_or_more() {
        let longest = format!("{}.example", "a".repeat(63));
        for good in ["a.b", "xn--bcher-kva.example", "1.example", longest.as_str()] {
            assert!(is_domain(good), "{good}");
        }
        let too_long = format!("{}.example", "a".repeat(64));
        let too_long_all = format!("{}.example", ["a"; 130].join("."));
        for bad in [
            "",
            "a",
            "a.",
            ".a",
            "a..b",
            "A.b",
            "*.a.b",
            "-a.b",
            "a-.b",
            "a_b.c",
            too_long.as_str(),
            too_long_all.as_str(),
        ] {
            assert!(!is_domain(bad), "{bad}");
        }
        assert!(is_address("10.0.0.1") && !is_address("10.example") && !is_address("a."));
    }

    #[test]
    fn labels_begin_with_a_letter() {
        assert!(is_dns_1035_label("a-1", 3) && !is_dns_1035_label("a-12", 3));
        for bad in ["", "1a", "-a", "a-", "a.b", "A"] {
            assert!(!is_dns_1035_label(bad, 63), "{bad}");
        }
    }

    #[test]
    fn repositories_are_those_of_distribution_references() {
        for good in [
            "app",
            "team/app",
            "registry.example/team/app",
            "registry.example:5000/team/app",
            "Registry.Example/team/app",
            "localhost/app",
            "[2001:db8::1]:5000/app",
            "[2001:db8::1]/app",
            "a.b_c__d---e/f.0",
        ] {
            assert!(is_repository(good), "{good}");
        }
        let long = "a".repeat(256);
        for bad in [
            "",
            "app:v1",
            "registry.example/app:v1",
            "app@sha256:0",
            "https://registry.example/app",
            "registry.example/Team/app",
            "App",
            "team//app",
            "/app",
            "app/",
            "-app",
            "a..b",
            "a___b",
            "a._b",
            "app-",
            "a b",
            "host:/app",
            "host:x/app",
            "-host/app/Ä",
            "[]/app",
            long.as_str(),
        ] {
            assert!(!is_repository(bad), "{bad}");
        }
    }

    #[test]
    fn digests_are_sha256_in_lower_case() {
        assert!(is_digest(&format!("sha256:{}", "0f".repeat(32))));
        for bad in [
            String::new(),
            "0f".repeat(32),
            format!("sha256:{}", "0F".repeat(32)),
            format!("sha256:{}", "0".repeat(63)),
        ] {
            assert!(!is_digest(&bad), "{bad}");
        }
    }
}
