//! What the operator asked of the API server and what it cost, phase by phase: from its own page and `/proc`,
//! checked with the audit log.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use elpio_cluster::{Cluster, Operator, page};

use crate::USER;

/// A phase is over when no request has ended for so long.
const QUIET: Duration = Duration::from_secs(2);

/// Requests by method and URL template.
pub type Counts = BTreeMap<(String, String), u64>;

/// What one phase took.
pub struct Phase {
    pub requests: Counts,
    pub cpu: Duration,
    /// Requests by method as the audit log has them, where it is on; watches left out.
    pub audit: Option<BTreeMap<&'static str, u64>>,
}

pub struct Meter<'a> {
    operator: &'a Operator,
    cluster: &'a Cluster,
    counts: Counts,
    cpu: Duration,
    mark: Option<u64>,
}

impl<'a> Meter<'a> {
    pub async fn new(operator: &'a Operator, cluster: &'a Cluster, audit: bool) -> Self {
        let mut meter =
            Self { operator, cluster, counts: Counts::new(), cpu: Duration::ZERO, mark: audit.then_some(0) };
        meter.phase().await;
        meter
    }

    /// Waits until the operator is quiet; what it did since the last call.
    pub async fn phase(&mut self) -> Phase {
        let mut counts = self.counts().await;
        let mut since = Instant::now();
        while since.elapsed() < QUIET {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = self.counts().await;
            if now != counts {
                (counts, since) = (now, Instant::now());
            }
        }
        self.close(counts)
    }

    /// What it does in so much time, with nobody asking for its page meanwhile.
    pub async fn rest(&mut self, time: Duration) -> Phase {
        tokio::time::sleep(time).await;
        let counts = self.counts().await;
        self.close(counts)
    }

    fn close(&mut self, counts: Counts) -> Phase {
        let before = |key: &(String, String)| self.counts.get(key).copied().unwrap_or(0);
        let requests = counts
            .iter()
            .map(|(key, count)| (key.clone(), count - before(key)))
            .filter(|(_, count)| *count > 0)
            .collect();
        let cpu = self.operator.cpu();
        let audit = self.mark.map(|mark| {
            self.mark = Some(self.cluster.audit_mark());
            let mut methods = BTreeMap::new();
            for entry in self.cluster.audit_since(mark).user(USER).filter(|entry| entry.verb != "watch").0 {
                *methods.entry(method(&entry.verb)).or_default() += 1;
            }
            methods
        });
        let phase = Phase { requests, cpu: cpu.saturating_sub(self.cpu), audit };
        (self.counts, self.cpu) = (counts, cpu);
        phase
    }

    async fn counts(&self) -> Counts {
        let page = self.operator.metrics("text/plain").await;
        let mut counts = Counts::new();
        for series in page::series(&page)
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
