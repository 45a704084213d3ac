//! What lowers a transaction's level after its rules: the CPU budget, sampling, a trace that nobody keeps.
//!
//! Enters: what the rules decided; the highest level that the CPU budget allows. Leaves: what is left of it, and what was
//! wanted. Holds: what is lowered says so; what nobody gets is not copied from the kernel either.

use super::{Choice, Pipeline, Stage, want};
use crate::conn::Limits;
use crate::enrich::Process;
use crate::event::{KernelTime, Want};
use crate::redact::SpanIds;
use crate::rules::expr::Facts;
use crate::rules::{Decision, Level, TransactionFacts};
use crate::sampling::{Outcome, Sampling};
use crate::telemetry::ledger::LeftOut;
use crate::transaction::Transaction;

impl Pipeline {
    /// From now on nothing gets a higher level. False: that was so before.
    pub fn allow(&mut self, level: Level, now: KernelTime) -> bool {
        if self.stage.policies.allowed == level {
            return false;
        }
        self.stage.policies.allowed = level;
        self.table.set_limits(self.lowered_limits());
        let want = self.want();
        self.stage.judge_again(want, now);
        true
    }

    /// The most that anybody gets of anything.
    pub fn want(&self) -> Want {
        self.most.min(want(self.stage.policies.allowed))
    }

    /// Bodies that nobody gets are not kept.
    pub(super) fn lowered_limits(&self) -> Limits {
        let mut limits = self.limits;
        limits.body.capture &= self.stage.policies.allowed == Level::Full;
        limits
    }
}

impl Stage {
    /// What waits here is of the memory of connections.
    pub(super) fn share(&mut self, limits: Limits) {
        self.held.share(limits.total_memory);
        self.joins.share(limits.total_memory);
    }

    /// Lowers what is above the level that is allowed; what was wanted, where that was more.
    pub(super) fn lower(&self, decisions: &mut [Option<Decision>; 2]) -> [Option<Level>; 2] {
        let allowed = self.policies.allowed;
        decisions.each_mut().map(|decision| {
            let decided = decision.as_mut().filter(|d| d.level > allowed)?;
            let wanted = std::mem::replace(&mut decided.level, allowed);
            if allowed == Level::None {
                *decision = None;
            }
            Some(wanted)
        })
    }

    /// Leaves out what the stack's sampling does not keep of what its telemetry wants, down to the least level that it
    /// has to give.
    pub(super) fn sample(
        &mut self,
        choice: Choice,
        (transaction, process): (&Transaction, &Process),
        decision: &mut Option<Decision>,
        ids: &mut SpanIds,
    ) -> Result<Sampling, LeftOut> {
        let audience = self.stacks.telemetry(choice, &mut self.telemetry);
        let (Some(audience), Some(decided)) = (audience, decision.as_mut()) else {
            return Ok(Sampling::default());
        };
        if !audience.sampler.is_on() {
            return Ok(Sampling::default());
        }
        let facts = TransactionFacts {
            transaction,
            process,
        };
        let asked = (transaction, &facts as &dyn Facts);
        let outcome = audience
            .sampler
            .decide(asked, decided, ids, &mut self.buffers);
        self.ledger.sampled(outcome);
        match outcome {
            Outcome::Always => Ok(Sampling::default()),
            Outcome::Kept(sampling) => Ok(sampling),
            Outcome::LeftOut(reason) if audience.least == Level::None => {
                *decision = None;
                Err(reason)
            }
            Outcome::LeftOut(_) => {
                let wanted = std::mem::replace(&mut decided.level, audience.least);
                Ok(Sampling {
                    wanted_level: (wanted > audience.least).then_some(wanted),
                    ..Sampling::default()
                })
            }
        }
    }

    /// Leaves out what makes no span where nobody takes anything else.
    pub(super) fn without_span(
        &mut self,
        choice: Choice,
        sampled: Result<Sampling, LeftOut>,
        decision: &mut Option<Decision>,
        ids: &SpanIds,
    ) -> Result<Sampling, LeftOut> {
        let (Some(reason), true) = (ids.no_span, decision.is_some()) else {
            return sampled;
        };
        self.ledger.no_span(reason);
        let audience = self.stacks.telemetry(choice, &mut self.telemetry);
        if audience.is_some_and(|audience| audience.takes_without_span()) {
            return sampled;
        }
        *decision = None;
        Err(reason)
    }
}
