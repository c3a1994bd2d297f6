//! Links between pages, to files and to anchors. Addresses on the web are not opened.

use std::path::{Component, Path, PathBuf};

use crate::{
    markdown::{anchors, links},
    pages, read, top,
};

/// `a/../b` without the detour.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut whole, part| {
        match part {
            Component::ParentDir => {
                whole.pop();
            }
            Component::CurDir => {}
            part => whole.push(part),
        }
        whole
    })
}

#[test]
fn every_link_and_anchor_resolves() {
    let mut broken = Vec::new();
    let mut checked = 0;
    let pages = pages(&["docs", "deploy", "otel", "dashboards", "tests"]);
    for page in &pages {
        let text = read(page);
        for target in links(&text) {
            if ["http://", "https://", "mailto:"].iter().any(|scheme| target.starts_with(scheme)) {
                continue;
            }
            checked += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = match path {
                "" => PathBuf::from(page),
                path => normal(&Path::new(page).parent().unwrap().join(path)),
            };
            if !top().join(&file).exists() {
                broken.push(format!("{page}: {target}: no such file"));
            } else if !anchor.is_empty()
                && !anchors(&read(file.to_str().unwrap())).contains(&anchor.to_owned())
            {
                broken.push(format!("{page}: {target}: no such heading"));
            }
        }
    }
    println!("{checked} links in {} pages", pages.len());
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(checked > 50, "{checked}");
}

/// Alerts name their runbooks by path and heading.
#[test]
fn every_runbook_of_an_alert_exists() {
    let rules = read("dashboards/alerts/rules.yaml");
    let urls = rules.lines().filter_map(|line| line.trim().strip_prefix("runbook_url: "));
    let mut count = 0;
    for url in urls {
        let (file, anchor) = url.split_once('#').unwrap();
        assert!(anchors(&read(file)).contains(&anchor.to_owned()), "{url}");
        count += 1;
    }
    assert!(count > 5, "{count}");
}
