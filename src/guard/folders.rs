//! Where threads that talk to the network may write (Landlock).

use super::{Measure, State};
use landlock::{
    ABI, AccessFs, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The newest rights that are asked for; of an older kernel those that it has. From version 3 on a file can be shortened
/// only where it may be written.
const NEWEST: ABI = ABI::V6;
const WHOLE: ABI = ABI::V3;

/// A rule set that threads enter.
#[derive(Debug)]
pub(super) struct Folders {
    rules: RulesetCreated,
    folders: Vec<PathBuf>,
}

impl Folders {
    /// Makes the folders that are missing: a rule needs something to stand on. Tries the rules in a thread of their own.
    pub fn prepare(folders: &[PathBuf]) -> (Option<Folders>, Measure) {
        let off = |why: String| (None, Measure::of(State::Off, why));
        let (rules, tried) = match rules(folders).and_then(|rules| Ok((rules, tried(folders)?))) {
            Ok(made) => made,
            Err(error) => return off(error.to_string()),
        };
        let state = match tried.landlock {
            LandlockStatus::NotEnabled => {
                return off(
                    "this kernel has it, and it is not turned on (`lsm=` of its command line)"
                        .into(),
                );
            }
            LandlockStatus::Available { effective_abi, .. } if effective_abi >= WHOLE => State::On,
            LandlockStatus::Available { .. } => State::Partly,
            _ => return off("this kernel does not have it".into()),
        };
        let text = format!(
            "threads that talk to the network see no other process and write below {} alone",
            list(folders)
        );
        let folders = folders.to_vec();
        (Some(Folders { rules, folders }), Measure::of(state, text))
    }

    pub fn confine_thread(&self) -> io::Result<()> {
        // A thread has what the one that started it had, and only so many layers are allowed.
        if is_confined() {
            return Ok(());
        }
        let entered = self.rules.try_clone()?.restrict_self();
        match entered.map_err(io::Error::other)?.ruleset {
            RulesetStatus::NotEnforced => Err(io::Error::other("Landlock has no effect")),
            RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        }
    }

    pub fn allows(&self, folder: &Path) -> bool {
        self.folders.iter().any(|known| folder.starts_with(known))
    }
}

/// What the kernel makes of the rules.
fn tried(folders: &[PathBuf]) -> Result<RestrictionStatus, RulesetError> {
    let rules = rules(folders)?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| rules.restrict_self());
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn rules(folders: &[PathBuf]) -> Result<RulesetCreated, RulesetError> {
    let writes = AccessFs::from_write(NEWEST);
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        // Nothing may be started either: no rule allows it.
        .handle_access(writes | AccessFs::Execute)?
        .scope(Scope::Signal)?
        .create()?;
    for folder in folders {
        if let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(folder) {
            // Whoever wants to write there says so, with what to do.
            tracing::debug!(folder = %folder.display(), %error, "cannot be made");
        }
        if let Ok(folder) = PathFd::new(folder) {
            rules = rules.add_rule(PathBeneath::new(folder, writes))?;
        }
    }
    Ok(rules)
}

/// The null device can be written by everyone, and by nobody who is confined.
fn is_confined() -> bool {
    let opened = OpenOptions::new().write(true).open("/dev/null");
    opened.is_err_and(|error| error.raw_os_error() == Some(libc::EACCES))
}

fn list(folders: &[PathBuf]) -> String {
    let shown: Vec<_> = folders.iter().map(|f| f.display().to_string()).collect();
    match shown.is_empty() {
        true => "no folder".to_owned(),
        false => shown.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confined_thread_writes_below_the_folders_alone_and_sees_no_other_process() {
        let dir = tempfile::tempdir().expect("a folder");
        let (own, other) = (dir.path().join("made/own"), dir.path().join("other"));
        std::fs::create_dir(&other).expect("made");
        let (folders, measure) = Folders::prepare(std::slice::from_ref(&own));
        let folders = folders.unwrap_or_else(|| panic!("Landlock: {}", measure.text));
        assert!(folders.allows(&own.join("deeper")) && !folders.allows(&other));
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("a process");
        let exe = format!("/proc/{}/exe", child.id());
        std::fs::read_link(&exe).expect("it is seen before");
        let thread = std::thread::spawn(move || {
            folders.confine_thread().expect("confined");
            // Again, in a thread of it too.
            folders.confine_thread().expect("confined already");
            let inner = std::thread::spawn(move || {
                assert!(is_confined());
                for _ in 0..20 {
                    folders.confine_thread().expect("confined already");
                }
                std::fs::write(own.join("file"), "text").expect("written");
                std::fs::create_dir(own.join("folder")).expect("made");
                std::fs::rename(own.join("file"), own.join("folder/file")).expect("moved");
                let refused = std::fs::write(other.join("file"), "text").expect_err("refused");
                let unseen = std::fs::read_link(&exe).expect_err("not seen");
                std::fs::read_dir("/etc").expect("reading goes on");
                [refused.kind(), unseen.kind()]
            });
            inner.join().expect("its answer")
        });
        let refused = thread.join().expect("its answer");
        child.kill().and_then(|()| child.wait()).expect("ended");
        assert_eq!(refused, [io::ErrorKind::PermissionDenied; 2]);
        assert!(!is_confined(), "the thread alone is");
    }
}
