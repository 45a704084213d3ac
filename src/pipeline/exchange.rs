//! The exchange of what a configuration decides: whole, between two records.
//!
//! Connections, sessions and processes stay; what is made of a process (tags, attributes, internal networks, container)
//! is made anew when it is asked for next. What of a transaction is decided when it ends is decided by the settings of
//! that moment alone, for those that wait for their container too; of a body that was on its way, what the limits before
//! it did not keep is not there.

use super::{Audience, JoinSettings, Pipeline, Stacks};
use crate::config::TraceContextPolicy;
use crate::conn::Limits;
use crate::enrich::identity::Lookups;
use crate::enrich::{Directory, Wanted};
use crate::event::{KernelTime, Want};
use crate::metrics::Labels;
use crate::routes::Routes;
use crate::rules::Filter;
use std::time::Duration;

/// All that a configuration decides in the line.
pub struct Settings {
    pub limits: Limits,
    /// The most that anybody wants of anything.
    pub want: Want,
    /// Between two reports of one transaction.
    pub progress: Duration,
    pub trace_context: TraceContextPolicy,
    pub join: JoinSettings,
    /// What is made of processes.
    pub wanted: Wanted,
    pub lookups: LookupsChange,
    pub filter: Filter,
    pub telemetry: Option<Audience>,
    pub access: Option<Audience>,
    pub stacks: Stacks,
    pub routes: Routes,
    pub measures: Measures,
}

/// How transactions are counted.
pub struct Measures {
    /// Headers that are attributes.
    pub labels: Labels,
    /// A span shows what a duration means.
    pub exemplars: bool,
}

impl Default for Measures {
    fn default() -> Self {
        Measures {
            labels: Labels::default(),
            exemplars: true,
        }
    }
}

/// Whom containers are asked of from now on.
pub enum LookupsChange {
    /// Those who were asked before, with all that they said.
    Keep,
    /// Others, who are asked for every container anew; None: nobody.
    Take(Option<Lookups>),
}

/// What the settings before were made of, to be let go by another thread than that of the line.
pub struct Retired {
    pub filter: Filter,
    pub telemetry: Option<Audience>,
    pub access: Option<Audience>,
    pub stacks: Stacks,
    pub routes: Routes,
    pub measures: Measures,
    /// Where others are asked now.
    pub containers: Option<Directory>,
}

impl Pipeline {
    /// Takes other settings, for all that comes after.
    pub fn exchange(&mut self, settings: Settings, now: KernelTime) -> Retired {
        self.limits = settings.limits;
        self.stage.share(self.limits);
        self.most = settings.want;
        self.table.set_limits(self.lowered_limits());
        self.table.set_progress(settings.progress);
        let stage = &mut self.stage;
        stage.ids.set_policy(settings.trace_context);
        stage.joins.set(settings.join);
        stage.processes.set_wanted(settings.wanted);
        let containers = match settings.lookups {
            LookupsChange::Keep => None,
            LookupsChange::Take(lookups) => Some(stage.processes.set_lookups(lookups)),
        };
        let retired = Retired {
            filter: std::mem::replace(&mut stage.filter, settings.filter),
            telemetry: std::mem::replace(&mut stage.telemetry, settings.telemetry),
            access: std::mem::replace(&mut stage.access, settings.access),
            stacks: std::mem::replace(&mut stage.stacks, settings.stacks),
            routes: std::mem::replace(&mut stage.routes, settings.routes),
            measures: std::mem::replace(&mut stage.measures, settings.measures),
            containers,
        };
        let want = self.want();
        self.stage.judge_again(want, now);
        retired
    }
}
