//! The objective of `dashboards/settings.yaml` as queries, recording rules and alerts. It reads no other file and
//! writes none.

use std::fmt::Write as _;

use serde::Deserialize;

/// `dashboards/settings.yaml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    pub cluster_label: String,
    pub objective: Objective,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Objective {
    /// Percent.
    pub target: f64,
    pub at_least: u32,
    pub within: Vec<Within>,
    pub burn: Vec<Burn>,
}

/// How soon rollouts of a kind and an engine have to be ready.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Within {
    pub kind: String,
    pub engine: String,
    pub seconds: u32,
}

/// One pair of windows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Burn {
    pub alert: String,
    pub severity: String,
    pub factor: f64,
    pub long: String,
    pub short: String,
    #[serde(rename = "for")]
    pub pending: String,
}

impl Settings {
    /// The file.
    pub fn read() -> Self {
        let path = elpio_cluster::repository_root().join("dashboards/settings.yaml");
        let text = std::fs::read_to_string(path).expect("dashboards/settings.yaml");
        serde_saphyr::from_str(&text).expect("settings")
    }

    /// The labels that tell installations apart.
    pub fn installation(&self) -> String {
        format!("{}, namespace, job", self.cluster_label)
    }
}

impl Objective {
    /// The part of rollouts that may miss it.
    pub fn budget(&self) -> f64 {
        (100.0 - self.target) / 100.0
    }

    /// The part of rollouts that miss it at such a burn rate.
    pub fn ratio(&self, factor: f64) -> f64 {
        (self.budget() * factor * 1e6).round() / 1e6
    }

    /// The windows, each once, the shortest first.
    pub fn windows(&self) -> Vec<&str> {
        let mut all: Vec<&str> =
            self.burn.iter().flat_map(|burn| [burn.long.as_str(), burn.short.as_str()]).collect();
        all.sort_by_key(|window| seconds(window));
        all.dedup();
        all
    }

    /// Rollouts that missed it: late ones, and those that were ready too late. `matchers` begins with a comma or is
    /// empty.
    pub fn missed(&self, by: &str, matchers: &str, window: &str) -> String {
        let mut text = format!(
            "sum by ({by}) (\n  increase(elpio_rollouts_total{{outcome=\"timed_out\"{matchers}}}[{window}])\n  \
             or increase(elpio_rollout_duration_seconds_count{{outcome=\"ready\"{matchers}}}[{window}])\n"
        );
        for within in &self.within {
            // Scraped 120.0, pushed 120.
            let _ = writeln!(
                text,
                "  or 0 - increase(elpio_rollout_duration_seconds_bucket{{outcome=\"ready\", kind=\"{}\", engine=\"{}\", le=~\"{}(\\\\.0)?\"{matchers}}}[{window}])",
                within.kind, within.engine, within.seconds
            );
        }
        text + ")"
    }

    /// Rollouts that count.
    pub fn counted(by: &str, matchers: &str, window: &str) -> String {
        format!(
            "sum by ({by}) (increase(elpio_rollouts_total{{outcome=~\"ready|timed_out\"{matchers}}}[{window}]))"
        )
    }

    /// The recording rules, as a group of a rules file.
    pub fn records(&self, installation: &str) -> String {
        let by = format!("{installation}, kind, engine");
        let mut text = format!(
            "  # Of ../settings.yaml: of the rollouts that ended in a window, how many missed the objective, and which part.\n  \
             - name: {OBJECTIVE_GROUP}\n    rules:\n"
        );
        for window in self.windows() {
            let missed = indent(&self.missed(&by, "", window), 10);
            let _ = write!(
                text,
                "      - record: elpio:rollouts_missed:increase_{window}\n        expr: |\n{missed}\n      \
                 - record: elpio:rollouts_missed:ratio_{window}\n        expr: |\n          \
                 elpio:rollouts_missed:increase_{window}\n          / ({} > 0)\n",
                Self::counted(&by, "", window)
            );
        }
        text
    }

    /// The alerts, for the group of alerts.
    pub fn alerts(&self) -> String {
        let mut text = String::new();
        for burn in &self.burn {
            let Burn { alert, severity, factor, long, short, pending } = burn;
            let (ratio, enough) = (self.ratio(*factor), f64::from(self.at_least) - 0.5);
            let summary = match severity.as_str() {
                "critical" => "Rollouts of {{ $labels.kind }} objects are not ready in time",
                _ => "Rollouts of {{ $labels.kind }} objects miss their objective too often",
            };
            let _ = write!(
                text,
                "      # {factor} times the budget of {} %, in {long} and in {short}.\n      - alert: {alert}\n        expr: |\n          \
                 (elpio:rollouts_missed:ratio_{long} > {ratio} and elpio:rollouts_missed:ratio_{short} > {ratio})\n          \
                 and elpio:rollouts_missed:increase_{long} > {enough}\n        for: {pending}\n        labels:\n          \
                 severity: {severity}\n          window: {long}\n        annotations:\n          summary: {summary}\n          \
                 description: >-\n            {{{{ $value | humanizePercentage }}}} of the rollouts of {{{{ $labels.kind }}}} objects (engine: {{{{ $labels.engine }}}}) under\n            \
                 {{{{ $labels.job }}}} missed the objective in {long}; the budget of 30 days burns {factor} times too fast. First: the objects\n            \
                 that are not ready, and the message of their Ready condition (kubectl get esvc,efn -A); one cause for all is the engine.\n          \
                 runbook_url: dashboards/runbooks.md#{}\n\n",
                100.0 - self.target,
                alert.to_lowercase()
            );
        }
        text.trim_end().to_owned() + "\n"
    }
}

/// The group whose windows tests shorten more than others.
pub const OBJECTIVE_GROUP: &str = "elpio-objective";

/// The seconds of `5m`, `1h`, `3d`.
pub fn seconds(window: &str) -> u64 {
    let (count, unit) = window.split_at(window.len() - 1);
    let unit = match unit {
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => panic!("{window} has no unit of m, h, d"),
    };
    count.parse::<u64>().expect("a number") * unit
}

fn indent(text: &str, by: usize) -> String {
    let margin = " ".repeat(by);
    text.lines().map(|line| format!("{margin}{line}")).collect::<Vec<_>>().join("\n")
}
