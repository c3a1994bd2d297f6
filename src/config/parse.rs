//! The formats of values; each parser names what it expects and knows no other variable.

use std::{net::IpAddr, time::Duration};

use crate::{
    api::defaults,
    config::{ConfigError, ListenAddress},
    telemetry::config::env::EnvReader,
};

pub(super) const BOOL_VALUES: &str = "1, true, yes or on; 0, false, no or off";

fn refuse(variable: &'static str, value: String, expected: &'static str) -> ConfigError {
    ConfigError::Value { variable, value, expected }
}

/// The parsed value; an invalid one causes a warning and counts as unset.
pub(super) fn or_default<T>(
    env: &mut EnvReader<'_>,
    name: &'static str,
    used: &str,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let text = env.text(name)?;
    let parsed = parse(&text);
    if parsed.is_none() {
        env.warn(name, &text, &format!("not {expected}"), used);
    }
    parsed
}

/// One of these words, in any case.
pub(super) fn word<T: Copy>(
    env: &EnvReader<'_>,
    name: &'static str,
    expected: &'static str,
    words: &[(&str, T)],
) -> Result<Option<T>, ConfigError> {
    let Some(text) = env.text(name) else { return Ok(None) };
    let known = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text));
    known.map(|(_, value)| Some(*value)).ok_or_else(|| refuse(name, text, expected))
}

/// A boolean whose invalid values must not be guessed.
pub(super) fn boolean(env: &EnvReader<'_>, name: &'static str) -> Result<Option<bool>, ConfigError> {
    let Some(text) = env.text(name) else { return Ok(None) };
    boolean_words(&text).map(Some).ok_or_else(|| refuse(name, text, BOOL_VALUES))
}

pub(super) fn boolean_words(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

pub(super) fn namespaces(env: &EnvReader<'_>) -> Result<Vec<String>, ConfigError> {
    const NAME: &str = "ELPIO_NAMESPACES";
    let Some(text) = env.text(NAME) else { return Ok(Vec::new()) };
    let mut names: Vec<String> =
        text.split(',').map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()).collect();
    names.sort();
    names.dedup();
    if names.is_empty() || !names.iter().all(|name| is_dns_label(name)) {
        return Err(refuse(NAME, text, "names of namespaces, separated by commas"));
    }
    Ok(names)
}

/// The address restricts access, so an invalid value must not fall back to a wider one.
pub(super) fn address(env: &EnvReader<'_>) -> Result<Option<ListenAddress>, ConfigError> {
    const NAME: &str = "ELPIO_METRICS_ADDR";
    let Some(text) = env.text(NAME) else { return Ok(None) };
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(Some(ListenAddress::Ip(ip)));
    }
    // A host name must not end in a number: that would be an invalid IP address (WHATWG URL, host parsing).
    let numeric = text.rsplit('.').next().is_some_and(|last| last.chars().all(|c| c.is_ascii_digit()));
    let name = text.to_ascii_lowercase();
    if numeric || name.len() > 253 || !name.split('.').all(is_dns_label) {
        return Err(refuse(NAME, text, "an IP address or a host name, without a port"));
    }
    Ok(Some(ListenAddress::Host(name)))
}

pub(super) fn issuer(env: &mut EnvReader<'_>) -> String {
    let is_name = |v: &str| (v.len() <= 253 && v.split('.').all(is_dns_label)).then(|| v.to_owned());
    or_default(env, "ELPIO_CLUSTER_ISSUER", defaults::CLUSTER_ISSUER, "the name of a ClusterIssuer", is_name)
        .unwrap_or_else(|| defaults::CLUSTER_ISSUER.to_owned())
}

pub(super) fn image(env: &mut EnvReader<'_>) -> String {
    let is_image = |v: &str| {
        let plain = v.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:@".contains(c));
        (plain && !v.contains("://")).then(|| v.to_owned())
    };
    or_default(env, "ELPIO_FETCH_IMAGE", defaults::FETCH_IMAGE, "an image reference", is_image)
        .unwrap_or_else(|| defaults::FETCH_IMAGE.to_owned())
}

pub(super) fn url(env: &mut EnvReader<'_>) -> String {
    let is_url = |v: &str| {
        let uri: http::Uri = v.parse().ok()?;
        let http = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
        http.then(|| v.to_owned())
    };
    or_default(
        env,
        "ELPIO_KEDA_INTERCEPTOR",
        defaults::KEDA_INTERCEPTOR,
        "an http:// or https:// URL",
        is_url,
    )
    .unwrap_or_else(|| defaults::KEDA_INTERCEPTOR.to_owned())
}

pub(super) fn log_format(env: &mut EnvReader<'_>) -> Option<bool> {
    let used = "pretty on a terminal, else json";
    or_default(env, "ELPIO_LOG_FORMAT", used, "pretty or json", |v| match v.to_ascii_lowercase().as_str() {
        "json" => Some(true),
        "pretty" => Some(false),
        _ => None,
    })
}

pub(super) fn duration(text: &str) -> Option<Duration> {
    let parsed: jiff::SignedDuration = text.parse().ok()?;
    Duration::try_from(parsed).ok().filter(|d| *d >= Duration::from_secs(1))
}

/// An RFC 1123 label, the format of namespace names.
fn is_dns_label(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len())
        && name.chars().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}
