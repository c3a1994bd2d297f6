//! The rows of `check` as a table and as JSON. Pure.

use serde::Serialize;

use crate::terminal::{Cell, Palette, Tone, columns};

/// The state of a check.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    /// It passed.
    Ok,
    /// It passed, with a remark.
    Warning,
    /// It failed.
    Error,
}

impl CheckState {
    fn cell(self) -> Cell {
        match self {
            Self::Ok => Cell::new(Tone::Good, "ok"),
            Self::Warning => Cell::new(Tone::Warning, "warning"),
            Self::Error => Cell::new(Tone::Bad, "ERROR"),
        }
    }
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckRow {
    /// The name of the check.
    pub check: String,
    /// The state.
    pub state: CheckState,
    /// The finding.
    pub found: String,
    /// The recommended action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

impl CheckRow {
    /// A check that passed.
    #[must_use]
    pub fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self { check: check.into(), state: CheckState::Ok, found: found.into(), action: None }
    }

    /// A check that passed, with a recommended action.
    #[must_use]
    pub fn warning(check: impl Into<String>, found: impl Into<String>, action: impl Into<String>) -> Self {
        Self { state: CheckState::Warning, action: Some(action.into()), ..Self::ok(check, found) }
    }

    /// A check that failed, and how to fix it.
    #[must_use]
    pub fn error(check: impl Into<String>, found: impl Into<String>, action: impl Into<String>) -> Self {
        Self { state: CheckState::Error, action: Some(action.into()), ..Self::ok(check, found) }
    }
}

/// Whether no check failed.
#[must_use]
pub fn is_passed(rows: &[CheckRow]) -> bool {
    rows.iter().all(|row| row.state < CheckState::Error)
}

/// One line per row, with the action below it, and a summary at the end.
#[must_use]
pub fn table(rows: &[CheckRow], palette: Palette) -> String {
    let mut lines = vec![["CHECK", "STATE", "FOUND"].map(|head| Cell::new(Tone::Bold, head)).to_vec()];
    for row in rows {
        lines.push(vec![Cell::plain(&row.check), row.state.cell(), Cell::plain(&row.found)]);
        if let Some(action) = &row.action {
            lines.push(vec![Cell::default(), Cell::default(), Cell::new(Tone::Bold, &format!("→ {action}"))]);
        }
    }
    let count = |state| rows.iter().filter(|row| row.state == state).count();
    let (errors, warnings) = (count(CheckState::Error), count(CheckState::Warning));
    let summary = format!("{} checks, {errors} errors, {warnings} warnings", rows.len());
    let tone = if errors > 0 { Tone::Bad } else { Tone::Good };
    format!("{}{}\n", columns(&lines, palette), palette.paint(tone, &summary))
}

/// The JSON output.
#[derive(Serialize)]
struct CheckReport<'a> {
    passed: bool,
    version: &'static str,
    checks: &'a [CheckRow],
}

/// The rows as JSON.
#[must_use]
pub fn json(rows: &[CheckRow]) -> String {
    let report = CheckReport { passed: is_passed(rows), version: env!("CARGO_PKG_VERSION"), checks: rows };
    let text = serde_json::to_string_pretty(&report).unwrap_or_default();
    format!("{text}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_what_to_do_below_each_row() {
        let rows = [
            CheckRow::ok("API server", "v1.35.4"),
            CheckRow::warning("lent rights", "no\npolicy\x1b[2J", "apply it"),
            CheckRow::error("Lease", "expired", "start the operator"),
        ];
        let expected = "CHECK        STATE    FOUND\n\
                        API server   ok       v1.35.4\n\
                        lent rights  warning  no policy\\u{1b}[2J\n                      → apply it\n\
                        Lease        ERROR    expired\n                      → start the operator\n\
                        3 checks, 1 errors, 1 warnings\n";
        assert_eq!(table(&rows, Palette::default()), expected);
        assert!(!is_passed(&rows) && is_passed(&rows[..2]));
        let expected = "{\n  \"passed\": true,\n  \"version\": \"VERSION\",\n  \"checks\": [\n    {\n      \"check\": \"API server\",\n      \"state\": \"ok\",\n      \"found\": \"v1.35.4\"\n    }\n  ]\n}\n";
        assert_eq!(json(&rows[..1]), expected.replace("VERSION", env!("CARGO_PKG_VERSION")));
    }
}
