//! `deploy/policies` on a real API server: who may ask Elpio for what, judged cell by cell. The operator's code
//! is used only for the schema of its kinds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test has to fail at once, and prints what it saw"
)]

mod columns;
mod cost;
mod fields;
mod hosts;
mod manifest;
mod mutants;
mod policy_env;
mod published;
mod requests;
mod row;
mod table;
mod writers;
