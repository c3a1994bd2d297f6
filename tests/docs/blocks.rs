//! The `sh` blocks of README.md, docs/ and deploy/: every one runs, or is marked with the reason, at most five.

use elpio_cluster::components::{
    Component,
    clients::{HELM_3, HELM_4},
};

use crate::{
    markdown::{Block, blocks},
    pages, read,
    run::Site,
};

/// In this order, as a reader would; what is not named here comes last.
const ORDER: [&str; 7] = [
    "docs/install.md",
    "README.md",
    "docs/reading-a-rollout.md",
    "docs/configuration.md",
    "docs/upgrade.md",
    "docs/uninstall.md",
    "docs/support-matrix.md",
];

const NOT_RUN: &str = "not run: ";

fn ordered() -> Vec<String> {
    let mut all: Vec<String> = pages(&["docs", "deploy"])
        .into_iter()
        .filter(|page| page == "README.md" || page.contains('/'))
        .collect();
    all.sort_by_key(|page| ORDER.iter().position(|name| name == page).unwrap_or(ORDER.len()));
    all
}

fn sh_blocks(page: &str) -> Vec<Block> {
    blocks(&read(page)).into_iter().filter(|block| block.language == "sh").collect()
}

fn comment<'a>(block: &'a Block, start: &str) -> Option<&'a str> {
    block.comments.iter().find_map(|comment| comment.strip_prefix(start))
}

#[test]
fn at_most_five_blocks_are_not_run_each_with_a_reason() {
    let mut marked = Vec::new();
    for page in ordered() {
        for block in sh_blocks(&page) {
            if let Some(why) = comment(&block, NOT_RUN) {
                assert!(why.len() > 10, "{page}:{}: {why}", block.line);
                marked.push(format!("{page}:{}: {why}", block.line));
            }
        }
        // Nothing escapes by another name.
        for block in blocks(&read(&page)) {
            let known = ["sh", "yaml", "text", "rust", "promql", "json", "lua", "toml"];
            assert!(known.contains(&block.language.as_str()), "{page}:{}: {:?}", block.line, block.language);
        }
    }
    println!("not run: {marked:#?}");
    assert!(marked.len() <= 5, "{marked:#?}");
}

/// Runs the blocks on one cluster for each `on:`, but for those that `is_left_out` names.
async fn run_all(helm: Component, is_left_out: impl Fn(&str) -> bool) {
    let mut sites: Vec<(String, Site)> = Vec::new();
    let mut count = 0;
    for page in ordered() {
        for block in sh_blocks(&page) {
            let name = comment(&block, "on: ").unwrap_or("helm").to_owned();
            if comment(&block, NOT_RUN).is_some() || is_left_out(&name) {
                continue;
            }
            if !sites.iter().any(|(site, _)| *site == name) {
                sites.push((name.clone(), Site::new(helm).await));
            }
            let (_, site) = sites.iter_mut().find(|(site, _)| *site == name).unwrap();
            site.run(&format!("{page}:{}", block.line), &block.text).await;
            count += 1;
        }
    }
    println!("{count} blocks run on {} clusters", sites.len());
    assert!(count >= 10, "{count}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_block_runs() {
    run_all(HELM_4, |_| false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_block_for_helm_runs_with_helm_3() {
    run_all(HELM_3, |site| site != "helm").await;
}
