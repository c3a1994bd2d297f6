//! The generated page of instruments.

use elpio_operator::telemetry::instruments_page;

#[test]
fn the_committed_page_is_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/otel/instruments.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, instruments_page::render()).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == instruments_page::render(), "otel/instruments.md is not the table: run with UPDATE_GOLDEN=1");
}
