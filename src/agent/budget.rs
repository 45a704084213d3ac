//! The CPU budget (`limits.cpu`): what the agent takes is looked at each second, and levels follow.
//!
//! Enters: the CPU time of this process, and of the kernel programs while the kernel measures them. Leaves: the highest
//! level that is allowed, for the capture thread; log lines; what `/status` and metrics show.
//! Holds: what is allowed lies in one number ([`Shared`]), so that nothing waits for anybody.

mod control;

use crate::capture::Shared;
use crate::probe::gauges::Gauges;
use crate::rules::Level;
use crate::telemetry::state::{Cpu, CpuBudget};
use control::{Control, Step};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// How often use is looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// Shared between the task that looks and those who ask.
#[derive(Clone)]
pub(super) struct Budget(Arc<Mutex<State>>);

struct State {
    control: Control,
    shown: CpuBudget,
}

impl Budget {
    /// Looks each second from now on. `budget`: thousandths of a core; None: no bound.
    pub fn start(
        budget: Option<u32>,
        shared: Arc<Shared>,
        gauges: Arc<Gauges>,
        runtime: &Handle,
    ) -> Budget {
        let own = Budget(Arc::new(Mutex::new(State {
            control: Control::new(budget),
            shown: shown(budget),
        })));
        let budget = own.clone();
        runtime.spawn(async move {
            let mut clock = Clock::new(gauges);
            loop {
                tokio::time::sleep(PERIOD).await;
                budget.look(&mut clock, &shared);
            }
        });
        own
    }

    /// Another budget, of a configuration that is new.
    pub fn set(&self, budget: Option<u32>, shared: &Shared) {
        let mut state = self.lock();
        let step = state.control.set_budget(budget);
        state.shown.limit = shown(budget).limit;
        state.stepped(step, shared);
    }

    /// For `/status` and metrics; None: there is no budget.
    pub fn shown(&self) -> Option<CpuBudget> {
        let state = self.lock();
        (state.shown.limit > 0.0).then_some(state.shown)
    }

    fn look(&self, clock: &mut Clock, shared: &Shared) {
        let mut state = self.lock();
        if state.shown.limit == 0.0 {
            clock.forget();
            return;
        }
        let Some((time, cpu)) = clock.took() else {
            return;
        };
        let step = state.control.took(time, cpu);
        state.shown.used = f64::from(state.control.used()) / 1000.0;
        state.shown.probes = clock.probes_measured;
        state.stepped(step, shared);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn stepped(&mut self, step: Option<Step>, shared: &Shared) {
        let Some(step) = step else {
            return;
        };
        let level = self.control.level();
        shared.allow(level);
        self.shown.level = level.name();
        let (used, limit) = (self.shown.used, self.shown.limit);
        match step {
            Step::Lowered(_) => {
                self.shown.steps.lowered += 1;
                let say = match level {
                    Level::None => "nothing is captured any more, bytes are counted",
                    _ => "levels are lowered",
                };
                tracing::warn!(
                    used,
                    limit,
                    level = level.name(),
                    "the agent takes more CPU than limits.cpu: {say}"
                );
            }
            Step::Raised(_) => {
                self.shown.steps.raised += 1;
                tracing::info!(
                    used,
                    limit,
                    level = level.name(),
                    "within limits.cpu there is room again: levels are raised"
                );
            }
        }
    }
}

fn shown(budget: Option<u32>) -> CpuBudget {
    CpuBudget {
        limit: f64::from(budget.unwrap_or(0)) / 1000.0,
        level: Level::Full.name(),
        ..CpuBudget::default()
    }
}

/// CPU time since the last look.
struct Clock {
    gauges: Arc<Gauges>,
    last: Option<(Instant, Duration, u64)>,
    probes_measured: bool,
}

impl Clock {
    fn new(gauges: Arc<Gauges>) -> Clock {
        Clock {
            gauges,
            last: None,
            probes_measured: false,
        }
    }

    fn forget(&mut self) {
        self.last = None;
    }

    /// How long it is since the last look, and the CPU time taken since; None: there was none.
    fn took(&mut self) -> Option<(Duration, Duration)> {
        let now = Instant::now();
        let own = Cpu::now();
        let own = Duration::from_secs_f64((own.user + own.system).max(0.0));
        let programs = self.gauges.runs().unwrap_or_default();
        let programs = programs.values().map(|runs| runs.nanoseconds).sum();
        let (then, own_then, programs_then) = self.last.replace((now, own, programs))?;
        let probes = Duration::from_nanos(u64::saturating_sub(programs, programs_then));
        self.probes_measured = !probes.is_zero();
        let cpu = own.saturating_sub(own_then) + probes;
        Some((now.saturating_duration_since(then), cpu))
    }
}
