//! What the agent itself takes and holds: CPU, memory, rings, kernel programs, maps, queues.
//!
//! Enters: `/proc/self`, and numbers that other parts keep. Leaves: an [`AgentState`] for each look.

use super::queues;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering};

/// Who looks: each has a maximum of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// `/status`.
    Status,
    /// `/metrics`.
    Metrics,
    /// The export over OTLP.
    Export,
}

/// How full a ring was when the capture thread came to read it, in bytes.
#[derive(Debug, Default)]
pub struct RingFill {
    size: AtomicU64,
    last: AtomicU64,
    /// By [`Look`].
    most: [AtomicU64; 3],
}

impl RingFill {
    /// The ring has so many bytes.
    pub fn sized(&self, size: usize) {
        self.size.store(size as u64, Ordering::Relaxed);
    }

    /// So many bytes wait in it.
    pub fn set(&self, fill: u64) {
        // Most rounds find as much as the one before: nothing.
        if self.last.load(Ordering::Relaxed) == fill {
            return;
        }
        self.last.store(fill, Ordering::Relaxed);
        for most in &self.most {
            most.fetch_max(fill, Ordering::Relaxed);
        }
    }

    /// The fill, and the most that it was since this one looked last.
    pub fn look(&self, who: Look) -> Ring {
        let used = self.last.load(Ordering::Relaxed);
        let most = self.most[who as usize].swap(used, Ordering::Relaxed);
        Ring {
            size_bytes: self.size.load(Ordering::Relaxed),
            used_bytes: used,
            most_used_bytes: most.max(used),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Ring {
    pub size_bytes: u64,
    pub used_bytes: u64,
    /// Since the last look of the same kind.
    pub most_used_bytes: u64,
}

/// CPU time of all threads, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Cpu {
    pub user: f64,
    pub system: f64,
}

impl Cpu {
    /// Of this process.
    pub fn now() -> Cpu {
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: room for the structure; all zeroes is a value of it, should the call fail, which it cannot.
        let usage = unsafe {
            libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
            usage.assume_init()
        };
        let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        Cpu {
            user: seconds(usage.ru_utime),
            system: seconds(usage.ru_stime),
        }
    }
}

/// Memory in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Resident set size: what is shared with others, and the ring mapped twice, counts in full.
    pub rss_bytes: u64,
    /// Proportional set size: shared pages by shares.
    pub pss_bytes: u64,
}

impl Memory {
    /// Of this process.
    ///
    /// # Errors
    /// When `/proc` is not there.
    pub fn now() -> io::Result<Memory> {
        Ok(Memory::parse(&std::fs::read_to_string(
            "/proc/self/smaps_rollup",
        )?))
    }

    fn parse(rollup: &str) -> Memory {
        let bytes = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
            Some(kib << 10)
        };
        Memory {
            rss_bytes: bytes("Rss:").unwrap_or(0),
            pss_bytes: bytes("Pss:").unwrap_or(0),
        }
    }
}

/// One kernel program, as far as the kernel counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Program {
    pub runs: u64,
    pub run_seconds: f64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MapFill {
    pub entries: u64,
    pub max_entries: u64,
}

/// What the agent may take of the CPU, and what follows from what it takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct CpuBudget {
    /// In cores.
    pub limit: f64,
    /// Over the last seconds, in cores.
    pub used: f64,
    /// The kernel measures its programs: they are part of `used`.
    pub probes: bool,
    /// The highest level that is allowed now.
    pub level: &'static str,
    pub steps: CpuSteps,
}

/// How often the highest level changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CpuSteps {
    pub lowered: u64,
    pub raised: u64,
}

/// All of it at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AgentState {
    pub cpu_seconds: Cpu,
    /// None: no bound.
    pub cpu_budget: Option<CpuBudget>,
    pub memory: Memory,
    /// `data`, `control`.
    pub rings: BTreeMap<&'static str, Ring>,
    /// By the program's name.
    pub programs: BTreeMap<String, Program>,
    /// Maps of the kernel programs.
    pub maps: BTreeMap<&'static str, MapFill>,
    /// By `STORE/SIGNAL`.
    pub queues: BTreeMap<String, queues::Fill>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_one_who_looks_has_a_maximum_of_its_own() {
        let ring = RingFill::default();
        ring.sized(4096);
        for fill in [100, 900, 0, 50] {
            ring.set(fill);
        }
        let most = |who| ring.look(who).most_used_bytes;
        assert_eq!((most(Look::Metrics), most(Look::Metrics)), (900, 50));
        ring.set(0);
        assert_eq!((most(Look::Metrics), most(Look::Metrics)), (50, 0));
        assert_eq!(most(Look::Export), 900);
        let now = ring.look(Look::Status);
        assert_eq!((now.size_bytes, now.used_bytes), (4096, 0));
    }

    #[test]
    fn memory_and_cpu_of_this_process_are_read() {
        let memory = Memory::now().expect("/proc");
        assert!(memory.pss_bytes > 0 && memory.rss_bytes >= memory.pss_bytes);
        let text = "55d0-7ffc ---p 00000000 00:00 0 [rollup]\nRss:      1234 kB\nPss:      1000 kB\nPss_Dirty: 1 kB\n";
        let parsed = Memory::parse(text);
        assert_eq!(
            (parsed.rss_bytes, parsed.pss_bytes),
            (1234 << 10, 1000 << 10)
        );
        let cpu = Cpu::now();
        assert!(cpu.user + cpu.system > 0.0);
    }
}
