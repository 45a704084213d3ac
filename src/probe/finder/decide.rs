//! What becomes of a file that was scanned: probes, or why not. And of probes that nobody needs any more.

use super::attach::Attach;
use super::file::{FileId, Located};
use super::library::{Attached, Known, Libraries, Outcome, Scanning};
use super::maps::Mapping;
use super::table::Pass;
use super::verdict::State;
use crate::probe::elf::Scan;
use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};
use tracing::field::Empty;

impl<A: Attach> Libraries<A> {
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
                    _link: link,
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

    /// Detaches from files that no process has mapped for `unused`, and forgets verdicts on them. What lies in a
    /// directory of the dynamic linker stays probed, for its next user, unless it was replaced there; and so does what a
    /// process used last whose mappings cannot be read: it may use it still.
    pub fn drop_unused(&mut self, unused: Duration, pass: &Pass) {
        let now = Instant::now();
        let hidden: HashSet<u32> = pass.unreadable.iter().map(|(pid, _)| *pid).collect();
        let in_use = |known: &Known<A::Link>| {
            now.saturating_duration_since(known.used) < unused
                || known.user.is_some_and(|pid| hidden.contains(&pid))
        };
        let mut needed = HashSet::new();
        for (id, known) in &self.files {
            let in_place = |path: &Path| Located::at(path).is_ok_and(|found| found.id() == *id);
            if in_use(known) || known.directory.as_deref().is_some_and(in_place) {
                needed.insert(*id);
                if let Outcome::AttachedThrough(of) = known.outcome {
                    needed.insert(of);
                }
            }
        }
        let gone = |outcome: &Outcome<A::Link>| {
            !matches!(outcome, Outcome::Nothing | Outcome::Scanning(_))
        };
        let verdicts = &self.verdicts;
        self.files.retain(|id, known| {
            let keep = needed.contains(id) || !gone(&known.outcome);
            if !keep {
                verdicts.remove(*id);
                if let Outcome::Attached(attached) = &known.outcome {
                    let path = attached.path.display();
                    tracing::info!(%path, "no process uses a TLS library any more: its probes are gone");
                    verdicts.count(|c| {
                        c.libraries_attached -= 1;
                        c.libraries_detached += 1;
                    });
                }
            }
            keep
        });
        let files = &self.files;
        self.seen.retain(|_, seen| files.contains_key(&seen.id));
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
