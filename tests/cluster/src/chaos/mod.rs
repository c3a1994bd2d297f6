//! Faults that a test injects between the API server and its clients. Nothing here is part of a healthy
//! cluster.

pub(crate) mod admission_server;
pub mod forward_proxy;
pub mod watch_blackhole;
pub mod webhook;
