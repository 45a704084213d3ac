//! The exchange of what a configuration decides: whole, between two records.
//!
//! Connections, sessions and processes stay as they are. What of a transaction is decided when it ends is decided by
//! the settings of that moment alone; of a body that was on its way, what the limits before it did not keep is not there.

use super::{Audience, Pipeline, Stage};
use crate::config::TraceContextPolicy;
use crate::conn::Limits;
use crate::event::KernelTime;
use crate::rules::Filter;
use std::collections::BTreeMap;
use std::time::Duration;

/// All that a configuration decides in the line.
pub struct Settings {
    pub limits: Limits,
    /// Between two reports of one transaction.
    pub progress: Duration,
    pub trace_context: TraceContextPolicy,
    /// Attributes that every resource gets.
    pub resource: BTreeMap<String, String>,
    pub filter: Filter,
    pub telemetry: Option<Audience>,
    pub access: Option<Audience>,
}

/// What the settings before were made of, to be let go by another thread than that of the line.
pub struct Retired {
    pub filter: Filter,
    pub telemetry: Option<Audience>,
    pub access: Option<Audience>,
}

impl Pipeline {
    /// Takes other settings, for all that comes after.
    pub fn exchange(&mut self, settings: Settings, now: KernelTime) -> Retired {
        self.table.set_limits(settings.limits);
        self.table.set_progress(settings.progress);
        let stage = &mut self.stage;
        stage.ids.set_policy(settings.trace_context);
        stage.processes.set_configured(&settings.resource);
        let retired = Retired {
            filter: std::mem::replace(&mut stage.filter, settings.filter),
            telemetry: std::mem::replace(&mut stage.telemetry, settings.telemetry),
            access: std::mem::replace(&mut stage.access, settings.access),
        };
        stage.judge_again(now);
        retired
    }
}

impl Stage {
    /// Asks again about the processes that the kernel programs leave out. Others are judged when they do something.
    fn judge_again(&mut self, now: KernelTime) {
        let ignored: Vec<u32> = self.policies.ignored.iter().copied().collect();
        for pid in ignored {
            self.judge(pid, now);
        }
    }
}
