//! `--compare`: the same load for a bare client, for a peer in Go and for Elpio's operator, one after the other,
//! each on a control plane of its own. What is printed first is ratios: they hold on other machines too.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use elpio_cluster::{Cluster, ClusterOptions, FakeEngineOptions, FakeEngines};

use crate::{
    USER,
    contender::{Contender, Running},
    crds,
    load::{self, Load},
    observations::{Observation, Observations, Times},
    results::nearest_rank,
};

/// Services that are created one after the other.
const ALONE: usize = 30;
/// A contender that has written nothing for so long has settled.
const QUIET: Duration = Duration::from_secs(2);
/// How often a settled restart is timed.
const RESTARTS: usize = 5;
const TIMEOUT: Duration = Duration::from_mins(10);

/// What one contender was measured at.
#[derive(Default)]
pub struct Measured {
    /// Sorted durations, by what they are of.
    pub times: Vec<(&'static str, Vec<Duration>)>,
    /// Single numbers with their unit, by what they are of.
    pub numbers: Vec<(&'static str, f64, &'static str)>,
    /// Requests for each service by phase and kind.
    pub requests: BTreeMap<(&'static str, String), f64>,
}

impl Measured {
    /// The durations of several rounds together, and the means of their numbers.
    pub fn pool(rounds: Vec<Self>) -> Self {
        let count = to_f64(rounds.len() as u64);
        let mut rounds = rounds.into_iter();
        let mut all = rounds.next().unwrap_or_default();
        for round in rounds {
            all.times.iter_mut().zip(round.times).for_each(|(all, more)| all.1.extend(more.1));
            all.numbers.iter_mut().zip(round.numbers).for_each(|(sum, more)| sum.1 += more.1);
            for (what, more) in round.requests {
                *all.requests.entry(what).or_default() += more;
            }
        }
        all.times.iter_mut().for_each(|(_, times)| times.sort_unstable());
        all.numbers.iter_mut().for_each(|(_, sum, _)| *sum /= count);
        all.requests.values_mut().for_each(|sum| *sum /= count);
        all
    }
}

/// Measures one contender with so many services.
pub async fn measure(who: Contender, services: usize, workers: usize, binary: &Path) -> Measured {
    let cluster =
        Cluster::start(ClusterOptions { crds: crds(), audit: true, ..ClusterOptions::default() }).await;
    let client = cluster.client().await;
    load::bind_cluster_admin(&client, USER).await;
    let namespace = cluster.namespace("bench").await;
    let engine = FakeEngines::start(
        client.clone(),
        FakeEngineOptions { namespace: Some(namespace.clone()), ..FakeEngineOptions::default() },
    );
    engine.hold();
    let observations = Observations::start(&client, &namespace).await;
    let load = Load { client, namespace, services };
    let (running, _) = Running::start(who, &cluster, binary, workers).await;
    let mut run = Run {
        cluster: &cluster,
        measured: Measured::default(),
        services,
        offset: cluster.audit_offset(),
        cpu: running.cpu(),
    };
    run.phases(who, &running, &load, &observations, &engine).await;
    if who != Contender::Floor {
        run.rest(&running).await;
        running.stop().await;
        run.restart(who, binary, workers).await;
    }
    run.measured
}

struct Run<'a> {
    cluster: &'a Cluster,
    measured: Measured,
    services: usize,
    offset: u64,
    cpu: Option<Duration>,
}

impl Run<'_> {
    async fn phases(
        &mut self,
        who: Contender,
        running: &Running,
        load: &Load,
        seen: &Observations,
        engine: &FakeEngines,
    ) {
        let (name, all) = (who.name(), self.services + ALONE);
        eprintln!("{name}: {ALONE} services, one after another …");
        let (mut sent, mut child) = (Times::new(), Times::new());
        for number in 0..ALONE {
            let name = format!("alone-{number}");
            sent.insert(name.clone(), load.create_one(&name).await);
            child.insert(name.clone(), seen.wait_for(Observation::Child, &name).await);
            self.settle(Duration::from_millis(100)).await;
        }
        self.add_times("alone: create → child", &sent, &child);
        self.end_phase(None, running).await;

        eprintln!("{name}: creating {} services …", self.services);
        let (sent, _) = load.create().await;
        self.add_times("create → child", &sent, &seen.wait_for_all(Observation::Child, all).await);
        if who != Contender::Floor {
            let observed = seen.wait_for_all(Observation::Observed(1), all).await;
            self.add_times("create → status observed", &sent, &observed);
        }
        self.end_phase(Some("create"), running).await;

        if who != Contender::Floor {
            eprintln!("{name}: marking their children ready …");
            engine.release();
            let ready = seen.wait_for_all(Observation::Ready(1), all).await;
            let child_ready = seen.wait_for_all(Observation::ChildReady(1), all).await;
            self.add_times("child ready → Ready", &child_ready, &ready);
            self.end_phase(Some("ready"), running).await;
            engine.hold();
        }
        eprintln!("{name}: editing them …");
        let (sent, _) = load.edit().await;
        let edited = seen.wait_for_all(Observation::ChildEdited, self.services).await;
        self.add_times("edit → child", &sent, &edited);
        if who != Contender::Floor {
            let observed = seen.wait_for_all(Observation::Observed(2), self.services).await;
            self.add_times("edit → status observed", &sent, &observed);
        }
        self.end_phase(Some("edit"), running).await;
        if who != Contender::Floor {
            engine.release();
            seen.wait_for_all(Observation::Ready(2), self.services).await;
            self.end_phase(Some("again"), running).await;
        }
    }

    /// Memory once all is settled, and CPU while nothing happens.
    async fn rest(&mut self, running: &Running) {
        let (cpu, started) = (running.cpu(), Instant::now());
        tokio::time::sleep(Duration::from_secs(10)).await;
        let idle = running.cpu().zip(cpu).map(|(now, before)| now.saturating_sub(before));
        let share = idle.unwrap_or_default().as_secs_f64() / started.elapsed().as_secs_f64() * 1e3;
        self.number("idle CPU", share, "ms/s");
        if let Some((rest, peak)) = running.memory() {
            self.number("memory at rest", mebibytes(rest), "MiB");
            self.number("memory, peak", mebibytes(peak), "MiB");
        }
        if let Some((bytes, took)) = running.scrape().await {
            self.number("metrics page", to_f64(bytes as u64) / 1e3, "kB");
            self.number("metrics page, time", took.as_secs_f64() * 1e3, "ms");
        }
    }

    /// A start where nothing is to be done.
    async fn restart(&mut self, who: Contender, binary: &Path, workers: usize) {
        eprintln!("{}: restarting …", who.name());
        let mut times = Vec::new();
        for _ in 1..RESTARTS {
            self.settle(QUIET).await;
            let (running, ready) = Running::start(who, self.cluster, binary, workers).await;
            times.push(ready);
            self.settle(QUIET).await;
            running.stop().await;
        }
        self.settle(QUIET).await;
        self.offset = self.cluster.audit_offset();
        let (running, ready) = Running::start(who, self.cluster, binary, workers).await;
        times.push(ready);
        times.sort();
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        let all: Vec<_> = times.iter().map(|time| format!("{:.0}", milliseconds(*time))).collect();
        eprintln!("  ready after {} ms", all.join(", "));
        self.number("restart: ready, median", milliseconds(times[RESTARTS / 2]), "ms");
        self.number("restart: ready, slowest", milliseconds(times[RESTARTS - 1]), "ms");
        self.settle(QUIET * 2).await;
        let written = self.audit().writes().filter(|entry| entry.resource != "leases");
        eprintln!("  written after the restart: {}", written.len());
        self.number("restart: writes", to_f64(written.len() as u64), "");
        if let Some((rest, peak)) = running.memory() {
            self.number("restart: memory at rest", mebibytes(rest), "MiB");
            self.number("restart: memory, peak", mebibytes(peak), "MiB");
        }
        if let Some(cpu) = running.cpu() {
            self.number("restart: CPU", cpu.as_secs_f64() * 1e3, "ms");
        }
        // Every watch lists again.
        eprintln!("{}: restarting the API server …", who.name());
        self.cluster.restart_api_server(&[]).await;
        self.settle(QUIET * 5).await;
        if let Some((rest, peak)) = running.memory() {
            self.number("relist: memory at rest", mebibytes(rest), "MiB");
            self.number("relist: memory, peak", mebibytes(peak), "MiB");
        }
        running.stop().await;
    }

    /// Waits until it has sent nothing for so long.
    async fn settle(&self, quiet: Duration) {
        let (started, mut since, mut seen) = (Instant::now(), Instant::now(), self.cluster.audit_offset());
        while since.elapsed() < quiet && started.elapsed() < TIMEOUT {
            tokio::time::sleep(quiet / 10).await;
            let now = self.cluster.audit_offset();
            let news = self.cluster.audit_since(seen).user(USER);
            if !news.filter(|entry| entry.resource != "leases").is_empty() {
                since = Instant::now();
            }
            seen = now;
        }
    }

    /// Requests and CPU of what is over now.
    async fn end_phase(&mut self, name: Option<&'static str>, running: &Running) {
        self.settle(QUIET).await;
        let cpu = running.cpu();
        if let Some(name) = name {
            let services = to_f64(self.services as u64);
            for entry in self.audit().filter(|entry| entry.verb != "watch" && entry.resource != "leases").0 {
                let what = match entry.subresource.as_str() {
                    "" => format!("{} {}", entry.verb, entry.resource),
                    sub => format!("{} {}/{sub}", entry.verb, entry.resource),
                };
                *self.measured.requests.entry((name, what)).or_default() += 1.0 / services;
            }
            if let (Some(before), Some(now)) = (self.cpu, cpu) {
                let spent = now.saturating_sub(before).as_secs_f64() * 1e3 / services;
                let figure = match name {
                    "create" => "CPU, create",
                    "ready" => "CPU, ready",
                    "edit" => "CPU, edit",
                    _ => "CPU, ready again",
                };
                self.number(figure, spent, "ms each");
            }
        }
        (self.offset, self.cpu) = (self.cluster.audit_offset(), cpu);
    }

    fn audit(&self) -> elpio_cluster::Audit {
        self.cluster.audit_since(self.offset).user(USER)
    }

    fn add_times(&mut self, what: &'static str, start: &Times, end: &Times) {
        let took = |(name, end): (&String, &Instant)| Some(end.saturating_duration_since(*start.get(name)?));
        let mut all: Vec<Duration> = end.iter().filter_map(took).collect();
        all.sort_unstable();
        let [p50, p99] = [50, 99].map(|percent| nearest_rank(&all, percent).as_secs_f64() * 1e3);
        eprintln!("  {what}: p50 {p50:.1} ms, p99 {p99:.1} ms");
        self.measured.times.push((what, all));
    }

    fn number(&mut self, what: &'static str, value: f64, unit: &'static str) {
        self.measured.numbers.push((what, value, unit));
    }
}

pub fn mebibytes(bytes: u64) -> f64 {
    to_f64(bytes) / f64::from(1 << 20)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_pooled() {
        let round = |seconds: [u64; 2], number, requests| Measured {
            times: vec![("create", seconds.map(Duration::from_secs).to_vec())],
            numbers: vec![("memory", number, "MiB")],
            requests: [(("create", "patch services".to_owned()), requests)].into(),
        };
        let pooled = Measured::pool(vec![round([1, 4], 10.0, 1.0), round([2, 3], 30.0, 2.0)]);
        assert_eq!(pooled.times, [("create", [1, 2, 3, 4].map(Duration::from_secs).to_vec())]);
        assert_eq!(pooled.numbers, [("memory", 20.0, "MiB")]);
        assert_eq!(pooled.requests.into_values().collect::<Vec<_>>(), [1.5]);
    }
}
