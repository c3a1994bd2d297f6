//! The objective's windows, by promtool: for each, the burn that fires, the burn just below, and the end of it.

use elpio_cluster::{process::TempDir, prometheus::promtool};
use elpio_support::{
    alerting::read,
    objective::{Burn, Settings, seconds},
};
use serde_json::{Value, json};

use crate::alerts::GROUP_ORDER;

const LABELS: &str = r#"kind="ElpioService", engine="knative", cluster="a", namespace="elpio-system", job="elpio-operator", instance="x""#;
/// Rollouts that end in a step, so that every ratio can be met.
const RATE: u32 = 1000;
const MINUTE: Pace = Pace(60);

fn series(outcome: &str, values: &str) -> Value {
    json!({"series": format!("elpio_rollouts_total{{outcome=\"{outcome}\", {LABELS}}}"), "values": values})
}

/// The steps of a window, at the pair's own pace: five in its shorter window.
struct Pace(u64);

impl Pace {
    fn of(burn: &Burn) -> Self {
        Self(seconds(&burn.short) / 5)
    }

    fn steps(&self, window: &str) -> u64 {
        seconds(window).div_ceil(self.0)
    }
}

/// A history without a fault, then a burn at `ratio` for the longer window, then none for as long; and the steps of
/// the history.
fn burning(burn: &Burn, ratio: f64) -> (Vec<Value>, u64) {
    let long = Pace::of(burn).steps(&burn.long);
    let calm = long + 10;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most RATE")]
    let missed = (f64::from(RATE) * ratio).round() as u32;
    let total = u64::from(missed) * long;
    let ready = format!(
        "0+{RATE}x{calm} {}+{}x{} {}+{RATE}x{long}",
        u64::from(RATE) * calm,
        RATE - missed,
        long - 1,
        u64::from(RATE) * calm + u64::from(RATE - missed) * long
    );
    let late = format!("0x{calm} 0+{missed}x{} {total}x{long}", long - 1);
    (vec![series("ready", &ready), series("timed_out", &late)], calm)
}

/// An alert of these windows, as promtool names it.
fn expected(burn: &Burn, pace: &Pace, at: u64, fires: bool) -> Value {
    let expr = format!(
        "count(ALERTS{{alertname=\"{}\", window=\"{}\", alertstate=\"firing\"}}) or vector(0)",
        burn.alert, burn.long
    );
    json!({"expr": expr, "eval_time": format!("{}s", at * pace.0), "exp_samples": [{"labels": "{}", "value": u8::from(fires)}]})
}

fn run(name: &str, pace: &Pace, series: &[Value], cases: &[Value]) {
    let dir = TempDir::new("objective");
    std::fs::write(dir.path().join("rules.yaml"), read("rules.yaml")).unwrap();
    let file = dir.path().join("test.yaml");
    let tests = json!([{"name": name, "interval": format!("{}s", pace.0), "input_series": series, "promql_expr_test": cases}]);
    let text = json!({"rule_files": ["rules.yaml"], "group_eval_order": GROUP_ORDER,
        "evaluation_interval": format!("{}s", pace.0), "tests": tests});
    std::fs::write(&file, text.to_string()).unwrap();
    let (passed, reported) = promtool(&["test", "rules", file.to_str().unwrap()], "");
    assert!(passed, "{name}: {reported}");
}

#[test]
fn each_window_fires_at_its_burn_rate_and_not_below_and_resets() {
    let objective = Settings::read().objective;
    for burn in &objective.burn {
        let threshold = objective.ratio(burn.factor);
        let pace = Pace::of(burn);
        let [long, short, pending] =
            [&burn.long, &burn.short, &burn.pending].map(|window| pace.steps(window));
        let (series, calm) = burning(burn, threshold + 0.02);
        let end = calm + long;
        let cases = [
            expected(burn, &pace, calm - 1, false),
            // Only now the longer window is full of it.
            expected(burn, &pace, calm + long / 4, false),
            expected(burn, &pace, end, true),
            expected(burn, &pace, end + short + pending + 2, false),
        ];
        run(&format!("{} {}: fires and resets", burn.alert, burn.long), &pace, &series, &cases);
        let (series, calm) = burning(burn, threshold - 0.02);
        let cases =
            [expected(burn, &pace, calm + long, false), expected(burn, &pace, calm + long + 1, false)];
        run(&format!("{} {}: just below", burn.alert, burn.long), &pace, &series, &cases);
    }
    eprintln!("Objective: {} pairs of windows fire, stay silent just below, and reset", objective.burn.len());
}

#[test]
fn few_misses_and_what_an_author_did_burn_nothing() {
    let objective = Settings::read().objective;
    let few = objective.at_least - 1;
    let count = |outcome: &str, from: u32, to: u32| series(outcome, &format!("{from}x10 {to}x100"));
    for (name, all) in [
        ("few", vec![count("ready", 0, 0), count("timed_out", 0, few)]),
        ("an author's", vec![count("ready", 0, 0), count("timed_out", 0, 0), count("author_error", 0, 99)]),
        (
            "taken back",
            vec![
                count("ready", 0, 0),
                count("timed_out", 0, 0),
                count("superseded", 0, 99),
                count("deleted", 0, 99),
            ],
        ),
    ] {
        let cases: Vec<Value> = objective
            .burn
            .iter()
            .flat_map(|burn| [15, 30, 90].map(|at| expected(burn, &MINUTE, at, false)))
            .collect();
        run(name, &MINUTE, &all, &cases);
    }
    let enough = [count("ready", 0, 0), count("timed_out", 0, objective.at_least)];
    run("enough", &MINUTE, &enough, &[expected(&objective.burn[0], &MINUTE, 14, true)]);
}

/// Ready too late counts as missed; ready in time does not, also where the histogram is as new as the counter.
#[test]
fn what_is_ready_too_late_is_missed() {
    let objective = Settings::read().objective;
    let histogram = |suffix: &str, le: &str, values: &str| json!({"series": format!("elpio_rollout_duration_seconds_{suffix}{{outcome=\"ready\"{le}, {LABELS}}}"), "values": values});
    let quick = [
        series("ready", "0x10 20x40"),
        histogram("count", "", "_x10 20x40"),
        histogram("bucket", ", le=\"120.0\"", "_x10 20x40"),
    ];
    run("in time", &MINUTE, &quick, &[expected(&objective.burn[0], &MINUTE, 15, false)]);
    for le in ["120.0", "120"] {
        let late = [
            series("ready", "0x10 20x40"),
            histogram("count", "", "0x10 20x40"),
            histogram("bucket", &format!(", le=\"{le}\""), "0x10 1x40"),
        ];
        run("too late", &MINUTE, &late, &[expected(&objective.burn[0], &MINUTE, 14, true)]);
    }
}

/// A restart begins every series anew, a change of leader begins them at another replica.
#[test]
fn a_restart_and_a_change_of_leader_burn_nothing() {
    let objective = Settings::read().objective;
    let other = |outcome: &str, values: &str| {
        let mut one = series(outcome, values);
        one["series"] = json!(one["series"].as_str().unwrap().replace("instance=\"x\"", "instance=\"y\""));
        one
    };
    let all = [
        series("ready", "0+10x30 0+10x30 300x100"),
        series("timed_out", "7x30 0x30 0x100"),
        other("ready", "_x60 0+10x100"),
        other("timed_out", "_x60 0x100"),
    ];
    let cases: Vec<Value> = objective
        .burn
        .iter()
        .flat_map(|burn| [31, 35, 62, 100].map(|at| expected(burn, &MINUTE, at, false)))
        .collect();
    run("a restart, a change of leader", &MINUTE, &all, &cases);
    let none = json!({"expr": "max(elpio:rollouts_missed:increase_1h)", "eval_time": "100m",
        "exp_samples": [{"labels": "{}", "value": 0}]});
    run("nothing is missed", &MINUTE, &all, &[none]);
}
