//! One fault's own place: an operator with a namespace of its own, and a Prometheus that scrapes it alone and has the rules.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use elpio_cluster::{
    Cluster, Prometheus,
    alerts::{Windows, rules},
    eventually,
    process::free_port,
};

use crate::stage::{Stage, image};

/// Windows, `for:` and what a busy machine adds.
const PATIENCE: Duration = Duration::from_mins(4);

pub struct Scene {
    pub stage: Stage,
    pub prometheus: Prometheus,
    alert: &'static str,
    last: Instant,
    steps: Vec<(&'static str, Duration)>,
}

/// What came of a fault.
pub struct Record {
    /// Every alert that fired, at any time.
    pub fired: Vec<String>,
    /// How long each step took.
    pub steps: Vec<(&'static str, Duration)>,
}

impl Scene {
    /// A healthy operator; Prometheus has scraped it and evaluated every rule.
    pub async fn new(alert: &'static str, extra: &[(&str, &str)]) -> Self {
        let kubeconfig = Cluster::shared().await.kubeconfig();
        Self::on(alert, &kubeconfig, extra).await
    }

    /// The same for another user, or another way to the API server.
    pub async fn on(alert: &'static str, kubeconfig: &Path, extra: &[(&str, &str)]) -> Self {
        let begun = Instant::now();
        // The same after a restart: it is the target.
        let port = free_port().to_string();
        let extra = [extra, &[("ELPIO_METRICS_PORT", port.as_str())]].concat();
        let cluster = Cluster::shared().await;
        let stage = Stage::on(cluster, &alert.to_lowercase(), kubeconfig, &extra).await;
        let prometheus = Prometheus::start_with(&[format!("127.0.0.1:{port}")], &rules(Windows::SHORT)).await;
        let mut scene = Self { stage, prometheus, alert, last: begun, steps: Vec::new() };
        scene.calm().await;
        scene.step("up");
        scene
    }

    /// Ends a step of the story.
    pub fn step(&mut self, what: &'static str) {
        self.steps.push((what, self.last.elapsed()));
        self.last = Instant::now();
    }

    /// Every rule is evaluated, the operator is seen, and nothing fires.
    async fn calm(&self) {
        eventually("Prometheus sees the operator and evaluates the rules", PATIENCE, async || {
            let rules = self.prometheus.rules().await?;
            let seen = self.prometheus.query("elpio_build_info").await?;
            if seen.is_empty() || rules.is_empty() || rules.iter().any(|rule| rule.health != "ok") {
                return Err(format!("{seen:?} {rules:?} {:?}", self.prometheus.targets().await));
            }
            Ok(())
        })
        .await;
        let alerts = self.prometheus.alerts().await.unwrap();
        assert!(!alerts.iter().any(|alert| alert.firing()), "before any fault: {alerts:#?}");
    }

    /// A service that serves.
    pub async fn serving(&self, name: &str) {
        self.stage.apply(name, &image("v1")).await;
        self.stage.ready(name).await;
    }

    /// Waits until the alert fires.
    pub async fn fires(&mut self) {
        eventually(&format!("{} fires", self.alert), PATIENCE, async || {
            let alerts = self.prometheus.alerts().await?;
            let fires = alerts.iter().any(|alert| alert.firing() && alert.name == self.alert);
            if fires { Ok(()) } else { Err(format!("{alerts:#?}\n{}", self.stage.operator.log_end())) }
        })
        .await;
        self.step("fires");
    }

    /// Waits until nothing fires any more.
    pub async fn resolves(&mut self) {
        eventually(&format!("{} resolves", self.alert), PATIENCE, async || {
            let alerts = self.prometheus.alerts().await?;
            if alerts.iter().any(|alert| alert.firing()) { Err(format!("{alerts:#?}\n{}", self.stage.operator.log_end())) } else { Ok(()) }
        })
        .await;
        self.step("resolves");
    }

    pub async fn end(self) -> Record {
        Record { fired: self.prometheus.fired().await.unwrap(), steps: self.steps }
    }
}
