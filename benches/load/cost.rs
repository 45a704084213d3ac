//! What processes and the host used.

use std::fs;
use std::time::Duration;

/// CPU time of a process so far, user and system, threads that have ended included; zero where it is gone.
pub fn cpu(pid: u32) -> Duration {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return Duration::ZERO;
    };
    // Fields 14 and 15 of proc(5); the second one, the name, may hold anything but ends with the last parenthesis.
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    ticks(after.split_whitespace().skip(11).take(2))
}

/// CPU time of several processes.
pub fn cpu_of(pids: &[u32]) -> Duration {
    pids.iter().map(|pid| cpu(*pid)).sum()
}

/// CPU time of children of this process that were waited for.
pub fn cpu_of_ended_children() -> Duration {
    // SAFETY: all zeroes is a value of this struct of numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the struct is ours and lives through the call.
    let done = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) };
    assert_eq!(done, 0, "getrusage");
    [usage.ru_utime, usage.ru_stime]
        .iter()
        .map(|t| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000))
        .sum()
}

/// CPU time that all of the host's processes used since it started.
pub fn busy() -> Duration {
    let stat = fs::read_to_string("/proc/stat").expect("/proc/stat");
    let first = stat.lines().next().expect("a first line");
    let fields: Vec<&str> = first.split_whitespace().skip(1).take(8).collect();
    // User, nice, system, then idle and waiting for input and output, then interrupts and what the host above took.
    let used = [0, 1, 2, 5, 6].iter().filter_map(|at| fields.get(*at));
    ticks(used.copied())
}

fn ticks<'a>(fields: impl Iterator<Item = &'a str>) -> Duration {
    // SAFETY: sysconf takes a number and touches no memory.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    let sum: u64 = fields.map(|f| f.parse::<u64>().expect("ticks")).sum();
    Duration::from_secs_f64(sum as f64 / per_second as f64)
}

/// Children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.split_whitespace()
        .map(|pid| pid.parse().expect("a pid"))
        .collect()
}

/// Proportional set size of a process in bytes: pages that several map, or one maps twice, count once.
pub fn pss(pid: u32) -> u64 {
    kib(pid, "smaps_rollup", "Pss:")
}

/// Resident memory in bytes, as most tools show it.
pub fn rss(pid: u32) -> u64 {
    kib(pid, "status", "VmRSS:")
}

fn kib(pid: u32, file: &str, name: &str) -> u64 {
    let path = format!("/proc/{pid}/{file}");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap_or_else(|| panic!("{path} has no {name}"));
    let number = line.split_whitespace().next().expect("a number");
    number.parse::<u64>().expect("KiB") * 1024
}
