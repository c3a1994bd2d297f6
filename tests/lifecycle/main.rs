//! The real buildpacks lifecycle, run by the very scripts, arguments and variables that are rendered for the
//! steps of a build: is the image pushed, is its digest reported, and what can the code of a buildpack read?
//!
//! Each step runs in a sandbox that sees what its container would: its own mounts, and those that Tekton
//! gives every step (`engines` holds these against the real controller). All of it runs in a network namespace.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test has to fail at once, and says what it saw"
)]

mod build;
mod credentials;
mod failures;

use std::process::ExitCode;

use elpio_cluster::{buildpacks, netns, suite::Suite, tests};

fn main() -> ExitCode {
    Suite::new(tests![
        credentials::an_image_is_pushed_and_no_buildpack_finds_a_credential,
        credentials::a_credential_that_is_mounted_where_buildpacks_run_is_found,
        failures::a_builder_without_the_lifecycle_is_named,
        failures::the_phases_exit_codes_become_messages,
        failures::a_registry_that_refuses_is_the_cause,
    ])
    .run(|| netns::enter(buildpacks::fetch))
}
