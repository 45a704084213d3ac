//! Which stack a transaction goes through: the pod's label, else the entry of its domain, else the general one.

use super::Audience;
use crate::config::{EndpointStack, Tap};
use crate::enrich::Process;
use crate::rules::facts::{authority, without_port};
use crate::transaction::Transaction;
use std::collections::HashMap;

/// What makes a pod or an entry name no stack at all.
pub const NO_STACK: &str = "none";

/// The stacks beside the general one.
#[derive(Default)]
pub struct Stacks {
    others: Vec<Plugins>,
    /// Where a stack of the configuration is.
    names: HashMap<String, Choice>,
    /// Exact names first, then those with `*`, the longest first.
    domains: Vec<(String, Choice)>,
}

/// The audiences of one stack.
#[derive(Default)]
pub struct Plugins {
    pub telemetry: Option<Audience>,
    pub access: Option<Audience>,
}

/// A stack, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// That of `tap.http`.
    General,
    Other(usize),
    /// Nothing is captured.
    Nothing,
}

impl Stacks {
    /// `others`: every stack but the general one, by name.
    pub fn new(tap: &Tap, others: Vec<(String, Plugins)>) -> Stacks {
        let mut names: HashMap<String, Choice> = HashMap::new();
        let mut list = Vec::new();
        for (name, plugins) in others {
            names.insert(name, Choice::Other(list.len()));
            list.push(plugins);
        }
        if let Some(general) = &tap.http_stack {
            names.insert(general.clone(), Choice::General);
        }
        names.insert(NO_STACK.to_owned(), Choice::Nothing);
        let choice = |entry: &EndpointStack| {
            let name = entry.stack.as_deref().unwrap_or(NO_STACK);
            let choice = names.get(name).copied().unwrap_or(Choice::Nothing);
            (entry.domain.clone(), choice)
        };
        let mut domains: Vec<(String, Choice)> = tap.endpoints.iter().map(choice).collect();
        domains.sort_by_key(|(domain, _)| (domain.starts_with("*."), usize::MAX - domain.len()));
        Stacks {
            others: list,
            names,
            domains,
        }
    }

    /// The stack of a transaction.
    pub fn choose(&self, transaction: &Transaction, process: &Process) -> Choice {
        if let Some(name) = process.identity.stack() {
            match self.names.get(name) {
                Some(choice) => return *choice,
                None => {
                    tracing::debug!(
                        pid = process.pid,
                        stack = name,
                        "a pod asks for a stack that is not configured"
                    );
                }
            }
        }
        self.of_domain(transaction).unwrap_or(Choice::General)
    }

    /// By the host that the request names, else by the name that TLS asked for.
    fn of_domain(&self, transaction: &Transaction) -> Option<Choice> {
        if self.domains.is_empty() {
            return None;
        }
        let host = transaction.request.as_ref().and_then(authority);
        let host = host.map(without_port);
        let tls = transaction.connection.tls_info.as_ref();
        let sni = tls.and_then(|tls| tls.sni.as_deref()).map(str::as_bytes);
        let entry = |name: Option<&[u8]>| {
            let name = name?;
            let bare = name.strip_suffix(b".").unwrap_or(name);
            let bare = bare
                .strip_prefix(b"[")
                .and_then(|name| name.strip_suffix(b"]"))
                .unwrap_or(bare);
            let mut domains = self.domains.iter();
            domains.find(|(domain, _)| matches(domain, bare))
        };
        entry(host)
            .or_else(|| entry(sni))
            .map(|(_, choice)| *choice)
    }

    /// Audiences of all stacks but the general one.
    pub fn others(&self) -> impl Iterator<Item = &Audience> {
        self.others
            .iter()
            .flat_map(|plugins| [&plugins.telemetry, &plugins.access])
            .flatten()
    }

    /// The telemetry of a choice, to be sampled; `general`: that of the general stack.
    pub(super) fn telemetry<'a>(
        &'a mut self,
        choice: Choice,
        general: &'a mut Option<Audience>,
    ) -> Option<&'a mut Audience> {
        match choice {
            Choice::General => general.as_mut(),
            Choice::Other(index) => self.others.get_mut(index)?.telemetry.as_mut(),
            Choice::Nothing => None,
        }
    }

    /// The audiences of a choice, in the order of [`Plugins`].
    pub(super) fn audiences<'a>(
        &'a self,
        choice: Choice,
        general: [&'a Option<Audience>; 2],
    ) -> [Option<&'a Audience>; 2] {
        match choice {
            Choice::General => general.map(Option::as_ref),
            Choice::Other(index) => match self.others.get(index) {
                Some(plugins) => [plugins.telemetry.as_ref(), plugins.access.as_ref()],
                None => [None, None],
            },
            Choice::Nothing => [None, None],
        }
    }
}

/// Names of hosts know no case; `*.` stands for at least one label.
fn matches(domain: &str, name: &[u8]) -> bool {
    match domain.strip_prefix('*') {
        None => name.eq_ignore_ascii_case(domain.as_bytes()),
        Some(end) => {
            let split = name.len().checked_sub(end.len()).filter(|at| *at > 0);
            let tail = split.and_then(|at| name.get(at..));
            tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end.as_bytes()))
        }
    }
}

#[cfg(test)]
#[path = "stacks_tests.rs"]
mod tests;
