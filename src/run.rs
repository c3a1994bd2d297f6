//! The composition root: telemetry → ports → client → caches → lease → controllers → drain → flush. It joins parts and decides nothing else.

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use jiff::SignedDuration;
use kube::Client;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

use crate::{
    cluster::{
        apply::Applier,
        children::{Children, OnChange, OnTurn},
        client,
        discovery::{self, Served},
        events::Recorder,
        lease::Candidate,
        watch::{State, Watch},
    },
    config::Config,
    controller::{Controller, census, kind::Kind, pipeline::Pipeline, rollout::Rollouts, service::Service},
    http::{self, Purpose},
    identity,
    render::Defaults,
    telemetry::{self, LogFormat, LogSettings, Metrics, ResourceCounts, Settings, Telemetry, Trigger},
};

/// The version, as `--version` says it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `/version`.
const VERSION_PAGE: &str = concat!(
    "{\"version\":\"",
    env!("CARGO_PKG_VERSION"),
    "\",\"revision\":\"",
    env!("ELPIO_REVISION"),
    "\",\"rustc\":\"",
    env!("ELPIO_RUSTC"),
    "\"}\n"
);

/// What runs may take to finish at SIGTERM: longer than one call, well within a pod's 30 s.
const DRAIN: Duration = Duration::from_secs(13);
/// What the last Events and giving back the Lease may take.
const FAREWELL: Duration = Duration::from_secs(3);
/// What flushing telemetry may take.
const FLUSH: Duration = Duration::from_secs(5);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs the operator until it is told to stop. Every fault at start is said on stderr.
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

fn start() -> Result<ExitCode, Failure> {
    let env = |name: &str| std::env::var(name).ok();
    let (config, mut warnings) = Config::from_env(&env)?;
    let (settings, more) = Settings::from_env(&env);
    warnings.extend(more);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(operate(config, settings, warnings));
    // A thread that still waits for a dead collector must not keep the process.
    runtime.shutdown_background();
    code
}

async fn operate(config: Config, settings: Settings, warnings: Vec<String>) -> Result<ExitCode, Failure> {
    let mut signals = Signals::new()?;
    let kube_config = client::config().await?;
    let place = identity::of(&kube_config);
    let visible = config.metrics || settings.pushes();
    let identity = place.telemetry(if visible { identity::cluster_uid(&kube_config).await } else { None });
    // Ports first: one that is taken ends the program before anything was touched.
    let page_listener =
        if config.metrics { Some(http::bind(config.metrics_addr, config.metrics_port, Purpose::Metrics).await?) } else { None };
    let health_listener = match config.health_port {
        0 => None,
        port => Some(http::bind(None, port, Purpose::Health).await?),
    };
    let telemetry = telemetry::init(settings, identity, log_settings(&config), config.metrics)?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let client = client::client(kube_config, &telemetry.metrics())?;
    let parts = Parts::new(&config, client, &telemetry);
    let (stop, stopping) = watch::channel(false);
    if let (Some(listener), Some(page)) = (page_listener, telemetry.page()) {
        tracing::info!(address = %listener.local_addr()?, "serving /metrics");
        tokio::spawn(http::metrics(listener, page, stopping.clone()));
    }
    if let Some(listener) = health_listener {
        tokio::spawn(http::health(listener, parts.readiness(stopping.clone()), VERSION_PAGE, stopping.clone()));
    }
    tracing::info!(version = VERSION, engine = config.engine.as_str(), namespaces = ?config.namespaces, "starting");
    let operator = tokio::spawn(parts.run(config, place, stopping));
    signals.first().await;
    tracing::info!("stopping: finishing what runs");
    stop.send_replace(true);
    let end = async {
        let _ = operator.await;
        telemetry.shutdown(FLUSH).await
    };
    tokio::select! {
        lost = end => {
            for what in &lost {
                let _ = writeln!(std::io::stderr(), "elpio-operator: {what}");
            }
            Ok(ExitCode::SUCCESS)
        }
        () = signals.first() => Ok(ExitCode::FAILURE),
    }
}

fn log_settings(config: &Config) -> LogSettings {
    let terminal = std::io::stderr().is_terminal();
    let format = if config.log_json.unwrap_or(!terminal) { LogFormat::Json } else { LogFormat::Pretty };
    LogSettings { filter: config.log_filter.clone(), format, ansi: terminal }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next of either.
    async fn first(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The parts, joined.
struct Parts {
    client: Client,
    children: Arc<Children>,
    service: Controller<Service>,
    pipeline: Arc<Pipeline<Service>>,
    recorder: Recorder,
    metrics: Metrics,
    served: watch::Sender<Served>,
    followed: watch::Sender<bool>,
    leading: watch::Sender<bool>,
    synced: watch::Sender<bool>,
}

impl Parts {
    fn new(config: &Config, client: Client, telemetry: &Telemetry) -> Self {
        let (metrics, traces) = (telemetry.metrics(), telemetry.traces());
        let (leading, leads) = watch::channel(false);
        let children = Arc::new(Children::new(client.clone(), Service::CHILDREN, &config.namespaces, metrics.clone()));
        let rollouts = Rollouts { traces: traces.clone(), metrics: metrics.clone() };
        let service = Controller::<Service>::new(rollouts, leads);
        let recorder = Recorder::new(client.clone(), &identity::instance(), metrics.clone(), traces);
        let pipeline = Arc::new(Pipeline {
            client: client.clone(),
            store: service.store.clone(),
            children: children.clone(),
            applier: Applier { client: client.clone(), children: children.clone() },
            recorder: recorder.clone(),
            defaults: defaults(config),
            rollout_deadline: SignedDuration::try_from(config.rollout_deadline).unwrap_or(SignedDuration::from_mins(10)),
        });
        Self {
            client,
            children,
            service,
            pipeline,
            recorder,
            metrics,
            served: watch::channel(Served::new()).0,
            followed: watch::channel(false).0,
            leading,
            synced: watch::channel(false).0,
        }
    }

    fn readiness(&self, stopping: watch::Receiver<bool>) -> http::Readiness {
        let synced = self.synced.subscribe();
        Arc::new(move || match (*stopping.borrow(), *synced.borrow()) {
            (true, _) => Err("stopping".to_owned()),
            (false, false) => Err("waiting for the first lists of all watches".to_owned()),
            (false, true) => Ok(()),
        })
    }

    /// Runs until `stopping`, and then to the end of what was begun.
    async fn run(self, config: Config, place: identity::Place, mut stopping: watch::Receiver<bool>) {
        self.show();
        let own = self.service.watch(&self.client, &config.namespaces);
        let mut background = JoinSet::new();
        background.spawn(discovery::keep(self.client.clone(), Service::CHILDREN.to_vec(), self.served.clone(), self.metrics.clone()));
        background.spawn(follow(self.children.clone(), self.service.clone(), self.served.subscribe(), self.followed.clone()));
        let recorder = self.recorder.clone();
        background.spawn(async move { recorder.keep().await });
        tokio::select! {
            () = self.sync(&own) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        self.synced.send_replace(true);
        tracing::info!("ready: every watch has synced");
        let (resign, resigning) = watch::channel(false);
        background.spawn(take_over(self.service.clone(), self.leading.subscribe()));
        let leading = tokio::spawn(lead(self.client.clone(), config.leader_elect, place, self.leading.clone(), resigning));
        let working = tokio::spawn(self.service.clone().work(self.pipeline.clone(), config.concurrency, stopping.clone()));
        let _ = stopping.wait_for(|stop| *stop).await;
        if tokio::time::timeout(DRAIN, working).await.is_err() {
            tracing::warn!("{} reconciles did not finish within {} s", self.service.queue.running(), DRAIN.as_secs());
        }
        if tokio::time::timeout(FAREWELL, self.recorder.flush()).await.is_err() {
            tracing::warn!("the last counts of Events could not be told in time");
        }
        resign.send_replace(true);
        let _ = tokio::time::timeout(FAREWELL, leading).await;
    }

    /// Waits for the first lists: of our own kinds, and of what is served and permitted.
    async fn sync(&self, own: &[Watch]) {
        for watch in own {
            while watch.state() != State::Synced {
                if watch.state() == State::Absent {
                    tracing::warn!("the CustomResourceDefinition of {} is not installed: apply deploy/crds", Service::KIND.as_str());
                }
                watch.turned().await;
            }
        }
        let _ = self.followed.subscribe().wait_for(|followed| *followed).await;
    }

    /// Lets the state gauges read the caches, while we lead.
    fn show(&self) {
        let (service, leading) = (self.service.clone(), self.leading.subscribe());
        self.metrics.resources(move || {
            let by_state = leading.borrow().then(|| census::states::<Service>(&service.store))?;
            let services_ready = by_state.iter().filter(|(_, ready, ..)| *ready == "true").map(|(.., count)| count).sum();
            Some(ResourceCounts { services_ready, by_state, unsettled_age: vec![(Service::KIND, service.unsettled.age())] })
        });
        let leading = self.leading.subscribe();
        self.metrics.leader(move || *leading.borrow());
    }
}

/// Watches the children of what is served, and looks at every object when that changes.
async fn follow(children: Arc<Children>, service: Controller<Service>, mut served: watch::Receiver<Served>, followed: watch::Sender<bool>) {
    let on_change: OnChange = Arc::new({
        let service = service.clone();
        move |_, change| service.child_changed(change)
    });
    let on_turn: OnTurn = Arc::new({
        let service = service.clone();
        move || service.look_at_all(Some(Trigger::Dependency))
    });
    while served.changed().await.is_ok() {
        let now = served.borrow_and_update().clone();
        children.follow(&now, &on_change, &on_turn).await;
        // The first time, everything is looked at when we begin to lead.
        if followed.send_replace(true) {
            on_turn();
        }
    }
}

/// Takes up the work whenever we begin to lead.
async fn take_over(service: Controller<Service>, mut leading: watch::Receiver<bool>) {
    while leading.wait_for(|leads| *leads).await.is_ok() {
        service.take_over();
        if leading.wait_for(|leads| !*leads).await.is_err() {
            return;
        }
    }
}

/// Leads while the Lease is ours, or at once where there is no election, until told to resign.
async fn lead(
    client: Client,
    elect: Option<bool>,
    place: identity::Place,
    leading: watch::Sender<bool>,
    mut resigning: watch::Receiver<bool>,
) {
    if elect.unwrap_or(place.in_cluster) {
        Candidate::new(client, &place.namespace, place.candidate()).run(leading, resigning).await;
    } else {
        leading.send_replace(true);
        let _ = resigning.wait_for(|resign| *resign).await;
    }
}

fn defaults(config: &Config) -> Defaults {
    Defaults {
        engine: config.engine,
        cluster_issuer: config.cluster_issuer.clone(),
        fetch_image: config.fetch_image.clone(),
        keda_interceptor: config.keda_interceptor.clone(),
        ..Defaults::default()
    }
}
