//! What `/proc` says of one process.

use super::directory::Directory;
use super::identity::Lookup;
use crate::enrich::identity::{Cgroups, Container};
use crate::event::KernelTime;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// Bytes read of one file at the most.
const FILE_MAX: u64 = 256 << 10;
/// Clock tick of `/proc/PID/stat`, in nanoseconds: `USER_HZ` is 100 on every architecture that Linux runs on.
pub(super) const TICK_NS: u64 = 1_000_000_000 / 100;

/// Variables by which a process names itself (OpenTelemetry specification, SDK environment variables).
pub(super) const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
pub(super) const RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// What was found; each part can be absent on its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub exe: Option<String>,
    pub comm: Option<String>,
    pub parent_pid: Option<u32>,
    /// Nanoseconds of CLOCK_BOOTTIME.
    pub start_boottime_ns: Option<u64>,
    /// The same by the wall clock, as it was when the process was first read.
    pub started: Option<SystemTime>,
    /// Its number in its own namespace, where that is another.
    pub vpid: Option<u32>,
    pub uid: Option<u32>,
    pub netns: Option<u32>,
    pub cgroups: Cgroups,
    /// `OTEL_SERVICE_NAME` of its environment.
    pub service_name: Option<String>,
    /// `OTEL_RESOURCE_ATTRIBUTES` of its environment.
    pub resource_attributes: Option<String>,
    /// Other variables that were asked for.
    pub variables: Vec<(String, String)>,
}

impl Facts {
    /// Whether both are of one process.
    pub fn is_of(&self, other: &Facts) -> bool {
        self.start_boottime_ns == other.start_boottime_ns
    }

    /// What is known of its container; asks where nothing is.
    pub fn container(
        &self,
        containers: &mut Directory,
        at: KernelTime,
    ) -> (Lookup, Option<Arc<Container>>) {
        match self.cgroups.container() {
            Some(id) => containers.get(&id, &self.cgroups, at),
            None => (Lookup::None, None),
        }
    }
}

/// Reads process `pid` below `proc`, and of its environment the variables named. None: there is no such process.
pub(super) fn read(proc: &Path, pid: u32, variables: &[String]) -> Option<Facts> {
    let dir = proc.join(pid.to_string());
    let stat = bounded(&dir.join("stat")).ok()?;
    let mut facts = Facts {
        exe: link(&dir.join("exe")),
        netns: link(&dir.join("ns/net")).and_then(|text| namespace(&text)),
        ..Facts::default()
    };
    parse_stat(&stat, &mut facts);
    if let Ok(status) = bounded(&dir.join("status")) {
        facts.uid = parse_uid(&status);
        facts.vpid = parse_vpid(&status).filter(|vpid| *vpid != pid);
    }
    if let Ok(cgroup) = bounded(&dir.join("cgroup")) {
        facts.cgroups = Cgroups::parse(&String::from_utf8_lossy(&cgroup));
    }
    if let Ok(environ) = bounded(&dir.join("environ")) {
        facts.service_name = variable(&environ, SERVICE_NAME);
        facts.resource_attributes = variable(&environ, RESOURCE_ATTRIBUTES);
        let found = |name: &String| Some((name.clone(), variable(&environ, name)?));
        facts.variables = variables.iter().filter_map(found).collect();
    }
    Some(facts)
}

/// Start of process `pid`, nanoseconds of CLOCK_BOOTTIME. None: there is no such process.
pub(in crate::enrich) fn start(proc: &Path, pid: u32) -> Option<u64> {
    let stat = bounded(&proc.join(pid.to_string()).join("stat")).ok()?;
    let mut facts = Facts::default();
    parse_stat(&stat, &mut facts);
    facts.start_boottime_ns
}

fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn link(path: &Path) -> Option<String> {
    let target = std::fs::read_link(path).ok()?;
    let text = String::from_utf8_lossy(target.as_os_str().as_bytes()).into_owned();
    Some(match text.strip_suffix(" (deleted)") {
        Some(path) => path.to_owned(),
        None => text,
    })
}

/// `net:[4026531840]`.
fn namespace(link: &str) -> Option<u32> {
    link.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// The name stands in parentheses and may hold any byte, so fields are counted from the last one (proc_pid_stat(5)).
fn parse_stat(stat: &[u8], facts: &mut Facts) {
    let (Some(open), Some(close)) = (memchr::memchr(b'(', stat), memchr::memrchr(b')', stat))
    else {
        return;
    };
    facts.comm = stat
        .get(open + 1..close)
        .map(|name| String::from_utf8_lossy(name).into_owned());
    let rest = String::from_utf8_lossy(&stat[close + 1..]);
    let mut fields = rest.split_ascii_whitespace();
    // Field 3 is the state; 4 the parent; 22 the start time.
    facts.parent_pid = fields.nth(1).and_then(|field| field.parse().ok());
    facts.start_boottime_ns = fields
        .nth(17)
        .and_then(|field| field.parse::<u64>().ok())
        .and_then(|ticks| ticks.checked_mul(TICK_NS));
}

fn parse_uid(status: &[u8]) -> Option<u32> {
    String::from_utf8_lossy(status)
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .and_then(|ids| ids.split_ascii_whitespace().next()?.parse().ok())
}

/// The innermost of `NSpid`: one for each namespace from that of `/proc` inwards.
fn parse_vpid(status: &[u8]) -> Option<u32> {
    String::from_utf8_lossy(status)
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))
        .and_then(|pids| pids.split_ascii_whitespace().last()?.parse().ok())
}

/// Value of a variable; None: it is not there, or empty.
pub(super) fn variable(environ: &[u8], name: &str) -> Option<String> {
    environ.split(|byte| *byte == 0).find_map(|pair| {
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        let value = std::str::from_utf8(value).ok()?;
        (!value.is_empty()).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_move_the_fields() {
        let stat = b"42 (a) b (c)) S 7 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 123456 0 0";
        let mut facts = Facts::default();
        parse_stat(stat, &mut facts);
        assert_eq!(facts.comm.as_deref(), Some("a) b (c)"));
        assert_eq!(facts.parent_pid, Some(7));
        assert_eq!(facts.start_boottime_ns, Some(1_234_560_000_000));
    }

    #[test]
    fn the_number_in_its_own_namespace_is_the_innermost() {
        assert_eq!(parse_vpid(b"Pid:\t9\nNSpid:\t900\t12\t1\n"), Some(1));
        assert_eq!(parse_vpid(b"NSpid:\t900\n"), Some(900));
        assert_eq!(parse_vpid(b"Pid:\t9\n"), None);
    }

    #[test]
    fn variables_are_found_whole() {
        let environ = b"XOTEL_SERVICE_NAME=no\0OTEL_SERVICE_NAME=orders\0OTEL_SERVICE_NAMES=no\0";
        assert_eq!(
            variable(environ, "OTEL_SERVICE_NAME").as_deref(),
            Some("orders")
        );
        assert_eq!(variable(b"OTEL_SERVICE_NAME=\0", "OTEL_SERVICE_NAME"), None);
    }

    #[test]
    fn this_process_is_read() {
        let pid = std::process::id();
        let facts =
            read(Path::new("/proc"), pid, &["PATH".into()]).expect("/proc has this process");
        assert!(facts.exe.is_some_and(|exe| exe.contains("plainspan")));
        assert!(facts.netns.is_some() && facts.uid.is_some());
        assert!(facts.cgroups.within("/"));
        let path = std::env::var("PATH").expect("a PATH");
        assert_eq!(facts.variables, [("PATH".to_owned(), path)]);
        assert_eq!(facts.start_boottime_ns, start(Path::new("/proc"), pid));
        assert_eq!(read(Path::new("/proc"), u32::MAX, &[]), None);
    }
}
