//! Holds the sources to the rules of `src/lib.rs` and to the house rules: it reads them as text, and runs
//! nothing of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test has to fail at once, and says what it saw"
)]

mod claims;
mod rules;
mod source;
mod words;

use rules::{LONGER, circles, layers, names, openings, purity, sizes, telemetry, telemetry_rooms};
use source::{Source, read};
use words::{SAME_NAME, banned_words, type_names};

/// Every source of the operator.
fn operator() -> Vec<Source> {
    read("src")
}

/// Every source of this repository.
fn all() -> Vec<Source> {
    [read("src"), read("tests")].concat()
}

#[track_caller]
fn none(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

#[test]
fn a_layer_imports_only_what_its_place_allows() {
    none(&layers(&operator()));
}

#[test]
fn only_the_telemetry_layer_knows_opentelemetry() {
    none(&telemetry(&operator()));
}

#[test]
fn the_generic_half_of_telemetry_knows_no_other_layer() {
    none(&telemetry_rooms(&operator()));
}

#[test]
fn no_files_of_telemetry_import_each_other_in_a_circle() {
    let sources = operator().into_iter().filter(|source| source.layer() == "telemetry");
    none(&circles(&sources.collect::<Vec<_>>()));
}

#[test]
fn render_and_status_have_no_client_no_clock_and_no_tracing() {
    none(&purity(&operator()));
}

#[test]
fn every_file_states_its_purpose() {
    none(&openings(&all()));
}

#[test]
fn no_file_is_too_long_to_be_read() {
    none(&sizes(&all(), LONGER));
}

#[test]
fn no_two_types_have_one_name() {
    none(&type_names(&operator(), SAME_NAME));
}

#[test]
fn names_use_the_verbs_of_the_field() {
    none(&banned_words(&all()));
}

#[test]
fn no_module_is_named_after_nothing() {
    none(&names(&all()));
}

/// What the rules say of sources that break them: each check is worth only what it can catch.
mod can_fail {
    use super::*;

    fn file(path: &str, text: &str) -> Vec<Source> {
        vec![Source::new(path, text)]
    }

    #[track_caller]
    fn caught(offences: &[String], at: &str, what: &str) {
        assert_eq!(offences.len(), 1, "{offences:?}");
        assert!(offences[0].starts_with(&format!("{at}: ")) && offences[0].contains(what), "{offences:?}");
    }

    #[test]
    fn imports_in_every_spelling() {
        for (text, line) in [
            ("//! M.\nuse crate::controller::queue;\n", 2),
            ("//! M.\nuse crate::{\n    api::Engine,\n    controller::{queue, retry},\n};\n", 4),
            ("//! M.\nuse crate::{api, controller as c};\n", 2),
            ("//! M.\nfn f() { crate::controller::queue::new() }\n", 2),
            ("//! M.\npub(crate) use crate :: controller;\n", 2),
            ("//! M.\nuse super::controller::queue;\n", 2),
            ("//! M.\nuse elpio_operator::controller;\n", 2),
            ("//! M.\n/* a\n comment */ use crate::controller;\n", 3),
        ] {
            caught(
                &layers(&file("src/render/mod.rs", text)),
                &format!("src/render/mod.rs:{line}"),
                "render may not use controller",
            );
        }
        caught(
            &layers(&file("src/render/pod.rs", "use super::super::controller::x;")),
            "src/render/pod.rs:1",
            "controller",
        );
        caught(
            &layers(&file("src/render/pod.rs", "mod tests { use super::super::super::controller::x; }")),
            "src/render/pod.rs:1",
            "controller",
        );
        caught(
            &layers(&file("src/render/pod_test.rs", "use super::super::super::controller::x;")),
            "src/render/pod_test.rs:1",
            "controller",
        );
        caught(&layers(&file("src/render/pod.rs", "use crate::*;")), "src/render/pod.rs:1", "everything");
        caught(&layers(&file("src/render/pod.rs", "use crate::nowhere;")), "src/render/pod.rs:1", "nowhere");
        caught(&layers(&file("src/new.rs", "use crate::api;")), "src/new.rs:1", "no place");
    }

    #[test]
    fn what_is_allowed_is_not_caught() {
        for text in [
            "use crate::{api::{Engine, annotation}, foreign::ChildKind, render::child};",
            "// use crate::controller;\n/// [`crate::controller`]\nfn f() {}",
            "const WORD: &str = \"use crate::controller\"; const RAW: &str = r#\"crate::\"controller\"\"#;",
            "use super::controller;",
            "mod tests { use super::super::controller; }",
            "fn f<'a>(c: char) -> bool { c == '\"' } use crate::api; // \"",
            "use supercrate::controller;",
        ] {
            none(&layers(&file("src/render/pod.rs", text)));
        }
        none(&layers(&file("src/config.rs", "mod tests { use super::*; }")));
    }

    #[test]
    fn a_generic_room_of_telemetry_that_knows_elpio() {
        let text = "//! M.\nuse crate::{api::Engine, telemetry::metrics};\n";
        for path in
            ["src/telemetry/kube/path_template.rs", "src/telemetry/trace/mod.rs", "src/telemetry/mod.rs"]
        {
            caught(&telemetry_rooms(&file(path, text)), &format!("{path}:2"), "may not use api");
        }
        none(&telemetry_rooms(&file(
            "src/telemetry/config/otlp.rs",
            "use crate::api::{url::redact_userinfo};",
        )));
        let both = "use crate::api::{Engine, url::redact_userinfo};";
        caught(
            &telemetry_rooms(&file("src/telemetry/config/otlp.rs", both)),
            "src/telemetry/config/otlp.rs:1",
            "api",
        );
        for path in ["src/telemetry/catalog/spans.rs", "src/telemetry/trace/build_spans.rs", "src/run.rs"] {
            none(&telemetry_rooms(&file(path, text)));
        }
    }

    #[test]
    fn imports_in_a_circle() {
        let three = |last: &str| {
            vec![
                Source::new("src/a/mod.rs", "use crate::a::{b as x, c::{C, self}};"),
                Source::new("src/a/b.rs", "fn f() -> crate::a::c::C { crate::d::D }"),
                Source::new("src/a/c.rs", last),
            ]
        };
        none(&circles(&three("use crate::other::a;")));
        caught(&circles(&three("use crate::a::b::B;")), "src/a/b.rs:1", "src/a/b.rs → src/a/c.rs");
        caught(&circles(&three("use crate::a::{self, Thing};")), "src/a/mod.rs:1", "src/a/c.rs");
    }

    #[test]
    fn opentelemetry_outside_its_layer() {
        for text in [
            "use opentelemetry::KeyValue;",
            "fn f() { opentelemetry_sdk::x() }",
            "use tracing_opentelemetry as t;",
            "use prometheus::Registry;",
        ] {
            caught(
                &telemetry(&file("src/cluster/apply.rs", text)),
                "src/cluster/apply.rs:1",
                "src/telemetry",
            );
            none(&telemetry(&file("src/telemetry/traces.rs", text)));
        }
        none(&telemetry(&file("src/run.rs", "// opentelemetry\nconst A: &str = \"opentelemetry\";")));
    }

    #[test]
    fn impure_code() {
        for text in [
            "async fn f() {}",
            "use tracing::info;",
            "use kube::Client;",
            "fn f() { jiff::Timestamp::now(); }",
            "use std::time::Instant;",
            "tokio::spawn(f)",
        ] {
            caught(&purity(&file("src/status/service.rs", text)), "src/status/service.rs:1", "pure");
            none(&purity(&file("src/cluster/apply.rs", text)));
        }
        none(&purity(&file("src/status/service.rs", "fn f(now: Timestamp) -> Timestamp { now }")));
    }

    #[test]
    fn a_file_without_a_word_about_itself() {
        for text in ["use std::fs;\n", "\n//! Late.\n", "//!\n", "// Not a doc.\n", ""] {
            caught(&openings(&file("src/api/pod.rs", text)), "src/api/pod.rs:1", "//!");
        }
        none(&openings(&file("src/api/pod.rs", "//! What a pod is.\n")));
    }

    #[test]
    fn a_long_file() {
        let long = "//! M.\n".repeat(301);
        caught(&sizes(&file("src/a.rs", &long), &[]), "src/a.rs:301", "301 lines");
        none(&sizes(&file("src/a.rs", &"//! M.\n".repeat(300)), &[]));
        none(&sizes(&file("src/a.rs", &long), &[("src/a.rs", "a reason")]));
        caught(&sizes(&file("src/a.rs", "//! M.\n"), &[("src/a.rs", "a reason")]), "src/a.rs:1", "no longer");
        caught(&sizes(&file("src/a.rs", "//! M.\n"), &[("src/b.rs", "a reason")]), "src/b.rs:1", "no longer");
    }

    #[test]
    fn a_name_without_a_verb_of_the_field() {
        for path in
            ["src/utils.rs", "src/render/helpers.rs", "src/common/mod.rs", "tests/cluster/src/misc.rs"]
        {
            caught(&names(&file(path, "")), &format!("{path}:1"), "name");
        }
        caught(&names(&file("src/a.rs", "//! M.\nmod util {\n}\n")), "src/a.rs:2", "name");
        none(&names(&file("src/commonest.rs", "mod utility_belt;")));
    }

    #[test]
    fn a_folder_that_is_read() {
        let sources = operator();
        assert!(
            sources.iter().any(|s| s.path == "src/lib.rs")
                && sources.iter().any(|s| s.path == "src/render/mod.rs")
        );
        assert!(sources.iter().map(|s| s.uses().len()).sum::<usize>() > 50, "the imports are not found");
    }

    #[test]
    fn types_and_verbs() {
        let sources = [file("src/a.rs", "pub struct A;"), file("src/b.rs", "pub(crate) enum A {}")].concat();
        caught(&type_names(&sources, &[]), "src/a.rs:1, src/b.rs:1", "A is the name of 2 types");
        none(&type_names(&sources, &[("A", "a reason")]));
        assert_eq!(type_names(&[], &[("A", "a reason")]).len(), 1, "an entry that is of no use any more");
        for name in [
            "fn say() {}",
            "let told_by = 1;",
            "struct TheSeat;",
            "const LOOK_AGAIN: u8 = 1;",
            "fn pass() {}",
        ] {
            caught(&banned_words(&file("src/a.rs", name)), "src/a.rs:1", "nothing");
        }
        none(&banned_words(&file(
            "src/a.rs",
            "fn bypass() {} fn passing_by() {} // we say so\nlet a = \"told\";",
        )));
    }
}
