//! When levels are lowered to save CPU, and when they are raised again.
//!
//! Enters: how much CPU was taken in a time. Leaves: the highest level that is allowed.
//! Holds: pure; one step at a time; a step down is taken on the use of a whole window, one up after use was well below
//! the budget for a while, which doubles where the step before it did not last. Without a budget there is no bound.

use crate::rules::Level;
use std::time::Duration;

/// Over which use is compared with the budget. After a step it begins anew: what the step saves has to show first.
const WINDOW: Duration = Duration::from_secs(3);
/// Below this share of the budget, in percent, there may be room for more.
const ROOM: u64 = 70;
/// For how long, before levels are raised; doubled up to the second where a raise does not last as long as it.
const QUIET: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(320)];

/// The steps, from all that is wanted down.
const STEPS: [Level; 4] = [Level::Full, Level::Headers, Level::Summary, Level::None];

/// What became of levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The highest level that is allowed now.
    Lowered(Level),
    Raised(Level),
}

/// The controller.
#[derive(Debug)]
pub struct Control {
    /// In thousandths of a core; None: no bound.
    budget: Option<u32>,
    /// Index into [`STEPS`].
    at: usize,
    /// Of the window: how long it has gone on, and CPU taken in it.
    window: Duration,
    taken: Duration,
    /// For how long there was room.
    quiet: Duration,
    /// How long there has to be.
    needed: Duration,
    /// Since levels were raised last.
    raised: Option<Duration>,
    /// Use over the last whole window, in thousandths of a core.
    used: u32,
}

impl Control {
    pub fn new(budget: Option<u32>) -> Control {
        Control {
            budget,
            at: 0,
            window: Duration::ZERO,
            taken: Duration::ZERO,
            quiet: Duration::ZERO,
            needed: QUIET[0],
            raised: None,
            used: 0,
        }
    }

    /// Another budget. Without one all levels are allowed at once.
    pub fn set_budget(&mut self, budget: Option<u32>) -> Option<Step> {
        if self.budget == budget {
            return None;
        }
        let was_lowered = self.at > 0;
        let at = if budget.is_some() { self.at } else { 0 };
        *self = Control {
            at,
            ..Control::new(budget)
        };
        (was_lowered && at == 0).then(|| Step::Raised(self.level()))
    }

    /// The highest level that is allowed.
    pub fn level(&self) -> Level {
        STEPS[self.at]
    }

    /// Use over the last whole window, in thousandths of a core.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// In `time` so much CPU was taken.
    pub fn took(&mut self, time: Duration, cpu: Duration) -> Option<Step> {
        self.window += time;
        self.taken += cpu;
        if let Some(raised) = &mut self.raised {
            *raised += time;
        }
        if self.window < WINDOW {
            return None;
        }
        let window = std::mem::take(&mut self.window);
        let taken = std::mem::take(&mut self.taken);
        let used = taken.as_micros().saturating_mul(1000) / window.as_micros().max(1);
        self.used = u32::try_from(used).unwrap_or(u32::MAX);
        let budget = u64::from(self.budget?);
        let used = u64::from(self.used);
        if used > budget {
            self.quiet = Duration::ZERO;
            return self.lower();
        }
        if used * 100 > budget * ROOM {
            self.quiet = Duration::ZERO;
            return None;
        }
        self.quiet += window;
        (self.quiet >= self.needed).then(|| self.raise()).flatten()
    }

    fn lower(&mut self) -> Option<Step> {
        if let Some(raised) = self.raised.take() {
            self.needed = match raised < self.needed {
                true => (self.needed * 2).min(QUIET[1]),
                false => QUIET[0],
            };
        }
        if self.at + 1 == STEPS.len() {
            return None;
        }
        self.at += 1;
        Some(Step::Lowered(self.level()))
    }

    fn raise(&mut self) -> Option<Step> {
        self.quiet = Duration::ZERO;
        if self.at == 0 {
            return None;
        }
        self.at -= 1;
        self.raised = Some(Duration::ZERO);
        Some(Step::Raised(self.level()))
    }
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
