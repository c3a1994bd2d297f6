//! A real Prometheus with `otel/prometheus.yml`, and promtool. It interprets neither queries nor answers.

pub mod alerts;
pub mod range;

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    components::{PROMETHEUS, PROMTOOL},
    process::{free_port, http, restartable::RestartableProcess},
    repository_root,
    telemetry::exposition::Series,
};

/// How `otel/prometheus.yml` finds its targets, which tests replace.
const TARGETS: &str = "    dns_sd_configs:
      - names: [elpio-operator-metrics.elpio-system.svc]
        type: A
        port: 9095
";
const INTERVAL: &str = "scrape_interval: 15s";
/// The file of alert rules in the working directory.
const RULES_FILE: &str = "rules.yaml";

/// A running Prometheus; it ends on drop.
pub struct Prometheus {
    process: RestartableProcess,
    port: u16,
    has_rules: bool,
}

impl Prometheus {
    /// Starts Prometheus, which scrapes these `host:port` every second and receives OTLP.
    ///
    /// # Panics
    /// If it cannot be built or started, with its log.
    pub async fn start(targets: &[String]) -> Self {
        Self::launch(targets, None).await
    }

    /// As [`Prometheus::start`], with alert rules that are evaluated every second (see
    /// [`crate::alerts::rules`]).
    ///
    /// # Panics
    /// As [`Prometheus::start`], and if Prometheus rejects the rules.
    pub async fn start_with_rules(targets: &[String], rules: &str) -> Self {
        Self::launch(targets, Some(rules)).await
    }

    async fn launch(targets: &[String], rules: Option<&str>) -> Self {
        let binary = tokio::task::spawn_blocking(|| PROMETHEUS.binary()).await.expect("not cancelled");
        let binary = binary.unwrap_or_else(|error| panic!("{error}"));
        let port = free_port();
        let args = [
            "--config.file=prometheus.yml".to_owned(),
            "--storage.tsdb.path=data".to_owned(),
            format!("--web.listen-address=127.0.0.1:{port}"),
            "--web.enable-otlp-receiver".to_owned(),
            "--web.enable-lifecycle".to_owned(),
            "--enable-feature=exemplar-storage".to_owned(),
        ];
        let process = RestartableProcess::new("prometheus", binary, args.to_vec(), Vec::new());
        let mut prometheus = Self { process, port, has_rules: rules.is_some() };
        if let Some(rules) = rules {
            prometheus.process.write(RULES_FILE, rules);
        }
        prometheus.configure(targets);
        prometheus.process.start();
        prometheus
            .process
            .wait_ready(async || match http::get(port, "/-/ready", "*/*").await {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .await;
        prometheus
    }

    /// Writes the configuration with these scrape targets.
    fn configure(&self, targets: &[String]) {
        let text = std::fs::read_to_string(repository_root().join("otel/prometheus.yml"))
            .expect("otel/prometheus.yml exists");
        assert!(
            text.contains(TARGETS) && text.contains(INTERVAL),
            "otel/prometheus.yml has another target or interval"
        );
        let list = targets.iter().map(|target| format!("\"{target}\"")).collect::<Vec<_>>().join(", ");
        let mut text = text
            .replace(TARGETS, &format!("    static_configs:\n      - targets: [{list}]\n"))
            .replace(INTERVAL, "scrape_interval: 1s\n  evaluation_interval: 1s");
        if self.has_rules {
            text.extend(["\nrule_files: [", RULES_FILE, "]\n"]);
        }
        self.process.write("prometheus.yml", &text);
    }

    /// Replaces the scrape targets.
    ///
    /// # Panics
    /// If Prometheus rejects the configuration.
    pub async fn set_scrape_targets(&self, targets: &[String]) {
        self.configure(targets);
        let answer = http::send(self.port, "POST", "/-/reload", "*/*").await.expect("Prometheus answers");
        assert_eq!(answer.status, 200, "{}\n{}", answer.body, self.process.log_tail());
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Runs an instant query.
    ///
    /// # Errors
    /// If Prometheus rejects the query.
    pub async fn query(&self, query: &str) -> Result<Vec<Series>, String> {
        let data = self.api(&format!("/api/v1/query?query={}", percent_encode(query))).await?;
        let series = |item: &Value| Series {
            name: item["metric"]["__name__"].as_str().unwrap_or_default().to_owned(),
            labels: labels(&item["metric"]),
            value: item["value"][1].as_str().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN),
        };
        Ok(data["result"].as_array().into_iter().flatten().map(series).collect())
    }

    /// The exemplars of the last hour for the series that a query selects.
    ///
    /// # Errors
    /// If Prometheus rejects the query.
    pub async fn query_exemplars(&self, query: &str) -> Result<Vec<Exemplar>, String> {
        let now = jiff::Timestamp::now().as_second();
        let path = format!(
            "/api/v1/query_exemplars?query={}&start={}&end={}",
            percent_encode(query),
            now - 3600,
            now + 60
        );
        let data = self.api(&path).await?;
        let mut all = Vec::new();
        for series in data.as_array().into_iter().flatten() {
            let series_labels = labels(&series["seriesLabels"]);
            let name = series["seriesLabels"]["__name__"].as_str().unwrap_or_default();
            for exemplar in series["exemplars"].as_array().into_iter().flatten() {
                let text = |key: &str| exemplar["labels"][key].as_str().unwrap_or_default().to_owned();
                all.push(Exemplar {
                    series: Series { name: name.to_owned(), labels: series_labels.clone(), value: f64::NAN },
                    trace_id: text("trace_id"),
                    span_id: text("span_id"),
                    value: exemplar["value"].as_str().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN),
                });
            }
        }
        Ok(all)
    }

    /// Its scrape targets: (URL, whether it is up, last error).
    ///
    /// # Errors
    /// If Prometheus does not answer.
    pub async fn targets(&self) -> Result<Vec<(String, bool, String)>, String> {
        let data = self.api("/api/v1/targets?state=active").await?;
        let target = |item: &Value| {
            let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
            (text("scrapeUrl"), text("health") == "up", text("lastError"))
        };
        Ok(data["activeTargets"].as_array().into_iter().flatten().map(target).collect())
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    pub(crate) async fn api(&self, path: &str) -> Result<Value, String> {
        let answer =
            http::get(self.port, path, "application/json").await.map_err(|error| error.to_string())?;
        let mut json: Value =
            serde_json::from_str(&answer.body).map_err(|error| format!("{error}: {}", answer.body))?;
        if json["status"] == "success" { Ok(json["data"].take()) } else { Err(json["error"].to_string()) }
    }
}

/// An exemplar, as returned by `/api/v1/query_exemplars`.
#[derive(Clone, Debug)]
pub struct Exemplar {
    /// The series of its bucket, without a value.
    pub series: Series,
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// The measured value.
    pub value: f64,
}

/// Runs promtool with this standard input; returns whether it succeeded, and its output.
///
/// # Panics
/// If it cannot be built or started.
#[must_use]
pub fn promtool(args: &[&str], input: &str) -> (bool, String) {
    let binary = PROMTOOL.binary().unwrap_or_else(|error| panic!("{error}"));
    let mut command = Command::new(binary);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("promtool reads");
    let output = child.wait_with_output().expect("promtool ends");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

pub(crate) fn labels(metric: &Value) -> std::collections::BTreeMap<String, String> {
    let pairs = metric.as_object().into_iter().flatten().filter(|(key, _)| *key != "__name__");
    pairs.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

/// Percent-encodes the value of a query parameter.
pub(crate) fn percent_encode(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}
