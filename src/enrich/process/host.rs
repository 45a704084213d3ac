//! What is the same for all processes of a host.

use super::proc::read;
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes of `passwd` and `/proc/stat` at the most.
const MAX_FILE: u64 = 1 << 20;

#[derive(Debug)]
pub struct Host {
    pub name: Option<String>,
    /// `/etc/machine-id`.
    pub id: Option<String>,
    /// Users of the host.
    owners: HashMap<u32, String>,
    /// Moment of the boot.
    boot: Option<SystemTime>,
    /// Clock ticks a second, as `/proc` counts them.
    ticks: u64,
}

impl Host {
    pub fn read(proc: &Path, etc: &Path) -> Self {
        Host {
            name: line(&proc.join("sys/kernel/hostname")),
            id: line(&etc.join("machine-id")),
            owners: text(&etc.join("passwd")).map_or_else(HashMap::new, |t| owners(&t)),
            boot: text(&proc.join("stat")).and_then(|t| boot(&t)),
            ticks: ticks_per_second(),
        }
    }

    pub fn owner(&self, uid: u32) -> Option<String> {
        self.owners.get(&uid).cloned()
    }

    /// Nanoseconds since boot in clock ticks.
    pub fn ticks(&self, nanos: u64) -> u64 {
        nanos / (1_000_000_000 / self.ticks)
    }

    /// Wall-clock time of a moment in clock ticks since boot.
    pub fn time(&self, ticks: u64) -> Option<SystemTime> {
        let since = Duration::from_millis(ticks.saturating_mul(1000) / self.ticks);
        self.boot?.checked_add(since)
    }

    /// `host.arch` of the conventions.
    pub fn arch() -> &'static str {
        match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }
    }
}

fn ticks_per_second() -> u64 {
    // SAFETY: sysconf reads a number of the system; it takes no pointers.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    // 100 on every Linux that there is; the quotient with a second must be whole.
    u64::try_from(ticks)
        .ok()
        .filter(|t| (1..=1_000_000).contains(t))
        .unwrap_or(100)
}

fn text(path: &Path) -> Option<String> {
    let bytes = read(path.to_owned(), MAX_FILE)?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn line(path: &Path) -> Option<String> {
    let text = text(path)?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// `name:password:uid:…`; the first name of a uid counts.
fn owners(passwd: &str) -> HashMap<u32, String> {
    let mut owners = HashMap::new();
    for line in passwd.lines() {
        let mut fields = line.split(':');
        let (name, uid) = (fields.next(), fields.nth(1));
        if let (Some(name), Some(Ok(uid))) = (name, uid.map(str::parse)) {
            owners.entry(uid).or_insert_with(|| name.to_owned());
        }
    }
    owners
}

/// `btime` of `/proc/stat`: seconds since 1970.
fn boot(stat: &str) -> Option<SystemTime> {
    let seconds = stat.lines().find_map(|l| l.strip_prefix("btime "))?;
    let since = Duration::from_secs(seconds.trim().parse().ok()?);
    UNIX_EPOCH.checked_add(since)
}
