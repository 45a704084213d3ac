//! Those who get a transaction, and what they make of it.

use crate::redact::{About, Raw, Redactor};
use crate::rules::expr::{Buffers, Facts};
use crate::rules::{Decision, Level, Ruleset};
use crate::sampling::Sampler;
use crate::sink::payload::PayloadStage;
use crate::sink::{Fanout, ProgressDelivery};
use crate::telemetry::Ledger;
use crate::telemetry::ledger::SharedTicket;
use crate::transaction::{Progress, Transaction};
use std::sync::Arc;

/// Those who get a transaction at the level that its rules give.
pub struct Audience {
    pub rules: Ruleset,
    /// The least level, whatever the rules say.
    pub least: Level,
    /// Metrics count every transaction, whatever its level; else those that get a level.
    pub counts_all: bool,
    /// Of what the rules want; the least level is given to all.
    pub sampler: Sampler,
    pub redactor: Redactor,
    /// The store that objects go to first.
    pub payloads: Option<Destination>,
    pub sinks: Fanout,
}

/// Where payloads go.
pub struct Destination {
    pub stage: Arc<PayloadStage>,
    /// The lowest level at which one is wanted.
    pub from_level: Level,
}

impl Audience {
    /// The level, and what decided it.
    pub(super) fn decide(&self, facts: &dyn Facts, buffers: &mut Buffers) -> Decision {
        let decision = self.rules.decide(facts, buffers);
        match decision.level < self.least {
            true => Decision {
                level: self.least,
                rule: None,
            },
            false => decision,
        }
    }

    /// The highest level that can come out, or that metrics need.
    pub(super) fn upper_bound(&self, facts: &dyn Facts, buffers: &mut Buffers) -> Level {
        self.leaves_at(facts, buffers).max(self.counted())
    }

    /// The highest level that can leave: what metrics alone need does not.
    pub(super) fn leaves_at(&self, facts: &dyn Facts, buffers: &mut Buffers) -> Level {
        self.rules.upper_bound(facts, buffers).max(self.least)
    }

    /// What has to be known of all that metrics count.
    fn counted(&self) -> Level {
        match self.counts_all {
            true => Level::Summary,
            false => Level::None,
        }
    }

    /// The highest level that can come out for any transaction, or that metrics need.
    pub fn highest(&self) -> Level {
        self.rules.highest().max(self.least).max(self.counted())
    }

    /// The lowest level that can come out.
    pub(super) fn lower_bound(&self, facts: &dyn Facts, buffers: &mut Buffers) -> Level {
        self.rules.lower_bound(facts, buffers).max(self.least)
    }

    /// Whether anything is made of a transaction beside its span.
    pub(super) fn takes_without_span(&self) -> bool {
        self.payloads.is_some() || self.sinks.takes_without_span()
    }

    /// Redacts, and offers to the stores. Where there is little room for payloads, what is of level full is lowered first.
    /// `alone`: no other audience takes the transaction.
    pub(super) fn deliver(
        &self,
        raw: Raw<Box<Transaction>>,
        mut about: About,
        (ticket, alone): (SharedTicket, bool),
        ledger: &Ledger,
    ) {
        let level = about.decision.level;
        let wanted = |to: &&Destination| level >= to.from_level;
        let stage = self.payloads.as_ref().filter(wanted).map(|to| &to.stage);
        let lowered = level == Level::Full && stage.is_some_and(|stage| stage.lowers());
        if lowered {
            about.decision.level = Level::Headers;
            about.sampling.wanted_level.get_or_insert(level);
            ledger.payload_lowered();
        }
        let (redacted, hits) = self.redactor.redact(raw, about);
        for (matcher, count) in hits.iter() {
            ledger.redacted(matcher, count);
        }
        ledger.bodies_left_out(redacted.bodies.left_out);
        let capture = Arc::new(redacted);
        if alone {
            self.sinks.show_alone(&capture);
        }
        match stage.filter(|_| !lowered) {
            Some(stage) => stage.offer(capture, ticket),
            None => self.sinks.deliver(capture, None, ticket),
        }
    }

    /// The same with a report of one that goes on.
    pub(super) fn report(&self, raw: Raw<Progress>, about: About, ticket: SharedTicket) {
        self.sinks.offer_progress(ProgressDelivery {
            progress: Arc::new(self.redactor.redact_progress(raw, about)),
            ticket,
        });
    }
}
