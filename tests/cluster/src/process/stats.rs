//! What Linux reports about a running process: memory, CPU time, listening ports. It reads `/proc` only. (The
//! `procfs` crate was considered: it brings chrono and more code than the five values that are needed here.)

use std::{fs, time::Duration};

/// Resident memory in bytes.
///
/// # Panics
/// If the process has ended.
#[must_use]
pub fn rss(pid: u32) -> u64 {
    status_field(pid, "VmRSS:")
}

/// Peak resident memory in bytes.
///
/// # Panics
/// If the process has ended.
#[must_use]
pub fn peak_rss(pid: u32) -> u64 {
    status_field(pid, "VmHWM:")
}

/// CPU time of all threads, user and kernel, with a resolution of 10 ms.
///
/// # Panics
/// If the process has ended.
#[must_use]
pub fn cpu(pid: u32) -> Duration {
    let stat = read(pid, "stat");
    // The second field, the program's name in brackets, may contain anything.
    let (_, fields) = stat.rsplit_once(") ").expect("stat has the program's name");
    let ticks: u64 = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    // USER_HZ is 100 on every architecture that runs containers.
    Duration::from_millis(ticks * 10)
}

/// Whether all threads are stopped (SIGSTOP), or the process has ended.
#[must_use]
pub fn is_stopped(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().filter_map(Result::ok);
    let is_running =
        |stat: String| stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with('T'));
    !threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok()).any(is_running)
}

/// The TCP ports on which the process listens.
///
/// # Panics
/// If the process has ended.
#[must_use]
pub fn listening_ports(pid: u32) -> Vec<u16> {
    let sockets: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|target| {
            let inode = target.to_str()?.strip_prefix("socket:[")?;
            Some(inode.trim_end_matches(']').to_owned())
        })
        .collect();
    let tables = read(pid, "net/tcp") + &read(pid, "net/tcp6");
    let mut ports: Vec<u16> = tables.lines().filter_map(|line| listening_port(line, &sockets)).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The port in a line of `/proc/PID/net/tcp` if it is a listening socket among these inodes.
fn listening_port(line: &str, sockets: &[String]) -> Option<u16> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    if *state != LISTEN || !sockets.iter().any(|socket| socket == inode) {
        return None;
    }
    u16::from_str_radix(local.rsplit(':').next()?, 16).ok()
}

fn status_field(pid: u32, field: &str) -> u64 {
    let status = read(pid, "status");
    let line =
        status.lines().find_map(|line| line.strip_prefix(field)).expect("every process has this field");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("the field is a number");
    kib * 1024
}

fn read(pid: u32, file: &str) -> String {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
