//! `plainspan doctor`: whether this host can run the agent, and for each process and library whether it is captured and
//! how, or why not.
//!
//! Enters: the host, and the status of a running agent; where none runs, a look at all processes that probes nothing.
//! Leaves: two tables, or JSON. Holds: nothing is attached to any program.

mod host;
mod table;

use super::args::DoctorArgs;
use super::status;
use crate::probe::finder::{Attach, AttachError, Finder, Options};
use crate::probe::target::Target;
use host::Check;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long a look at all processes may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// 0: this host can run the agent; 1: it cannot, or stdout cannot be written.
pub fn doctor(args: &DoctorArgs) -> ExitCode {
    let agent = status::ask(args.status);
    let checks = host::checks(agent.as_ref());
    let fine = checks.iter().all(|check| !check.is_failure());
    let verdicts = match &agent {
        Some(status) => Ok(status.get("verdicts").cloned().unwrap_or_default()),
        None => look(),
    };
    let report = Report {
        agent: agent.as_ref(),
        checks: &checks,
        verdicts: verdicts.as_ref(),
        all: args.all,
    };
    let mut out = io::stdout().lock();
    let written = match args.json {
        true => report.json(&mut out),
        false => report.text(&mut out),
    };
    match written {
        Ok(()) if fine => ExitCode::SUCCESS,
        // `doctor | head` closes stdout: what was asked for has been read.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe && fine => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: cannot write: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Attaches nothing.
struct Nothing;

impl Attach for Nothing {
    type Link = ();

    fn attach(&self, _path: &Path, _targets: &[Target]) -> Result<(), AttachError> {
        Ok(())
    }
}

/// The verdicts that an agent would come to now.
fn look() -> Result<Value, String> {
    let options = Options {
        // What cannot be tried is as on most kernels.
        seccomp_trap: crate::probe::host::seccomp_ends_probed_programs().unwrap_or(false),
        ..Options::default()
    };
    let finder = Finder::start(Nothing, options).map_err(|error| error.to_string())?;
    let end = Instant::now() + PATIENCE;
    while !finder.ready() {
        if Instant::now() > end || !finder.running() {
            return Err(format!(
                "looking at all processes took longer than {} s",
                PATIENCE.as_secs()
            ));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    serde_json::to_value(finder.verdicts().snapshot()).map_err(|error| error.to_string())
}

/// All that is said.
struct Report<'a> {
    agent: Option<&'a Value>,
    checks: &'a [Check],
    verdicts: Result<&'a Value, &'a String>,
    all: bool,
}

impl Report<'_> {
    fn json(&self, out: &mut dyn Write) -> io::Result<()> {
        let checks: Vec<Value> = self.checks.iter().map(Check::json).collect();
        let report = json!({
            "agent_running": self.agent.is_some(),
            "host": checks,
            "verdicts": self.verdicts.ok(),
            "error": self.verdicts.err(),
        });
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "Host")?;
        for check in self.checks {
            writeln!(out, "  {check}")?;
        }
        writeln!(out)?;
        match (self.verdicts, self.agent) {
            (Err(error), _) => writeln!(out, "Processes could not be looked at: {error}"),
            (Ok(verdicts), agent) => {
                if agent.is_none() {
                    writeln!(
                        out,
                        "No agent is running here: this is what one would do.\n"
                    )?;
                }
                let words = table::Words {
                    runs: agent.is_some(),
                };
                table::processes(verdicts, words, self.all, out)?;
                writeln!(out)?;
                table::libraries(verdicts, words, out)
            }
        }
    }
}
