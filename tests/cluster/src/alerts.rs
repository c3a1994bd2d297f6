//! The alert rules of `dashboards/alerts/` in a real Prometheus: loaded as they are, or with shorter windows,
//! and what they say.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use crate::{Prometheus, crds::repository};

/// How much shorter than in production every time in the rules is. The file that users take stays the only
/// source.
///
/// Rewritten are: `for:`, ranges (`[10m]`) with `offset`, and thresholds that are marked `# seconds`. Each is
/// divided by `divide_by`, and is never less than its floor, so that a busy machine makes no alarm. Nothing
/// else of a rule changes.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// 1: as in production.
    pub divide_by: u64,
    /// The least range.
    pub range: Duration,
    /// The least `for:`.
    pub pending: Duration,
    /// The least threshold marked `# seconds`.
    pub threshold: Duration,
}

impl Windows {
    /// As users have them.
    pub const PRODUCTION: Self =
        Self { divide_by: 1, range: Duration::ZERO, pending: Duration::ZERO, threshold: Duration::ZERO };
    /// For a test or a demo, with a scrape each second: ten minutes become 20 s.
    pub const SHORT: Self = Self {
        divide_by: 30,
        range: Duration::from_secs(30),
        pending: Duration::from_secs(15),
        threshold: Duration::from_secs(15),
    };

    fn shorten(&self, seconds: u64, floor: Duration) -> u64 {
        (seconds / self.divide_by).max(floor.as_secs())
    }
}

/// The rules file that users take, with these windows.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn rules(windows: Windows) -> String {
    let path = repository().join("dashboards/alerts/rules.yaml");
    shortened(&std::fs::read_to_string(path).expect("the file that users take"), windows)
}

/// # Panics
/// When a duration is written in a way that is not understood.
fn shortened<'a>(text: &'a str, windows: Windows) -> String {
    if windows.divide_by == 1 {
        return text.to_owned();
    }
    let mut alert = "";
    let line = |line: &'a str| {
        if line.trim_start().starts_with('#') {
            return line.to_owned();
        }
        alert = line.split_once("- alert: ").map_or(alert, |(_, name)| name);
        let range = |seconds| format!("{}s", windows.shorten(seconds, windows.range));
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

/// Replaces what `read` finds behind each `mark`.
fn rewrite(
    line: &str,
    mark: &str,
    read: impl Fn(&str) -> Option<(u64, &str)>,
    write: impl Fn(u64) -> String,
) -> String {
    let (mut written, mut rest) = (String::new(), line);
    while let Some((before, behind)) = rest.split_once(mark) {
        written = written + before + mark;
        rest = behind;
        if let Some((seconds, behind)) = read(behind) {
            written += &write(seconds);
            rest = behind;
        }
    }
    written + rest
}

/// The number that a text begins with, and what follows.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// The duration of one unit (`15m`) that a text of this alert begins with, in seconds, and what follows.
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
    let ends = !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
    assert!(ends, "{alert}: a duration has to have one unit (s, m, h, d): {text}");
    Some((count * unit, rest))
}

/// An alert as `/api/v1/alerts` tells it: one that is pending or firing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// `ElpioForbidden`
    pub name: String,
    /// `pending` or `firing`
    pub state: String,
    /// All but the name.
    pub labels: BTreeMap<String, String>,
    /// `summary`, `description`, `runbook_url`, with their values filled in.
    pub annotations: BTreeMap<String, String>,
    /// Since when its condition holds, RFC 3339.
    pub active_at: String,
}

impl Alert {
    /// Whether it fires; else it is pending.
    #[must_use]
    pub fn firing(&self) -> bool {
        self.state == "firing"
    }

    fn read(item: &Value) -> Self {
        let mut labels = texts(&item["labels"]);
        Self {
            name: labels.remove("alertname").unwrap_or_default(),
            state: item["state"].as_str().unwrap_or_default().to_owned(),
            labels,
            annotations: texts(&item["annotations"]),
            active_at: item["activeAt"].as_str().unwrap_or_default().to_owned(),
        }
    }
}

/// A rule as `/api/v1/rules` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The alert's name.
    pub name: String,
    /// `ok`, `err`, or `unknown` before its first evaluation.
    pub health: String,
    /// Why its last evaluation failed.
    pub error: String,
}

impl Prometheus {
    /// The alerts that are pending or firing now, those that fire first.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn alerts(&self) -> Result<Vec<Alert>, String> {
        let data = self.api("/api/v1/alerts").await?;
        let mut alerts: Vec<Alert> =
            data["alerts"].as_array().into_iter().flatten().map(Alert::read).collect();
        alerts.sort_by(|a, b| (!a.firing(), &a.name, &a.labels).cmp(&(!b.firing(), &b.name, &b.labels)));
        Ok(alerts)
    }

    /// Its rules, and whether they can be evaluated.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn rules(&self) -> Result<Vec<Rule>, String> {
        let data = self.api("/api/v1/rules").await?;
        let rule = |item: &Value| {
            let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
            Rule { name: text("name"), health: text("health"), error: text("lastError") }
        };
        let groups = data["groups"].as_array().into_iter().flatten();
        Ok(groups.flat_map(|group| group["rules"].as_array().into_iter().flatten()).map(rule).collect())
    }

    /// The names of all alerts that have fired since it started, however shortly.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn fired(&self) -> Result<Vec<String>, String> {
        let series =
            self.query("group by (alertname) (max_over_time(ALERTS{alertstate=\"firing\"}[1d]))").await?;
        let mut names: Vec<String> =
            series.iter().map(|series| series.label("alertname").to_owned()).collect();
        names.sort();
        Ok(names)
    }
}

fn texts(object: &Value) -> BTreeMap<String, String> {
    let pairs = object.as_object().into_iter().flatten();
    pairs.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shortened_and_nothing_else() {
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
        assert_eq!(shortened(text, Windows::SHORT), short);
        assert_eq!(shortened(text, Windows::PRODUCTION), text);
    }

    #[test]
    #[should_panic(expected = "Slow: a duration has to have one unit (s, m, h, d): 1h30m])")]
    fn a_duration_of_two_units_is_refused() {
        shortened("- alert: Slow\n  expr: rate(a[1h30m])\n", Windows::SHORT);
    }
}
