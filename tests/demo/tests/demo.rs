//! `cargo demo` as a user runs it: its output is complete, its addresses can be opened, and Ctrl-C ends every
//! process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs::{self, File},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use elpio_cluster::{
    Engine, dashboard, eventually,
    process::{TempDir, http},
    samples,
};
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

/// Missing components are built first.
const BUILD_TIMEOUT: Duration = Duration::from_mins(90);
/// It takes a second or two on an idle machine.
const TIMEOUT: Duration = Duration::from_mins(2);

/// One demo at a time, because each runs all engines.
static LOCK: Mutex<()> = Mutex::const_new(());

/// A running demo with a temporary directory of its own.
struct Demo {
    child: Child,
    temporary: PathBuf,
    dir: TempDir,
}

impl Demo {
    fn start() -> Self {
        let dir = TempDir::new("demo-test");
        let temporary = dir.path().join("tmp");
        fs::create_dir(&temporary).unwrap();
        let file = File::create(dir.path().join("output")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_elpio-demo"))
            .arg("--keep")
            .env("TMPDIR", &temporary)
            .stdin(Stdio::null())
            .stderr(file.try_clone().unwrap())
            .stdout(file)
            .spawn()
            .unwrap();
        Self { child, temporary, dir }
    }

    fn output(&self) -> String {
        fs::read_to_string(self.dir.path().join("output")).unwrap()
    }

    async fn wait_for_output(&mut self, text: &str, timeout: Duration) {
        eventually(&format!("the demo prints {text:?}"), timeout, async || {
            let output = self.output();
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() || output.contains(text), "the demo has ended ({ended:?})\n{output}");
            if output.contains(text) { Ok(()) } else { Err(output) }
        })
        .await;
    }

    /// Sends SIGINT, and checks the exit code that a shell sees.
    async fn interrupt(self, code: i32) {
        self.end(Signal::SIGINT, code).await;
    }

    async fn end(mut self, signal: Signal, code: i32) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
        let status = eventually("the demo ends", TIMEOUT, async || {
            self.child.try_wait().unwrap().ok_or_else(|| self.output())
        })
        .await;
        let seen = status.code().or(status.signal().map(|signal| 128 + signal));
        assert_eq!(seen, Some(code), "{}", self.output());
        eventually("its processes have ended and its files are removed", TIMEOUT, async || {
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

/// The programs with that temporary directory.
fn processes(temporary: &Path) -> Vec<String> {
    let variable = format!("TMPDIR={}", temporary.display());
    let belongs_to_it = |process: &PathBuf| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|found| found == variable.as_bytes())
    };
    let all =
        fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path())).filter(belongs_to_it);
    all.map(|process| fs::read_to_string(process.join("cmdline")).unwrap_or_default().replace('\0', " "))
        .collect()
}

/// The word after the last occurrence of `before`, such as a port.
fn word_after<'a>(output: &'a str, before: &str) -> &'a str {
    let (_, rest) = output.rsplit_once(before).unwrap_or_else(|| panic!("no {before:?} in\n{output}"));
    rest.split(['/', '\n', ' ', '\'']).next().unwrap()
}

#[tokio::test]
async fn the_output_is_complete_and_nothing_is_left_behind() {
    let _lock = LOCK.lock().await;
    let mut demo = Demo::start();
    demo.wait_for_output("Everything keeps running until Ctrl-C", BUILD_TIMEOUT).await;
    demo.wait_for_output("/api/v1/alerts", TIMEOUT).await;
    let output = demo.output();
    for engine in Engine::ALL {
        assert!(output.contains(&format!("Started {}", engine.name())), "{engine:?} runs\n{output}");
    }
    check_table(&output);
    for part in ["rollout ElpioFunction", "─ BUILD greet-", "─ task build", "rollout ElpioService"] {
        assert!(output.contains(part), "the trace has {part:?}\n{output}");
    }
    assert!(
        output.contains("Tekton's internals (") && !output.contains("Tekton's internals (0 spans"),
        "Tekton's spans\n{output}"
    );
    for panel in dashboard::all()
        .unwrap()
        .iter()
        .flat_map(|dashboard| &dashboard.panels)
        .filter(|panel| !panel.queries.is_empty())
    {
        let start: String = panel.title.chars().take(30).collect();
        assert!(output.contains(&start), "a line for the panel {start}\n{output}");
    }
    assert!(output.contains("rules fires: one build that fails is its author's to mend"), "{output}");
    assert!(output.contains("s → trace "), "an exemplar\n{output}");
    check_addresses(&output).await;
    // Ctrl-C is the regular end of --keep.
    demo.interrupt(0).await;
}

/// Checks the table: the samples are ready, and the other objects have failed with their reasons.
fn check_table(output: &str) {
    let (_, table) = output.split_once("kubectl get elpioservices,elpiofunctions").expect("a table");
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

/// Checks that the addresses can be opened from outside the network namespace.
async fn check_addresses(output: &str) {
    for (before, path) in [
        ("openmetrics-text' http://127.0.0.1:", "/metrics"),
        ("health     curl http://127.0.0.1:", "/readyz"),
        ("Jaeger     curl http://127.0.0.1:", "/api/services"),
        ("Prometheus curl 'http://127.0.0.1:", "/-/ready"),
    ] {
        let port = word_after(output, before).parse().unwrap();
        let answer = http::get(port, path, "*/*")
            .await
            .unwrap_or_else(|error| panic!("{before}{port}{path}: {error}"));
        assert_eq!(answer.status, 200, "{before}{port}{path}: {}", answer.body);
    }
    let kubeconfig = output.rsplit_once("export KUBECONFIG=").unwrap().1.lines().next().unwrap();
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("elpio.io", "v1alpha1", "ElpioService"));
    let services: Api<DynamicObject> =
        Api::default_namespaced_with(kube::Client::try_from(config).unwrap(), &resource);
    assert!(!services.list(&ListParams::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_signal_ends_it_while_it_starts() {
    let _lock = LOCK.lock().await;
    // Before the demo handles signals, they have their default effect; a shell makes background jobs ignore
    // SIGINT.
    for (text, signal, code) in [
        ("✓ components", Signal::SIGTERM, 143),
        ("✓ control plane", Signal::SIGINT, 130),
        ("✓ operator ready", Signal::SIGINT, 130),
    ] {
        let mut demo = Demo::start();
        demo.wait_for_output(text, BUILD_TIMEOUT).await;
        demo.end(signal, code).await;
    }
}
