//! `cargo demo` as a user runs it: it shows what it promises, what it names can be opened, and Ctrl-C leaves
//! nothing behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test has to fail at once, and says what it saw"
)]

use std::{
    fs::{self, File},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use elpio_cluster::{dashboard, engines::Engine, eventually, page, process::Folder, samples};
use kube::{
    api::{Api, ListParams},
    config::{Config, KubeConfigOptions, Kubeconfig},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::sync::Mutex;

/// A machine without any binary builds them first.
const BUILT: Duration = Duration::from_mins(90);
/// What takes a second or two on a quiet machine.
const BOUND: Duration = Duration::from_mins(2);

/// One demo at a time: each has every engine.
static ONE: Mutex<()> = Mutex::const_new(());

/// A running demo with a temporary folder of its own.
struct Demo {
    child: Child,
    temporary: PathBuf,
    folder: Folder,
}

impl Demo {
    fn start() -> Self {
        let folder = Folder::new("demo-test");
        let temporary = folder.path().join("tmp");
        fs::create_dir(&temporary).unwrap();
        let output = File::create(folder.path().join("output")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_demo"))
            .arg("--keep")
            .env("TMPDIR", &temporary)
            .stdin(Stdio::null())
            .stderr(output.try_clone().unwrap())
            .stdout(output)
            .spawn()
            .unwrap();
        Self { child, temporary, folder }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("output")).unwrap()
    }

    async fn until(&mut self, sign: &str, bound: Duration) {
        eventually(&format!("the demo says {sign:?}"), bound, async || {
            let said = self.said();
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() || said.contains(sign), "it has ended ({ended:?})\n{said}");
            if said.contains(sign) { Ok(()) } else { Err(said) }
        })
        .await;
    }

    /// Ctrl-C, and the code that a shell sees.
    async fn interrupt(self, code: i32) {
        self.end(Signal::SIGINT, code).await;
    }

    async fn end(mut self, signal: Signal, code: i32) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
        let status = eventually("the demo ends", BOUND, async || {
            self.child.try_wait().unwrap().ok_or_else(|| self.said())
        })
        .await;
        let seen = status.code().or(status.signal().map(|signal| 128 + signal));
        assert_eq!(seen, Some(code), "{}", self.said());
        eventually("nothing of it is left", BOUND, async || {
            let files: Vec<_> =
                fs::read_dir(&self.temporary).unwrap().map(|entry| entry.unwrap().path()).collect();
            let processes = processes(&self.temporary);
            if files.is_empty() && processes.is_empty() {
                Ok(())
            } else {
                Err(format!("{files:?} {processes:?}"))
            }
        })
        .await;
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The programs with that temporary folder.
fn processes(temporary: &Path) -> Vec<String> {
    let variable = format!("TMPDIR={}", temporary.display());
    let of_it = |process: &PathBuf| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|found| found == variable.as_bytes())
    };
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path())).filter(of_it);
    all.map(|process| fs::read_to_string(process.join("cmdline")).unwrap_or_default().replace('\0', " "))
        .collect()
}

/// What stands behind a word that is there once: a port, a path.
fn behind<'a>(said: &'a str, before: &str) -> &'a str {
    let (_, rest) = said.rsplit_once(before).unwrap_or_else(|| panic!("no {before:?} in\n{said}"));
    rest.split(['/', '\n', ' ', '\'']).next().unwrap()
}

#[tokio::test]
async fn it_shows_what_it_promises_and_leaves_nothing() {
    let _one = ONE.lock().await;
    let mut demo = Demo::start();
    demo.until("It stays until Ctrl-C", BUILT).await;
    demo.until("/api/v1/alerts", BOUND).await;
    let said = demo.said();
    for engine in Engine::ALL {
        assert!(said.contains(&format!("Started {}", engine.name())), "{engine:?} runs\n{said}");
    }
    shows_the_objects(&said);
    for part in ["rollout ElpioFunction", "─ build greet-", "─ task build", "rollout ElpioService"] {
        assert!(said.contains(part), "the trace has {part:?}\n{said}");
    }
    assert!(
        said.contains("how Tekton works (") && !said.contains("how Tekton works (0 spans"),
        "Tekton's own spans\n{said}"
    );
    for panel in dashboard::all()
        .unwrap()
        .iter()
        .flat_map(|dashboard| &dashboard.panels)
        .filter(|panel| !panel.queries.is_empty())
    {
        let start: String = panel.title.chars().take(30).collect();
        assert!(said.contains(&start), "a line for the panel {start}\n{said}");
    }
    assert!(
        said.contains("firing   ElpioBuildsFailing") || said.contains("resolved ElpioBuildsFailing"),
        "{said}"
    );
    assert!(said.contains("s → trace "), "an exemplar\n{said}");
    can_be_opened(&said).await;
    // That is how it is meant to end.
    demo.interrupt(0).await;
}

/// Each sample is ready; what is to fail fails, with its reason.
fn shows_the_objects(said: &str) {
    let (_, table) = said.split_once("kubectl get elpioservices,elpiofunctions").expect("a table");
    let row = |kind: &str, name: &str| {
        let row = |line: &&str| line.split_whitespace().take(2).eq([kind, name]);
        table.lines().find(row).unwrap_or_else(|| panic!("no row for {kind} {name} in\n{table}")).to_owned()
    };
    let all = samples::read().unwrap();
    for (kind, short) in [("ElpioService", "esvc"), ("ElpioFunction", "efn")] {
        for name in samples::names(&all, kind) {
            assert!(row(short, &name).contains(" True "), "{}", row(short, &name));
        }
    }
    for (kind, name, reason) in
        [("efn", "greet-broken", "BuildFailed"), ("esvc", "greeter-broken", "RevisionFailed")]
    {
        assert!(
            row(kind, name).contains(" False ") && row(kind, name).contains(reason),
            "{}",
            row(kind, name)
        );
    }
}

/// From here, outside of its network.
async fn can_be_opened(said: &str) {
    for (before, path) in [
        ("metrics    curl http://127.0.0.1:", "/metrics"),
        ("health     curl http://127.0.0.1:", "/readyz"),
        ("Jaeger     curl http://127.0.0.1:", "/api/services"),
        ("Prometheus curl 'http://127.0.0.1:", "/-/ready"),
    ] {
        let port = behind(said, before).parse().unwrap();
        let answer = page::get(port, path, "*/*")
            .await
            .unwrap_or_else(|error| panic!("{before}{port}{path}: {error}"));
        assert_eq!(answer.status, 200, "{before}{port}{path}: {}", answer.body);
    }
    let kubeconfig = said.rsplit_once("export KUBECONFIG=").unwrap().1.lines().next().unwrap();
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("elpio.io", "v1alpha1", "ElpioService"));
    let services: Api<DynamicObject> =
        Api::default_namespaced_with(kube::Client::try_from(config).unwrap(), &resource);
    assert!(!services.list(&ListParams::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn it_can_be_ended_while_it_starts() {
    let _one = ONE.lock().await;
    // Where nothing listens yet, a signal does what it does by itself: and a shell lets its background jobs
    // ignore Ctrl-C.
    for (sign, signal, code) in [
        ("✓ programs", Signal::SIGTERM, 143),
        ("✓ control plane", Signal::SIGINT, 130),
        ("✓ operator ready", Signal::SIGINT, 130),
    ] {
        let mut demo = Demo::start();
        demo.until(sign, BUILT).await;
        demo.end(signal, code).await;
    }
}
