//! Dashboard: whether the operator itself is well.

use crate::board::{Board, Row, graph, heat, stat};

pub static BOARD: Board = Board {
    file: "operator.json",
    title: "Elpio / Operator",
    description: "Whether the operator itself is well: replicas, reconciles, Events, its own telemetry, its process.",
    rows: &[
        Row(
            "Now",
            &[
                stat(
                    "Replicas up",
                    "short",
                    "Replicas that Prometheus sees, scraped or pushed. Worry at 0: nothing is reconciled, or nothing is seen of it.",
                    &[("count(elpio_build_info{@})", "up")],
                )
                .colors(&[(None, "red"), (Some(1.0), "green")])
                .alerts(&["ElpioOperatorAbsent", "ElpioReplicasMissing"]),
                stat(
                    "Leaders",
                    "short",
                    "Replicas that lead; the leader alone reconciles. Right is 1 for each installation; 0 for longer than a lease (12 s) is an outage.",
                    &[("sum(leader_election_master_status{@,name=\"elpio-operator\"})", "leaders")],
                )
                .colors(&[(None, "red"), (Some(1.0), "green"), (Some(2.0), "red")])
                .alerts(&["ElpioTwoLeaders"]),
                stat(
                    "Error ratio",
                    "percentunit",
                    "Part of the reconciles that failed for no fault of an author's. Worry above 10 % that stays, and look at the classes below.",
                    &[(
                        "(sum(rate(elpio_reconcile_errors_total{@,error_type!~\"invalid_spec|name_conflict|dependency_missing|rejected|forbidden|internal\"}[$__rate_interval]))) / (sum(rate(elpio_reconcile_total{@}[$__rate_interval])) > 0)",
                        "errors",
                    )],
                )
                .colors(&[(None, "green"), (Some(0.02), "orange"), (Some(0.1), "red")]),
                stat(
                    "Oldest unsettled",
                    "s",
                    "Age of the oldest edit that the operator has not yet dealt with. Normally below a second; worry above 180 s.",
                    &[("max(elpio_resources_unsettled_age_seconds{@})", "age")],
                )
                .colors(&[(None, "green"), (Some(10.0), "orange"), (Some(180.0), "red")]),
                stat(
                    "Uptime",
                    "s",
                    "Of the replica that was started last. One that is small again and again is a crash loop.",
                    &[("min(process_uptime_seconds{@})", "uptime")],
                )
                .alerts(&["ElpioCrashLoop"]),
                stat(
                    "Version",
                    "short",
                    "What runs. Two of them for longer than a roll-out of the Deployment: an update that is stuck.",
                    &[("count by (version, revision) (elpio_build_info{@})", "{{version}} {{revision}}")],
                ),
            ],
        ),
        Row(
            "Reconciles",
            &[
                graph(
                    "Reconciles",
                    "ops",
                    "Reconciles that ended, by kind and result. A rate that is high while nobody edits anything is a fight over a child.",
                    &[("sum by (kind, result) (rate(elpio_reconcile_total{@}[$__rate_interval]))", "{{kind}} {{result}}")],
                ),
                graph(
                    "Errors by class",
                    "ops",
                    "Failures by class. forbidden never heals by itself: a permission is missing. unavailable, timeout and throttled are the API server's.",
                    &[("sum by (error_type) (rate(elpio_reconcile_errors_total{@}[$__rate_interval]))", "{{error_type}}")],
                )
                .stacked()
                .alerts(&["ElpioForbidden", "ElpioInternalError"]),
                graph(
                    "Error ratio by kind",
                    "percentunit",
                    "Part of the reconciles that failed for no fault of an author's; worry above 10 %. No line while nothing is reconciled.",
                    &[(
                        "(sum by (kind) (rate(elpio_reconcile_errors_total{@,error_type!~\"invalid_spec|name_conflict|dependency_missing|rejected|forbidden|internal\"}[$__rate_interval]))) / (sum by (kind) (rate(elpio_reconcile_total{@}[$__rate_interval])) > 0)",
                        "{{kind}}",
                    )],
                )
                .alerts(&["ElpioReconcileErrors"]),
                graph(
                    "Duration",
                    "s",
                    "How long a reconcile takes: mostly the API server's answers. Worry when p99 stays above some seconds. Points lead to a trace.",
                    &[
                        (
                            "histogram_quantile(0.5, sum by (le, kind) (rate(elpio_reconcile_duration_seconds_bucket{@}[$__rate_interval])))",
                            "{{kind}} p50",
                        ),
                        (
                            "histogram_quantile(0.99, sum by (le, kind) (rate(elpio_reconcile_duration_seconds_bucket{@}[$__rate_interval])))",
                            "{{kind}} p99",
                        ),
                    ],
                )
                .exemplars(),
                heat(
                    "Durations",
                    "s",
                    "All durations: a second band above the usual one is one call that is slow. Points lead to a trace.",
                    &[("sum by (le) (rate(elpio_reconcile_duration_seconds_bucket{@}[$__rate_interval]))", "{{le}}")],
                ),
                graph(
                    "Active",
                    "short",
                    "Reconciles that run now, with those that wait to write their status. Worry when it stays above the line of the workers: keys then wait (see API client and queues).",
                    &[
                        ("sum by (kind) (elpio_reconcile_active{@})", "{{kind}}"),
                        ("sum by (kind) (elpio_workers{@})", "{{kind}}: workers"),
                    ],
                ),
                graph(
                    "Triggers",
                    "ops",
                    "Why reconciles began. Much retry: failures; much child without spec: an engine, or a fight with another manager.",
                    &[("sum by (trigger) (rate(elpio_reconcile_triggers_total{@}[$__rate_interval]))", "{{trigger}}")],
                )
                .stacked(),
                graph(
                    "Leader",
                    "short",
                    "1 for the replica that leads. Steps from one to another outside of an update: leases are lost, the API server is slow or away.",
                    &[("leader_election_master_status{@,name=\"elpio-operator\"}", "{{instance}}")],
                )
                .alerts(&["ElpioNoLeader"]),
            ],
        ),
        Row(
            "Events and telemetry",
            &[
                graph(
                    "Events by outcome",
                    "cps",
                    "What became of Events. dropped: one object caused more than it may; failed: the API server refused one.",
                    &[("sum by (outcome) (rate(elpio_events_total{@}[$__rate_interval]))", "{{outcome}}")],
                )
                .alerts(&["ElpioEventsDropped"]),
                graph(
                    "Exports",
                    "cps",
                    "Pushes to the collector. Errors that stay: it is away, or refuses. Nothing at all where nothing is pushed.",
                    &[("sum by (signal, result) (rate(elpio_telemetry_exports_total{@}[$__rate_interval]))", "{{signal}} {{result}}")],
                )
                .alerts(&["ElpioMetricsRefused"]),
                graph(
                    "Telemetry lost",
                    "cps",
                    "Spans, log records and data points that were lost. Worry above 0. queue_full: raise OTEL_BSP_MAX_QUEUE_SIZE.",
                    &[("sum by (signal, result) (rate(elpio_telemetry_dropped_total{@}[$__rate_interval]))", "{{signal}} {{result}}")],
                )
                .alerts(&["ElpioTelemetryDropped"]),
            ],
        ),
        Row(
            "Process",
            &[
                graph(
                    "CPU",
                    "percentunit",
                    "Processor time; 100 % is one core. Worry when it nears the container's limit.",
                    &[("sum by (instance, cpu_mode) (rate(process_cpu_time_seconds_total{@}[$__rate_interval]))", "{{instance}} {{cpu_mode}}")],
                )
                .stacked(),
                graph(
                    "Memory",
                    "bytes",
                    "Resident memory. It grows with the number of objects; growth without more of them is a leak. Worry near the limit of the container (256 MiB in install.yaml).",
                    &[("process_memory_usage_bytes{@}", "{{instance}}")],
                ),
                graph(
                    "Open files",
                    "short",
                    "File descriptors. Steady; a line that only rises is a leak of connections. Worry near the limit of the process (ulimit -n).",
                    &[("process_open_fds{@}", "{{instance}}")],
                ),
            ],
        ),
    ],
};
