//! The operator as a process, and the real controllers of every engine beside it: what becomes of the objects
//! that a user applies?
//!
//! All of it in one network namespace, started once. Every state is the engines' own. Three things are
//! played: pods and Knative's ingress by KWOK, cert-manager and External Secrets (which have no engine's
//! part) by the harness's stand-in, the network between pods where a request is sent. On a machine that
//! allows no namespaces every test fails and says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test has to fail at once, and says what it saw"
)]

mod e2e_env;
mod environment;
mod function;
mod hosts;
mod keda;
mod knative;
mod restricted;
mod switch;

use std::process::ExitCode;

use elpio_cluster::{Engine, engines, netns, suite::Suite, tests};

fn main() -> ExitCode {
    let fetched = || netns::enter(|| engines::fetch(&Engine::ALL));
    let ended = Suite::new(tests![
        // The longest first.
        keda::load_scales_and_nobody_fights_it,
        keda::a_request_wakes_what_sleeps,
        function::built_served_rebuilt_and_one_trace,
        function::a_build_that_fails_is_named,
        hosts::a_host_answers_for_one_namespace,
        hosts::the_second_claimant_gets_no_request,
        knative::a_service_lives,
        knative::a_program_that_ends_is_reported_and_replaced,
        knative::inside_the_cluster_alone,
        knative::a_low_port_is_served,
        switch::between_engines_and_back,
        switch::between_autoscalers,
    ])
    .run(fetched);
    // Those that need operators of their own come when the one for all namespaces has ended.
    let restricted = Suite::new(tests![
        restricted::enabled_runs_everything_where_restricted_is_enforced,
        restricted::disabled_reports_the_refusal,
    ])
    .run(fetched);
    if ended == ExitCode::SUCCESS { restricted } else { ended }
}
