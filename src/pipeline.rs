//! The line from a kernel record to the sinks: event → connection → transaction → process → level → redaction → sinks.
//!
//! Enters: raw records of the two rings, or of a recorded file. Leaves: redacted captures, offered to the sinks.
//! Holds: everything happens on the caller's thread and nothing waits; ends of connections, sessions and processes are
//! put off until all data records that are there have been read, so that no end overtakes the bytes before it.

mod audience;
mod ends;
mod exchange;
mod held;
mod joining;
mod lowering;
mod placing;
mod policies;
mod progress;
mod stacks;

pub use audience::{Audience, Destination};
pub use exchange::{LookupsChange, Measures, Retired, Settings};
pub use held::Held;
pub use joining::{JoinSettings, Joins};
pub use policies::{Policies, Policy, want};
pub use stacks::{Choice, NO_STACK, Plugins, Stacks};

use crate::conn::{ConnectionFate, Limits, Output, Table};
use crate::enrich::{Clock, Ids, Process, Processes, Strategy};
use crate::event::record::Ring;
use crate::event::{self, ConnOpen, Event, KernelTime, Want};
use crate::join::{ClientEnd, Kept, Key};
use crate::metrics::{Beside, Exemplar, Metrics};
use crate::probe::finder::Verdicts;
use crate::redact::{About, Raw};
use crate::routes::{Found, Route, Routes};
use crate::rules::expr::Buffers;
use crate::rules::{Decision, Filter, Level, TransactionFacts};
use crate::sampling::Sampling;
use crate::telemetry::Ledger;
use crate::telemetry::ledger::{LeftOut, Lost, Ticket, Uncaptured};
use crate::trace::{Begin, Begun};
use crate::transaction::{Mark, Progress, Transaction};
use ends::Ends;
use std::sync::Arc;

/// The agent's own line of stages.
pub struct Pipeline {
    table: Table,
    stage: Stage,
    ends: Ends,
    /// Gets every record at the moment when it is used.
    witness: Option<Witness>,
    /// As the configuration has them, whatever level is allowed.
    limits: Limits,
    most: Want,
}

/// Takes records in the order in which the pipeline uses them, so that a replay needs no order of its own.
pub type Witness = Box<dyn FnMut(Ring, &[u8]) + Send>;

/// What becomes of a transaction once it is whole.
pub struct Stage {
    pub ledger: Ledger,
    pub processes: Processes,
    pub clock: Clock,
    pub ids: Ids,
    pub filter: Filter,
    /// Spans, log records and payloads; absent: no plugin asks for them.
    pub telemetry: Option<Audience>,
    /// Lines of `access_logs`.
    pub access: Option<Audience>,
    /// What is counted of transactions.
    pub metrics: Metrics,
    /// How they are counted.
    pub measures: Measures,
    /// Names of paths.
    pub routes: Routes,
    /// The stacks beside the general one, which `telemetry` and `access` are of.
    pub stacks: Stacks,
    /// Transactions that wait for their process's identity.
    pub held: Held,
    /// What gives both ends of a connection the same ids.
    pub joins: Joins,
    /// Processes whose verdict by the filters is new, for the kernel programs.
    pub policies: Policies,
    /// Memory of the evaluation of rules.
    pub buffers: Buffers,
    /// What was found in processes, and when.
    pub verdicts: Verdicts,
}

impl Pipeline {
    pub fn new(table: Table, mut stage: Stage, witness: Option<Witness>) -> Self {
        stage.share(table.limits());
        Pipeline {
            limits: table.limits(),
            most: stage.policies.most(),
            table,
            stage,
            ends: Ends::default(),
            witness,
        }
    }

    fn witness(&mut self, ring: Ring, record: &[u8]) {
        if let Some(witness) = &mut self.witness {
            witness(ring, record);
        }
    }

    /// Takes a control record: opens, bindings and execs at once, ends when [`Pipeline::apply_ends`] is called.
    pub fn control(&mut self, record: &[u8]) {
        let Some(event) = self.decode(record) else {
            return;
        };
        if ends::is_end(&event) {
            return self.ends.push(record);
        }
        self.witness(Ring::Control, record);
        match event {
            Event::TlsBind(tls) => {
                self.stage.policies.saw_session(tls.pid);
                self.table.handle(&event, &mut self.stage);
            }
            Event::ConnOpen(open) => {
                self.table.handle(&event, &mut self.stage);
                self.stage.judge_connection(&open);
            }
            Event::Exec(exec) => {
                self.stage.processes.exec(&exec);
                self.stage.joins.exec(exec.pid, exec.time);
                self.table.handle(&event, &mut self.stage);
                self.stage.judge_anew(exec.pid, exec.time);
            }
            other => self.table.handle(&other, &mut self.stage),
        }
    }

    /// Takes a data record.
    pub fn data(&mut self, record: &[u8]) {
        self.data_after(record, |_| ());
    }

    /// Takes a data record; `read_control` gives what the control ring holds to [`Pipeline::control`], and is called
    /// where the record's connection is not known yet.
    pub fn data_after(&mut self, record: &[u8], read_control: impl FnOnce(&mut Self)) {
        let Some(event) = self.decode(record) else {
            return;
        };
        if let Event::Data(data) = &event {
            if data.conn.is_some_and(|conn| !self.table.knows(conn)) {
                read_control(self);
            }
            if data.tls.is_some() && data.conn.is_none() {
                self.stage.policies.saw_session(data.pid);
            }
        }
        self.witness(Ring::Data, record);
        self.table.handle(&event, &mut self.stage);
    }

    /// Applies the ends put off so far. To be called when the data ring has been read empty.
    pub fn apply_ends(&mut self) {
        let mut ends = std::mem::take(&mut self.ends);
        for record in ends.iter() {
            let Some(event) = self.decode(record) else {
                continue;
            };
            self.witness(Ring::Control, record);
            self.table.handle(&event, &mut self.stage);
            match event {
                Event::Exit { pid, time } => {
                    self.stage.processes.exit(pid, time);
                    self.stage.joins.exit(pid, time);
                    self.stage.judge_no_more(pid);
                }
                Event::ConnClose(end) => self.stage.policies.close(end.conn),
                _ => {}
            }
        }
        ends.clear();
        self.ends = ends;
        self.stage.news();
    }

    /// What the kernel programs have to know, since the last call.
    pub fn policies(&mut self) -> impl Iterator<Item = Policy> {
        self.stage.policies.changes()
    }

    /// Time goes on: what waited too long is given up.
    pub fn tick(&mut self, now: KernelTime, clock: Clock) {
        self.stage.clock = clock;
        self.table
            .leave(self.stage.held.memory() + self.stage.joins.memory());
        self.table.tick(now, &mut self.stage);
        self.stage.give_up(now);
        self.stage.joins.tick(now);
        self.settle(now);
    }

    /// Lets go on who has waited for the other end of its connection. To be called after each round.
    pub fn settle(&mut self, now: KernelTime) {
        self.stage.release_joins(Some(now));
        self.stage.judge_jvms(now);
    }

    /// What the next agent has to know of the connections that are open.
    pub fn keep(&self) -> Vec<Kept> {
        self.table.keep()
    }

    /// The agent stops: what is unfinished leaves, marked.
    pub fn finish(&mut self, now: KernelTime) {
        self.apply_ends();
        self.table.finish(now, &mut self.stage);
        self.stage.release(true);
        self.stage.release_joins(None);
    }

    /// Connections and sessions followed now.
    pub fn open(&self) -> usize {
        self.table.open()
    }

    /// TLS sessions that are open.
    pub fn tls_sessions(&self) -> usize {
        self.table.tls_sessions()
    }

    /// Bytes held for them.
    pub fn memory(&self) -> u64 {
        self.table.memory() + self.stage.held.memory() + self.stage.joins.memory()
    }

    fn decode<'a>(&self, record: &'a [u8]) -> Option<Event<'a>> {
        match event::decode(record) {
            Ok(event) => Some(event),
            Err(error) => {
                self.stage.ledger.event_undecodable();
                tracing::debug!(%error, "kernel record passed over");
                None
            }
        }
    }
}

impl Stage {
    /// All audiences: a pod's label or a domain may choose any of the stacks.
    fn audiences(&self) -> impl Iterator<Item = &Audience> {
        let general = [&self.telemetry, &self.access].into_iter().flatten();
        general.chain(self.stacks.others())
    }

    /// What each audience gets.
    fn decide(
        &mut self,
        choice: Choice,
        transaction: &Transaction,
        process: &Process,
    ) -> [Option<Decision>; 2] {
        let facts = TransactionFacts {
            transaction,
            process,
        };
        let most = most(process);
        let general = [&self.telemetry, &self.access];
        self.stacks.audiences(choice, general).map(|audience| {
            let mut decision = audience?.decide(&facts, &mut self.buffers);
            decision.level = decision.level.min(most);
            (decision.level > Level::None).then_some(decision)
        })
    }

    /// Takes what runtimes said of containers: verdicts on processes may change, and who waited goes on.
    fn news(&mut self) {
        for process in self.processes.news() {
            self.judge_process(&process);
        }
        self.release(false);
    }

    /// Who has waited too long goes on without an answer.
    fn give_up(&mut self, now: KernelTime) {
        for process in self.processes.give_up(now) {
            self.judge_process(&process);
        }
        self.release(false);
    }

    /// Lets those go on whose process is known now, or all.
    fn release(&mut self, all: bool) {
        if self.held.is_empty() {
            return;
        }
        for (raw, ticket) in self.held.take() {
            let process = self.processes.get(raw.0.pid, raw.0.timing.end);
            if !all && process.identity.is_pending() {
                self.held.push(raw, ticket);
            } else {
                self.go(raw, ticket, process);
            }
        }
    }

    /// The way of a transaction whose process is known.
    fn go(&mut self, raw: Raw<Box<Transaction>>, ticket: Ticket, process: Arc<Process>) {
        if process.is_agent || !self.filter.admits(&raw.0, &process) {
            // One that was there before the agent made no exec.
            self.judge_process(&process);
            return ticket.left_out(LeftOut::Filtered);
        }
        if let Some((raw, ticket)) = self.await_other_end(raw, ticket) {
            self.leave(raw, ticket, process);
        }
    }

    /// The way of a transaction that is admitted, and waits for nothing.
    fn leave(&mut self, raw: Raw<Box<Transaction>>, ticket: Ticket, process: Arc<Process>) {
        let choice = self.stacks.choose(&raw.0, &process);
        let mut decisions = self.decide(choice, &raw.0, &process);
        let wanted = self.lower(&mut decisions);
        let counted =
            decisions[0].is_some() || wanted[0].is_some() || self.counts_all(choice, &process);
        let nothing_leaves = decisions.iter().all(Option::is_none);
        let route = match counted || !nothing_leaves {
            true => self.route(&raw.0),
            false => None,
        };
        if nothing_leaves {
            if counted {
                self.count(choice, (&raw.0, route.as_ref()), &process, None);
            }
            self.judge_process(&process);
            let lowered = wanted.iter().any(Option::is_some);
            return ticket.left_out(match lowered {
                true => LeftOut::CpuBudget,
                false => LeftOut::LevelNone,
            });
        }
        let id = self.ids.transaction(raw.0.lasting.map(|l| l.number));
        let mut ids = self.identify(&raw.0);
        let asked = (&*raw.0, &*process);
        let sampled = self.sample(choice, asked, &mut decisions[0], &mut ids);
        let sampled = self.without_span(choice, sampled, &mut decisions[0], &ids);
        if counted {
            // What sampling leaves out is counted, but there is no span to show.
            let shown = ids
                .shown()
                .filter(|_| decisions[0].is_some() && self.measures.exemplars);
            let exemplar = shown.map(|(trace_id, span_id)| Exemplar {
                trace_id: *trace_id,
                span_id: *span_id,
                time: self.clock.wall(raw.0.timing.end),
            });
            self.count(choice, (&raw.0, route.as_ref()), &process, exemplar);
        }
        let sampling = match sampled {
            Err(reason) if decisions[1].is_none() => return ticket.left_out(reason),
            Err(_) => Sampling::default(),
            Ok(sampling) => sampling,
        };
        if decisions
            .iter()
            .zip(&wanted)
            .any(|(d, w)| d.is_some() && w.is_some())
        {
            self.ledger.cpu_lowered();
        }
        // What sampling lowered had been lowered to save CPU first.
        let with = |sampling: Sampling, wanted: Option<Level>| Sampling {
            wanted_level: wanted.or(sampling.wanted_level),
            ..sampling
        };
        let sampling = with(sampling, wanted[0]);
        let of_access = with(Sampling::default(), wanted[1]);
        let start = self.clock.wall(raw.0.timing.start);
        let end = self.clock.wall(raw.0.timing.end);
        let about = |decision, sampling| About {
            id,
            process,
            decision,
            start,
            end,
            ids,
            sampling,
            route,
        };
        // Lines of `access_logs` are not sampled: each stands for itself.
        let abouts = match decisions {
            [None, None] => [None, None],
            [Some(telemetry), None] => [Some(about(telemetry, sampling)), None],
            [None, Some(access)] => [None, Some(about(access, of_access))],
            [Some(telemetry), Some(decision)] => {
                let telemetry = about(telemetry, sampling);
                let access = About {
                    decision,
                    sampling: of_access,
                    ..telemetry.clone()
                };
                [Some(telemetry), Some(access)]
            }
        };
        self.deliver(choice, raw, abouts, ticket);
    }

    /// Whether the stack counts transactions whatever their level is.
    fn counts_all(&self, choice: Choice, process: &Process) -> bool {
        let [telemetry, _] = self
            .stacks
            .audiences(choice, [&self.telemetry, &self.access]);
        most(process) > Level::None && telemetry.is_some_and(|audience| audience.counts_all)
    }

    /// The route of a transaction, where it has one.
    fn route(&mut self, transaction: &Transaction) -> Option<Route> {
        let found = self.routes.of(transaction);
        if found == Found::Full {
            self.ledger.route_overflowed();
        }
        found.route()
    }

    fn count(
        &mut self,
        choice: Choice,
        (transaction, route): (&Transaction, Option<&Route>),
        process: &Arc<Process>,
        exemplar: Option<Exemplar>,
    ) {
        let [telemetry, _] = self
            .stacks
            .audiences(choice, [&self.telemetry, &self.access]);
        let mut beside = Beside {
            route: route.map(|route| route.template.clone()),
            ..Beside::default()
        };
        if let Some(audience) = telemetry {
            let redactor = &audience.redactor;
            beside.host_hidden = redactor.hides_host();
            let (labels, overflow) = self.measures.labels.of(transaction, redactor);
            beside.labels = labels;
            if overflow > 0 {
                self.ledger.values_overflowed(overflow);
            }
        }
        self.metrics.count(transaction, process, beside, exemplar);
    }

    /// Gives the transaction to the audiences that something is decided for.
    fn deliver(
        &self,
        choice: Choice,
        raw: Raw<Box<Transaction>>,
        abouts: [Option<About>; 2],
        ticket: Ticket,
    ) {
        let ticket = ticket.shared();
        let alone = abouts.iter().flatten().count() == 1;
        let audiences = self
            .stacks
            .audiences(choice, [&self.telemetry, &self.access]);
        let mut wanted = audiences
            .into_iter()
            .zip(abouts)
            .filter_map(|(audience, about)| Some((audience?, about?)))
            .peekable();
        let mut raw = Some(raw);
        while let Some((audience, about)) = wanted.next() {
            // The last audience takes the transaction itself, the one before it a copy.
            let own = match wanted.peek() {
                Some(_) => raw.as_ref().map(|raw| Raw(raw.0.clone())),
                None => raw.take(),
            };
            let Some(own) = own else { break };
            audience.deliver(own, about, (ticket.clone(), alone), &self.ledger);
        }
        ticket.taken();
    }
}

/// The highest level that the process itself lets anybody have.
fn most(process: &Process) -> Level {
    match process.identity.strategy {
        Strategy::Observe => Level::Full,
        Strategy::Audit => Level::Summary,
        Strategy::Ignore => Level::None,
    }
}

impl Output for Stage {
    fn transaction(&mut self, raw: Raw<Box<Transaction>>) {
        let ticket = self.ledger.transaction_seen();
        if raw.0.marks.has(Mark::HeadersCut) {
            self.ledger.headers_cut();
        }
        if self.joins.sdks.saw(&raw.0) {
            tracing::info!(
                pid = raw.0.pid,
                "this process exports spans of its own: by policy `auto` it gets no others"
            );
        }
        let process = self.processes.get(raw.0.pid, raw.0.timing.end);
        if process.identity.is_pending() && self.held.has_room(&raw.0) {
            return self.held.push(raw, ticket);
        }
        self.go(raw, ticket, process);
    }

    fn progress(&mut self, progress: Raw<Progress>) {
        self.report(&progress);
    }

    fn client_end(&mut self, end: ClientEnd) {
        self.joins.open(end);
    }

    fn client_gone(&mut self, key: &Key, time: KernelTime) {
        self.joins.close(key, time);
    }

    fn begins(&mut self, begun: Begun) {
        self.joins.begins(begun);
    }

    fn answers(&mut self, begin: Begin, by: Option<u32>, time: KernelTime) {
        self.joins.serving.ends(begin, by, time);
    }

    fn is_handling(&self, pid: u32, tid: u32) -> bool {
        self.joins.serving.is_handling(pid, tid)
    }

    fn lost(&mut self, reason: Lost, transactions: u64) {
        for _ in 0..transactions {
            self.ledger.transaction_seen().lost(reason);
        }
    }

    fn connection(&mut self, fate: ConnectionFate) {
        match fate {
            ConnectionFate::Seen => self.ledger.connection_seen(),
            ConnectionFate::Captured => self.ledger.connection_captured(),
            ConnectionFate::Uncaptured(reason) => self.ledger.connection_uncaptured(reason),
        }
    }

    fn uncaptured(&mut self, reason: Uncaptured, open: Option<&ConnOpen>) {
        let reason = match open {
            Some(open) => self.why_uncaptured(reason, open),
            None => reason,
        };
        self.ledger.connection_uncaptured(reason);
    }
}

#[cfg(test)]
#[path = "pipeline/exchange_tests.rs"]
mod exchange_tests;
#[cfg(test)]
#[path = "pipeline/live_tests.rs"]
mod live_tests;
#[cfg(test)]
#[path = "pipeline/measures_tests.rs"]
mod measures_tests;
#[cfg(test)]
#[path = "pipeline_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "pipeline/waiting_tests.rs"]
mod waiting_tests;
