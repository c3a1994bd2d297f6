//! The claims of `docs/security.md`: each names a test that exists. It reads the page and the sources as text.

use std::{fs, path::Path};

use crate::{all, none, source::Source};

/// A cell that heads the column of tests.
const HEADING: &str = "test";

/// The lines of claims that name no test, or one that is not there.
fn offences_of(page: &str, sources: &[Source]) -> Vec<String> {
    let mut offences = Vec::new();
    let mut in_claims = false;
    let mut found = 0;
    for (at, line) in page.lines().enumerate() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if !line.starts_with('|') {
            in_claims = false;
            continue;
        }
        let last = cells.last().copied().unwrap_or_default();
        if last == HEADING {
            in_claims = true;
        } else if in_claims && !last.starts_with("---") {
            found += 1;
            let named: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
            let absent =
                named.iter().filter(|test| !exists(test, sources)).map(|test| format!("no test {test}"));
            let none = named.is_empty().then(|| "no test is named".to_owned());
            offences.extend(absent.chain(none).map(|what| format!("docs/security.md:{}: {what}", at + 1)));
        }
    }
    if found == 0 {
        offences.push("docs/security.md: no claims".to_owned());
    }
    offences
}

/// `suite::test`: a function of that name in the suite, `lib` for those in `src`.
fn exists(test: &str, sources: &[Source]) -> bool {
    let Some((suite, name)) = test.split_once("::") else { return false };
    let folder = if suite == "lib" { "src/".to_owned() } else { format!("tests/{suite}/") };
    let of_suite = |path: &str| path.starts_with(&folder) || path == format!("tests/{suite}.rs");
    sources.iter().filter(|source| of_suite(&source.path)).any(|source| {
        source.tokens().windows(3).any(|of| of[0].text == "fn" && of[1].text == name && of[2].text == "(")
    })
}

#[test]
fn every_claim_of_the_security_page_names_its_test() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/security.md")).unwrap();
    none(&offences_of(&page, &all()));
}

#[test]
fn a_claim_without_a_test_is_caught() {
    let sources = [Source::new("tests/live/life.rs", "//! M.\nfn it_lives() {}\n// fn commented() {}")];
    let page = |cell: &str| {
        format!("| who | what |\n|---|---|\n| a | |\n\n| claim | test |\n|---|---|\n| c | {cell} |\n")
    };
    none(&offences_of(&page("`live::it_lives`"), &sources));
    for cell in ["", "`it_lives`", "`live::commented`", "`pure::it_lives`", "`live::it_lives`, `live::no`"] {
        let offences = offences_of(&page(cell), &sources);
        assert_eq!(offences.len(), 1, "{offences:?}");
        assert!(offences[0].starts_with("docs/security.md:7: no test"), "{offences:?}");
    }
    assert_eq!(offences_of("# Security\n", &sources).len(), 1);
}
