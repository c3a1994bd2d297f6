//! Pictures (SVG) of what the backends answer, for `cargo demo --pictures` and the tests of the dashboards.
//! The demo itself is the binary.
#![allow(clippy::expect_used, clippy::missing_panics_doc, reason = "drawing into a string cannot fail")]

pub mod picture;
