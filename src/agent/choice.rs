//! Which processes are worth probes, by the filters of the configuration.

use crate::config::Tap;
use crate::enrich::Process;
use crate::probe::finder::{Choice, Choose};
use crate::rules::Filter;
use crate::rules::filter::FilterError;
use std::path::PathBuf;

struct Filtered {
    filter: Filter,
    proc: PathBuf,
}

/// All processes, unless the configuration has filters of processes.
///
/// # Errors
/// When a pattern of the filters is none.
pub fn choice(tap: &Tap) -> Result<Choice, FilterError> {
    // What is left is what a process's environment asks for, which is not worth reading of each.
    if tap.exclude.is_empty() && tap.exclude_tls.is_empty() && tap.include.is_empty() {
        return Ok(Choice::default());
    }
    Ok(Choice::new(Filtered {
        filter: Filter::new(tap)?,
        proc: PathBuf::from("/proc"),
    }))
}

impl Choose for Filtered {
    fn anyone(&self) -> bool {
        self.filter.admits_anyone()
    }

    fn process(&self, pid: u32) -> bool {
        match Process::glance(&self.proc, pid) {
            Some(process) => self.filter.may_come_to_admit_tls(&process),
            // One that is gone stands for the next of its program.
            None => self.anyone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ExeMatch, ExeStrategy, Include};

    fn this() -> ExeMatch {
        ExeMatch {
            exe: "plainspan".to_owned(),
            strategy: ExeStrategy::Contains,
        }
    }

    fn chosen(tap: &Tap) -> (bool, bool) {
        let choice = choice(tap).expect("filters");
        (choice.anyone(), choice.process(std::process::id()))
    }

    #[test]
    fn without_filters_of_processes_every_process_is_worth_probes() {
        assert_eq!(chosen(&Tap::default()), (true, true));
    }

    #[test]
    fn a_process_that_is_left_out_or_whose_tls_is_is_not() {
        let exclude = Tap {
            exclude: vec![this()],
            ..Tap::default()
        };
        assert_eq!(chosen(&exclude), (true, false));
        let exclude_tls = Tap {
            exclude_tls: vec![this()],
            ..Tap::default()
        };
        assert_eq!(chosen(&exclude_tls), (true, false));
    }

    #[test]
    fn where_processes_are_listed_only_those_are() {
        let include = |include: Include| Tap {
            include: vec![include],
            ..Tap::default()
        };
        let listed = include(Include {
            exe: Some(this()),
            ..Include::default()
        });
        assert_eq!(chosen(&listed), (false, true));
        let other = include(Include {
            pid: Some(u32::MAX),
            ..Include::default()
        });
        assert_eq!(chosen(&other), (false, false));
        // A port says nothing of a process.
        let port = include(Include {
            port: Some(443),
            ..Include::default()
        });
        assert_eq!(chosen(&port), (true, true));
    }

    #[test]
    fn one_that_root_may_become_is_worth_probes() {
        let tap = Tap {
            include: vec![Include {
                uid: Some(u32::MAX - 7),
                ..Include::default()
            }],
            ..Tap::default()
        };
        let root = std::fs::read_to_string("/proc/self/status")
            .expect("this process")
            .contains("Uid:\t0\t");
        assert_eq!(chosen(&tap), (false, root));
    }
}
