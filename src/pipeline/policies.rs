//! Which processes the kernel programs leave out: those of which no filter and no rule can want anything.

use super::Stage;
use crate::enrich::Process;
use crate::event::KernelTime;
use crate::rules::{Early, Level};
use std::collections::HashSet;
use std::sync::Arc;

/// Which processes the kernel programs leave out.
#[derive(Debug, Default)]
pub struct Policies {
    ignored: HashSet<u32>,
    /// Processes with TLS sessions in the kernel's map, which outlive a process that does not free them.
    with_sessions: HashSet<u32>,
    pub(super) changes: Vec<Policy>,
}

/// One change of the kernel's policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Nothing of the process is wanted: nothing of it is copied.
    Ignore(u32),
    /// The process has a new program, or is gone: what was decided for it no longer holds.
    Forget(u32),
}

impl Policies {
    /// The process uses a TLS session.
    pub fn saw_session(&mut self, pid: u32) {
        self.with_sessions.insert(pid);
    }

    /// The process is gone.
    pub fn exit(&mut self, pid: u32) {
        // To forget walks all sessions of the host: only for those who have any.
        if self.ignored.remove(&pid) | self.with_sessions.remove(&pid) {
            self.changes.push(Policy::Forget(pid));
        }
    }

    /// What is new since the last call.
    pub fn changes(&mut self) -> impl Iterator<Item = Policy> {
        self.changes.drain(..)
    }

    fn judge(&mut self, pid: u32, is_wanted: bool) {
        if is_wanted {
            if self.ignored.remove(&pid) {
                self.changes.push(Policy::Forget(pid));
            }
        } else if self.ignored.insert(pid) {
            self.changes.push(Policy::Ignore(pid));
        }
    }
}

impl Stage {
    /// Decides by what is known of a process alone whether anything of it can be wanted.
    pub(super) fn judge(&mut self, pid: u32, time: KernelTime) {
        let process = self.processes.look(pid, time);
        self.judge_process(&process);
    }

    /// As [`Stage::judge`], for a process with a new program: the kernel programs forgot their policy with its exec. A
    /// policy for the program before may still be on its way, so it is taken back too.
    pub(super) fn judge_anew(&mut self, pid: u32, time: KernelTime) {
        let was_ignored = self.policies.ignored.remove(&pid);
        self.judge(pid, time);
        if was_ignored && !self.policies.ignored.contains(&pid) {
            self.policies.changes.push(Policy::Forget(pid));
        }
    }

    pub(super) fn judge_process(&mut self, process: &Arc<Process>) {
        let pid = process.pid;
        // Of one that is gone nothing is copied; its number may be another's soon.
        if !self.processes.lives(process) {
            return;
        }
        let is_wanted = self.filter.may_admit(process) && self.upper_bound(process) > Level::None;
        self.policies.judge(pid, is_wanted);
    }

    /// Asks again about the processes that the kernel programs leave out. Others are judged when they do something.
    pub(super) fn judge_again(&mut self, now: KernelTime) {
        let ignored: Vec<u32> = self.policies.ignored.iter().copied().collect();
        for pid in ignored {
            self.judge(pid, now);
        }
    }

    /// The highest level that a transaction of this process can get.
    fn upper_bound(&mut self, process: &Process) -> Level {
        let facts = Early {
            process,
            connection: None,
        };
        // A pod's label or a domain may choose any of the stacks.
        let general = [&self.telemetry, &self.access].into_iter().flatten();
        let bounds = general
            .chain(self.stacks.others())
            .map(|audience| audience.upper_bound(&facts, &mut self.buffers));
        bounds.max().unwrap_or(Level::None)
    }
}
