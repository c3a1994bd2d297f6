//! The files that are generated from `dashboards/settings.yaml` and the template are what they have to be.

use std::fmt::Write as _;

use elpio_cluster::repository_root;
use elpio_support::{
    alerting::{prometheus_rule, read, rules, with_panels},
    objective::{Objective, Settings, seconds},
};

/// How long a budget lasts.
const PERIOD: u64 = 30 * 86_400;

/// Compares a file with what it has to be, or writes it.
fn holds(path: &str, expected: &str) {
    let file = repository_root().join(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, expected).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == expected, "{path}: UPDATE_GOLDEN=1 cargo test --test dashboards alerts::generated");
}

#[test]
fn the_files_are_generated_from_the_settings() {
    let settings = Settings::read();
    let text = rules(&settings);
    holds("dashboards/alerts/rules.yaml", &text);
    holds("dashboards/alerts/prometheusrule.yaml", &prometheus_rule(&text));
    holds("dashboards/alerts/rules.test.yaml", &with_panels(&read("rules.test.yaml")));
    holds("docs/objectives.md", &page(&settings.objective));
}

#[test]
fn every_alert_has_its_panel() {
    let text = rules(&Settings::read());
    let missing: Vec<&str> = text
        .lines()
        .zip(text.lines().skip(1))
        .filter(|(_, next)| next.ends_with("dashboard_url: none"))
        .map(|(line, _)| line.trim())
        .collect();
    assert!(missing.is_empty(), "no panel names the alert of {missing:?}");
}

#[test]
fn another_cluster_label_reaches_every_aggregation() {
    let settings = Settings { cluster_label: "k8s_cluster".to_owned(), ..Settings::read() };
    let text = rules(&settings);
    let plain = rules(&Settings::read());
    assert_eq!(plain.matches("(cluster, namespace").count(), text.matches("(k8s_cluster, namespace").count());
    assert_eq!(text.matches("(cluster, namespace").count(), 0);
}

/// The page about the objective.
fn page(objective: &Objective) -> String {
    let mut text = format!(
        "# The objective: from an edit to ready\n\n\
         Generated from [`dashboards/settings.yaml`](../dashboards/settings.yaml): `UPDATE_GOLDEN=1 cargo test --test dashboards alerts::generated`.\n\n\
         **{} % of the rollouts that were not superseded or deleted become ready in time**, for each kind and engine:\n\n\
         | kind | engine | time from the edit to `Ready` |\n|---|---|---|\n",
        objective.target
    );
    for within in &objective.within {
        let _ = writeln!(text, "| `{}` | `{}` | {} s |", within.kind, within.engine, within.seconds);
    }
    let _ = write!(
        text,
        "\n## What counts\n\n\
         - **Counted:** rollouts that became ready, and rollouts that missed their deadline, `ELPIO_ROLLOUT_DEADLINE` plus `spec.build.timeout` for a function (`elpio_rollouts_total`, `outcome=\"ready\"` and `\"timed_out\"`).\n\
         - **Missed:** those that timed out, and those that were ready after the time above (`elpio_rollout_duration_seconds`).\n\
         - **Left out:** rollouts that were superseded or deleted; and `outcome=\"author_error\"`, a rollout that timed out while its object was `InvalidSpec`, `NameConflict` or\n  \
         `BuildFailed`, or `ApplyFailed` because a quota, a limit, a policy or a webhook rejected a child: its author, or the owner of its namespace, can fix that.\n\
         - A workload that crashes counts: the engine's report does not tell whose fault it is. The target therefore leaves {:.0} % for that, and fewer than {}\n  \
         missed rollouts in the longer window raise no alert.\n\
         - A restart or a change of leader consumes no error budget: each rollout end is counted once, by the process that wrote it, and every series starts at 0.\n\n\
         ## Alerts\n\n\
         Each alert fires while the budget burns too fast in both of its windows: the longer one shows that the problem matters, the shorter one that it is still ongoing.\n\n\
         | alert | severity | windows | burn rate | missed, more than | 30 days' budget is spent in |\n|---|---|---|---|---|---|\n",
        100.0 - objective.target,
        objective.at_least
    );
    for burn in &objective.burn {
        #[allow(clippy::cast_precision_loss, reason = "a month in seconds")]
        let days = PERIOD as f64 / burn.factor / 86_400.0;
        let _ = writeln!(
            text,
            "| [`{}`](../dashboards/runbooks.md#{}) | {} | {} and {} | {} | {} % | {days:.1} days |",
            burn.alert,
            burn.alert.to_lowercase(),
            burn.severity,
            burn.long,
            burn.short,
            burn.factor,
            objective.ratio(burn.factor) * 100.0
        );
    }
    let windows: Vec<String> = objective
        .windows()
        .into_iter()
        .map(|window| format!("`elpio:rollouts_missed:ratio_{window}`"))
        .collect();
    assert!(objective.windows().is_sorted_by_key(|window| seconds(window)));
    let _ = write!(
        text,
        "\n## Recorded\n\n{}\nand `…:increase_…`, by cluster, namespace, job, kind and engine. The panels *Error budget left* and *Missed the objective* of\n\
         `dashboards/services.json` show the same from the raw series.\n\n\
         ## Another objective\n\nChange `dashboards/settings.yaml` and regenerate rules, panels and this page with the commands at its head. Each time must be a bucket boundary\n\
         ([`otel/instruments.md`](../otel/instruments.md)); a test verifies this.\n",
        windows.join(", ") + ","
    );
    text
}

#[test]
fn every_time_is_the_bound_of_a_bucket() {
    let buckets = elpio_operator::telemetry::catalog::instruments::ROLLOUT_DURATION.buckets;
    for within in Settings::read().objective.within {
        assert!(buckets.contains(&f64::from(within.seconds)), "{} s is none of {buckets:?}", within.seconds);
    }
}
