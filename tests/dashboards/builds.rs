//! Dashboard: functions and their builds.

use crate::board::{Board, Row, graph, heat, stat};

pub static BOARD: Board = Board {
    file: "builds.json",
    title: "Elpio / Builds",
    description: "Functions: what is built, how long it takes, what fails, and whether what was built serves.",
    rows: &[
        Row(
            "Now",
            &[
                stat(
                    "Functions ready",
                    "short",
                    "ElpioFunctions whose last build serves.",
                    &[("sum(max by (cluster, namespace, job, kind, ready, reason) (elpio_resources{@,kind=\"ElpioFunction\",ready=\"true\"}))", "ready")],
                )
                .wide(6),
                stat(
                    "Building",
                    "short",
                    "Functions whose build runs now.",
                    &[("sum(max by (cluster, namespace, job, kind, ready, reason) (elpio_resources{@,kind=\"ElpioFunction\",reason=\"Building\"}))", "building")],
                )
                .wide(6),
                stat(
                    "Builds that failed",
                    "short",
                    "In the time that is shown. The Event BuildFailed of the function says which step, and why.",
                    &[("round(sum(increase(elpio_builds_total{@,result=~\"error|timeout\"}[$__range])))", "failed")],
                )
                .wide(6)
                .colors(&[(None, "green"), (Some(0.5), "orange")]),
                stat(
                    "Failed ratio",
                    "percentunit",
                    "Part of the builds in the time that is shown; worry above 25 %. One function that fails is its author's; many at once are the registry's or Tekton's.",
                    &[(
                        "sum(increase(elpio_builds_total{@,result=~\"error|timeout\"}[$__range])) / (sum(increase(elpio_builds_total{@,result=~\"success|error|timeout\"}[$__range])) > 0)",
                        "failed",
                    )],
                )
                .wide(6)
                .colors(&[(None, "green"), (Some(0.1), "orange"), (Some(0.25), "red")]),
            ],
        ),
        Row(
            "Builds",
            &[
                graph(
                    "Builds by result",
                    "ops",
                    "Builds that ended. error: the source or the cluster; timeout: the run ran out of time; cancelled: superseded by a newer edit, or deleted.",
                    &[("sum by (result) (rate(elpio_builds_total{@}[$__rate_interval]))", "{{result}}")],
                )
                .stacked(),
                graph(
                    "Build duration",
                    "s",
                    "How long Tekton's runs took. Worry when it grows for unchanged sources: no cache, a slow registry, nodes without room.",
                    &[
                        (
                            "histogram_quantile(0.5, sum by (le, result) (rate(elpio_build_duration_seconds_bucket{@}[$__rate_interval])))",
                            "{{result}} p50",
                        ),
                        (
                            "histogram_quantile(0.95, sum by (le, result) (rate(elpio_build_duration_seconds_bucket{@}[$__rate_interval])))",
                            "{{result}} p95",
                        ),
                    ],
                ),
                graph(
                    "Failed ratio",
                    "percentunit",
                    "Part of the builds that ended in an error or a time-out; worry above 25 % of more than one function. No line while none ended.",
                    &[(
                        "sum(rate(elpio_builds_total{@,result=~\"error|timeout\"}[$__rate_interval])) / (sum(rate(elpio_builds_total{@,result=~\"success|error|timeout\"}[$__rate_interval])) > 0)",
                        "failed",
                    )],
                )
                .alerts(&["ElpioBuildsFailing"]),
                graph(
                    "Functions by state and reason",
                    "short",
                    "Every function once. Building that stays: Tekton does not run it. ServiceNotReady: it was built, but does not serve.",
                    &[("sum by (ready, reason) (max by (cluster, namespace, job, kind, ready, reason) (elpio_resources{@,kind=\"ElpioFunction\"}))", "{{ready}}: {{reason}}")],
                )
                .stacked(),
                graph(
                    "Build Events",
                    "cps",
                    "What users are told of builds. Starts without an end: builds hang.",
                    &[("sum by (reason) (rate(elpio_events_total{@,reason=~\"Build.*\"}[$__rate_interval]))", "{{reason}}")],
                ),
                graph(
                    "Runs and services written",
                    "ops",
                    "PipelineRuns and ElpioServices that functions created, changed or deleted.",
                    &[(
                        "sum by (child, outcome) (rate(elpio_apply_total{@,kind=\"ElpioFunction\",outcome!=\"unchanged\"}[$__rate_interval]))",
                        "{{child}} {{outcome}}",
                    )],
                ),
            ],
        ),
        Row(
            "From an edit of a function to its end",
            &[
                graph(
                    "Function rollout duration",
                    "s",
                    "The build and the rollout of the service that it ends in, as one. Points lead to the trace, which has the build's tasks.",
                    &[(
                        "histogram_quantile(0.95, sum by (le, outcome) (rate(elpio_rollout_duration_seconds_bucket{@,kind=\"ElpioFunction\"}[$__rate_interval])))",
                        "{{outcome}} p95",
                    )],
                )
                .exemplars()
                .wide(12),
                heat(
                    "Function rollout durations",
                    "s",
                    "All of them that ended. Points lead to the trace.",
                    &[(
                        "sum by (le) (rate(elpio_rollout_duration_seconds_bucket{@,kind=\"ElpioFunction\"}[$__rate_interval]))",
                        "{{le}}",
                    )],
                )
                .wide(12),
            ],
        ),
    ],
};
