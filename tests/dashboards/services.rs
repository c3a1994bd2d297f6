//! Dashboard: services and their rollouts.

use crate::board::{Board, Row, graph, heat, stat, text};

pub static BOARD: Board = Board {
    file: "services.json",
    title: "Elpio / Services and rollouts",
    description: "Whether services are ready, why not, how long an edit takes until it serves, and what the operator wrote.",
    rows: &[
        Row(
            "Now",
            &[
                stat("Ready", "short", "ElpioServices that are ready.", &[("sum(max by (cluster, namespace, job) (elpio_services_ready{@}))", "ready")]).wide(6),
                stat(
                    "Not ready",
                    "short",
                    "ElpioServices that are not, or not yet. Their reasons stand below; kubectl get esvc -A names them.",
                    &[("sum(max by (cluster, namespace, job, kind, ready, reason) (elpio_resources{@,kind=\"ElpioService\",ready!=\"true\"}))", "not ready")],
                )
                .wide(6)
                .colors(&[(None, "green"), (Some(1.0), "orange")]),
                stat(
                    "Oldest unsettled",
                    "s",
                    "Age of the oldest edit that the operator has not yet dealt with. Normally below a second; worry above 180 s.",
                    &[("max(elpio_resources_unsettled_age_seconds{@,kind=\"ElpioService\"})", "age")],
                )
                .wide(6)
                .colors(&[(None, "green"), (Some(10.0), "orange"), (Some(180.0), "red")]),
                stat(
                    "Rollouts that ended",
                    "short",
                    "Rollouts of services that became ready, were superseded or deleted, or timed out, in the time that is shown.",
                    &[("round(sum(increase(elpio_rollouts_total{@,kind=\"ElpioService\"}[$__range])))", "rollouts")],
                )
                .wide(6),
            ],
        ),
        Row(
            "Objective: from an edit to ready (docs/objectives.md)",
            &[
                stat(
                    "Error budget left",
                    "percentunit",
                    "Of the budget of the time that is shown, by kind and engine. Below 0: the objective was missed. What an author alone can mend is left out.",
                    &[("BUDGET_LEFT", "{{kind}} {{engine}}")],
                )
                .wide(8)
                .colors(&[(None, "red"), (Some(0.0), "orange"), (Some(0.5), "green")]),
                graph(
                    "Missed the objective",
                    "percentunit",
                    "Part of the rollouts that were late. Alerts, in both of their windows: fast above 72 % or 30 %, slowly above 15 % or 5 %.",
                    &[("MISSED", "{{kind}} {{engine}}")],
                )
                .wide(16)
                .alerts(&["ElpioRolloutBudgetBurnsFast", "ElpioRolloutBudgetBurnsSlowly"]),
            ],
        ),
        Row(
            "State",
            &[
                graph(
                    "Services by state and reason",
                    "short",
                    "Every service once. Progressing that stays: an engine does not get it up. Forbidden: a permission of the operator's is missing.",
                    &[("sum by (ready, reason) (max by (cluster, namespace, job, kind, ready, reason) (elpio_resources{@,kind=\"ElpioService\"}))", "{{ready}}: {{reason}}")],
                )
                .stacked()
                .wide(12),
                graph(
                    "Age of the oldest unsettled edit",
                    "s",
                    "Worry above 180 s. A line that climbs steadily: one object is never dealt with, or nothing is (see the operator's dashboard).",
                    &[("max by (kind) (elpio_resources_unsettled_age_seconds{@})", "{{kind}}")],
                )
                .wide(12)
                .alerts(&["ElpioUnsettled"]),
            ],
        ),
        Row(
            "Rollouts",
            &[
                graph(
                    "Rollout duration",
                    "s",
                    "From the first sight of an edit to its end. Most of it is the engine's: pulling, starting, probing. Points lead to the trace.",
                    &[
                        (
                            "histogram_quantile(0.5, sum by (le, engine, outcome) (rate(elpio_rollout_duration_seconds_bucket{@,kind=\"ElpioService\"}[$__rate_interval])))",
                            "{{engine}} {{outcome}} p50",
                        ),
                        (
                            "histogram_quantile(0.95, sum by (le, engine, outcome) (rate(elpio_rollout_duration_seconds_bucket{@,kind=\"ElpioService\"}[$__rate_interval])))",
                            "{{engine}} {{outcome}} p95",
                        ),
                    ],
                )
                .exemplars(),
                heat(
                    "Rollout durations",
                    "s",
                    "All rollouts that became ready. A band of minutes: images that are large, or a registry that is slow. Points lead to the trace.",
                    &[(
                        "sum by (le) (rate(elpio_rollout_duration_seconds_bucket{@,kind=\"ElpioService\",outcome=\"ready\"}[$__rate_interval]))",
                        "{{le}}",
                    )],
                ),
                graph(
                    "Rollouts by outcome",
                    "ops",
                    "How rollouts end. timed_out: not ready within ELPIO_ROLLOUT_DEADLINE (plus build.timeout for a function); many superseded: edits come faster than the engine.",
                    &[(
                        "sum by (engine, outcome) (rate(elpio_rollouts_total{@,kind=\"ElpioService\"}[$__rate_interval]))",
                        "{{engine}} {{outcome}}",
                    )],
                ),
            ],
        ),
        Row(
            "What was written",
            &[
                graph(
                    "Children changed",
                    "ops",
                    "Children that were created or corrected. A rate that stays while nobody edits is a fight with another manager.",
                    &[(
                        "sum by (child) (rate(elpio_apply_total{@,kind=\"ElpioService\",outcome=\"changed\"}[$__rate_interval]))",
                        "{{child}}",
                    )],
                )
                .stacked()
                .alerts(&["ElpioManagersFight"]),
                graph(
                    "Applies by outcome",
                    "ops",
                    "unchanged costs a request and changes nothing; it should be rare, as what is right is not applied.",
                    &[("sum by (outcome) (rate(elpio_apply_total{@,kind=\"ElpioService\"}[$__rate_interval]))", "{{outcome}}")],
                ),
                graph(
                    "Events by reason",
                    "cps",
                    "What users are told, of all kinds. Warnings that stay are objects that need somebody; their text has the id of a trace.",
                    &[("sum by (type, reason) (rate(elpio_events_total{@}[$__rate_interval]))", "{{type}} {{reason}}")],
                ),
                text(
                    "From an Event to its trace",
                    "How to find the trace of one Event.",
                    &[(
                        "Every Event that belongs to a rollout ends in `(trace <id>)`, has the annotation `elpio.io/trace-id`, and its object's\n`status.rollout.traceId` holds the same:\n\n```sh\nkubectl events -n NAMESPACE --for elpioservice/NAME\n```\n\nPut the id into **Trace id** above and follow **Trace in Jaeger** or **Trace in Tempo**.\n",
                        "",
                    )],
                )
                .wide(24),
            ],
        ),
    ],
};
