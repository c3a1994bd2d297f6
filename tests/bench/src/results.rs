//! The results, and the tables that print them. It measures nothing.

use std::{collections::BTreeMap, time::Duration};

use comfy_table::{CellAlignment, Table, presets::NOTHING};

use crate::{
    observations::Times,
    requests::{Counts, Phase},
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
            if push { "metrics endpoint and OTLP push" } else { "metrics endpoint" }
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

    /// Adds the time of each service from `start` to `end`.
    pub fn add_times(&mut self, what: &str, start: &Times, end: &Times) {
        let mut all: Vec<Duration> = end
            .iter()
            .filter_map(|(name, end)| Some(end.saturating_duration_since(*start.get(name)?)))
            .collect();
        all.sort_unstable();
        self.times.push((what.to_owned(), all));
    }

    pub fn add_phase(&mut self, name: &'static str, phase: Phase) {
        self.phases.push((name, phase));
    }

    pub fn set_idle(&mut self, time: Duration, phase: Phase) {
        self.idle = Some((time, phase));
    }

    pub fn print(&self) {
        println!("\n{}\n", self.title);
        let mut times = table(&["time", "p50", "p99", "max"]);
        for (what, all) in &self.times {
            let millis = |percent| format!("{} ms", nearest_rank(all, percent).as_millis());
            times.add_row([what.clone(), millis(50), millis(99), millis(100)]);
        }
        println!("{times}\n\n{}", self.requests());
        self.print_audit();
        let mut cpu = table(&["CPU per service", ""]);
        for (name, phase) in &self.phases {
            let per_service = phase.cpu.as_secs_f64() * 1e3 / self.service_count();
            cpu.add_row([format!("  {name}"), format!("{per_service:.2} ms")]);
        }
        println!("\n{cpu}\n");
        println!(
            "memory: {} at rest, {} at peak, {} before the load",
            mebibytes(self.rss),
            mebibytes(self.rss_peak),
            mebibytes(self.rss_start)
        );
        if let Some((time, phase)) = &self.idle {
            let requests: u64 = phase.requests.values().sum();
            println!("idle for {} s: {requests} requests, {} ms CPU", time.as_secs(), phase.cpu.as_millis());
            for ((method, template), count) in &phase.requests {
                println!("  {count:>6} {method} {template}");
            }
        }
    }

    fn requests(&self) -> Table {
        let mut keys: Vec<&(String, String)> =
            self.phases.iter().flat_map(|(_, phase)| phase.requests.keys()).collect();
        keys.sort();
        keys.dedup();
        let names = self.phases.iter().map(|(name, _)| *name);
        let head: Vec<&str> = std::iter::once("API requests per service").chain(names).collect();
        let mut requests = table(&head);
        for key in keys {
            let count = |counts: &Counts| counts.get(key).copied().unwrap_or(0);
            requests.add_row(self.request_row(format!("  {} {}", key.0, key.1), count));
        }
        requests.add_row(self.request_row("  all".to_owned(), |counts| counts.values().sum()));
        requests
    }

    fn request_row(&self, name: String, count: impl Fn(&Counts) -> u64) -> Vec<String> {
        let per_service = |(_, phase): &(&str, Phase)| {
            format!("{:.2}", to_f64(count(&phase.requests)) / self.service_count())
        };
        std::iter::once(name).chain(self.phases.iter().map(per_service)).collect()
    }

    /// Compares the writes in the audit log with those that the operator counted.
    fn print_audit(&self) {
        for (name, phase) in &self.phases {
            let Some(audit) = &phase.audit else { continue };
            let mut operator: BTreeMap<&str, u64> = BTreeMap::new();
            for ((method, _), count) in &phase.requests {
                *operator.entry(method.as_str()).or_default() += count;
            }
            let writes = |counts: &BTreeMap<&str, u64>| -> BTreeMap<String, u64> {
                counts
                    .iter()
                    .filter(|(method, _)| **method != "GET")
                    .map(|(method, count)| ((*method).to_owned(), *count))
                    .collect()
            };
            let audit = writes(&audit.iter().map(|(method, count)| (*method, *count)).collect());
            let operator = writes(&operator);
            if operator == audit {
                println!("  the audit log agrees for {name}: {audit:?}");
            } else {
                println!("  THE AUDIT LOG DIFFERS for {name}: it has {audit:?}, the operator {operator:?}");
            }
        }
    }

    fn service_count(&self) -> f64 {
        to_f64(self.services as u64)
    }
}

/// A table without borders whose columns, except the first, are aligned right.
pub fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(head.to_vec());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// The nearest-rank percentile.
pub fn nearest_rank(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", to_f64(bytes) / f64::from(1 << 20))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn to_f64(count: u64) -> f64 {
    count as f64
}
