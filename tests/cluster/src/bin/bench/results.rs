//! The numbers, and the table that shows them. Measures nothing.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    requests::{Counts, Phase},
    sightings::Times,
};

pub struct Results {
    services: usize,
    title: String,
    times: Vec<(String, Vec<Duration>)>,
    phases: Vec<(&'static str, Phase)>,
    idle: Option<(Duration, Phase)>,
    pub rss_start: u64,
    pub rss: u64,
    pub rss_peak: u64,
}

impl Results {
    pub fn new(services: usize, workers: usize, push: bool, dev: bool) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let title = format!(
            "{services} ElpioServices at once, engine Knative, {workers} workers, {cores} cores, {} build, {}",
            if dev { "development" } else { "release" },
            if push { "pull endpoint and OTLP push" } else { "pull endpoint" }
        );
        Self {
            services,
            title,
            times: Vec::new(),
            phases: Vec::new(),
            idle: None,
            rss_start: 0,
            rss: 0,
            rss_peak: 0,
        }
    }

    /// How long each took from `start` to `end`.
    pub fn time(&mut self, what: &str, start: &Times, end: &Times) {
        let mut all: Vec<Duration> = end
            .iter()
            .filter_map(|(name, end)| Some(end.saturating_duration_since(*start.get(name)?)))
            .collect();
        all.sort_unstable();
        self.times.push((what.to_owned(), all));
    }

    pub fn phase(&mut self, name: &'static str, phase: Phase) {
        self.phases.push((name, phase));
    }

    pub fn idle(&mut self, time: Duration, phase: Phase) {
        self.idle = Some((time, phase));
    }

    pub fn print(&self) {
        println!("\n{}\n", self.title);
        println!("{:<34} {:>9} {:>9} {:>9}", "time", "p50", "p99", "max");
        for (what, all) in &self.times {
            println!("{what:<34} {:>9} {:>9} {:>9}", ms(at(all, 50)), ms(at(all, 99)), ms(at(all, 100)));
        }
        self.print_requests();
        self.print_audit();
        println!("\nCPU for each service");
        for (name, phase) in &self.phases {
            println!("  {name:<32} {:>6.2} ms", phase.cpu.as_secs_f64() * 1e3 / self.per());
        }
        println!(
            "\nmemory: {} at rest, {} at most, {} before",
            mib(self.rss),
            mib(self.rss_peak),
            mib(self.rss_start)
        );
        if let Some((time, phase)) = &self.idle {
            let requests: u64 = phase.requests.values().sum();
            println!("idle for {} s: {requests} requests, {} ms CPU", time.as_secs(), phase.cpu.as_millis());
            for ((method, template), count) in &phase.requests {
                println!("  {count:>6} {method} {template}");
            }
        }
    }

    fn print_requests(&self) {
        let mut keys: Vec<&(String, String)> =
            self.phases.iter().flat_map(|(_, phase)| phase.requests.keys()).collect();
        keys.sort();
        keys.dedup();
        let names: Vec<String> = self.phases.iter().map(|(name, _)| format!("{name:>8}")).collect();
        println!("\n{:<92} {}", "API requests for each service", names.join(" "));
        for key in keys {
            println!(
                "  {:<90} {}",
                format!("{} {}", key.0, key.1),
                self.row(|counts| counts.get(key).copied().unwrap_or(0))
            );
        }
        println!("  {:<90} {}", "all", self.row(|counts| counts.values().sum()));
    }

    fn row(&self, count: impl Fn(&Counts) -> u64) -> String {
        let cells: Vec<String> = self
            .phases
            .iter()
            .map(|(_, phase)| format!("{:>8.2}", precise(count(&phase.requests)) / self.per()))
            .collect();
        cells.join(" ")
    }

    /// Whether the audit log counts the same writes as the operator does.
    fn print_audit(&self) {
        for (name, phase) in &self.phases {
            let Some(audit) = &phase.audit else { continue };
            let mut own: BTreeMap<&str, u64> = BTreeMap::new();
            for ((method, _), count) in &phase.requests {
                *own.entry(method.as_str()).or_default() += count;
            }
            let writes = |counts: &BTreeMap<&str, u64>| -> BTreeMap<String, u64> {
                counts
                    .iter()
                    .filter(|(method, _)| **method != "GET")
                    .map(|(method, count)| ((*method).to_owned(), *count))
                    .collect()
            };
            let (own, audit) =
                (writes(&own), writes(&audit.iter().map(|(method, count)| (*method, *count)).collect()));
            if own == audit {
                println!("  the audit log agrees on {name}: {audit:?}");
            } else {
                println!("  THE AUDIT LOG DIFFERS on {name}: it has {audit:?}, the operator {own:?}");
            }
        }
    }

    fn per(&self) -> f64 {
        precise(self.services as u64)
    }
}

/// Nearest rank.
fn at(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

fn ms(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", precise(bytes) / f64::from(1 << 20))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn precise(count: u64) -> f64 {
    count as f64
}
