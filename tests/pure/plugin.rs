//! Stories of rollouts: each file of what was read becomes exactly the timeline that is committed beside it.

use std::{fs, path::Path};

use elpio_operator::{
    plugin::{draw::draw, spans::of_jaeger, timeline::TimelineInputs, timeline_builder::timeline},
    terminal::Palette,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::golden::{compare_text, folder};

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn inputs(case: &Value) -> TimelineInputs {
    let list = |name: &str| case[name].as_array().cloned().unwrap_or_default();
    TimelineInputs {
        object: case["object"].clone(),
        children: list("children")
            .iter()
            .map(|child| (child[0].as_str().unwrap().to_owned(), child[1].clone()))
            .collect(),
        events: list("events"),
        spans: case.get("jaeger").map(of_jaeger),
        link: case["link"].as_str().map(str::to_owned),
        notes: list("notes").iter().map(|note| note.as_str().unwrap().to_owned()).collect(),
    }
}

#[test]
fn stories_are_as_committed() {
    let mut cases: Vec<_> =
        fs::read_dir(folder("plugin")).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    cases.sort();
    assert!(cases.len() >= 7, "{cases:?}");
    for path in cases {
        let case = read(&path);
        let timeline = timeline(&inputs(&case), case["now"].as_str().unwrap().parse().unwrap());
        let json = serde_json::to_string_pretty(&timeline).unwrap();
        let text = draw(&timeline, Palette::default());
        assert!(!text.contains('\x1b'), "{text}");
        compare_text(&path.with_extension("txt"), &format!("{text}\n{json}\n"));
    }
}

#[test]
fn a_source_is_shown_without_what_may_be_secret() {
    for (source, shown) in [
        (
            json!({"archive": "https://bucket/x.tgz?X-Amz-Signature=abc"}),
            "source https://bucket/x.tgz, runtime go",
        ),
        (
            json!({"git": {"url": "https://token@example.com/r", "revision": "v1"}}),
            "source https://example.com/r@v1, runtime go",
        ),
    ] {
        let object = json!({"kind": "ElpioFunction", "spec": {"source": source, "runtime": "go"}});
        let timeline =
            timeline(&TimelineInputs { object, ..TimelineInputs::default() }, Timestamp::UNIX_EPOCH);
        assert_eq!(timeline.asked.what, shown);
    }
}
