//! What an installation uses where its variables say nothing. It reads no variable.

/// The name of the `ClusterIssuer` that signs certificates.
pub const CLUSTER_ISSUER: &str = "letsencrypt";
/// The image that fetches a function's source.
pub const FETCH_IMAGE: &str = "docker.io/library/buildpack-deps:bookworm";
/// The URL of the HTTP add-on's interceptor.
pub const KEDA_INTERCEPTOR: &str = "http://keda-add-ons-http-interceptor-proxy.keda:8080";
