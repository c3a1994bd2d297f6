//! Tekton's real controllers, with pods that KWOK plays: do they take what Elpio renders, and say what it
//! reads?
//!
//! All of it runs in a network namespace of its own; on a machine that allows none, every test fails and says
//! so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test has to fail at once, and says what it saw"
)]

mod credentials;
mod life;
mod run;
mod tekton;

use std::process::ExitCode;

use elpio_cluster::{Engine, engines, netns, suite::Suite, tests};

/// What runs here.
const ENGINES: [Engine; 1] = [Engine::Tekton];

fn main() -> ExitCode {
    Suite::new(tests![
        tekton::a_run_ends_with_the_digest_of_its_image,
        tekton::a_step_that_fails_is_named_with_its_reason,
        tekton::without_its_source_nothing_is_built,
        tekton::a_builder_that_cannot_be_pulled_ends_the_run,
        tekton::a_run_ends_when_its_time_is_over,
        tekton::a_cancelled_run_leaves_nothing_behind,
        tekton::its_own_spans_join_the_trace,
        tekton::what_is_held_ends_as_asked,
        credentials::the_push_secret_is_mounted_in_three_steps_and_no_token_in_any,
        credentials::those_of_a_service_account_are_in_every_step,
        life::a_function_is_built_served_rebuilt_and_survives_a_failed_build,
        life::twenty_restarts_at_random_moments_build_each_of_ten_functions_once,
    ])
    .run(|| netns::enter(|| engines::fetch(&ENGINES)))
}
