//! Reading `/proc/PID`.

use percent_encoding::percent_decode_str;
use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;

/// Bytes read of one file at the most.
const MAX_FILE: u64 = 64 << 10;
/// Bytes read of an environment at the most.
const MAX_ENVIRONMENT: u64 = 256 << 10;
/// Attributes taken from `OTEL_RESOURCE_ATTRIBUTES` at the most.
const MAX_SAID: usize = 64;
/// Bytes of a value that a process says of itself.
const MAX_VALUE: usize = 1024;

/// The folder `/proc`.
#[derive(Debug)]
pub struct Proc {
    root: PathBuf,
}

/// The part of `/proc/PID/stat` that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    pub comm: String,
    pub parent: Option<u32>,
    /// Clock ticks since boot.
    pub start: u64,
}

/// What a process says of itself in its environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// `OTEL_SERVICE_NAME`.
    pub service_name: Option<String>,
    /// `OTEL_RESOURCE_ATTRIBUTES`.
    pub attributes: Vec<(String, String)>,
}

impl Proc {
    pub fn new(root: PathBuf) -> Self {
        Proc { root }
    }

    /// None: the process is gone. A file that cannot be read is the normal end of a process, not a fault.
    pub fn stat(&self, pid: u32) -> Option<Stat> {
        stat(&self.text(pid, "stat")?)
    }

    /// Path of the executable, also after the file was replaced.
    pub fn exe(&self, pid: u32) -> Option<String> {
        let path = self.link(pid, "exe")?;
        Some(path.strip_suffix(" (deleted)").unwrap_or(&path).to_owned())
    }

    /// Effective user.
    pub fn uid(&self, pid: u32) -> Option<u32> {
        let status = self.text(pid, "status")?;
        let line = status.lines().find_map(|l| l.strip_prefix("Uid:"))?;
        line.split_ascii_whitespace().nth(1)?.parse().ok()
    }

    pub fn netns(&self, pid: u32) -> Option<u32> {
        let link = self.link(pid, "ns/net")?;
        link.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
    }

    pub fn container(&self, pid: u32) -> Option<String> {
        container(&self.text(pid, "cgroup")?)
    }

    /// Two variables of the environment; nothing else of it is kept.
    pub fn said(&self, pid: u32) -> Said {
        let path = self.root.join(pid.to_string()).join("environ");
        read(path, MAX_ENVIRONMENT).map_or_else(Said::default, |bytes| said(&bytes))
    }

    fn text(&self, pid: u32, file: &str) -> Option<String> {
        let bytes = read(self.root.join(pid.to_string()).join(file), MAX_FILE)?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn link(&self, pid: u32, file: &str) -> Option<String> {
        let target = fs::read_link(self.root.join(pid.to_string()).join(file)).ok()?;
        Some(target.to_string_lossy().into_owned())
    }
}

/// The first `limit` bytes of a file; None where it cannot be read.
pub fn read(path: PathBuf, limit: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(limit).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// `PID (comm) state ppid … starttime …`; `comm` may hold anything, parentheses too.
fn stat(line: &str) -> Option<Stat> {
    let (front, rest) = line.rsplit_once(')')?;
    let (_, comm) = front.split_once('(')?;
    // Field 3 comes first here.
    let mut fields = rest.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok().filter(|pid| *pid != 0);
    let start = fields.nth(17)?.parse().ok()?;
    Some(Stat {
        comm: comm.to_owned(),
        parent,
        start,
    })
}

/// The container id in a cgroup path: 64 hex digits, alone or as `docker-ID.scope`, `cri-containerd-ID.scope`,
/// `crio-ID.scope`, `libpod-ID.scope`. The innermost counts.
fn container(cgroup: &str) -> Option<String> {
    cgroup.lines().find_map(|line| {
        let path = line.splitn(3, ':').nth(2)?;
        path.rsplit('/').find_map(|part| {
            let part = part.strip_suffix(".scope").unwrap_or(part);
            let id = part.rsplit(['-', ':']).next().unwrap_or(part);
            let hex = id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
            hex.then(|| id.to_ascii_lowercase())
        })
    })
}

fn said(environment: &[u8]) -> Said {
    let mut said = Said::default();
    for variable in environment.split(|b| *b == 0) {
        if let Some(name) = variable.strip_prefix(b"OTEL_SERVICE_NAME=") {
            let name = String::from_utf8_lossy(name).trim().to_owned();
            said.service_name = (!name.is_empty()).then(|| bounded(name));
        } else if let Some(list) = variable.strip_prefix(b"OTEL_RESOURCE_ATTRIBUTES=") {
            // By the specification, one mistake spoils the whole list.
            said.attributes = std::str::from_utf8(list)
                .ok()
                .and_then(attributes)
                .unwrap_or_default();
        }
    }
    said
}

/// `key=value,key=value`, percent-encoded.
fn attributes(list: &str) -> Option<Vec<(String, String)>> {
    let decode = |text: &str| {
        let decoded = percent_decode_str(text.trim()).decode_utf8().ok()?;
        Some(decoded.into_owned())
    };
    list.split(',')
        .filter(|pair| !pair.trim().is_empty())
        .take(MAX_SAID)
        .map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let key = decode(key).filter(|k| !k.is_empty())?;
            Some((bounded(key), bounded(decode(value)?)))
        })
        .collect()
}

fn bounded(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_VALUE));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_whatever_the_command_is_called() {
        let tail = "S 7 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 1 1 1";
        let seen = stat(&format!("42 (a ) (b) {tail}\n")).expect("a stat line");
        assert_eq!(
            seen,
            Stat {
                comm: "a ) (b".into(),
                parent: Some(7),
                start: 123_456
            }
        );
        for broken in ["", "42", "42 (x", "42 (x)", "42 (x) S 1 2 3"] {
            assert_eq!(stat(broken), None, "{broken}");
        }
    }

    #[test]
    fn container_ids_are_found_in_every_usual_cgroup_path() {
        let id = "0123456789abcdef".repeat(4);
        for path in [
            format!("/docker/{id}"),
            format!("/system.slice/docker-{id}.scope"),
            format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{id}.scope"),
            format!("/kubepods/burstable/pod1/{id}"),
            format!("/kubepods.slice/crio-{id}.scope"),
            format!("/machine.slice/libpod-{id}.scope/container"),
            format!("/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{id}"),
        ] {
            let found = container(&format!("0::{path}\n"));
            assert_eq!(found.as_deref(), Some(&id[..]), "{path}");
        }
        assert_eq!(container("0::/user.slice/session-1.scope\n"), None);
        assert_eq!(container("nonsense"), None);
    }

    #[test]
    fn two_variables_of_the_environment_are_read_and_a_mistake_spoils_the_list() {
        let of = |text: &str| said(text.replace(' ', "\0").as_bytes());
        let seen = of("A=1 OTEL_SERVICE_NAME=shop OTEL_RESOURCE_ATTRIBUTES=a=b%2Cc,,d=e SECRET=x");
        assert_eq!(seen.service_name.as_deref(), Some("shop"));
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(seen.attributes, [pair("a", "b,c"), pair("d", "e")]);
        for broken in ["a", "a=b,c", "=b", "a=%ff"] {
            let seen = of(&format!("OTEL_RESOURCE_ATTRIBUTES={broken}"));
            assert!(seen.attributes.is_empty(), "{broken}");
        }
        assert_eq!(of("OTEL_SERVICE_NAME=").service_name, None);
    }
}
