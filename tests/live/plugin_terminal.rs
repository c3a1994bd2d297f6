//! `kubectl elpio` as somebody watches it: on a terminal, whose driver turns Ctrl-C into a signal, and over an
//! API server that fails for a while.

use std::{
    fs::File,
    io::{Read, Write},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use elpio_cluster::eventually;
use nix::pty::openpty;
use parking_lot::Mutex;
use serde_json::json;

use crate::{
    fault_proxy::{Fault, FaultProxy},
    live_env::{LiveEnv, image},
    plugin::{plugin, run},
};

const TIMEOUT: Duration = Duration::from_mins(1);
const CLEAR: &str = "\x1b[H\x1b[2J";

/// The plugin with what it wrote so far; killed on drop.
struct Watched {
    child: Child,
    /// What types into its terminal.
    keyboard: Option<File>,
    written: Arc<Mutex<Vec<u8>>>,
    errors: Arc<Mutex<Vec<u8>>>,
}

fn collect(mut from: impl Read + Send + 'static) -> Arc<Mutex<Vec<u8>>> {
    let all: Arc<Mutex<Vec<u8>>> = Arc::default();
    let into = Arc::clone(&all);
    std::thread::spawn(move || {
        let mut part = [0; 4096];
        // A terminal that nobody has open any more ends with an error.
        while let Ok(count @ 1..) = from.read(&mut part) {
            into.lock().extend_from_slice(&part[..count]);
        }
    });
    all
}

impl Watched {
    /// In a session of its own, whose terminal is a new one.
    fn on_terminal(kubeconfig: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let pty = openpty(None, None).unwrap();
        let side = || Stdio::from(pty.slave.try_clone().unwrap());
        // A shell starts what runs in the background with SIGINT ignored, and that is inherited.
        let mut command = Command::new("env");
        command.args(["--default-signal=INT", "setsid", "--ctty", "--wait"]).arg(plugin()).args(arguments);
        command.env_clear().env("KUBECONFIG", kubeconfig).env("PATH", std::env::var_os("PATH").unwrap());
        command.envs(environment.iter().copied()).stdin(side()).stdout(side()).stderr(side());
        let child = command.spawn().unwrap();
        let master = File::from(pty.master);
        let keyboard = Some(master.try_clone().unwrap());
        Self { child, keyboard, written: collect(master), errors: Arc::default() }
    }

    fn on_pipes(kubeconfig: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(plugin());
        command.args(arguments).env_clear().env("KUBECONFIG", kubeconfig);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (written, errors) =
            (collect(child.stdout.take().unwrap()), collect(child.stderr.take().unwrap()));
        Self { child, keyboard: None, written, errors }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.written.lock()).into_owned()
    }

    fn errors(&self) -> String {
        String::from_utf8_lossy(&self.errors.lock()).into_owned()
    }

    async fn shows(&self, part: &str) {
        eventually(&format!("it shows {part:?}"), TIMEOUT, async || {
            let text = self.text();
            if text.contains(part) { Ok(()) } else { Err(format!("{text:?} {}", self.errors())) }
        })
        .await;
    }

    async fn complains(&self, part: &str) {
        eventually(&format!("it complains of {part:?}"), TIMEOUT, async || {
            let errors = self.errors();
            if errors.contains(part) { Ok(()) } else { Err(errors) }
        })
        .await;
    }

    async fn ended(&mut self) -> ExitStatus {
        eventually("it ends", TIMEOUT, async || self.child.try_wait().unwrap().ok_or("it runs")).await
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_gets_colours_is_redrawn_and_ends_with_the_rollout_or_ctrl_c() {
    let env = LiveEnv::new("plugin-terminal").await;
    let kubeconfig = env.cluster.kubeconfig();
    let here = ["-n", env.namespace.as_str()];
    env.engine.hold();
    env.apply("web", &image("v1")).await;
    env.condition("web", "Ready", "False", "Progressing").await;

    let trace = [&["trace", "web", "--watch"], &here[..]].concat();
    let mut terminal = Watched::on_terminal(&kubeconfig, &trace, &[]);
    let mut plain = Watched::on_terminal(&kubeconfig, &trace, &[("NO_COLOR", "1")]);
    let status = [&["status", "--watch"], &here[..]].concat();
    let mut following = Watched::on_terminal(&kubeconfig, &status, &[]);
    terminal.shows("\x1b[33mRunning for").await;
    plain.shows("Running for").await;
    following.shows("\x1b[33mFalse\x1b[0m").await;
    assert!(terminal.text().starts_with(CLEAR), "{:?}", terminal.text());

    env.engine.release();
    env.ready("web").await;
    assert!(terminal.ended().await.success(), "{}", terminal.text());
    assert!(plain.ended().await.success(), "{}", plain.text());
    terminal.shows("\x1b[32mReady after").await;
    let text = terminal.text();
    let views: Vec<&str> = text.split(CLEAR).skip(1).collect();
    assert!(views.len() >= 2, "it is redrawn: {text:?}");
    assert!(views.iter().all(|view| view.contains("ElpioService ")), "each view is whole: {text:?}");
    assert!(!text.contains("\x1b[3J"), "what was scrolled away stays: {text:?}");
    let text = plain.text();
    assert!(text.contains(CLEAR) && !text.replace(CLEAR, "").contains('\x1b'), "{text:?}");

    following.shows("\x1b[32mTrue\x1b[0m").await;
    assert!(following.child.try_wait().unwrap().is_none(), "a list is never over");
    following.keyboard.as_mut().unwrap().write_all(b"\x03").unwrap();
    let ended = following.ended().await;
    assert_eq!(ended.signal(), Some(nix::libc::SIGINT), "{ended:?} {:?}", following.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tries_again_after_a_read_that_fails() {
    let env = LiveEnv::new("plugin-again").await;
    let proxy = FaultProxy::start(&env.cluster.kubeconfig(), None).await;
    let here = ["-n", env.namespace.as_str()];
    env.engine.hold();
    env.apply("web", &image("v1")).await;
    env.condition("web", "Ready", "False", "Progressing").await;
    let trace = [&["trace", "service/web", "--watch"], &here[..]].concat();
    let mut watched = Watched::on_pipes(proxy.kubeconfig(), &trace);
    watched.shows("Running for").await;

    for (code, message) in [(503, "the server is overloaded"), (429, "too many requests")] {
        proxy.set(move |parts| {
            let is_object = parts.uri.path().ends_with("/elpioservices/web");
            is_object.then(|| refused(code, message))
        });
        watched.complains(&format!("{message}; retrying")).await;
    }
    proxy.set(|_| None);
    env.engine.release();
    env.ready("web").await;
    assert!(watched.ended().await.success(), "{} {}", watched.text(), watched.errors());
    watched.shows("Ready after").await;
    let errors = watched.errors();
    println!("{errors}");
    assert!(errors.lines().all(|line| line.starts_with("kubectl elpio: failed to get")), "{errors}");
    let again = errors.matches("overloaded").count();
    assert_eq!(again, 1, "one failure is one line, however often it is tried: {errors}");

    // What is gone does not come back.
    let events = [&["events", "service/web", "--watch"], &here[..]].concat();
    let mut watched = Watched::on_pipes(proxy.kubeconfig(), &events);
    watched.shows("Reconciled").await;
    env.services().delete("web", &kube::api::DeleteParams::default()).await.unwrap();
    let ended = watched.ended().await;
    assert_eq!(ended.code(), Some(1), "{}", watched.errors());
    watched.complains("there is no ElpioService web").await;
    assert_eq!(watched.errors().lines().count(), 1, "{}", watched.errors());
}

fn refused(code: u16, message: &str) -> Fault {
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code});
    let answer = axum::response::Response::builder().status(code).header("content-type", "application/json");
    Fault::Answer(answer.body(status.to_string().into()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_answers_is_not_unreachable() {
    let cluster = elpio_cluster::Cluster::shared().await;
    let namespace = cluster.namespace("plugin-version").await;
    let proxy = FaultProxy::start(&cluster.kubeconfig(), None).await;
    let answer_version = |code, message: &'static str| {
        proxy.set(move |parts| (parts.uri.path() == "/version").then(|| refused(code, message)));
    };
    // The version is for administrators alone: nothing that `status` shows depends on it.
    answer_version(403, "forbidden: User \"x\" cannot get path \"/version\"");
    let output = run(proxy.kubeconfig(), &["status", "-n", &namespace]).await;
    assert!(output.status.success(), "{output:?}");
    let output = run(proxy.kubeconfig(), &["check"]).await;
    let table = String::from_utf8(output.stdout).unwrap();
    let row = table.lines().find(|line| line.starts_with("API server")).unwrap();
    assert!(row.contains("warning") && row.contains("cannot read its version"), "{row}");
    for (code, message) in [(429, "too many requests, please try again later"), (500, "etcd is gone")] {
        answer_version(code, message);
        for command in ["status", "check"] {
            let output = run(proxy.kubeconfig(), &[command]).await;
            let line = String::from_utf8(output.stderr).unwrap();
            assert_eq!((output.status.code(), line.lines().count()), (Some(1), 1), "{line}");
            let expected = format!("answers with HTTP {code}: {message}");
            assert!(line.starts_with("kubectl elpio: the API server http://"), "{line}");
            assert!(line.contains(&expected) && !line.contains("cannot reach"), "{line}");
        }
    }
}
