//! Statistics of this process from `/proc/self`; none except on Linux.

use std::{fs, sync::OnceLock, time::Instant};

/// `sysconf(_SC_CLK_TCK)`, which is 100 on every Linux architecture (`USER_HZ`).
const CLOCK_TICKS_PER_SECOND: f64 = 100.0;

/// CPU time in seconds: user, system.
pub(in crate::telemetry) fn cpu() -> Option<(f64, f64)> {
    parse_cpu(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// proc(5): the second field is the command in parentheses, which may contain anything; utime and stime are
/// fields 14 and 15.
fn parse_cpu(stat: &str) -> Option<(f64, f64)> {
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user / CLOCK_TICKS_PER_SECOND, system / CLOCK_TICKS_PER_SECOND))
}

/// Resident memory in bytes.
pub(in crate::telemetry) fn memory() -> Option<i64> {
    parse_memory(&fs::read_to_string("/proc/self/status").ok()?)
}

fn parse_memory(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Open file descriptors.
pub(in crate::telemetry) fn descriptors() -> Option<i64> {
    // Reading the directory opens one more.
    i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok().map(|n| n - 1)
}

/// Seconds since telemetry started.
pub(in crate::telemetry) fn uptime() -> f64 {
    static STARTED: OnceLock<Instant> = OnceLock::new();
    STARTED.get_or_init(Instant::now).elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)]

    use super::*;

    #[test]
    fn a_command_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 75 0 0 20 0 3 0 12345";
        assert_eq!(parse_cpu(stat), Some((2.5, 0.75)));
        assert_eq!(parse_cpu("7 (a"), None);
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(parse_memory("VmPeak:\t  9 kB\nVmRSS:\t    2048 kB\n"), Some(2_097_152));
        assert_eq!(parse_memory("Name: x\n"), None);
    }
}
