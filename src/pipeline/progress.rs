//! The way of a progress report: process → lowest level that its transaction can still get → redaction → sinks. It has
//! a book of its own in the ledger.

use super::{Audience, Stage, most};
use crate::enrich::{Lookup, Process};
use crate::redact::{About, Raw};
use crate::rules::expr::{Buffers, Known};
use crate::rules::facts::{TransactionFacts, UpTo};
use crate::rules::{Decision, Level};
use crate::sampling::Sampling;
use crate::telemetry::ledger::LeftOut;
use crate::transaction::{Progress, Transaction};

impl Stage {
    /// Takes a report of a transaction that goes on. Its ids are those that the transaction has at its end.
    pub(super) fn report(&mut self, raw: &Raw<Progress>) {
        let so_far = raw.0.transaction();
        let Some(lasting) = so_far.lasting else {
            return;
        };
        if !self.audiences().any(listens) {
            return;
        }
        let ticket = self.ledger.progress_seen();
        let process = self.processes.get(so_far.pid, so_far.timing.end);
        if process.is_agent || !self.filter.admits(so_far, &process) {
            return ticket.left_out(LeftOut::Filtered);
        }
        if process.identity.lookup == Lookup::Pending {
            // The pod's label may yet choose a stack that wants less.
            return ticket.left_out(LeftOut::LevelNone);
        }
        let id = self.ids.transaction(Some(lasting.number));
        let ids = self.identify(so_far);
        let choice = self.stacks.choose(so_far, &process);
        let general = [&self.telemetry, &self.access];
        let audiences = self.stacks.audiences(choice, general);
        let mut wanted = levels(audiences, so_far, &process, &mut self.buffers);
        if wanted.is_empty() {
            return ticket.left_out(LeftOut::LevelNone);
        }
        for (_, level) in &mut wanted {
            *level = (*level).min(self.policies.allowed);
        }
        if self.policies.allowed == Level::None {
            return ticket.left_out(LeftOut::CpuBudget);
        }
        // What the ratio will leave out is not told of before.
        wanted
            .retain(|(audience, level)| *level <= audience.least || audience.sampler.reports(&ids));
        if wanted.is_empty() {
            return ticket.left_out(LeftOut::SampledOut);
        }
        let ticket = ticket.shared();
        let route = self.routes.of(so_far).route();
        for (audience, level) in wanted {
            let about = About {
                id: id.clone(),
                process: process.clone(),
                decision: Decision { level, rule: None },
                start: self.clock.wall(so_far.timing.start),
                end: self.clock.wall(so_far.timing.end),
                ids: ids.clone(),
                sampling: Sampling::default(),
                route: route.clone(),
            };
            audience.report(Raw(raw.0.clone()), about, ticket.clone());
        }
        ticket.taken();
    }
}

fn listens(audience: &Audience) -> bool {
    audience.sinks.takes_progress()
}

/// The lowest level that each can still get, of those who listen and get any. What the end may still lower to a level is
/// not shown above it now.
fn levels<'a>(
    audiences: [Option<&'a Audience>; 2],
    so_far: &Transaction,
    process: &Process,
    buffers: &mut Buffers,
) -> Vec<(&'a Audience, Level)> {
    let facts = TransactionFacts {
        transaction: so_far,
        process,
    };
    let facts = UpTo {
        facts: &facts,
        known: known(so_far),
    };
    let most = most(process);
    let listening = audiences.into_iter().flatten().filter(|a| listens(a));
    listening
        .map(|audience| (audience, audience.lower_bound(&facts, buffers).min(most)))
        .filter(|(_, level)| *level > Level::None)
        .collect()
}

/// How much is known of a transaction that goes on.
fn known(so_far: &Transaction) -> Known {
    match (&so_far.request, &so_far.response) {
        (_, Some(_)) => Known::Response,
        (Some(_), None) => Known::Request,
        (None, None) => Known::Connection,
    }
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
