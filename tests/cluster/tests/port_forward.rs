//! Port forwarding out of a network namespace, with real sockets, namespaces and signals.
//!
//! This binary has three roles: the tests; the parent outside a namespace, which a test starts; and the
//! server inside, which the parent starts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    net::Ipv4Addr,
    path::Path,
    process::{ExitCode, Stdio},
    time::Duration,
};

use elpio_cluster::{
    eventually,
    netns::{self, NetnsError},
    netns_child,
    port_forward::{PortForwardListener, PortForwards},
    process::{TempDir, free_port},
    suite::Suite,
    tests,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpSocket, TcpStream},
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

/// Set for the parent process.
const PARENT: &str = "ELPIO_TEST_NETNS_PARENT";
/// It takes milliseconds on an idle machine.
const TIMEOUT: Duration = Duration::from_mins(1);
/// Another process may take a free port by chance, but not this often.
const MAX_ATTEMPTS: usize = 5;
/// The server's exit code on SIGINT.
const EXIT_CODE: u8 = 7;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Some(forwards) = runtime.block_on(async { netns_child::attach() }).unwrap() {
        return runtime.block_on(serve_inside(forwards));
    }
    if std::env::var_os(PARENT).is_some() {
        return runtime.block_on(netns_child::run(&[])).unwrap();
    }
    Suite::new(tests![
        bytes_are_copied_in_both_directions_which_end_independently,
        two_hundred_connections_do_not_mix,
        connections_to_a_port_without_a_server_are_closed,
        a_port_of_a_namespace_is_open_outside,
        signals_and_exit_codes_are_forwarded,
        the_child_ends_when_its_parent_is_killed,
    ])
    .run(|| Ok::<(), NetnsError>(()))
}

/// Reads everything; then answers with the network's devices, and what it has read.
async fn echo(mut stream: TcpStream) {
    let mut body = Vec::new();
    stream.read_to_end(&mut body).await.unwrap();
    let devices = fs::read_to_string("/proc/self/net/dev").unwrap();
    let names: Vec<&str> = devices.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    stream.write_all(format!("{}\n", names.join(" ")).as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
}

async fn server() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            tokio::spawn(echo(listener.accept().await.unwrap().0));
        }
    });
    port
}

/// Sends the body, closes that direction, and reads to the end; returns the first line and the rest.
async fn exchange(port: u16, body: &[u8]) -> (String, Vec<u8>) {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let (read, mut write) = stream.into_split();
    let send = async {
        write.write_all(body).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let receive = async {
        let (mut line, mut rest, mut read) = (String::new(), Vec::new(), BufReader::new(read));
        read.read_line(&mut line).await.unwrap();
        read.read_to_end(&mut rest).await.unwrap();
        (line.trim().to_owned(), rest)
    };
    let both = async { tokio::join!(send, receive).1 };
    tokio::time::timeout(TIMEOUT, both).await.expect("an answer")
}

/// Bytes that differ at every position and for every seed.
fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at * 31 + at / 251 + seed * 17) % 256).unwrap()).collect()
}

/// Both halves of the forwarder in one network.
struct Pair {
    _listener: PortForwardListener,
    forwards: PortForwards,
    _dir: TempDir,
}

impl Pair {
    fn open() -> Self {
        let dir = TempDir::new("forwards-test");
        Self {
            _listener: PortForwardListener::open(dir.path()).unwrap(),
            forwards: PortForwards::new(dir.path().to_owned()),
            _dir: dir,
        }
    }
}

async fn bytes_are_copied_in_both_directions_which_end_independently() {
    let mut pair = Pair::open();
    let port = server().await;
    let open = pair.forwards.open(port).await.unwrap();
    assert_ne!(open, port, "the server has this port");
    for length in [0, 1, 8 << 20] {
        let body = pattern(length, 0);
        let (_, back) = exchange(open, &body).await;
        assert!(back == body, "{} of {length} bytes came back", back.len());
    }
}

async fn two_hundred_connections_do_not_mix() {
    let mut pair = Pair::open();
    let open = pair.forwards.open(server().await).await.unwrap();
    let all = (0..200).map(|number| async move {
        let body = pattern(10_000, number);
        assert!(exchange(open, &body).await.1 == body, "connection {number}");
    });
    futures::future::join_all(all).await;
}

async fn connections_to_a_port_without_a_server_are_closed() {
    let mut pair = Pair::open();
    // Bound, but not listening.
    let taken = TcpSocket::new_v4().unwrap();
    taken.bind((Ipv4Addr::LOCALHOST, free_port()).into()).unwrap();
    let open = pair.forwards.open(taken.local_addr().unwrap().port()).await.unwrap();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, open)).await.unwrap();
    let mut received = Vec::new();
    // The connection is closed or reset.
    let read = tokio::time::timeout(TIMEOUT, stream.read_to_end(&mut received)).await.expect("an end");
    assert!(received.is_empty(), "{read:?}, {received:?}");
}

/// Inside: prints the server's address, and serves until SIGINT.
async fn serve_inside(mut forwards: PortForwards) -> ExitCode {
    let mut interrupt = signal(SignalKind::interrupt()).unwrap();
    let port = server().await;
    let open = forwards.open(port).await.unwrap();
    let dir = TempDir::new("inside");
    println!("{port} {open} {} {}", std::process::id(), dir.path().display());
    interrupt.recv().await;
    ExitCode::from(EXIT_CODE)
}

/// The parent process, and what the server inside has printed.
struct Inside {
    parent: Child,
    port: u16,
    open: u16,
    pid: String,
    dir: String,
}

impl Inside {
    async fn start() -> Self {
        netns::check_available().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut parent = command.env(PARENT, "1").stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [port, open, pid, dir] = fields[..] else { panic!("the server printed {line:?}") };
        Self {
            parent,
            port: port.parse().unwrap(),
            open: open.parse().unwrap(),
            pid: pid.to_owned(),
            dir: dir.to_owned(),
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.parent.id().unwrap().cast_signed()), signal).unwrap();
    }

    async fn code(&mut self) -> Option<i32> {
        tokio::time::timeout(TIMEOUT, self.parent.wait()).await.expect("the parent ends").unwrap().code()
    }

    /// Waits until process and directory are gone.
    async fn assert_gone(&self) {
        eventually("the program inside has ended, and its directory is removed", TIMEOUT, async || {
            let (process, dir) =
                (Path::new("/proc").join(&self.pid).join("exe").exists(), Path::new(&self.dir).exists());
            if process || dir { Err(format!("process {process}, directory {dir}")) } else { Ok(()) }
        })
        .await;
        let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, self.open)).await;
        assert!(refused.is_err(), "port {} is still open", self.open);
    }
}

async fn a_port_of_a_namespace_is_open_outside() {
    let mut inside = Inside::start().await;
    // Another process outside may have taken the port.
    for _ in 0..MAX_ATTEMPTS {
        if inside.open != inside.port {
            inside = Inside::start().await;
        }
    }
    assert_eq!(inside.open, inside.port, "the same port number, because it is free outside");
    let body = pattern(1 << 20, 3);
    let (devices, back) = exchange(inside.open, &body).await;
    assert_eq!(devices, "lo", "the server has loopback only");
    assert!(back == body, "{} bytes came back", back.len());
}

async fn signals_and_exit_codes_are_forwarded() {
    let mut inside = Inside::start().await;
    inside.signal(Signal::SIGINT);
    assert_eq!(inside.code().await, Some(i32::from(EXIT_CODE)));
    inside.assert_gone().await;
    // The server does not handle this signal.
    let mut inside = Inside::start().await;
    inside.signal(Signal::SIGTERM);
    assert_eq!(inside.code().await, Some(128 + Signal::SIGTERM as i32));
    inside.assert_gone().await;
}

async fn the_child_ends_when_its_parent_is_killed() {
    let mut inside = Inside::start().await;
    inside.signal(Signal::SIGKILL);
    assert_eq!(inside.code().await, None);
    inside.assert_gone().await;
}
