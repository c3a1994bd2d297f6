//! The operator's API requests and CPU time in each phase, from its metrics and `/proc`, checked against the
//! audit log. It sends no request to the API server.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use elpio_cluster::{Cluster, Operator, exposition};

use crate::USER;

/// A phase has ended when there were no requests for this long.
const IDLE_TIME: Duration = Duration::from_secs(2);

/// Requests by method and URL template.
pub type Counts = BTreeMap<(String, String), u64>;

/// What a phase cost.
pub struct Phase {
    pub requests: Counts,
    pub cpu: Duration,
    /// Requests by method in the audit log if it is on, without watches.
    pub audit: Option<BTreeMap<&'static str, u64>>,
}

pub struct Meter<'a> {
    operator: &'a Operator,
    cluster: &'a Cluster,
    counts: Counts,
    cpu: Duration,
    audit_offset: Option<u64>,
}

impl<'a> Meter<'a> {
    pub async fn new(operator: &'a Operator, cluster: &'a Cluster, audit: bool) -> Self {
        let mut meter = Self {
            operator,
            cluster,
            counts: Counts::new(),
            cpu: Duration::ZERO,
            audit_offset: audit.then_some(0),
        };
        meter.end_phase().await;
        meter
    }

    /// Waits until the operator is idle; returns what it did since the previous phase.
    pub async fn end_phase(&mut self) -> Phase {
        let mut counts = self.counts().await;
        let mut since = Instant::now();
        while since.elapsed() < IDLE_TIME {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = self.counts().await;
            if now != counts {
                (counts, since) = (now, Instant::now());
            }
        }
        self.finish(counts)
    }

    /// Waits for this time without scraping the operator; returns what it did.
    pub async fn measure_idle(&mut self, time: Duration) -> Phase {
        tokio::time::sleep(time).await;
        let counts = self.counts().await;
        self.finish(counts)
    }

    fn finish(&mut self, counts: Counts) -> Phase {
        let before = |key: &(String, String)| self.counts.get(key).copied().unwrap_or(0);
        let requests = counts
            .iter()
            .map(|(key, count)| (key.clone(), count - before(key)))
            .filter(|(_, count)| *count > 0)
            .collect();
        let cpu = self.operator.cpu();
        let audit = self.audit_offset.map(|offset| {
            self.audit_offset = Some(self.cluster.audit_offset());
            let mut methods = BTreeMap::new();
            for entry in self.cluster.audit_since(offset).user(USER).filter(|entry| entry.verb != "watch").0 {
                *methods.entry(method(&entry.verb)).or_default() += 1;
            }
            methods
        });
        let phase = Phase { requests, cpu: cpu.saturating_sub(self.cpu), audit };
        (self.counts, self.cpu) = (counts, cpu);
        phase
    }

    async fn counts(&self) -> Counts {
        let metrics = self.operator.metrics("text/plain").await;
        let mut counts = Counts::new();
        for series in exposition::series(&metrics)
            .iter()
            .filter(|series| series.name == "http_client_request_duration_seconds_count")
        {
            let key =
                (series.label("http_request_method").to_owned(), series.label("url_template").to_owned());
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count of requests"
            )]
            let count = series.value as u64;
            *counts.entry(key).or_default() += count;
        }
        counts
    }
}

fn method(verb: &str) -> &'static str {
    match verb {
        "create" => "POST",
        "patch" => "PATCH",
        "update" => "PUT",
        "delete" | "deletecollection" => "DELETE",
        _ => "GET",
    }
}
