//! Memory of a process over time.

use std::time::{Duration, Instant};

/// Samples of one process.
pub struct Watch {
    name: String,
    pid: u32,
    begun: Instant,
    samples: Vec<Sample>,
}

struct Sample {
    at: Duration,
    /// In KiB, as the kernel gives them.
    pss: u64,
    /// Of `pss`: memory that belongs to no file.
    anonymous: u64,
}

impl Watch {
    pub fn new(name: &str, pid: u32) -> Watch {
        Watch {
            name: name.to_owned(),
            pid,
            begun: Instant::now(),
            samples: Vec::new(),
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Takes a sample.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn sample(&mut self) {
        let path = format!("/proc/{}/smaps_rollup", self.pid);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
            let number = number.and_then(|text| text.parse().ok());
            number.unwrap_or_else(|| panic!("no {name} in {text}"))
        };
        self.samples.push(Sample {
            at: self.elapsed(),
            pss: field("Pss:"),
            anonymous: field("Pss_Anon:"),
        });
    }

    /// PSS of the last sample, in KiB.
    pub fn last(&self) -> u64 {
        self.samples.last().map_or(0, |sample| sample.pss)
    }

    /// The least and the most memory that belongs to no file, in KiB.
    pub fn anonymous(&self) -> (u64, u64) {
        let all = || self.samples.iter().map(|sample| sample.anonymous);
        (all().min().unwrap_or(0), all().max().unwrap_or(0))
    }

    /// Prints at most 40 of the samples as a table.
    pub fn print(&self) {
        println!("\n{}: memory of the agent, KiB", self.name);
        println!("{:>9} {:>9} {:>9}", "seconds", "PSS", "anonymous");
        let step = self.samples.len().div_ceil(40).max(1);
        let last = self.samples.len().saturating_sub(1);
        for (i, sample) in self.samples.iter().enumerate() {
            if i % step == 0 || i == last {
                let (at, pss, anonymous) = (sample.at.as_secs_f64(), sample.pss, sample.anonymous);
                println!("{at:>9.1} {pss:>9} {anonymous:>9}");
            }
        }
    }

    /// From the warm-up to the end of the stream, which the last sample is after, the greatest PSS is at most `within`
    /// KiB above the least; after it at most `at_end`.
    ///
    /// # Panics
    /// When it is not, or when there are too few samples to tell.
    pub fn assert_flat(&self, warm_up: Duration, within: u64, at_end: u64) {
        let warm = self.samples.iter().filter(|sample| sample.at >= warm_up);
        let mut rest: Vec<u64> = warm.map(|sample| sample.pss).collect();
        let end = rest.pop().unwrap_or(0);
        let name = &self.name;
        assert!(
            rest.len() >= 10,
            "{name}: {} samples after {warm_up:?} are too few to tell",
            rest.len()
        );
        let least = rest.iter().min().copied().unwrap_or(0);
        let most = rest.iter().max().copied().unwrap_or(0);
        println!(
            "{name}: after {warm_up:?} between {least} and {most} KiB, {end} KiB when it was over"
        );
        assert!(
            most <= least + within,
            "{name}: after {warm_up:?} between {least} and {most} KiB, more than {within} apart"
        );
        assert!(
            end <= least + at_end,
            "{name}: {end} KiB when it was over, more than {at_end} above {least}"
        );
    }
}
