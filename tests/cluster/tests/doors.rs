//! Ports of a network namespace opened outside of it: real sockets, real namespaces, real signals.
//!
//! This program has three parts to play: the tests; the guardian that one of them starts; and a server, which
//! the guardian starts inside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test has to fail at once, and says what it saw"
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
    forward::{Doors, Porter},
    guardian,
    netns::{self, NoNamespace},
    process::{Folder, free_port},
    suite::Suite,
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

/// Set for the guardian.
const GUARDIAN: &str = "ELPIO_TEST_GUARDIAN";
/// What takes milliseconds on a quiet machine.
const BOUND: Duration = Duration::from_mins(1);
/// That one free port after another is taken by somebody else is no chance.
const TRIES: usize = 5;
/// The server's answer to SIGINT.
const INTERRUPTED: u8 = 7;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Some(doors) = runtime.block_on(async { guardian::inside() }).unwrap() {
        return runtime.block_on(serve_inside(doors));
    }
    if std::env::var_os(GUARDIAN).is_some() {
        return runtime.block_on(guardian::stay_outside(&[])).unwrap();
    }
    Suite::new()
        .test(
            "bodies_pass_both_ways_and_each_way_ends_by_itself",
            bodies_pass_both_ways_and_each_way_ends_by_itself,
        )
        .test("two_hundred_connections_are_kept_apart", two_hundred_connections_are_kept_apart)
        .test("a_port_without_a_server_closes", a_port_without_a_server_closes)
        .test("a_namespaces_port_is_open_outside", a_namespaces_port_is_open_outside)
        .test("signals_go_in_and_exit_codes_come_out", signals_go_in_and_exit_codes_come_out)
        .test("nothing_stays_when_the_guardian_is_killed", nothing_stays_when_the_guardian_is_killed)
        .run(|| Ok::<(), NoNamespace>(()))
}

/// Answers when everything has been read: first the devices of its network, then what was sent.
async fn answer(mut stream: TcpStream) {
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
            tokio::spawn(answer(listener.accept().await.unwrap().0));
        }
    });
    port
}

/// Sends, says that it is over, and reads to the end: the first line, and the rest.
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
    tokio::time::timeout(BOUND, both).await.expect("an answer")
}

/// Different at every place, and for every seed.
fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at * 31 + at / 251 + seed * 17) % 256).unwrap()).collect()
}

/// Both halves in one network.
struct Pair {
    _porter: Porter,
    doors: Doors,
    _folder: Folder,
}

impl Pair {
    fn open() -> Self {
        let folder = Folder::new("doors-test");
        Self {
            _porter: Porter::open(folder.path()).unwrap(),
            doors: Doors::new(folder.path().to_owned()),
            _folder: folder,
        }
    }
}

async fn bodies_pass_both_ways_and_each_way_ends_by_itself() {
    let mut pair = Pair::open();
    let port = server().await;
    let open = pair.doors.open(port).await.unwrap();
    assert_ne!(open, port, "that one is taken, by the server itself");
    for length in [0, 1, 8 << 20] {
        let body = pattern(length, 0);
        let (_, back) = exchange(open, &body).await;
        assert!(back == body, "{} of {length} bytes came back", back.len());
    }
}

async fn two_hundred_connections_are_kept_apart() {
    let mut pair = Pair::open();
    let open = pair.doors.open(server().await).await.unwrap();
    let all = (0..200).map(|number| async move {
        let body = pattern(10_000, number);
        assert!(exchange(open, &body).await.1 == body, "connection {number}");
    });
    futures::future::join_all(all).await;
}

async fn a_port_without_a_server_closes() {
    let mut pair = Pair::open();
    // Taken, and nobody listens.
    let taken = TcpSocket::new_v4().unwrap();
    taken.bind((Ipv4Addr::LOCALHOST, free_port()).into()).unwrap();
    let open = pair.doors.open(taken.local_addr().unwrap().port()).await.unwrap();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, open)).await.unwrap();
    let mut nothing = Vec::new();
    // Closed, or reset.
    let read = tokio::time::timeout(BOUND, stream.read_to_end(&mut nothing)).await.expect("an end");
    assert!(nothing.is_empty(), "{read:?}, {nothing:?}");
}

/// Inside: serves until SIGINT, and says where.
async fn serve_inside(mut doors: Doors) -> ExitCode {
    let mut interrupt = signal(SignalKind::interrupt()).unwrap();
    let port = server().await;
    let open = doors.open(port).await.unwrap();
    let folder = Folder::new("inside");
    println!("{port} {open} {} {}", std::process::id(), folder.path().display());
    interrupt.recv().await;
    ExitCode::from(INTERRUPTED)
}

/// A guardian, and what the server inside has said.
struct Inside {
    guardian: Child,
    port: u16,
    open: u16,
    pid: String,
    folder: String,
}

impl Inside {
    async fn start() -> Self {
        netns::allowed().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut guardian =
            command.env(GUARDIAN, "1").stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(guardian.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
        let said: Vec<&str> = line.split_whitespace().collect();
        let [port, open, pid, folder] = said[..] else { panic!("the server said {line:?}") };
        Self {
            guardian,
            port: port.parse().unwrap(),
            open: open.parse().unwrap(),
            pid: pid.to_owned(),
            folder: folder.to_owned(),
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.guardian.id().unwrap().cast_signed()), signal).unwrap();
    }

    async fn code(&mut self) -> Option<i32> {
        tokio::time::timeout(BOUND, self.guardian.wait()).await.expect("the guardian ends").unwrap().code()
    }

    /// Nothing of it is left.
    async fn assert_gone(&self) {
        eventually("the program inside has ended, and its folder with it", BOUND, async || {
            let (process, folder) =
                (Path::new("/proc").join(&self.pid).join("exe").exists(), Path::new(&self.folder).exists());
            if process || folder { Err(format!("process {process}, folder {folder}")) } else { Ok(()) }
        })
        .await;
        let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, self.open)).await;
        assert!(refused.is_err(), "port {} is still open", self.open);
    }
}

async fn a_namespaces_port_is_open_outside() {
    let mut inside = Inside::start().await;
    // Somebody out here may have taken that number.
    for _ in 0..TRIES {
        if inside.open != inside.port {
            inside = Inside::start().await;
        }
    }
    assert_eq!(inside.open, inside.port, "the same number, where it is free out here");
    let body = pattern(1 << 20, 3);
    let (devices, back) = exchange(inside.open, &body).await;
    assert_eq!(devices, "lo", "who answers has loopback alone");
    assert!(back == body, "{} bytes came back", back.len());
}

async fn signals_go_in_and_exit_codes_come_out() {
    let mut inside = Inside::start().await;
    inside.signal(Signal::SIGINT);
    assert_eq!(inside.code().await, Some(i32::from(INTERRUPTED)));
    inside.assert_gone().await;
    // The server has no answer to this one.
    let mut inside = Inside::start().await;
    inside.signal(Signal::SIGTERM);
    assert_eq!(inside.code().await, Some(128 + Signal::SIGTERM as i32));
    inside.assert_gone().await;
}

async fn nothing_stays_when_the_guardian_is_killed() {
    let mut inside = Inside::start().await;
    inside.signal(Signal::SIGKILL);
    assert_eq!(inside.code().await, None);
    inside.assert_gone().await;
}
