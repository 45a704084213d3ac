//! Sampling: which transactions leave, of those that a level keeps.
//!
//! Enters: a transaction whose level is decided, and the ids of its span. Leaves: kept, with the number that it stands
//! for, or left out, with the reason.
//! Holds: no clock (time comes with the transactions); the ratio asks the trace id alone (or `rv` of its trace state),
//! so that all spans of a trace meet the same fate wherever the same ratio is asked for, and a lower ratio keeps a part
//! of what a higher one keeps; the sum of [`Sampling::stands_for`] is the number of transactions, but for what a rate
//! left out since the last that it kept.
//!
//! The order: what a `keep` rule applies to is kept, and neither counts against a rate nor gets a threshold, since its
//! outcome chose it and not its trace id. Then the ratio, of the rule that decided the level where that has one. Then
//! the rates.

mod rate;
pub mod tracestate;

use crate::config::{HttpCapture, Macro, Ratio, Rule};
use crate::event::KernelTime;
use crate::redact::SpanIds;
use crate::rules::expr::{Buffers, Facts};
use crate::rules::{Decision, Level, RulesError, Ruleset};
use crate::telemetry::ledger::LeftOut;
use crate::transaction::Transaction;
use rate::Limiter;
use std::sync::Arc;

/// What sampling did to a capture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Transactions that this one stands for, itself included: 1 where nothing was left out.
    pub stands_for: f64,
    /// The level that its rules give, where it was lowered to save cost.
    pub wanted_level: Option<Level>,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling {
            stands_for: 1.0,
            wanted_level: None,
        }
    }
}

/// Why a transaction is kept, or left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// A `keep` rule applies.
    Always,
    /// Within ratio and rates.
    Kept(Sampling),
    /// By the ratio, or by a rate.
    LeftOut(LeftOut),
}

/// The sampling of one stack.
#[derive(Debug)]
pub struct Sampler {
    ratio: Ratio,
    /// Of rules that have one, by the rule's name.
    ratios: Vec<(Arc<str>, Ratio)>,
    keep: Ruleset,
    per_endpoint: Option<Limiter<Vec<u8>>>,
    per_process: Option<Limiter<u32>>,
    /// Name of the endpoint at hand.
    name: Vec<u8>,
}

impl Sampler {
    /// # Errors
    /// When a `keep` rule cannot be used.
    pub fn new(capture: &HttpCapture, macros: &[Macro]) -> Result<Sampler, RulesError> {
        let sample = &capture.sample;
        let keep: Vec<Rule> = sample
            .keep
            .iter()
            .map(|expr| Rule {
                name: None,
                expr: expr.clone(),
                level: Level::Full,
            })
            .collect();
        Ok(Sampler {
            ratio: sample.ratio,
            ratios: capture
                .by_rule
                .iter()
                .filter_map(|(name, own)| Some((name.as_str().into(), own.ratio?)))
                .collect(),
            keep: Ruleset::compile(Level::None, &keep, macros)?,
            per_endpoint: sample.per_endpoint.map(Limiter::new),
            per_process: sample.per_process.map(Limiter::new),
            name: Vec::new(),
        })
    }

    /// Names of the environment's variables that `keep` rules ask for.
    pub fn variables(&self) -> impl Iterator<Item = String> {
        self.keep.variables()
    }

    /// Whether it may leave anything out.
    pub fn is_on(&self) -> bool {
        let all = |ratio: &Ratio| *ratio == Ratio::ALL;
        let rates = self.per_endpoint.is_some() || self.per_process.is_some();
        rates || !all(&self.ratio) || !self.ratios.iter().all(|(_, ratio)| all(ratio))
    }

    /// Decides. Where the ratio keeps it, its threshold goes into the trace state.
    pub fn decide(
        &mut self,
        (transaction, facts): (&Transaction, &dyn Facts),
        decision: &Decision,
        ids: &mut SpanIds,
        buffers: &mut Buffers,
    ) -> Outcome {
        if self.keep.decide(facts, buffers).level > Level::None {
            return Outcome::Always;
        }
        let rule = decision.rule.as_ref();
        let own = rule.and_then(|rule| self.ratios.iter().find(|(name, _)| name == rule));
        let ratio = own.map_or(self.ratio, |(_, ratio)| *ratio);
        if !keeps(ratio, ids) {
            return Outcome::LeftOut(LeftOut::SampledOut);
        }
        match self.rates(transaction, weight(ratio)) {
            Some(stands_for) => {
                mark(ratio, ids);
                Outcome::Kept(Sampling {
                    stands_for,
                    ..Sampling::default()
                })
            }
            None => Outcome::LeftOut(LeftOut::RateLimited),
        }
    }

    /// Whether what goes on with these ids is within the ratio, whatever rule decides at its end.
    pub fn reports(&self, ids: &SpanIds) -> bool {
        let own = self.ratios.iter().map(|(_, ratio)| *ratio);
        own.chain([self.ratio]).all(|ratio| keeps(ratio, ids))
    }

    /// The weight of a transaction with what the rates left out before it; None: they leave it out.
    fn rates(&mut self, transaction: &Transaction, weight: f64) -> Option<f64> {
        let now: KernelTime = transaction.timing.end;
        let endpoint = self.per_endpoint.as_mut().map(|limiter| {
            endpoint(transaction, &mut self.name);
            limiter.bucket(self.name.as_slice(), now)
        });
        let process = self
            .per_process
            .as_mut()
            .map(|limiter| limiter.bucket(&transaction.pid, now));
        let mut buckets = [endpoint, process];
        // A transaction that one of them has no token for takes none of the other.
        if let Some(empty) = buckets.iter_mut().flatten().find(|b| !b.has_token()) {
            empty.left_out += weight;
            return None;
        }
        let before: f64 = buckets.iter_mut().flatten().map(|b| b.take()).sum();
        Some(weight + before)
    }
}

/// 56 random bits: those that the trace state gives, else the last ones of the trace id.
fn randomness(ids: &SpanIds) -> u64 {
    tracestate::read(&ids.tracestate)
        .random
        .unwrap_or_else(|| u128::from_be_bytes(ids.trace_id) as u64 & ((1 << tracestate::BITS) - 1))
}

fn keeps(ratio: Ratio, ids: &SpanIds) -> bool {
    ratio == Ratio::ALL || randomness(ids) >= ratio.threshold()
}

/// Transactions that one of this ratio stands for.
fn weight(ratio: Ratio) -> f64 {
    let all = (1u64 << tracestate::BITS) as f64;
    all / (all - ratio.threshold() as f64)
}

/// Writes the threshold where it is higher than that of those who sampled before. One that its own randomness
/// contradicts says nothing, and goes.
fn mark(ratio: Ratio, ids: &mut SpanIds) {
    if ratio == Ratio::ALL {
        return;
    }
    let before = tracestate::read(&ids.tracestate).threshold;
    let before = before.filter(|threshold| randomness(ids) >= *threshold);
    let threshold = before.unwrap_or(0).max(ratio.threshold());
    ids.tracestate = tracestate::with_threshold(&ids.tracestate, Some(threshold));
}

/// Who is asked: the name that the client asked for by TLS, else the host of the request, else the server's address.
fn endpoint(transaction: &Transaction, name: &mut Vec<u8>) {
    name.clear();
    let connection = &transaction.connection;
    let sni = connection
        .tls_info
        .as_ref()
        .and_then(|tls| tls.sni.as_ref());
    let host = transaction
        .request
        .as_ref()
        .and_then(|request| request.headers.get(b"host"));
    if let Some(host) = sni.map(String::as_bytes).or(host) {
        name.extend(host.iter().map(u8::to_ascii_lowercase));
    } else if let Some(remote) = connection.remote {
        name.extend(remote.to_string().into_bytes());
    }
}

#[cfg(test)]
mod tests;
