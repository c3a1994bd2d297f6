//! The operator as a process, against a real API server with the real CRDs of the engines. The engines' own
//! part is played by a stand-in that writes the status that they would write.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::float_cmp,
    missing_docs,
    reason = "a test has to fail at once, and says what it saw; counters are whole numbers"
)]

mod errors;
mod events;
mod function;
mod function_cases;
mod invalid;
mod life;
mod lost;
mod optional;
mod program;
mod relay;
mod restart;
mod rollout;
mod span_rows;
mod stage;
mod switch;
