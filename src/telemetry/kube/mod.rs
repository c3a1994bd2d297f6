//! Client spans and metrics for calls to the API server, and the activity of watches. It decides nothing
//! about a call.

pub mod client_layer;
pub(in crate::telemetry) mod path_template;
pub(in crate::telemetry) mod request_span;
pub(in crate::telemetry) mod watch_stream;
