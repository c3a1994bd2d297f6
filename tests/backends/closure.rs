//! From every Event to its trace, from every exemplar to its span: counted in Jaeger and Prometheus, with
//! nothing missing.

use std::collections::{BTreeMap, BTreeSet};

use elpio_cluster::{eventually, otlp::Span, prometheus::Exemplar};
use elpio_operator::api::annotation;
use k8s_openapi::api::events::v1::Event;
use kube::{Api, ResourceExt, api::ListParams};

use crate::{
    backends::{Backends, Record, target},
    live_env::{LiveEnv, TIMEOUT},
    load::load,
    report::table,
};

/// The operator's Events of that namespace.
pub async fn events(env: &LiveEnv) -> Vec<Event> {
    let api: Api<Event> = Api::namespaced(env.client.clone(), &env.namespace);
    let all = api.list(&ListParams::default()).await.unwrap().items;
    all.into_iter()
        .filter(|event| event.reporting_controller.as_deref() == Some("elpio.io/operator"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_leads_to_the_reconcile_that_wrote_it() {
    let backends = Backends::shared().await;
    let env = backends.env("closure", &[]).await;
    load(&env).await;

    let events = events(&env).await;
    assert!(events.len() >= 12, "{}", crate::live_env::summary(&events));
    let objects: BTreeSet<_> =
        events.iter().filter_map(|event| event.regarding.as_ref()?.uid.clone()).collect();
    let mut found = Found::default();
    for event in &events {
        let (trace, span) = ids(event);
        let spans = backends
            .jaeger
            .wait_for_trace(&trace, TIMEOUT, |spans| reconcile_of(spans, &span, event).is_some())
            .await;
        assert!(spans.iter().all(|other| other.trace_id == trace), "Jaeger answers another trace");
        found.traces += 1;
        let reconcile = reconcile_of(&spans, &span, event).unwrap();
        assert!(covers(reconcile, event), "not written during its reconcile: {event:?}\n{reconcile:?}");
        found.reconciles += 1;
    }
    let lifted = eventually("every Event is lifted", TIMEOUT, async || {
        counted(&events, |event| is_lifted(backends, event))
    })
    .await;
    let records = eventually("every Event has its record", TIMEOUT, async || {
        counted(&events, |event| is_recorded(backends, event))
    })
    .await;
    table(
        &format!("Closure of Events: {} Events of {} objects", events.len(), objects.len()),
        &["asked of", "what", "found", "of"],
        &[
            row("Jaeger", "the trace of the Event's id", found.traces, events.len()),
            row(
                "Jaeger",
                "the reconcile of that object, at that time, above the Event's span",
                found.reconciles,
                events.len(),
            ),
            row(
                "collector (k8sobjects)",
                "the Event as a log record with its trace and span id",
                lifted,
                events.len(),
            ),
            row(
                "collector (OTLP)",
                "the operator's own k8s.event record with its trace and span id",
                records,
                events.len(),
            ),
        ],
    );
    log_lines_point_to_traces(backends, &env).await;
}

#[derive(Default)]
struct Found {
    traces: usize,
    reconciles: usize,
}

fn row(location: &str, what: &str, found: usize, of: usize) -> Vec<String> {
    vec![location.to_owned(), what.to_owned(), found.to_string(), of.to_string()]
}

fn ids(event: &Event) -> (String, String) {
    let annotations = event.annotations();
    let parent =
        annotations.get(annotation::TRACEPARENT).unwrap_or_else(|| panic!("no traceparent: {event:?}"));
    let (trace, span) = (parent[3..35].to_owned(), parent[36..52].to_owned());
    assert_eq!(annotations.get(annotation::TRACE_ID), Some(&trace), "two ids in one Event");
    (trace, span)
}

/// The `reconcile` span that the Event's span is, or lies under, if it is of the Event's object.
fn reconcile_of<'a>(spans: &'a [Span], span_id: &str, event: &Event) -> Option<&'a Span> {
    let by_id: BTreeMap<&str, &Span> = spans.iter().map(|span| (span.span_id.as_str(), span)).collect();
    let mut span = *by_id.get(span_id)?;
    while !span.name.starts_with("reconcile ") {
        span = by_id.get(span.parent_id.as_str())?;
    }
    let regarding = event.regarding.as_ref()?;
    let same = |key: &str, value: &Option<String>| Some(span.attribute(key)) == value.as_deref();
    (same("k8s.object.name", &regarding.name) && same("k8s.object.uid", &regarding.uid)).then_some(span)
}

/// The Event's time lies in the span; Jaeger keeps microseconds.
fn covers(span: &Span, event: &Event) -> bool {
    let at = u64::try_from(event.event_time.as_ref().unwrap().0.as_nanosecond()).unwrap();
    (span.start..=span.end + 1_000).contains(&at)
}

/// `Ok` with the number when it holds for all.
fn counted(events: &[Event], holds: impl Fn(&Event) -> bool) -> Result<usize, String> {
    let missing: Vec<String> =
        events.iter().filter(|event| !holds(event)).map(ResourceExt::name_any).collect();
    if missing.is_empty() { Ok(events.len()) } else { Err(format!("without: {missing:?}")) }
}

fn has_ids(record: &Record, event: &Event) -> bool {
    let (trace, span) = ids(event);
    record.event_name == "k8s.event"
        && (record.trace_id.as_str(), record.span_id.as_str()) == (trace.as_str(), span.as_str())
        && Some(record.attribute("k8s.event.reason")) == event.reason.as_deref()
}

fn is_lifted(backends: &Backends, event: &Event) -> bool {
    let is_it = |record: &Record| record.body["object"]["metadata"]["name"] == event.name_any();
    let records = backends.records("events");
    // Also a later change of the count keeps the first occurrence's ids.
    let own: Vec<&Record> = records.iter().filter(|record| is_it(record)).collect();
    !own.is_empty() && own.iter().all(|record| has_ids(record, event))
}

fn is_recorded(backends: &Backends, event: &Event) -> bool {
    let uid = event.regarding.as_ref().and_then(|object| object.uid.clone()).unwrap_or_default();
    backends
        .records("logs")
        .iter()
        .any(|record| record.attribute("k8s.object.uid") == uid && has_ids(record, event))
}

/// Log records by OTLP and lines on stderr that name a trace name one that is in Jaeger.
async fn log_lines_point_to_traces(backends: &Backends, env: &LiveEnv) {
    let lines = env.operator.log();
    let lines = lines.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let named: Vec<(String, String)> = lines
        .filter_map(|line| {
            Some((line["trace_id"].as_str()?.to_owned(), line["span_id"].as_str()?.to_owned()))
        })
        .collect();
    assert!(named.len() >= 7, "a line for each service at least: {named:?}");
    for (trace, span) in &named {
        backends
            .jaeger
            .wait_for_trace(trace, TIMEOUT, |spans| spans.iter().any(|other| other.span_id == *span))
            .await;
    }
    eventually("every line has its record", TIMEOUT, async || {
        let records = backends.records("logs");
        let has = |(trace, span): &&(String, String)| {
            records.iter().any(|record| record.trace_id == *trace && record.span_id == *span)
        };
        let missing: Vec<_> = named.iter().filter(|ids| !has(ids)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("no record for the lines of {missing:?}")) }
    })
    .await;
    table(
        "Closure of log lines",
        &["what", "found", "of"],
        &[vec![
            "lines with a trace id: span in Jaeger, and log record with the same ids".to_owned(),
            named.len().to_string(),
            named.len().to_string(),
        ]],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_exemplar_leads_to_the_span_that_was_measured() {
    let backends = Backends::shared().await;
    let env = backends.env("exemplars", &[]).await;
    load(&env).await;

    let mut rows = Vec::new();
    for family in [
        "elpio_reconcile_duration_seconds",
        "elpio_rollout_duration_seconds",
        "http_client_request_duration_seconds",
    ] {
        let query = format!("{family}_bucket{{instance=\"{}\"}}", target(&env.operator));
        let what = format!("Prometheus has exemplars of {family}");
        let exemplars =
            eventually(&what, TIMEOUT, async || match backends.prometheus.query_exemplars(&query).await {
                Ok(found) if found.is_empty() => {
                    Err(format!("none; targets {:?}", backends.prometheus.targets().await))
                }
                other => other,
            })
            .await;
        let bounds = bounds(&env.operator.metrics("text/plain").await, family);
        let mut offs = Vec::new();
        for exemplar in &exemplars {
            offs.push(resolve(backends, exemplar, &bounds).await);
        }
        let near = offs.iter().filter(|off| off.is_near).count();
        // The thread may lose its core between the end of the span and the reading of the clock.
        assert!(near * 10 >= offs.len() * 9, "{family}: {near} of {} are near their span", offs.len());
        let furthest = offs.iter().map(|off| off.seconds).fold(0.0, f64::max);
        rows.push(vec![
            family.to_owned(),
            exemplars.len().to_string(),
            exemplars.len().to_string(),
            format!("{:.3} ms", furthest * 1e3),
        ]);
    }
    table(
        "Closure of exemplars (/api/v1/query_exemplars → Jaeger)",
        &["histogram", "exemplars", "spans found", "furthest from its span"],
        &rows,
    );
    let targets = backends.prometheus.targets().await.unwrap();
    let own = targets.iter().find(|(url, ..)| url.contains(&target(&env.operator))).unwrap();
    assert!(own.1 && own.2.is_empty(), "scraped without an error: {own:?}");
}

/// How far the value of an exemplar is from the duration of its span.
struct Offset {
    seconds: f64,
    is_near: bool,
}

/// Its span is in Jaeger, its value in its bucket, and it measured all of the span.
async fn resolve(backends: &Backends, exemplar: &Exemplar, bounds: &[f64]) -> Offset {
    let is_it = |span: &Span| span.span_id == exemplar.span_id;
    let spans =
        backends.jaeger.wait_for_trace(&exemplar.trace_id, TIMEOUT, |spans| spans.iter().any(is_it)).await;
    let span = spans.iter().find(|span| is_it(span)).unwrap();
    let upper: f64 = exemplar.series.label("le").parse().unwrap();
    let lower = bounds.iter().copied().filter(|bound| *bound < upper).fold(f64::NEG_INFINITY, f64::max);
    assert!(
        lower < exemplar.value && exemplar.value <= upper,
        "{exemplar:?} lies outside its bucket, which begins at {lower}"
    );
    let took = span.duration().as_secs_f64();
    let seconds = exemplar.value - took;
    // The wall clock, which times spans, may be adjusted meanwhile.
    assert!(seconds > -0.005, "{exemplar:?} measured less than its span, {took} s: {span:?}");
    Offset { seconds, is_near: seconds <= (took * 0.05).max(0.005) }
}

fn bounds(page: &str, family: &str) -> Vec<f64> {
    let buckets = elpio_cluster::exposition::series(page)
        .into_iter()
        .filter(|series| series.name == format!("{family}_bucket"));
    buckets.filter_map(|series| series.label("le").parse().ok()).collect()
}
