//! What the operator's metrics page shows.

use std::time::Duration;

use elpio_cluster::{Operator, eventually};

use crate::live_env::{LiveEnv, TIMEOUT};

/// Whether a replica says that it leads.
pub async fn leads(operator: &Operator) -> bool {
    operator.sample("leader_election_master_status", &[]).await == Some(1.0)
}

/// Waits until a replica leads.
pub async fn wait_until_leading(operator: &Operator, timeout: Duration) {
    eventually(
        "it leads",
        timeout,
        async || if leads(operator).await { Ok(()) } else { Err(operator.log_tail()) },
    )
    .await;
}

impl LiveEnv {
    /// The value of a counter on the operator's page.
    pub async fn counted(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.operator
            .sample(name, labels)
            .await
            .unwrap_or_else(|| panic!("{name}{labels:?} is not on the page"))
    }

    /// Waits until a counter has this value.
    pub async fn wait_for_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        eventually(&format!("{name}{labels:?} is {value}"), TIMEOUT, async || {
            match self.operator.sample(name, labels).await {
                // Counters are whole numbers.
                Some(now) if (now - value).abs() < 0.5 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    pub async fn errors(&self, class: &str) -> f64 {
        self.counted("elpio_reconcile_errors_total", &[("kind", "ElpioService"), ("error_type", class)]).await
    }

    /// Waits until an error of this class is counted: a moment after the status that tells of it.
    pub async fn failed(&self, class: &str) {
        eventually(&format!("an error of class {class}"), TIMEOUT, async || match self.errors(class).await {
            0.0 => Err("none"),
            _ => Ok(()),
        })
        .await;
    }

    /// Waits until the operator has nothing to do: every queue is empty and nobody works.
    pub async fn wait_until_idle(&self) {
        let mut still = 0;
        eventually("the operator is quiet", TIMEOUT, async || {
            let page = self.operator.metrics("").await;
            let sum: f64 = ["workqueue_depth", "elpio_reconcile_active"]
                .iter()
                .filter_map(|name| elpio_cluster::exposition::sample(&page, name, &[]))
                .sum();
            still = if sum == 0.0 { still + 1 } else { 0 };
            if still >= 3 { Ok(()) } else { Err(format!("{sum} waiting or running")) }
        })
        .await;
    }
}
