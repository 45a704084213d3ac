//! Looking at what the probes gave: counts for the verdicts, and an end to probes whose first calls cannot be right.
//!
//! Enters: what the kernel programs count of each file. Leaves: verdicts. Holds: a file that was detached for this is
//! probed again only when it changes.

use super::attach::Attach;
use super::library::{Libraries, Outcome};

impl<A: Attach> Libraries<A> {
    /// Tells calls and bytes of each probed file, and detaches those that are not what they were taken for.
    pub fn verify(&mut self) {
        for (id, known) in &mut self.files {
            let Outcome::Attached(attached) = &known.outcome else {
                continue;
            };
            let Some(counts) = self.attach.counts(&attached.link) else {
                continue;
            };
            self.verdicts.set_calls(*id, counts);
            let Some(reason) = counts.implausible() else {
                continue;
            };
            tracing::warn!(path = %attached.path.display(), reason, "a TLS library is not what it was taken for");
            // Dropping the link detaches.
            known.outcome = Outcome::Refused(super::table::NOT_CAPTURED);
            self.verdicts.fail(*id, reason);
            self.verdicts.count(|c| {
                c.libraries_attached -= 1;
                c.libraries_implausible += 1;
            });
        }
    }
}
