//! A real Prometheus that runs `otel/prometheus.yml`, and promtool. Queries are handed on, answers are handed
//! back.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    components::{PROMETHEUS, PROMTOOL},
    crds::repository,
    page::{self, Series},
    process::free_port,
    program::Program,
};

/// The target of the file that users take; a test puts its own in that place.
const TARGET: &str = "elpio-operator-metrics.elpio-system.svc:9095";
const INTERVAL: &str = "scrape_interval: 15s";
/// Where its alert rules lie, in its own folder.
const RULES: &str = "rules.yaml";

/// A running Prometheus; ends with the value.
pub struct Prometheus {
    program: Program,
    port: u16,
    rules: bool,
}

impl Prometheus {
    /// Starts one that scrapes these `host:port` once a second, and takes OTLP.
    ///
    /// # Panics
    /// When it cannot be built or started, with its log.
    pub async fn start(targets: &[String]) -> Self {
        Self::launch(targets, None).await
    }

    /// The same with alert rules, evaluated once a second: the text of a rules file, such as
    /// [`crate::alerts::rules`] gives.
    ///
    /// # Panics
    /// As [`Prometheus::start`], and when it does not take the rules.
    pub async fn start_with(targets: &[String], rules: &str) -> Self {
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
        let program = Program::new("prometheus", binary, args.to_vec(), Vec::new());
        let mut prometheus = Self { program, port, rules: rules.is_some() };
        if let Some(rules) = rules {
            prometheus.program.write(RULES, rules);
        }
        prometheus.configure(targets);
        prometheus.program.start();
        prometheus
            .program
            .wait_ready(async || match page::get(port, "/-/ready", "*/*").await {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .await;
        prometheus
    }

    /// Writes its file anew, with these targets.
    fn configure(&self, targets: &[String]) {
        let text = std::fs::read_to_string(repository().join("otel/prometheus.yml"))
            .expect("the file that users take");
        assert!(
            text.contains(TARGET) && text.contains(INTERVAL),
            "otel/prometheus.yml has another target or interval"
        );
        let list = targets.iter().map(|target| format!("\"{target}\"")).collect::<Vec<_>>().join(", ");
        let mut text = text
            .replace(&format!("\"{TARGET}\""), &list)
            .replace(INTERVAL, "scrape_interval: 1s\n  evaluation_interval: 1s");
        if self.rules {
            text.extend(["\nrule_files: [", RULES, "]\n"]);
        }
        self.program.write("prometheus.yml", &text);
    }

    /// Scrapes these from now on.
    ///
    /// # Panics
    /// When it does not take its file.
    pub async fn scrape(&self, targets: &[String]) {
        self.configure(targets);
        let answer = page::send(self.port, "POST", "/-/reload", "*/*").await.expect("Prometheus answers");
        assert_eq!(answer.status, 200, "{}\n{}", answer.body, self.program.log_end());
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The series that answer an instant query.
    ///
    /// # Errors
    /// What Prometheus says of the query.
    pub async fn query(&self, query: &str) -> Result<Vec<Series>, String> {
        let data = self.api(&format!("/api/v1/query?query={}", escape(query))).await?;
        let series = |item: &Value| Series {
            name: item["metric"]["__name__"].as_str().unwrap_or_default().to_owned(),
            labels: labels(&item["metric"]),
            value: item["value"][1].as_str().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN),
        };
        Ok(data["result"].as_array().into_iter().flatten().map(series).collect())
    }

    /// The exemplars of the series that a query selects, in the last hour.
    ///
    /// # Errors
    /// What Prometheus says of the query.
    pub async fn query_exemplars(&self, query: &str) -> Result<Vec<Exemplar>, String> {
        let now = jiff::Timestamp::now().as_second();
        let path =
            format!("/api/v1/query_exemplars?query={}&start={}&end={}", escape(query), now - 3600, now + 60);
        let data = self.api(&path).await?;
        let mut all = Vec::new();
        for series in data.as_array().into_iter().flatten() {
            let of = labels(&series["seriesLabels"]);
            let name = series["seriesLabels"]["__name__"].as_str().unwrap_or_default();
            for exemplar in series["exemplars"].as_array().into_iter().flatten() {
                let text = |key: &str| exemplar["labels"][key].as_str().unwrap_or_default().to_owned();
                all.push(Exemplar {
                    series: Series { name: name.to_owned(), labels: of.clone(), value: f64::NAN },
                    trace_id: text("trace_id"),
                    span_id: text("span_id"),
                    value: exemplar["value"].as_str().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN),
                });
            }
        }
        Ok(all)
    }

    /// What it says of its targets: (scrape URL, `up`, the last error).
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn targets(&self) -> Result<Vec<(String, bool, String)>, String> {
        let data = self.api("/api/v1/targets?state=active").await?;
        let target = |item: &Value| {
            let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
            (text("scrapeUrl"), text("health") == "up", text("lastError"))
        };
        Ok(data["activeTargets"].as_array().into_iter().flatten().map(target).collect())
    }

    /// Its own log.
    #[must_use]
    pub fn log(&self) -> String {
        self.program.log()
    }

    pub(crate) async fn api(&self, path: &str) -> Result<Value, String> {
        let answer =
            page::get(self.port, path, "application/json").await.map_err(|error| error.to_string())?;
        let mut json: Value =
            serde_json::from_str(&answer.body).map_err(|error| format!("{error}: {}", answer.body))?;
        if json["status"] == "success" { Ok(json["data"].take()) } else { Err(json["error"].to_string()) }
    }
}

/// One exemplar, as `/api/v1/query_exemplars` tells it.
#[derive(Clone, Debug)]
pub struct Exemplar {
    /// The bucket that it stands at; the value is not told.
    pub series: Series,
    /// 32 digits.
    pub trace_id: String,
    /// 16 digits.
    pub span_id: String,
    /// What was measured.
    pub value: f64,
}

/// Runs promtool with this standard input: whether it succeeded, and everything it said.
///
/// # Panics
/// When it cannot be built or started.
#[must_use]
pub fn promtool(args: &[&str], input: &str) -> (bool, String) {
    let binary = PROMTOOL.binary().unwrap_or_else(|error| panic!("{error}"));
    let mut command = Command::new(binary);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("promtool reads");
    let output = child.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

pub(crate) fn labels(metric: &Value) -> std::collections::BTreeMap<String, String> {
    let pairs = metric.as_object().into_iter().flatten().filter(|(key, _)| *key != "__name__");
    pairs.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

/// For the value of a query parameter.
pub(crate) fn escape(text: &str) -> String {
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
