//! Finds and reads what a process has published.

use super::message::{HEADER, Header, decode};
use super::reader::{Ask, Found};
use super::{Published, Refused};
use crate::enrich::process::start;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of `/proc/PID/maps` at the most.
const MAPS_MAX: u64 = 16 << 20;
/// Mappings of the name that are looked at in one process.
const MAPPINGS_MAX: usize = 8;
/// Tries while a publisher is at work, and the time between them.
const TRIES: usize = 5;
const BETWEEN: Duration = Duration::from_millis(1);

/// Names of the mapping in `/proc/PID/maps`: a memfd that was mapped and named, named anonymous memory, a memfd.
const NAMES: [&str; 3] = [
    "[anon_shmem:OTEL_CTX]",
    "[anon:OTEL_CTX]",
    "/memfd:OTEL_CTX",
];

/// What the process has published now.
pub(super) fn read(proc: &Path, ask: &Ask) -> Found {
    let found = find(proc, ask);
    // The number may have become another process's meanwhile.
    match start(proc, ask.pid) == ask.start_boottime_ns {
        true => found,
        false => Found::Nothing,
    }
}

fn find(proc: &Path, ask: &Ask) -> Found {
    let dir = proc.join(ask.pid.to_string());
    let Ok(memory) = File::open(dir.join("mem")) else {
        return Found::Nothing;
    };
    if let Some(known) = &ask.known {
        match follow(&memory, known.address, Some(known)) {
            Ok(found) => return found,
            Err(error) => {
                tracing::debug!(pid = ask.pid, %error, "a process context has gone from its place");
            }
        }
    }
    for address in mappings(&dir).unwrap_or_default() {
        match follow(&memory, address, None) {
            Ok(found) => return found,
            Err(error) => {
                tracing::debug!(pid = ask.pid, %error, "a mapping named OTEL_CTX is not followed");
            }
        }
    }
    Found::Nothing
}

/// Addresses of the mappings with the name.
fn mappings(dir: &Path) -> io::Result<Vec<u64>> {
    let maps = File::open(dir.join("maps"))?.take(MAPS_MAX);
    let lines = BufReader::new(maps).split(b'\n');
    let found = lines
        .map_while(Result::ok)
        .filter_map(|line| address(&line));
    Ok(found.take(MAPPINGS_MAX).collect())
}

/// `7f00-7f01 rw-p 00000000 00:01 1    /memfd:OTEL_CTX (deleted)` (proc_pid_maps(5)).
fn address(line: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(line).ok()?;
    let name = line.splitn(6, ' ').nth(5)?.trim_start();
    let name = name.strip_suffix(" (deleted)").unwrap_or(name);
    if !NAMES.contains(&name) {
        return None;
    }
    let (start, _) = line.split_once('-')?;
    u64::from_str_radix(start, 16).ok()
}

/// Reads header, payload, and the header again, until it was not changed meanwhile.
fn follow(memory: &File, at: u64, known: Option<&Published>) -> Result<Found, Refused> {
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(BETWEEN);
        }
        let before = header(memory, at)?;
        let head = Header::parse(&before)?;
        if head.published_at == 0 {
            continue;
        }
        if known.is_some_and(|known| known.published_at == head.published_at) {
            return Ok(Found::Same);
        }
        let mut payload = vec![0; head.size as usize];
        let read = memory.read_exact_at(&mut payload, head.payload);
        if header(memory, at)? != before {
            continue;
        }
        read.map_err(unreadable)?;
        return Ok(Found::New(Arc::new(Published {
            attributes: decode(&payload)?,
            address: at,
            published_at: head.published_at,
        })));
    }
    Err(Refused::Changing)
}

fn header(memory: &File, at: u64) -> Result<[u8; HEADER], Refused> {
    let mut bytes = [0; HEADER];
    memory.read_exact_at(&mut bytes, at).map_err(unreadable)?;
    Ok(bytes)
}

fn unreadable(error: io::Error) -> Refused {
    Refused::Memory(error.to_string())
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
