//! The `OTEL_EXPORTER_OTLP_*` variables of one signal: its endpoint and options. It opens no connection and
//! reads no file.

use std::{fmt, path::PathBuf, time::Duration};

use crate::{
    api::url::redact_userinfo,
    telemetry::{
        catalog::attributes::Signal,
        config::{
            env::{EnvReader, NO_LIMIT, percent_decoded},
            proxy::{Proxy, is_loopback, proxy},
        },
    },
};

/// The OTLP protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::telemetry) enum Protocol {
    Grpc,
    HttpProtobuf,
}

/// Where and how to export a signal. `Debug` shows the headers' names, but no user names or passwords.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::telemetry) struct OtlpConfig {
    pub(in crate::telemetry) protocol: Protocol,
    /// The complete URL; with HTTP, including the signal's path.
    pub(in crate::telemetry) endpoint: String,
    pub(in crate::telemetry) headers: Vec<(String, String)>,
    pub(in crate::telemetry) timeout: Duration,
    pub(in crate::telemetry) gzip: bool,
    pub(in crate::telemetry) tls: TlsFiles,
    pub(in crate::telemetry) proxy: Option<Proxy>,
}

/// The TLS files, each with the variable that named it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::telemetry) struct TlsFiles {
    pub(in crate::telemetry) authorities: Option<(String, PathBuf)>,
    pub(in crate::telemetry) certificate: Option<(String, PathBuf)>,
    pub(in crate::telemetry) key: Option<(String, PathBuf)>,
}

impl fmt::Debug for OtlpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("OtlpConfig")
            .field("protocol", &self.protocol)
            .field("endpoint", &redact_userinfo(&self.endpoint))
            .field("headers", &headers)
            .field("timeout", &self.timeout)
            .field("gzip", &self.gzip)
            .field("tls", &self.tls)
            .field("proxy", &self.proxy)
            .finish()
    }
}

/// The names of an option: for this signal, and for all signals.
struct VariableNames {
    own: String,
    common: String,
}

impl VariableNames {
    fn new(signal: Signal, option: &str) -> Self {
        let upper = signal.as_str().to_ascii_uppercase();
        Self {
            own: format!("OTEL_EXPORTER_OTLP_{upper}_{option}"),
            common: format!("OTEL_EXPORTER_OTLP_{option}"),
        }
    }

    fn find(&self, env: &EnvReader<'_>) -> Option<(String, String)> {
        env.first(&[&self.own, &self.common]).map(|(name, value)| (name.to_owned(), value))
    }
}

/// The OTLP options of `signal`; `None` (with a warning) if the endpoint is invalid.
pub(in crate::telemetry) fn otlp(env: &mut EnvReader<'_>, signal: Signal) -> Option<OtlpConfig> {
    let protocol = protocol(env, signal);
    let endpoint = endpoint(env, signal, protocol)?;
    let config = OtlpConfig {
        proxy: proxy(env, &endpoint),
        endpoint,
        protocol,
        headers: headers(env, signal),
        timeout: timeout(env, signal),
        gzip: gzip(env, signal),
        tls: TlsFiles {
            authorities: file(env, signal, "CERTIFICATE"),
            certificate: file(env, signal, "CLIENT_CERTIFICATE"),
            key: file(env, signal, "CLIENT_KEY"),
        },
    };
    warn_of_headers_in_clear(env, signal, &config);
    Some(config)
}

/// The configured protocol; else HTTP if the endpoint has port 4318 or a path, else gRPC.
fn protocol(env: &mut EnvReader<'_>, signal: Signal) -> Protocol {
    let Some((name, value)) = VariableNames::new(signal, "PROTOCOL").find(env) else {
        let endpoint = VariableNames::new(signal, "ENDPOINT").find(env);
        let is_http = endpoint.is_some_and(|(_, url)| has_http_shape(&url));
        return if is_http { Protocol::HttpProtobuf } else { Protocol::Grpc };
    };
    match value.to_ascii_lowercase().as_str() {
        "grpc" => Protocol::Grpc,
        "http/protobuf" => Protocol::HttpProtobuf,
        // `http/json` uses the same port.
        other => {
            let is_http = other.starts_with("http");
            let used = if is_http { "http/protobuf" } else { "grpc" };
            env.warn(&name, &value, "expected grpc, http/protobuf", used);
            if is_http { Protocol::HttpProtobuf } else { Protocol::Grpc }
        }
    }
}

fn has_http_shape(endpoint: &str) -> bool {
    let url = if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") };
    url.parse::<http::Uri>().is_ok_and(|uri| uri.port_u16() == Some(4318) || uri.path().len() > 1)
}

/// Headers often hold a token, which an unencrypted connection exposes.
fn warn_of_headers_in_clear(env: &mut EnvReader<'_>, signal: Signal, config: &OtlpConfig) {
    let Ok(uri) = config.endpoint.parse::<http::Uri>() else { return };
    let is_local = is_loopback(uri.host().unwrap_or_default());
    if config.headers.is_empty() || is_local || uri.scheme_str() != Some("http") {
        return;
    }
    if let Some((name, _)) = VariableNames::new(signal, "HEADERS").find(env) {
        let to = redact_userinfo(&config.endpoint);
        env.note(
            &name,
            format!("{name} (value not shown): sent unencrypted to {to}; use https to encrypt it"),
        );
    }
}

/// The common HTTP endpoint is a base URL for the signal's path; a signal's own endpoint is used unchanged.
fn endpoint(env: &mut EnvReader<'_>, signal: Signal, protocol: Protocol) -> Option<String> {
    let names = VariableNames::new(signal, "ENDPOINT");
    let default = match protocol {
        Protocol::Grpc => "http://localhost:4317",
        Protocol::HttpProtobuf => "http://localhost:4318",
    };
    let (name, value) = names.find(env).unwrap_or_else(|| (names.common.clone(), default.to_owned()));
    let url =
        if value.contains("://") { value } else { format!("{}://{value}", scheme(env, signal, protocol)) };
    let usable = url.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    if !usable {
        env.warn(
            &name,
            &redact_userinfo(&url),
            "not the URL of a collector",
            "no endpoint, so nothing is pushed there",
        );
        return None;
    }
    Some(if protocol == Protocol::HttpProtobuf && name == names.common {
        format!("{}/v1/{signal}", url.trim_end_matches('/'))
    } else {
        url
    })
}

/// The scheme for an endpoint without one. With gRPC, `OTEL_EXPORTER_OTLP_INSECURE` decides, and the default
/// is TLS (OTLP exporter specification); the variable does not apply to HTTP.
fn scheme(env: &mut EnvReader<'_>, signal: Signal, protocol: Protocol) -> &'static str {
    let names = VariableNames::new(signal, "INSECURE");
    let variable = if env.text(&names.own).is_some() { &names.own } else { &names.common };
    if protocol == Protocol::HttpProtobuf || env.bool(variable, false) { "http" } else { "https" }
}

/// The valid members of the list. `opentelemetry-otlp` also reads the variable itself, and keeps the same members.
fn headers(env: &mut EnvReader<'_>, signal: Signal) -> Vec<(String, String)> {
    let Some((name, list)) = VariableNames::new(signal, "HEADERS").find(env) else { return Vec::new() };
    let members: Vec<&str> = list.split(',').map(str::trim).filter(|member| !member.is_empty()).collect();
    let found: Vec<_> = members.iter().filter_map(|member| header(member)).collect();
    if found.len() < members.len() {
        env.warn_hidden(
            &name,
            "not a list of name=value with percent-encoded values",
            &format!("{} of its {} members", found.len(), members.len()),
        );
    }
    found
}

fn header(member: &str) -> Option<(String, String)> {
    let (name, value) = member.split_once('=')?;
    let name = http::HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
    let value = percent_decoded(value.trim())
        .filter(|value| !value.is_empty() && http::HeaderValue::from_str(value).is_ok())?;
    Some((name.as_str().to_owned(), value))
}

fn timeout(env: &mut EnvReader<'_>, signal: Signal) -> Duration {
    const DEFAULT: Duration = Duration::from_secs(10);
    let names = VariableNames::new(signal, "TIMEOUT");
    let variable = if env.text(&names.own).is_some() { &names.own } else { &names.common };
    env.millis(variable, DEFAULT, Some(NO_LIMIT))
}

fn gzip(env: &mut EnvReader<'_>, signal: Signal) -> bool {
    match VariableNames::new(signal, "COMPRESSION").find(env) {
        None => false,
        Some((name, value)) => match value.to_ascii_lowercase().as_str() {
            "gzip" => true,
            "none" => false,
            _ => {
                env.warn(&name, &value, "expected gzip, none", "none");
                false
            }
        },
    }
}

fn file(env: &EnvReader<'_>, signal: Signal, option: &str) -> Option<(String, PathBuf)> {
    VariableNames::new(signal, option).find(env).map(|(name, value)| (name, PathBuf::from(value)))
}
