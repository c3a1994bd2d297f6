//! The configuration of this process: the only place that reads the whole environment.

use crate::{
    config::{ConfigError, OperatorConfig, unknown},
    telemetry::TelemetryConfig,
};

/// The parsed environment and its problems.
#[derive(Debug)]
pub struct ProcessConfig {
    /// `ELPIO_*`.
    pub operator: OperatorConfig,
    /// `OTEL_*`.
    pub telemetry: TelemetryConfig,
    /// Problems that do not end the program.
    pub warnings: Vec<String>,
}

impl ProcessConfig {
    /// Reads the environment.
    ///
    /// # Errors
    /// If a variable ends the program.
    pub fn from_process_env() -> Result<Self, ConfigError> {
        let get = |name: &str| std::env::var(name).ok();
        let mut warnings = unknown(std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        }))?;
        let (operator, more) = OperatorConfig::from_env(&get)?;
        warnings.extend(more);
        let (telemetry, more) = TelemetryConfig::from_env(&get);
        warnings.extend(more);
        Ok(Self { operator, telemetry, warnings })
    }
}
