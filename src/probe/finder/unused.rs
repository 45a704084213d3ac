//! Probes that nobody needs any more.

use super::attach::Attach;
use super::file::Located;
use super::library::{Known, Libraries, Outcome};
use super::table::Pass;
use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

impl<A: Attach> Libraries<A> {
    /// Detaches from files that no process has mapped for `unused` of which anything may be wanted, and forgets verdicts
    /// on them. What lies in a directory of the dynamic linker stays probed, for its next user, unless it was replaced
    /// there or that user is of no interest; and so does what a process used last whose mappings cannot be read: it may
    /// use it still.
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
            let awaited = self.choice.anyone() && known.directory.as_deref().is_some_and(in_place);
            if in_use(known) || awaited {
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
                    tracing::info!(%path, "no process that is looked at uses a TLS library any more: its probes are gone");
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
