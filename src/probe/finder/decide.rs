//! What becomes of a file that was scanned: probes, or why not.

use super::attach::Attach;
use super::file::{FileId, Located};
use super::jvms;
use super::lane::{Done, Ticket};
use super::library::{Attached, Libraries, Outcome, Scanning, is_tls_library};
use super::look::Scanned;
use super::maps::Mapping;
use super::table::NOT_CAPTURED;
use super::trap;
use super::verdict::State;
use crate::probe::elf::{Scan, ScanError};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use tracing::field::Empty;

impl<A: Attach> Libraries<A> {
    /// Goes on with a file that was scanned, or was given up.
    pub(super) fn scanned(&mut self, ticket: Ticket, scanning: Scanning, done: Done<Scanned>) {
        let id = scanning.id;
        let current = self.files.get(&id).map(|known| &known.outcome);
        // The file has changed since, and is scanned again.
        if !matches!(current, Some(Outcome::Scanning(now)) if *now == ticket) {
            return;
        }
        let outcome = match done {
            Done::Answer(scanned) => self.outcome(&scanned, &scanning),
            Done::GivenUp => {
                self.verdicts.count(|c| c.files_given_up += 1);
                let reason = "reading it took too long, and was given up".to_owned();
                Some(self.refused(&scanning, &Scan::default(), reason))
            }
        };
        let waited = matches!(outcome, None | Some(Outcome::Nothing));
        match (outcome, self.files.get_mut(&id)) {
            (Some(outcome), Some(known)) => known.outcome = outcome,
            // It may be different next time.
            _ => drop(self.files.remove(&id)),
        }
        if waited {
            self.verdicts.no_longer_waits(id);
        }
    }

    /// `None` where it cannot be decided now.
    fn outcome(&self, scanned: &Scanned, scanning: &Scanning) -> Option<Outcome<A::Link>> {
        let path = scanning.path.display();
        if let Some(error) = &scanned.cache_error {
            self.verdicts.count(|c| c.cache_errors += 1);
            tracing::warn!(%path, %error, "the cache of scans cannot be used for a file: it is scanned");
        }
        match &scanned.scan {
            Ok(whole) => {
                let kept = self.seccomp_trap.then(|| trap::without_returns(whole));
                let scan = kept.as_ref().unwrap_or(whole);
                self.verdicts.count(|c| match scanned.from_cache {
                    true => c.files_from_cache += 1,
                    false => c.files_scanned += 1,
                });
                let mappings = [&scanning.mapping, &scanning.other];
                let decided = mappings
                    .into_iter()
                    .find_map(|m| self.decide(&scanned.located, scanning, m.as_ref(), scan));
                if decided.is_none() {
                    self.verdicts.count(|c| c.processes_vanished += 1);
                }
                decided
            }
            Err(ScanError::NotElf) => Some(Outcome::Nothing),
            Err(ScanError::Read(error)) => {
                self.verdicts.count(|c| c.files_unreadable += 1);
                tracing::debug!(%path, %error, "cannot read a mapped file");
                None
            }
            Err(error) => {
                self.verdicts.count(|c| c.files_unsupported += 1);
                // Of others only what calls itself a TLS library is worth a verdict.
                let told = matches!(error, ScanError::TooLong | ScanError::TooLarge);
                if told || is_tls_library(&scanning.path) {
                    let scan = Scan::default();
                    return Some(self.refused(scanning, &scan, error.to_string()));
                }
                Some(Outcome::Nothing)
            }
        }
    }

    pub(super) fn refused(
        &self,
        scanning: &Scanning,
        scan: &Scan,
        reason: String,
    ) -> Outcome<A::Link> {
        let path = &scanning.path;
        tracing::info!(path = %path.display(), reason, "a file with TLS in it cannot be captured");
        let mapping = scanning.mapping.as_ref();
        let of_process = match reason == trap::REFUSED {
            true => trap::OF_PROCESS,
            false => NOT_CAPTURED,
        };
        self.verdict(scanning.id, path, mapping, scan, State::Failed { reason });
        Outcome::Refused(of_process)
    }

    /// `None` where it cannot be decided from this mapping.
    pub(super) fn decide(
        &self,
        located: &Located,
        scanning: &Scanning,
        mapping: Option<&Mapping>,
        scan: &Scan,
    ) -> Option<Outcome<A::Link>> {
        if scan.places().next().is_none() {
            let refused = scan.stacks.iter().find_map(|s| s.refused.clone());
            return Some(match refused {
                Some(reason) => self.refused(scanning, scan, reason),
                None => Outcome::Nothing,
            });
        }
        // An agent before this one gave it to a JVM.
        if !self.java && scan.stacks.iter().any(|stack| stack.name == "jsse") {
            return Some(self.refused(scanning, scan, jvms::OFF.to_owned()));
        }
        if !scanning.wanted {
            self.verdict(located.id(), &scanning.path, mapping, scan, State::Filtered);
            return Some(Outcome::Unwanted);
        }
        // A file of a directory is mapped by nobody yet, and no mount shows another.
        let twin = self.twin(located, scan);
        if scanning.mapping.is_some()
            && let Some((id, twin)) = twin
            && probed_in(&self.proc, mapping?, scan)?
        {
            let through = twin.path.to_string_lossy().into_owned();
            let state = State::AttachedThrough { through };
            self.verdict(located.id(), &scanning.path, mapping, scan, state);
            return Some(Outcome::AttachedThrough(id));
        }
        Some(self.attach(located, scanning, scan))
    }

    fn attach(&self, located: &Located, scanning: &Scanning, scan: &Scan) -> Outcome<A::Link> {
        let targets = scan.targets();
        let path = &scanning.path;
        let span = tracing::info_span!(
            "attach",
            path = %path.display(),
            targets = targets.len(),
            otel.status_code = Empty,
            otel.status_description = Empty,
        );
        let _entered = span.clone().entered();
        let mapping = scanning.mapping.as_ref();
        match self.attach.attach(&located.path(), &targets) {
            Ok(link) => {
                self.verdicts.count(|c| c.libraries_attached += 1);
                tracing::info!(path = %path.display(), targets = targets.len(), "probing a TLS library");
                self.verdict(located.id(), path, mapping, scan, State::Attached);
                Outcome::Attached(Attached {
                    path: path.clone(),
                    build_id: scan.build_id.clone(),
                    link,
                })
            }
            Err(error) => {
                self.verdicts.count(|c| c.attach_failures += 1);
                tracing::warn!(path = %path.display(), %error, "cannot probe a TLS library");
                let reason = error.to_string();
                span.record("otel.status_code", "error");
                span.record("otel.status_description", &*reason);
                self.verdict(located.id(), path, mapping, scan, State::Failed { reason });
                Outcome::Failed {
                    attempts: scanning.attempts + 1,
                }
            }
        }
    }

    /// A probed file that looks like this one on another mount: two overlay mounts of one image layer show different
    /// devices and the same inode number, and the probe is in the layer's inode.
    fn twin(&self, located: &Located, scan: &Scan) -> Option<(FileId, &Attached<A::Link>)> {
        let build_id = scan.build_id.as_ref()?;
        self.files.iter().find_map(|(id, known)| {
            let same =
                id.inode == located.id().inode && known.version.size == located.version().size;
            match &known.outcome {
                Outcome::Attached(a) if same && a.build_id.as_ref() == Some(build_id) => {
                    Some((*id, a))
                }
                _ => None,
            }
        })
    }
}

/// Whether a probe stands in this mapping: the memory differs there from the file. `None` where the process is gone
/// or the mapping holds no target.
fn probed_in(proc: &Path, mapping: &Mapping, scan: &Scan) -> Option<bool> {
    let len = mapping.end.checked_sub(mapping.start)?;
    let (address, file_byte) = scan.places().find_map(|(t, p)| {
        let inside = t.file_offset.checked_sub(mapping.file_offset)?;
        let address = mapping.start.checked_add(inside)?;
        (inside < len).then_some((address, p.file_byte))
    })?;
    let memory = File::open(proc.join(mapping.pid.to_string()).join("mem")).ok()?;
    let mut byte = [0];
    memory.read_exact_at(&mut byte, address).ok()?;
    Some(byte != [file_byte])
}
