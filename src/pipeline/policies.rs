//! What the kernel programs need not copy, going by what is known of a process or a connection before any request.
//!
//! Enters: processes and connections when they are met, and when what is known of them changes. Leaves: changes of the
//! kernel's policies.
//! Holds: what a rule, a filter or a stack may still want is copied; a policy that no longer holds is taken back.

use super::{Audience, Stage, most};
use crate::enrich::Process;
use crate::event::{ConnId, ConnOpen, KernelTime, Want};
use crate::rules::expr::{Buffers, Facts};
use crate::rules::{Early, Level};
use crate::telemetry::ledger::Uncaptured;
use crate::transaction::ConnectionInfo;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What the kernel programs were told.
#[derive(Debug)]
pub struct Policies {
    /// What they copy where they were told nothing else.
    most: Want,
    /// The highest level that anything gets, to save CPU.
    pub(super) allowed: Level,
    told: HashMap<u32, Told>,
    connections: HashMap<ConnId, (ConnOpen, Want)>,
    /// Processes with TLS sessions in the kernel's map, which outlive a process that does not free them.
    with_sessions: HashSet<u32>,
    changes: Vec<Policy>,
}

/// What a process's policy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Ignore,
    Want(Want),
}

/// One change of the kernel's policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The filters refuse the process: nothing of it is copied or counted.
    Ignore(u32),
    /// Of the process this is copied at the most.
    Want(u32, Want),
    /// Of the connection this is copied at the most; `All`: what the process's policy says.
    Connection(ConnId, Want),
    /// The process has a new program, or is gone: what was decided for it no longer holds.
    Forget(u32),
}

/// What has to be copied for a transaction to get this level.
pub fn want(level: Level) -> Want {
    match level {
        Level::None => Want::Nothing,
        Level::Summary | Level::Headers => Want::Heads,
        Level::Full => Want::All,
    }
}

impl Default for Policies {
    fn default() -> Self {
        Policies::new(Want::All)
    }
}

impl Policies {
    /// `most`: what the kernel programs copy at the most, of anything.
    pub fn new(most: Want) -> Policies {
        Policies {
            most,
            allowed: Level::Full,
            told: HashMap::new(),
            connections: HashMap::new(),
            with_sessions: HashSet::new(),
            changes: Vec::new(),
        }
    }

    /// What the kernel programs copy at the most.
    pub fn most(&self) -> Want {
        self.most
    }

    /// The process has a TLS session in the kernel's map.
    pub fn saw_session(&mut self, pid: u32) {
        self.with_sessions.insert(pid);
    }

    /// The process is gone.
    fn exit(&mut self, pid: u32) {
        // To forget walks all sessions of the host: only for those who have any.
        if self.told.remove(&pid).is_some() | self.with_sessions.remove(&pid) {
            self.changes.push(Policy::Forget(pid));
        }
    }

    fn ignores(&self, pid: u32) -> bool {
        self.told.get(&pid) == Some(&Told::Ignore)
    }

    /// The connection is gone.
    pub fn close(&mut self, conn: ConnId) {
        if self.connections.remove(&conn).is_some() {
            self.changes.push(Policy::Connection(conn, Want::All));
        }
    }

    /// What is new since the last call.
    pub fn changes(&mut self) -> impl Iterator<Item = Policy> {
        self.changes.drain(..)
    }

    fn tell(&mut self, pid: u32, policy: Option<Told>) {
        let before = match policy {
            Some(policy) => self.told.insert(pid, policy),
            None => self.told.remove(&pid),
        };
        if before == policy {
            return;
        }
        self.changes.push(match policy {
            Some(Told::Ignore) => Policy::Ignore(pid),
            Some(Told::Want(want)) => Policy::Want(pid, want),
            None => Policy::Want(pid, Want::All),
        });
    }

    fn tell_connection(&mut self, open: &ConnOpen, want: Want) {
        let before = match want {
            Want::All => self.connections.remove(&open.conn),
            want => self.connections.insert(open.conn, (*open, want)),
        };
        if before.map_or(Want::All, |(_, want)| want) != want {
            self.changes.push(Policy::Connection(open.conn, want));
        }
    }
}

impl Stage {
    /// Why a connection gave nothing, by what is known of its process too.
    pub(super) fn why_uncaptured(&mut self, reason: Uncaptured, open: &ConnOpen) -> Uncaptured {
        let process = self.processes.look(open.pid, open.time);
        let over_tls = matches!(reason, Uncaptured::UnknownStack | Uncaptured::AttachedLate);
        if !self.filter.may_admit(&process) || (over_tls && !self.filter.may_admit_tls(&process)) {
            return Uncaptured::Filtered;
        }
        let began = self.clock.wall(open.time);
        match reason {
            Uncaptured::UnknownStack if self.verdicts.is_late(open.pid, began) => {
                Uncaptured::AttachedLate
            }
            reason => reason,
        }
    }

    /// Decides by what is known of a process alone what of it can be wanted.
    pub(super) fn judge(&mut self, pid: u32, time: KernelTime) {
        let process = self.processes.look(pid, time);
        self.judge_process(&process);
    }

    /// As [`Stage::judge`], for a process with a new program: the kernel programs forgot their policy with its exec. A
    /// policy for the program before may still be on its way, so it is taken back too.
    pub(super) fn judge_anew(&mut self, pid: u32, time: KernelTime) {
        if self.policies.ignores(pid) {
            self.verdicts.filter(pid, false);
        }
        let was_told = self.policies.told.remove(&pid).is_some();
        self.judge(pid, time);
        if was_told && !self.policies.told.contains_key(&pid) {
            self.policies.changes.push(Policy::Forget(pid));
        }
    }

    /// The process is gone; another may have its number soon.
    pub(super) fn judge_no_more(&mut self, pid: u32) {
        if self.policies.ignores(pid) {
            self.verdicts.filter(pid, false);
        }
        self.policies.exit(pid);
    }

    pub(super) fn judge_process(&mut self, process: &Arc<Process>) {
        // Of one that is gone nothing is copied; its number may be another's soon.
        if !self.processes.lives(process) {
            return;
        }
        let policy = if self.filter.may_admit(process) {
            let facts = Early {
                process,
                connection: None,
            };
            let want = want(self.upper_bound(&facts));
            (want < self.policies.most).then_some(Told::Want(want))
        } else {
            Some(Told::Ignore)
        };
        let before = self.policies.ignores(process.pid);
        let filtered = policy == Some(Told::Ignore);
        if filtered != before {
            self.verdicts.filter(process.pid, filtered);
        }
        self.policies.tell(process.pid, policy);
    }

    /// Says of JVMs whether anything of them is wanted, once that is certain: into one of which nothing is, nothing is
    /// put. Asked until it is answered.
    pub(super) fn judge_jvms(&mut self, now: KernelTime) {
        for pid in self.verdicts.asked() {
            let process = self.processes.look(pid, now);
            let facts = Early {
                process: &process,
                connection: None,
            };
            let nothing = want(self.upper_bound(&facts)) == Want::Nothing;
            let wanted = match nothing {
                true => Some(false),
                false => self.filter.decides(&process),
            };
            if let Some(wanted) = wanted {
                self.verdicts.answer(pid, wanted);
            }
        }
    }

    /// Decides by what is known of a connection before its first request what of it can be wanted. What the filters
    /// refuse is still counted, and so its heads are copied.
    pub(super) fn judge_connection(&mut self, open: &ConnOpen) {
        let process = self.processes.look(open.pid, open.time);
        self.judge_process(&process);
        // Who asks is told by the first request where the handshake was not seen.
        let Some(role) = open.role else {
            return;
        };
        let facts = Early {
            process: &process,
            connection: Some((role, Some(open.local), Some(open.remote))),
        };
        let mut most = want(self.upper_bound(&facts));
        let info = ConnectionInfo {
            conn: Some(open.conn),
            local: Some(open.local),
            remote: Some(open.remote),
            netns: open.netns,
            tls: None,
            tls_info: None,
            join: None,
        };
        if !self.filter.may_admit_connection(role, &info, &process) {
            most = most.min(Want::Heads);
        }
        let told = match self.policies.told.get(&open.pid) {
            Some(Told::Ignore) => return,
            Some(Told::Want(want)) => *want,
            None => self.policies.most,
        };
        let want = if most < told { most } else { Want::All };
        self.policies.tell_connection(open, want);
    }

    /// Asks again about all that the kernel programs were told of. Others are judged when they do something.
    pub(super) fn judge_again(&mut self, most: Want, now: KernelTime) {
        self.policies.most = most;
        let told: Vec<u32> = self.policies.told.keys().copied().collect();
        for pid in told {
            self.judge(pid, now);
        }
        let connections: Vec<ConnOpen> = self
            .policies
            .connections
            .values()
            .map(|(open, _)| *open)
            .collect();
        for open in connections {
            self.judge_connection(&open);
        }
    }

    /// The highest level that a transaction with these facts can get, or that metrics need.
    fn upper_bound(&mut self, facts: &Early<'_>) -> Level {
        self.highest(facts, Audience::upper_bound)
    }

    /// The highest level at which a transaction with these facts can leave.
    pub(super) fn leaves_at(&mut self, facts: &Early<'_>) -> Level {
        self.highest(facts, Audience::leaves_at)
    }

    fn highest(
        &mut self,
        facts: &Early<'_>,
        bound: impl Fn(&Audience, &dyn Facts, &mut Buffers) -> Level,
    ) -> Level {
        // A pod's label or a domain may choose any of the stacks.
        let general = [&self.telemetry, &self.access].into_iter().flatten();
        let bounds = general
            .chain(self.stacks.others())
            .map(|audience| bound(audience, facts, &mut self.buffers));
        bounds.max().unwrap_or(Level::None).min(most(facts.process))
    }
}
