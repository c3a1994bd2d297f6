//! Dashboard: calls to the API server, watches, work queues.

use crate::board::{Board, Row, graph, heat, stat};

pub static BOARD: Board = Board {
    file: "clients.json",
    title: "Elpio / API client and queues",
    description: "What the operator asks of the API server and how it answers, whether watches live, and whether work waits.",
    rows: &[
        Row(
            "Now",
            &[
                stat(
                    "Requests",
                    "reqps",
                    "Requests to the API server. Near 0 while nobody edits anything: a settled object costs none.",
                    &[("sum(rate(http_client_request_duration_seconds_count{@}[$__rate_interval]))", "requests")],
                )
                .wide(6),
                stat(
                    "Error ratio",
                    "percentunit",
                    "Part of the requests without an answer, or refused. A conflict (409) now and then is normal.",
                    &[(
                        "(sum(rate(http_client_request_duration_seconds_count{@,error_type!=\"\"}[$__rate_interval])) or 0 * sum(rate(http_client_request_duration_seconds_count{@}[$__rate_interval]))) / (sum(rate(http_client_request_duration_seconds_count{@}[$__rate_interval])) > 0)",
                        "errors",
                    )],
                )
                .wide(6)
                .colors(&[(None, "green"), (Some(0.01), "orange"), (Some(0.1), "red")]),
                stat(
                    "Stalest watch",
                    "s",
                    "Time since the last byte of the watch that is silent for longest. Bookmarks come every one to two minutes; worry above 150 s.",
                    &[("max(elpio_watch_age_seconds{@})", "age")],
                )
                .wide(6)
                .colors(&[(None, "green"), (Some(130.0), "orange"), (Some(150.0), "red")]),
                stat(
                    "Waiting keys",
                    "short",
                    "Objects that wait for a reconcile. Above 0 for a moment only.",
                    &[("sum(workqueue_depth{@})", "keys")],
                )
                .wide(6)
                .colors(&[(None, "green"), (Some(10.0), "orange"), (Some(100.0), "red")]),
            ],
        ),
        Row(
            "API client",
            &[
                graph(
                    "Requests by method and status",
                    "reqps",
                    "429: the API server throttles; 403: a permission is missing; 5xx and no status: it is ill or away.",
                    &[(
                        "sum by (http_request_method, http_response_status_code) (rate(http_client_request_duration_seconds_count{@}[$__rate_interval]))",
                        "{{http_request_method}} {{http_response_status_code}}",
                    )],
                )
                .alerts(&["ElpioMetricOverflow"]),
                graph(
                    "Errors",
                    "reqps",
                    "Requests that failed, by method and why: a status, timeout, connection. 404 of a PATCH: what was to be written is gone.",
                    &[(
                        "sum by (http_request_method, error_type) (rate(http_client_request_duration_seconds_count{@,error_type!=\"\"}[$__rate_interval]))",
                        "{{http_request_method}} {{error_type}}",
                    )],
                ),
                heat(
                    "Latency",
                    "s",
                    "All requests, until the head of the answer. Points lead to the trace of the reconcile that made the call.",
                    &[("sum by (le) (rate(http_client_request_duration_seconds_bucket{@}[$__rate_interval]))", "{{le}}")],
                ),
                graph(
                    "Latency p99 by path",
                    "s",
                    "Slow on one path alone: an admission webhook of that kind. Slow on all: the API server or etcd. Points lead to a trace.",
                    &[(
                        "histogram_quantile(0.99, sum by (le, url_template) (rate(http_client_request_duration_seconds_bucket{@}[$__rate_interval])))",
                        "{{url_template}}",
                    )],
                )
                .exemplars()
                .wide(24),
            ],
        ),
        Row(
            "Watches",
            &[
                graph(
                    "Objects delivered",
                    "cps",
                    "What watches bring, initial lists included. A kind that is loud while nobody edits it is written over and over by somebody.",
                    &[("sum by (resource) (rate(elpio_watch_events_total{@}[$__rate_interval]))", "{{resource}}")],
                ),
                graph(
                    "Restarts",
                    "cps",
                    "Watches that broke. A few when the API server is restarted; a rate that stays is a proxy that cuts connections.",
                    &[("sum by (resource) (rate(elpio_watch_restarts_total{@}[$__rate_interval]))", "{{resource}}")],
                ),
                graph(
                    "Silence",
                    "s",
                    "Time since the last byte of each watch: a saw of one to two minutes. A line that goes on climbing is a watch that is dead.",
                    &[("max by (resource) (elpio_watch_age_seconds{@})", "{{resource}}")],
                )
                .alerts(&["ElpioWatchStale"]),
                graph(
                    "Refused",
                    "short",
                    "Watches that the API server does not permit, by the namespace that they are for. Above 0: permissions are missing there; the others are served.",
                    &[("max by (scope) (elpio_watch_refused{@})", "{{scope}}")],
                ),
            ],
        ),
        Row(
            "Work queues",
            &[
                graph(
                    "Depth",
                    "short",
                    "Keys that wait. Growing: reconciles are slow, or ELPIO_CONCURRENCY is too small.",
                    &[("sum by (name) (workqueue_depth{@})", "{{name}}")],
                ),
                graph(
                    "Added, and again after a failure",
                    "cps",
                    "Keys that were added. Retries follow a back-off of their own and fall as an error stays.",
                    &[
                        ("sum by (name) (rate(workqueue_adds_total{@}[$__rate_interval]))", "{{name}} added"),
                        ("sum by (name) (rate(workqueue_retries_total{@}[$__rate_interval]))", "{{name}} retried"),
                    ],
                ),
                graph(
                    "Time in the queue",
                    "s",
                    "How long a key waits once it is due. Buckets are decades, as client-go has them: worry when p95 stays above 10 s.",
                    &[
                        (
                            "histogram_quantile(0.5, sum by (le, name) (rate(workqueue_queue_duration_seconds_bucket{@}[$__rate_interval])))",
                            "{{name}} p50",
                        ),
                        (
                            "histogram_quantile(0.95, sum by (le, name) (rate(workqueue_queue_duration_seconds_bucket{@}[$__rate_interval])))",
                            "{{name}} p95",
                        ),
                    ],
                )
                .alerts(&["ElpioQueueSlow"]),
                graph(
                    "Time of work",
                    "s",
                    "How long a key is worked on.",
                    &[
                        (
                            "histogram_quantile(0.5, sum by (le, name) (rate(workqueue_work_duration_seconds_bucket{@}[$__rate_interval])))",
                            "{{name}} p50",
                        ),
                        (
                            "histogram_quantile(0.99, sum by (le, name) (rate(workqueue_work_duration_seconds_bucket{@}[$__rate_interval])))",
                            "{{name}} p99",
                        ),
                    ],
                ),
                graph(
                    "Longest work under way",
                    "s",
                    "One reconcile that does not end. A call times out after 12 s: worry above 120 s.",
                    &[("max by (name) (workqueue_longest_running_processor_seconds{@})", "{{name}}")],
                )
                .alerts(&["ElpioWorkerStuck"]),
                graph(
                    "Unfinished work",
                    "s",
                    "Seconds of all work under way. Climbing steadily: workers hang.",
                    &[("sum by (name) (workqueue_unfinished_work_seconds{@})", "{{name}}")],
                ),
            ],
        ),
    ],
};
