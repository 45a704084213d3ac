//! Which traffic is looked at: direction, loopback, processes, containers and pods.

mod exe;
mod include;
#[cfg(test)]
mod tests;

use crate::config::{Direction, Tap};
use crate::enrich::{Process, Strategy};
use crate::event::Role;
use crate::transaction::{ConnectionInfo, Transaction};
use exe::{Exe, exes};
use include::{IncludeRule, Known};

/// Compiled filters of `tap`.
pub struct Filter {
    direction: Direction,
    ignore_loopback: bool,
    exclude: Vec<Exe>,
    /// Of these, what goes over TLS.
    exclude_tls: Vec<Exe>,
    include: Vec<IncludeRule>,
}

/// A pattern cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    #[error("`{pattern}` in tap.filters is not a regular expression: {source}")]
    Regex {
        pattern: String,
        source: Box<regex::Error>,
    },
    #[error("in tap.filters: {0}")]
    Glob(#[from] globset::Error),
}

impl Filter {
    /// # Errors
    /// When a pattern of strategy `regex` is none.
    pub fn new(tap: &Tap) -> Result<Filter, FilterError> {
        Ok(Filter {
            direction: tap.direction,
            ignore_loopback: tap.ignore_loopback,
            exclude: exes(&tap.exclude)?,
            exclude_tls: exes(&tap.exclude_tls)?,
            include: tap
                .include
                .iter()
                .map(IncludeRule::new)
                .collect::<Result<_, _>>()?,
        })
    }

    /// Whether this transaction of this process is wanted.
    pub fn admits(&self, transaction: &Transaction, process: &Process) -> bool {
        self.admits_end(transaction.role, &transaction.connection, process)
    }

    /// Whether what this process asks, or answers, on this connection is wanted.
    pub fn admits_end(&self, role: Role, connection: &ConnectionInfo, process: &Process) -> bool {
        if self.ignore_loopback && is_loopback(connection) {
            return false;
        }
        self.admits_direction(role, connection, process)
            && self.admits_process(process, Some(connection))
    }

    /// Whether anything of this process can be wanted. Where not, nothing of it needs to be copied from the kernel.
    pub fn may_admit(&self, process: &Process) -> bool {
        self.admits_process(process, None)
    }

    /// Whether what this process says over TLS is wanted, for certain; None while that depends on what is still asked.
    /// Connections may be refused all the same.
    pub fn decides(&self, process: &Process) -> Option<bool> {
        let exe = process.exe.as_deref().unwrap_or(&process.name);
        if !self.may_admit_tls(process) {
            return Some(false);
        }
        if process.identity.is_pending() {
            return None;
        }
        let mut of_process = self
            .include
            .iter()
            .filter(|i| i.matches_process(process, exe, false));
        let known = |include: &IncludeRule| matches!(include.matches_workload(process), Known::Yes);
        (self.include.is_empty() || of_process.any(known)).then_some(true)
    }

    /// Whether anything that this process says over TLS can be wanted.
    pub fn may_admit_tls(&self, process: &Process) -> bool {
        self.may_admit(process) && !self.excludes_tls(process)
    }

    /// The same, now or when the process has become another user, which root can.
    pub fn may_come_to_admit_tls(&self, process: &Process) -> bool {
        let any_user = process.uid == Some(0);
        self.admits_process_as(process, None, any_user) && !self.excludes_tls(process)
    }

    fn excludes_tls(&self, process: &Process) -> bool {
        let exe = process.exe.as_deref().unwrap_or(&process.name);
        self.exclude_tls.iter().any(|pattern| pattern.matches(exe))
    }

    /// Whether anything can be wanted of a process that nothing is known of.
    pub fn admits_anyone(&self) -> bool {
        self.include.is_empty() || self.include.iter().any(IncludeRule::is_of_any_process)
    }

    /// Whether anything of this connection of this process can be wanted; `role`: which side of it the process is.
    pub fn may_admit_connection(
        &self,
        role: Role,
        connection: &ConnectionInfo,
        process: &Process,
    ) -> bool {
        let of_connection = |include: &IncludeRule| include.matches_connection(connection, process);
        !(self.ignore_loopback && is_loopback(connection))
            && self.admits_direction(role, connection, process)
            && (self.include.is_empty() || self.include.iter().any(of_connection))
    }

    fn admits_process(&self, process: &Process, connection: Option<&ConnectionInfo>) -> bool {
        self.admits_process_as(process, connection, false)
    }

    /// `any_user`: whichever user it is.
    fn admits_process_as(
        &self,
        process: &Process,
        connection: Option<&ConnectionInfo>,
        any_user: bool,
    ) -> bool {
        let exe = process.exe.as_deref().unwrap_or(&process.name);
        if process.identity.strategy == Strategy::Ignore
            || self.exclude.iter().any(|pattern| pattern.matches(exe))
        {
            return false;
        }
        let over_tls = connection.is_some_and(|c| c.tls.is_some() || c.tls_info.is_some());
        if over_tls && self.excludes_tls(process) {
            return false;
        }
        let included = |include: &IncludeRule| {
            // Of a process that may yet turn out to be wanted nothing is decided for good.
            let workload = match include.matches_workload(process) {
                Known::Yes => true,
                Known::No => false,
                Known::NotYet => connection.is_none(),
            };
            workload
                && include.matches_process(process, exe, any_user)
                && connection
                    .is_none_or(|connection| include.matches_connection(connection, process))
        };
        self.include.is_empty() || self.include.iter().any(included)
    }

    fn admits_direction(&self, role: Role, connection: &ConnectionInfo, process: &Process) -> bool {
        let private = &process.identity.private;
        let internal = connection.remote.map(|remote| private.contain(remote.ip()));
        match (self.direction, role) {
            (Direction::All, _) => true,
            (Direction::Ingress, Role::Server) | (Direction::Egress, Role::Client) => true,
            // An unknown peer is neither internal nor external.
            (Direction::EgressInternal, Role::Client) => internal == Some(true),
            (Direction::EgressExternal, Role::Client) => internal == Some(false),
            _ => false,
        }
    }
}

fn is_loopback(connection: &ConnectionInfo) -> bool {
    [connection.local, connection.remote]
        .into_iter()
        .flatten()
        .any(|address| address.ip().is_loopback())
}
