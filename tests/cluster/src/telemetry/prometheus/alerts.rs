//! The alert rules of `dashboards/alerts/` in a real Prometheus, unmodified or with shorter durations, and
//! their state. It defines no rule.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use crate::{Prometheus, repository_root};

/// How much the durations in the rules are shortened, so that tests run the shipped file.
///
/// It divides `for:`, ranges (`[10m]`) with `offset`, and thresholds marked `# seconds` by `divide_by`, down
/// to a minimum that a busy machine can keep. Nothing else changes.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// 1 in production.
    pub divide_by: u64,
    /// The minimum range.
    pub range: Duration,
    /// The minimum of `for:`.
    pub pending: Duration,
    /// The minimum of thresholds marked `# seconds`.
    pub threshold: Duration,
}

/// The windows of the objective reach from minutes to days: they are divided by twice as much.
const OBJECTIVE_GROUP: &str = "elpio-objective";

impl Windows {
    /// Unmodified.
    pub const PRODUCTION: Self =
        Self { divide_by: 1, range: Duration::ZERO, pending: Duration::ZERO, threshold: Duration::ZERO };
    /// For tests and the demo, which scrape every second: ten minutes become 20 s.
    pub const SHORT: Self = Self {
        divide_by: 30,
        range: Duration::from_secs(30),
        pending: Duration::from_secs(15),
        threshold: Duration::from_secs(15),
    };

    fn shorten(&self, seconds: u64, minimum: Duration) -> u64 {
        (seconds / self.divide_by).max(minimum.as_secs())
    }
}

/// The shipped rules file with these windows.
///
/// # Panics
/// If it cannot be read.
#[must_use]
pub fn rules(windows: Windows) -> String {
    let path = repository_root().join("dashboards/alerts/rules.yaml");
    shorten_rules(&std::fs::read_to_string(path).expect("dashboards/alerts/rules.yaml exists"), windows)
}

/// # Panics
/// If a duration has more than one unit.
fn shorten_rules<'a>(text: &'a str, windows: Windows) -> String {
    if windows.divide_by == 1 {
        return text.to_owned();
    }
    let (mut alert, mut group) = ("", "");
    let line = |line: &'a str| {
        if line.trim_start().starts_with('#') {
            return line.to_owned();
        }
        alert = line.split_once("- alert: ").map_or(alert, |(_, name)| name);
        group = line.split_once("- name: ").map_or(group, |(_, name)| name);
        let half = if group == OBJECTIVE_GROUP { 2 } else { 1 };
        let range = |seconds: u64| format!("{}s", windows.shorten(seconds / half, windows.range));
        let pending = |seconds| format!("{}s", windows.shorten(seconds, windows.pending));
        let line = rewrite(line, "[", |text| duration(alert, text), range);
        let line = rewrite(&line, "offset ", |text| duration(alert, text), range);
        let line = rewrite(&line, " for: ", |text| duration(alert, text), pending);
        if !line.ends_with("# seconds") {
            return line;
        }
        rewrite(&line, "> ", number, |seconds| windows.shorten(seconds, windows.threshold).to_string())
    };
    text.lines().map(line).fold(String::new(), |all, line| all + &line + "\n")
}

/// Replaces what `read` parses after each `mark`.
fn rewrite(
    line: &str,
    mark: &str,
    read: impl Fn(&str) -> Option<(u64, &str)>,
    write: impl Fn(u64) -> String,
) -> String {
    let (mut output, mut rest) = (String::new(), line);
    while let Some((before, after)) = rest.split_once(mark) {
        output = output + before + mark;
        rest = after;
        if let Some((seconds, after)) = read(after) {
            output += &write(seconds);
            rest = after;
        }
    }
    output + rest
}

/// The number at the start of the text, and the rest.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// The duration (`15m`) at the start of the text in seconds, and the rest.
fn duration<'a>(alert: &str, text: &'a str) -> Option<(u64, &'a str)> {
    let (count, rest) = number(text)?;
    let unit = match rest.chars().next()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let rest = &rest[1..];
    let is_single_unit = !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
    assert!(is_single_unit, "{alert}: a duration must have one unit (s, m, h, d): {text}");
    Some((count * unit, rest))
}

/// An alert that is pending or firing, as returned by `/api/v1/alerts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// `ElpioForbidden`
    pub name: String,
    /// `pending` or `firing`
    pub state: String,
    /// Its labels, without the name.
    pub labels: BTreeMap<String, String>,
    /// `summary`, `description`, `runbook_url`, rendered.
    pub annotations: BTreeMap<String, String>,
    /// When its condition became true, RFC 3339.
    pub active_at: String,
}

impl Alert {
    /// Whether it is firing, not just pending.
    #[must_use]
    pub fn is_firing(&self) -> bool {
        self.state == "firing"
    }

    fn read(item: &Value) -> Self {
        let mut labels = string_map(&item["labels"]);
        Self {
            name: labels.remove("alertname").unwrap_or_default(),
            state: item["state"].as_str().unwrap_or_default().to_owned(),
            labels,
            annotations: string_map(&item["annotations"]),
            active_at: item["activeAt"].as_str().unwrap_or_default().to_owned(),
        }
    }
}

/// A rule, as returned by `/api/v1/rules`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The alert's name.
    pub name: String,
    /// `ok`, `err`, or `unknown` before its first evaluation.
    pub health: String,
    /// The error of its last evaluation.
    pub error: String,
}

impl Prometheus {
    /// The alerts that are pending or firing, firing ones first.
    ///
    /// # Errors
    /// If Prometheus does not answer.
    pub async fn alerts(&self) -> Result<Vec<Alert>, String> {
        let data = self.api("/api/v1/alerts").await?;
        let mut alerts: Vec<Alert> =
            data["alerts"].as_array().into_iter().flatten().map(Alert::read).collect();
        alerts
            .sort_by(|a, b| (!a.is_firing(), &a.name, &a.labels).cmp(&(!b.is_firing(), &b.name, &b.labels)));
        Ok(alerts)
    }

    /// The loaded rules and their health.
    ///
    /// # Errors
    /// If Prometheus does not answer.
    pub async fn rules(&self) -> Result<Vec<Rule>, String> {
        let data = self.api("/api/v1/rules").await?;
        let rule = |item: &Value| {
            let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
            Rule { name: text("name"), health: text("health"), error: text("lastError") }
        };
        let groups = data["groups"].as_array().into_iter().flatten();
        Ok(groups.flat_map(|group| group["rules"].as_array().into_iter().flatten()).map(rule).collect())
    }

    /// The names of all alerts that have fired since the start.
    ///
    /// # Errors
    /// If Prometheus does not answer.
    pub async fn fired_alerts(&self) -> Result<Vec<String>, String> {
        let series =
            self.query("group by (alertname) (max_over_time(ALERTS{alertstate=\"firing\"}[1d]))").await?;
        let mut names: Vec<String> =
            series.iter().map(|series| series.label("alertname").to_owned()).collect();
        names.sort();
        Ok(names)
    }
}

fn string_map(object: &Value) -> BTreeMap<String, String> {
    let pairs = object.as_object().into_iter().flatten();
    pairs.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shortened_and_nothing_else_changes() {
        let text = "\
  # in 30m
  expr: (a{b=\"1\"} unless a offset 30m) or increase(a[30m]) / rate(b[5m]) > 10
    > 900 # seconds
  for: 10m
  description: for 5 minutes (a[1h])
";
        let short = "\
  # in 30m
  expr: (a{b=\"1\"} unless a offset 60s) or increase(a[60s]) / rate(b[30s]) > 10
    > 30 # seconds
  for: 20s
  description: for 5 minutes (a[120s])
";
        assert_eq!(shorten_rules(text, Windows::SHORT), short);
        assert_eq!(shorten_rules(text, Windows::PRODUCTION), text);
    }

    #[test]
    #[should_panic(expected = "Slow: a duration must have one unit (s, m, h, d): 1h30m])")]
    fn a_duration_with_two_units_is_rejected() {
        shorten_rules("- alert: Slow\n  expr: rate(a[1h30m])\n", Windows::SHORT);
    }
}
