//! JVMs, which are given a library where the configuration says so (`crate::probe::java`).
//!
//! Enters: mappings of processes, and what the pipeline says of these. Leaves: JVMs with the library, whose mapping then
//! is reported as any other; why others have none. Holds: a process of which nothing is wanted is left alone; a JVM is
//! tried once; one thread does it, and nobody waits for that.

use super::lane::{Done, Lane, Ticket, Wake};
use super::maps::Mapping;
use super::verdict::{ProcessState, Verdicts};
use super::{Options, maps};
use crate::probe::java::{self, Given, Placed, Problem};
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why a JVM is not captured where the configuration does not say so.
pub const OFF: &str = "Java: opt-in off (tap.java)";
const LEFT_OUT: &str = "Java: nothing of it is wanted, so it was given no library";
const TOO_LONG: &str = "Java: giving it the library took too long, and was given up";

/// JVMs that are remembered.
const MOST: usize = 4096;

/// How long the file of the library is there: the finder has opened it long before.
const KEPT: Duration = Duration::from_secs(5);

/// What the thread does.
enum Job {
    Give(u32),
    Remove(Placed),
}

/// None: files were removed.
type Answer = Option<Result<Given, Problem>>;

enum State {
    /// The pipeline is asked whether anything of it is wanted.
    Asked,
    Giving(Ticket),
    Given,
    LeftOut,
    Not(String),
}

/// All JVMs that were met.
pub struct Jvms {
    verdicts: Verdicts,
    proc: PathBuf,
    /// None: they are left alone.
    lane: Option<Lane<Job, Answer>>,
    known: HashMap<u32, State>,
    placed: Vec<(Instant, Placed)>,
}

impl Jvms {
    /// # Errors
    /// Where no thread can be had.
    pub fn start(options: &Options, wake: &Arc<Wake>) -> io::Result<Jvms> {
        let proc = options.proc.clone();
        let work = move |job| match job {
            Job::Give(pid) => Some(java::give(&proc, pid)),
            Job::Remove(placed) => {
                drop(placed);
                None
            }
        };
        let limit = java::MOST_TIME + Duration::from_secs(5);
        let lane = || Lane::start("finder-java", wake.clone(), limit, work);
        Ok(Jvms {
            verdicts: options.verdicts.clone(),
            proc: options.proc.clone(),
            lane: options.java.then(lane).transpose()?,
            known: HashMap::new(),
            placed: Vec::new(),
        })
    }

    /// A process has mapped this now: a JVM that was known under its number is gone.
    pub fn started(&mut self, mapping: &Mapping) {
        if !java::is_jvm(mapping) {
            return;
        }
        let at_work = matches!(
            self.known.get(&mapping.pid),
            Some(State::Asked | State::Giving(_))
        );
        if !at_work {
            self.known.remove(&mapping.pid);
        }
        self.met(mapping);
    }

    /// A process has this mapped.
    pub fn met(&mut self, mapping: &maps::Mapping) {
        if !java::is_jvm(mapping) {
            return;
        }
        let pid = mapping.pid;
        // The configuration may want it now.
        let settled = !matches!(self.known.get(&pid), None | Some(State::LeftOut));
        if settled || self.known.len() >= MOST {
            return;
        }
        if self.lane.is_none() {
            self.not(pid, OFF.to_owned());
            return;
        }
        self.verdicts.ask(pid);
        self.verdicts.of_jvm(pid, ProcessState::Waiting);
        self.known.insert(pid, State::Asked);
    }

    fn not(&mut self, pid: u32, reason: String) {
        self.verdicts.of_jvm(pid, not_captured(&reason));
        self.known.insert(pid, State::Not(reason));
    }

    /// An answer of the pipeline is waited for, or files have to go.
    pub fn is_waiting(&self) -> bool {
        !self.placed.is_empty() || self.known.values().any(|s| matches!(s, State::Asked))
    }

    /// Goes on with what the pipeline and the thread have said.
    pub fn answers(&mut self) {
        let Some(mut lane) = self.lane.take() else {
            return;
        };
        for (pid, state) in &mut self.known {
            if !matches!(state, State::Asked) {
                continue;
            }
            match self.verdicts.answered(*pid) {
                None => {}
                Some(true) => *state = State::Giving(lane.submit(Job::Give(*pid))),
                Some(false) => {
                    self.verdicts.of_jvm(*pid, not_captured(LEFT_OUT));
                    *state = State::LeftOut;
                }
            }
        }
        let old = |(since, _): &mut (Instant, Placed)| since.elapsed() >= KEPT;
        for (_, placed) in self.placed.extract_if(.., old) {
            lane.submit(Job::Remove(placed));
        }
        for (ticket, done) in lane.take() {
            self.done(ticket, done);
        }
        self.lane = Some(lane);
    }

    fn done(&mut self, ticket: Ticket, done: Done<Answer>) {
        let is_it = |state: &State| matches!(state, State::Giving(at) if *at == ticket);
        let pid = self.known.iter().find(|(_, state)| is_it(state));
        let pid = pid.map(|(pid, _)| *pid);
        let reason = match done {
            Done::Answer(None) => return,
            Done::Answer(Some(Ok(given))) => {
                if let Given::Now(placed) = given {
                    self.placed.push((Instant::now(), placed));
                }
                if let Some(pid) = pid {
                    tracing::info!(pid, "a JVM has the library that shows its plaintext");
                    self.known.insert(pid, State::Given);
                }
                return;
            }
            Done::Answer(Some(Err(problem))) => problem.to_string(),
            Done::GivenUp => TOO_LONG.to_owned(),
        };
        if let Some(pid) = pid {
            tracing::warn!(pid, reason, "a JVM is not captured");
            self.not(pid, reason);
        }
    }

    /// Forgets JVMs that are gone.
    pub fn forget_gone(&mut self) {
        let (verdicts, proc) = (&self.verdicts, &self.proc);
        self.known.retain(|pid, state| {
            let lives = proc.join(pid.to_string()).exists();
            let keep = lives || matches!(state, State::Giving(_));
            if !keep {
                verdicts.unask(*pid);
            }
            keep
        });
    }

    /// What becomes of a process's JVM; None where it has none, or its library says it.
    pub fn state(&self, pid: u32) -> Option<ProcessState> {
        match self.known.get(&pid)? {
            State::Asked | State::Giving(_) => Some(ProcessState::Waiting),
            State::Given => None,
            State::LeftOut => Some(not_captured(LEFT_OUT)),
            State::Not(reason) => Some(not_captured(reason)),
        }
    }
}

fn not_captured(reason: &str) -> ProcessState {
    ProcessState::NotCaptured {
        reason: reason.to_owned(),
    }
}
