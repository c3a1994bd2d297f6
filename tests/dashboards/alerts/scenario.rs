//! One fault's own place: an operator with a namespace of its own, and a Prometheus that scrapes it alone and
//! has the rules.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use elpio_cluster::{
    Cluster, Prometheus,
    alerts::{Alert, Windows, rules},
    eventually,
    process::free_port,
};

use crate::{
    alerts::runbooks::queries,
    live_env::{LiveEnv, image},
};

/// Windows, `for:` and what a busy machine adds.
const TIMEOUT: Duration = Duration::from_mins(4);

pub struct Scenario {
    pub env: LiveEnv,
    pub prometheus: Prometheus,
    alert: &'static str,
    last: Instant,
    steps: Vec<(&'static str, Duration)>,
    runbook: (usize, usize),
    missed: Vec<String>,
}

/// What came of a fault.
pub struct Record {
    /// Every alert that fired, at any time.
    pub fired: Vec<String>,
    /// What was waited for in vain.
    pub missed: Vec<String>,
    /// While it fired: queries of its runbook that had something to show, and all.
    pub runbook: (usize, usize),
    /// How long each step took.
    pub steps: Vec<(&'static str, Duration)>,
}

impl Scenario {
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
        let env = LiveEnv::on(cluster, &alert.to_lowercase(), kubeconfig, &extra).await;
        let prometheus =
            Prometheus::start_with_rules(&[format!("127.0.0.1:{port}")], &rules(Windows::SHORT)).await;
        let mut scenario = Self {
            env,
            prometheus,
            alert,
            last: begun,
            steps: Vec::new(),
            runbook: (0, 0),
            missed: Vec::new(),
        };
        scenario.calm().await;
        scenario.step("up");
        scenario
    }

    /// Ends a step of the story.
    pub fn step(&mut self, what: &'static str) {
        self.steps.push((what, self.last.elapsed()));
        self.last = Instant::now();
    }

    /// Every rule is evaluated, the operator is seen, and nothing fires.
    async fn calm(&self) {
        eventually("Prometheus sees the operator and evaluates the rules", TIMEOUT, async || {
            let rules = self.prometheus.rules().await?;
            let seen = self.prometheus.query("elpio_build_info").await?;
            if seen.is_empty() || rules.is_empty() || rules.iter().any(|rule| rule.health != "ok") {
                return Err(format!("{seen:?} {rules:?} {:?}", self.prometheus.targets().await));
            }
            Ok(())
        })
        .await;
        let alerts = self.prometheus.alerts().await.unwrap();
        assert!(!alerts.iter().any(Alert::is_firing), "before any fault: {alerts:#?}");
    }

    /// A service that serves.
    pub async fn serving(&self, name: &str) {
        self.env.apply(name, &image("v1")).await;
        self.env.ready(name).await;
    }

    /// Whether the scenario's own alert is among those that fire.
    pub fn is_firing(&self, alerts: &[Alert]) -> bool {
        alerts.iter().any(|alert| alert.is_firing() && alert.name == self.alert)
    }

    /// Waits until the alert fires, and does what its runbook says.
    pub async fn fires(&mut self) {
        self.comes(true).await;
        self.step("fires");
        let alerts = self.prometheus.alerts().await.unwrap();
        let broken =
            |text: &&String| ["<no value>", "<error expanding", "%!"].iter().any(|sign| text.contains(sign));
        let texts = alerts
            .iter()
            .filter(|alert| alert.name == self.alert)
            .flat_map(|alert| alert.annotations.values());
        assert_eq!(texts.collect::<Vec<_>>().into_iter().find(broken), None, "a template that does not work");
        self.refresh().await;
    }

    /// Waits until it no longer does.
    pub async fn resolves(&mut self) {
        self.comes(false).await;
        self.step("resolves");
    }

    /// Waits until the alert fires, or no longer does. What does not come is told in the end, so that the
    /// matrix is whole.
    async fn comes(&mut self, firing: bool) {
        let (begun, what) = (Instant::now(), if firing { "fires" } else { "resolves" });
        let seen = eventually(&format!("{} {what}", self.alert), TIMEOUT * 2, async || {
            let alerts = self.prometheus.alerts().await?;
            if self.is_firing(&alerts) == firing {
                return Ok(None);
            }
            let seen = format!(
                "not within {TIMEOUT:?}: {} {what}\n{alerts:#?}\n{}",
                self.alert,
                self.env.operator.log_tail()
            );
            if begun.elapsed() > TIMEOUT { Ok(Some(seen)) } else { Err(seen) }
        })
        .await;
        self.missed.extend(seen);
    }

    /// Every query of the runbook can be run, and some shows something.
    async fn refresh(&mut self) {
        for (_, query) in queries().iter().filter(|(section, _)| section == self.alert) {
            let answer = self.prometheus.query(query).await;
            let answer =
                answer.unwrap_or_else(|error| panic!("the runbook of {}: {error}\n{query}", self.alert));
            self.runbook = (self.runbook.0 + usize::from(!answer.is_empty()), self.runbook.1 + 1);
        }
        if self.runbook.0 == 0 {
            self.missed.push(format!("the runbook of {} has nothing to show while it fires", self.alert));
        }
    }

    pub async fn end(self) -> Record {
        Record {
            fired: self.prometheus.fired_alerts().await.unwrap(),
            missed: self.missed,
            runbook: self.runbook,
            steps: self.steps,
        }
    }
}
