//! Pictures (SVG) of what the backends answer, for `cargo demo --pictures` and the tests of the dashboards. The demo itself
//! is the binary.
#![allow(clippy::missing_panics_doc, reason = "a picture that cannot be drawn fails at once")]

pub mod picture;
