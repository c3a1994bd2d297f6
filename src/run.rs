//! The program from start to exit: configuration → ports → telemetry → client → operator → drain → flush. It
//! decides nothing else.

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    cluster::client::{self, fence::FenceLayer},
    config::{OperatorConfig, ProcessConfig},
    http::{self, Endpoint},
    operator::Operator,
    runtime_info,
    signals::Signals,
    telemetry::{self, LogConfig, LogFormat, TelemetryConfig},
};

/// The version for logs and metrics.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The output of `--version`: version, revision and compiler.
pub const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (revision ",
    env!("ELPIO_REVISION"),
    ", rustc ",
    env!("ELPIO_RUSTC"),
    ")"
);

/// The response of `/version`.
const VERSION_JSON: &str = concat!(
    "{\"version\":\"",
    env!("CARGO_PKG_VERSION"),
    "\",\"revision\":\"",
    env!("ELPIO_REVISION"),
    "\",\"rustc\":\"",
    env!("ELPIO_RUSTC"),
    "\"}\n"
);

/// The timeout for flushing telemetry.
const TELEMETRY_FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

type StartError = Box<dyn std::error::Error + Send + Sync>;

/// Runs the operator until it must stop. Writes every startup error to stderr.
#[must_use]
pub fn main() -> ExitCode {
    match start() {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "elpio-operator: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<ExitCode, StartError> {
    let ProcessConfig { operator, telemetry, warnings } = ProcessConfig::from_process_env()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(run_until_signal(operator, telemetry, warnings));
    // A thread that still waits for a dead collector must not keep the process alive.
    runtime.shutdown_background();
    code
}

async fn run_until_signal(
    config: OperatorConfig,
    telemetry_config: TelemetryConfig,
    warnings: Vec<String>,
) -> Result<ExitCode, StartError> {
    let mut signals = Signals::new()?;
    let kube_config = client::config().await?;
    let runtime_info = runtime_info::runtime_info(&kube_config);
    let server = runtime_info.server(&kube_config);
    let visible = config.metrics || telemetry_config.exports_anything();
    let identity = runtime_info.telemetry_identity(if visible {
        runtime_info::cluster_uid(&kube_config).await
    } else {
        None
    });
    // Ports first: one in use ends the program before anything else happens.
    let metrics_listener = if config.metrics {
        Some(http::bind(config.metrics_addr.as_ref(), config.metrics_port, Endpoint::Metrics).await?)
    } else {
        None
    };
    let health_listener = match config.health_port {
        0 => None,
        port => Some(http::bind(None, port, Endpoint::Health).await?),
    };
    let telemetry = telemetry::init(telemetry_config, identity, log_config(&config), config.metrics)?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let fence = FenceLayer::default();
    let client = client::client(kube_config, &telemetry.metrics(), &fence)?;
    let parts = Operator::new(&config, client.clone(), &telemetry, fence.leadership, fence.watches);
    let (stop, stopping) = watch::channel(false);
    // The endpoints serve until the drain has ended, so that the last reconciles can be scraped.
    let (close, closing) = watch::channel(false);
    if let (Some(listener), Some(endpoint)) = (metrics_listener, telemetry.metrics_endpoint()) {
        tracing::info!(address = %listener.local_addr()?, "serving /metrics");
        tokio::spawn(http::metrics(listener, endpoint, closing.clone()));
    }
    if let Some(listener) = health_listener {
        tokio::spawn(http::health(
            listener,
            parts.readiness(stopping.clone()),
            VERSION_JSON,
            closing.clone(),
        ));
    }
    tracing::info!(
        version = VERSION,
        engine = config.engine.as_str(),
        namespaces =
            if config.namespaces.is_empty() { "all".to_owned() } else { config.namespaces.join(",") },
        server = server.to_string(),
        "starting"
    );
    let mut operator = tokio::spawn(async move {
        if client::wait_until_reachable(&client, &server, stopping.clone()).await {
            parts.run(config, runtime_info, stopping).await
        } else {
            Ok(())
        }
    });
    let ended = tokio::select! {
        () = signals.next() => None,
        // The operator must run until it is stopped: if it exits earlier, the program ends.
        ended = &mut operator => Some(ended),
    };
    tracing::info!("stopping: finishing the reconciles in flight");
    stop.send_replace(true);
    let end = async {
        let ended = match ended {
            Some(ended) => ended,
            None => operator.await,
        };
        let failed = match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(format!("the operator ended unexpectedly: {error}")),
        };
        if let Some(error) = &failed {
            tracing::error!("{error}");
        }
        close.send_replace(true);
        (failed, telemetry.shutdown(TELEMETRY_FLUSH_TIMEOUT).await)
    };
    tokio::select! {
        (failed, lost) = end => {
            for what in lost.iter().chain(&failed) {
                let _ = writeln!(std::io::stderr(), "elpio-operator: {what}");
            }
            Ok(if failed.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        () = signals.next() => Ok(ExitCode::FAILURE),
    }
}

fn log_config(config: &OperatorConfig) -> LogConfig {
    let terminal = std::io::stderr().is_terminal();
    let format = if config.log_json.unwrap_or(!terminal) { LogFormat::Json } else { LogFormat::Pretty };
    LogConfig { filter: config.log_filter.clone(), format, ansi: terminal }
}
