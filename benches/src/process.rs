//! What this process has used.

use crate::Result;
use std::fs;
use std::time::Duration;

/// The kernel counts a process's time in these, whatever its own clock does.
const TICKS_PER_S: u64 = 100;

/// User and system time of all threads, also those that have ended; to 10 ms.
pub(crate) fn cpu() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name of the program comes second, in parentheses, and may hold anything.
    let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
    let ticks: Option<Vec<u64>> = behind
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse().ok())
        .collect();
    match ticks.as_deref() {
        Some([user, system]) => Ok(Duration::from_millis((user + system) * 1000 / TICKS_PER_S)),
        _ => Err("/proc/self/stat has no CPU time".into()),
    }
}

/// Resident memory now and at its peak, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resident {
    pub now: u64,
    pub peak: u64,
}

/// Resident memory.
pub(crate) fn resident() -> Result<Resident> {
    let status = fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kib.map(|kib| kib * 1024)
            .ok_or_else(|| format!("/proc/self/status has no {name}"))
    };
    Ok(Resident {
        now: field("VmRSS:")?,
        peak: field("VmHWM:")?,
    })
}
