//! What the status endpoint and the agent's own metrics show: put together from all parts when somebody looks.

use super::budget::Budget;
use super::reload::InForce;
use crate::capture::Shared;
use crate::guard::Guard;
use crate::probe::finder::Verdicts;
use crate::probe::gauges::Gauges;
use crate::probe::tier::Chosen;
use crate::telemetry::Ledger;
use crate::telemetry::state::{AgentState, Cpu, Look, MapFill, Memory, Program};
use crate::telemetry::status::{Connections, Source, Status};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Handles of all parts that have something to show.
pub(super) struct Watch {
    pub ledger: Ledger,
    pub shared: Arc<Shared>,
    pub verdicts: Verdicts,
    pub chosen: Chosen,
    pub in_force: InForce,
    pub gauges: Arc<Gauges>,
    pub guard: Guard,
    pub started: Instant,
    pub dear: Dear,
    pub budget: Budget,
}

/// How long what is dear to find out is shown again.
const SHOWN_AGAIN: Duration = Duration::from_secs(1);

/// What the kernel walks memory and maps for, some milliseconds each time: whoever asks often gets the same again.
#[derive(Default)]
pub(super) struct Dear(Mutex<Option<(Instant, Walked)>>);

#[derive(Clone)]
struct Walked {
    memory: Memory,
    maps: BTreeMap<&'static str, MapFill>,
}

impl Source for Watch {
    fn ready(&self) -> bool {
        self.verdicts.ready()
    }

    fn status(&self, who: Look) -> Status {
        // The tables are long, and metrics show none of them.
        let verdicts = match who {
            Look::Status => serde_json::to_value(self.verdicts.snapshot()).unwrap_or_default(),
            Look::Metrics | Look::Export => serde_json::Value::Null,
        };
        let load = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
        Status {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            config: self.in_force.status(),
            tier: self.chosen.tiers.to_string(),
            tiers_refused: self.chosen.refused.clone(),
            ready: self.verdicts.ready(),
            sandbox: self.guard.measures().clone(),
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            ledger: self.ledger.snapshot(),
            queues: Connections {
                connections: load(&self.shared.connections),
                tls_sessions: load(&self.shared.tls_sessions),
                connection_bytes: load(&self.shared.connection_bytes),
            },
            agent: self.agent(who),
            stacks: self.verdicts.stacks(),
            verdicts,
        }
    }
}

impl Watch {
    fn agent(&self, who: Look) -> AgentState {
        let Walked { memory, maps } = self.walked();
        AgentState {
            cpu_seconds: Cpu::now(),
            cpu_budget: self.budget.shown(),
            memory,
            rings: BTreeMap::from([
                ("data", self.shared.data_ring.look(who)),
                ("control", self.shared.control_ring.look(who)),
            ]),
            programs: self.programs(),
            maps,
            queues: self.ledger.queues().fills(),
        }
    }

    fn walked(&self) -> Walked {
        let mut last = self.dear.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |(at, _): &&(Instant, Walked)| at.elapsed() < SHOWN_AGAIN;
        if let Some((_, walked)) = last.as_ref().filter(fresh) {
            return walked.clone();
        }
        let walked = Walked {
            memory: Memory::now().unwrap_or_else(|error| {
                tracing::debug!(%error, "the agent's own memory cannot be read");
                Memory::default()
            }),
            maps: self.maps(),
        };
        *last = Some((Instant::now(), walked.clone()));
        walked
    }

    fn programs(&self) -> BTreeMap<String, Program> {
        let runs = self.gauges.runs().unwrap_or_else(|error| {
            tracing::debug!(%error, "runs of the kernel programs cannot be read");
            BTreeMap::new()
        });
        let program = |(name, runs): (String, crate::probe::gauges::Runs)| {
            let program = Program {
                runs: runs.count,
                run_seconds: runs.nanoseconds as f64 / 1e9,
            };
            (name, program)
        };
        runs.into_iter().map(program).collect()
    }

    fn maps(&self) -> BTreeMap<&'static str, MapFill> {
        let maps = self.gauges.maps().unwrap_or_else(|error| {
            tracing::debug!(%error, "maps of the kernel programs cannot be read");
            BTreeMap::new()
        });
        let fill = |(name, fill): (&'static str, crate::probe::gauges::Fill)| {
            let fill = MapFill {
                entries: fill.entries,
                max_entries: fill.max,
            };
            (name, fill)
        };
        maps.into_iter().map(fill).collect()
    }
}
