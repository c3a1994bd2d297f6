//! The real controllers of Knative Serving, with pods and an ingress that KWOK plays: do they take what Elpio renders, and say what it reads?
//!
//! In a network namespace of its own, beside Tekton: both want one port there, and have to get along.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test has to fail at once, and says what it saw"
)]

mod knative;

use elpio_cluster::suite::Suite;
use elpio_cluster::{Engine, engines, netns};
use std::process::ExitCode;

fn main() -> ExitCode {
    Suite::new()
        .test("knative::a_second_revision_takes_over", knative::a_second_revision_takes_over)
        .test("knative::a_domain_is_mapped", knative::a_domain_is_mapped)
        .test("knative::inside_the_cluster_alone", knative::inside_the_cluster_alone)
        .test("knative::a_program_that_ends_is_said_so", knative::a_program_that_ends_is_said_so)
        .run(|| netns::enter(|| engines::fetch(&[Engine::Tekton, Engine::Knative])))
}
