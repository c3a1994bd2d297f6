//! The runbooks and the rules name the same alerts, and the runbooks' queries exist.

use std::collections::BTreeSet;

use elpio_cluster::repository_root;

use crate::alerts::{rules, table};

fn text() -> String {
    std::fs::read_to_string(repository_root().join("dashboards/runbooks.md")).unwrap()
}

/// Sections with their text, by the alert's name.
fn sections() -> Vec<(String, String)> {
    let text = text();
    let parts = text.split("\n## ").skip(1);
    let sections = parts
        .map(|part| part.split_once('\n').unwrap())
        .map(|(title, text)| (title.trim().to_owned(), text.to_owned()));
    sections.filter(|(title, _)| title.starts_with("Elpio")).collect()
}

/// Each query of a block of `PromQL`, with its section. A line that is not indented begins one.
pub fn queries() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (section, text) in sections() {
        for block in text.split("```promql\n").skip(1) {
            let block = block.split("```").next().unwrap();
            let mut queries: Vec<String> = Vec::new();
            for line in block.lines().filter(|line| !line.trim().is_empty()) {
                match queries.last_mut().filter(|_| line.starts_with(' ')) {
                    Some(query) => query.extend(["\n", line]),
                    None => queries.push(line.to_owned()),
                }
            }
            all.extend(queries.into_iter().map(|query| (section.clone(), query)));
        }
    }
    all
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let titles: BTreeSet<String> = sections().into_iter().map(|(title, _)| title).collect();
    let alerts: BTreeSet<String> = rules::names().into_iter().collect();
    assert_eq!(titles, alerts);
    for rule in rules::alerts() {
        assert_eq!(
            rule.annotations["runbook_url"],
            format!("dashboards/runbooks.md#{}", rule.alert.to_lowercase()),
            "{}",
            rule.alert
        );
    }
}

#[test]
fn every_runbook_answers_what_somebody_who_was_woken_asks() {
    for (title, text) in sections() {
        for part in [
            "**Means.**",
            "**Users see.**",
            "**Look.**",
            "**Causes and what to do.**",
            "**Resolves.**",
            "```promql\n",
            "```sh\n",
        ] {
            assert!(text.contains(part), "{title} lacks {part}");
        }
    }
}

#[test]
fn the_queries_name_instruments_and_labels_that_exist() {
    let queries = queries();
    assert!(queries.len() >= sections().len(), "{queries:?}");
    for (section, query) in queries {
        table::check(&query).unwrap_or_else(|wrong| panic!("the runbook of {section}: {wrong}\n{query}"));
    }
}

/// Every source of the operator, as one text.
fn sources(folder: &std::path::Path) -> String {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let texts = entries
        .map(|path| if path.is_dir() { sources(&path) } else { std::fs::read_to_string(path).unwrap() });
    texts.collect()
}

#[test]
fn the_lines_that_are_searched_for_are_logged() {
    let (sources, text) = (sources(&repository_root().join("src")), text());
    let searched = text.split("grep \"").skip(1).map(|rest| rest.split('"').next().unwrap());
    let missing: Vec<&str> = searched.filter(|line| !sources.contains(line)).collect();
    assert!(missing.is_empty(), "no source logs {missing:?}");
}
