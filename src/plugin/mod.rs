//! `kubectl elpio`: the timeline of a rollout, states and Events, for any cluster with Elpio. Read-only; pure
//! functions compute the output.

mod argument;
mod backend;
pub mod command;
pub mod critical_path;
pub mod draw;
mod fetch;
pub mod overview;
pub mod spans;
pub mod timeline;
pub mod timeline_builder;
mod values;
