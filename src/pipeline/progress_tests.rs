use super::*;
use crate::config::{Direction, HttpCapture, Rule, Tap};
use crate::conn::Output;
use crate::enrich::{Clock, Ids, Processes};
use crate::event::KernelTime;
use crate::metrics::Metrics;
use crate::pipeline::Policies;
use crate::redact::Redactor;
use crate::redact::sample::{policy, transaction};
use crate::rules::expr::Buffers;
use crate::rules::{Filter, Ruleset};
use crate::sampling::Sampler;
use crate::sink::{Delivery, Fanout, ProgressDelivery, Sink};
use crate::telemetry::Ledger;
use crate::transaction::{Schedule, Transaction};
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

/// What a sink was given: whether it was a report, the transaction's id, and the ids of its span.
type Told = (bool, String, [u8; 16], [u8; 8]);

struct Listener {
    told: Mutex<Vec<Told>>,
    takes_progress: bool,
}

impl Sink for Listener {
    fn offer(&self, delivery: Delivery) {
        let c = &delivery.capture;
        let told = (false, c.id.clone(), c.ids.trace_id, c.ids.span_id);
        self.told.lock().unwrap().push(told);
        delivery.ticket.taken();
    }

    fn takes_progress(&self) -> bool {
        self.takes_progress
    }

    fn offer_progress(&self, delivery: ProgressDelivery) {
        let c = &delivery.progress;
        let told = (true, c.id.clone(), c.ids.trace_id, c.ids.span_id);
        self.told.lock().unwrap().push(told);
        delivery.ticket.taken();
    }
}

struct Line {
    stage: Stage,
    listener: Arc<Listener>,
    schedule: Schedule,
    transaction: Transaction,
}

impl Line {
    fn new(level: Level, direction: Direction, takes_progress: bool) -> Line {
        Line::with(level, &[], direction, takes_progress)
    }

    fn with(level: Level, rules: &[Rule], direction: Direction, takes_progress: bool) -> Line {
        let listener = Arc::new(Listener {
            told: Mutex::default(),
            takes_progress,
        });
        let tap = Tap {
            direction,
            ..Tap::default()
        };
        let stage = Stage {
            ledger: Ledger::new(),
            processes: Processes::new(&Default::default()),
            clock: Clock::new(KernelTime(0), UNIX_EPOCH),
            ids: Ids::new(tap.trace_context),
            filter: Filter::new(&tap).unwrap(),
            telemetry: Some(Audience {
                sampler: Sampler::new(&HttpCapture::default(), &[]).expect("a sampler"),
                rules: Ruleset::compile(level, rules, &[]).unwrap(),
                least: Level::None,
                counts_all: false,
                redactor: Redactor::new(&policy()).unwrap(),
                payloads: None,
                sinks: Fanout::new(vec![listener.clone()]),
            }),
            access: None,
            metrics: Metrics::new(Default::default(), Ledger::new(), UNIX_EPOCH),
            stacks: Default::default(),
            routes: Default::default(),
            measures: Default::default(),
            held: Default::default(),
            joins: Default::default(),
            policies: Policies::default(),
            buffers: Buffers::default(),
            verdicts: Default::default(),
        };
        Line {
            stage,
            listener,
            schedule: Schedule::new(1_000),
            transaction: transaction("/a", &[], &[]),
        }
    }

    /// The transaction reports at `now`.
    fn report(&mut self, now: u64) {
        let now = KernelTime(now);
        assert!(self.schedule.tick(now));
        let start = self.transaction.timing.start;
        assert!(self.schedule.due(start, &mut self.transaction.lasting));
        let progress = Progress::at(self.transaction.clone(), now);
        self.stage.progress(Raw::new(progress));
    }
}

#[test]
fn reports_and_the_end_of_a_transaction_have_the_same_ids() {
    let mut line = Line::new(Level::Headers, Direction::All, true);
    let start = line.transaction.timing.start.0;
    line.report(start + 1_000);
    line.report(start + 2_000);
    line.stage.transaction(Raw::new(Box::new(line.transaction)));
    let told = line.listener.told.lock().unwrap().clone();
    let reports: Vec<bool> = told.iter().map(|t| t.0).collect();
    assert_eq!(reports, [true, true, false]);
    let ids = |t: &Told| (t.1.clone(), t.2, t.3);
    assert!(told.iter().all(|t| ids(t) == ids(&told[0])), "{told:?}");
    let s = line.stage.ledger.snapshot();
    assert_eq!((s.progress.seen, s.progress.exported), (2, 2));
    assert_eq!((s.transactions.seen, s.transactions.exported), (1, 1));
}

#[test]
fn a_report_that_nobody_wants_is_left_out_by_name_or_never_made() {
    let counts = |level, direction, takes| {
        let mut line = Line::new(level, direction, takes);
        let start = line.transaction.timing.start.0;
        line.report(start + 1_000);
        assert!(line.listener.told.lock().unwrap().is_empty());
        let p = line.stage.ledger.snapshot().progress;
        assert_eq!(p.imbalance(), 0);
        (p.seen, p.left_out.level_none, p.left_out.filtered)
    };
    assert_eq!(counts(Level::None, Direction::All, true), (1, 1, 0));
    assert_eq!(counts(Level::Full, Direction::Ingress, true), (1, 0, 1));
    assert_eq!(counts(Level::Full, Direction::All, false), (0, 0, 0));
}

#[test]
fn what_the_end_may_still_lower_to_none_is_not_told() {
    let quiet = |expr: &str| Rule {
        name: None,
        expr: expr.to_owned(),
        level: Level::None,
    };
    let counts = |expr| {
        let mut line = Line::with(Level::Full, &[quiet(expr)], Direction::All, true);
        let start = line.transaction.timing.start.0;
        line.report(start + 1_000);
        let p = line.stage.ledger.snapshot().progress;
        (p.left_out.level_none, p.exported)
    };
    // The duration is known at the end; the path is not the one asked for.
    assert_eq!(counts("http.duration < 1h"), (1, 0));
    assert_eq!(counts("http.req.path == \"/health\""), (0, 1));
}

#[test]
fn while_the_container_is_asked_for_nothing_is_told() {
    use crate::enrich::identity::{Answer, Lookups};
    let proc = tempfile::tempdir().expect("a folder");
    let id = "0123456789abcdef".repeat(4);
    let mut line = Line::new(Level::Full, Direction::All, true);
    let dir = proc.path().join(line.transaction.pid.to_string());
    std::fs::create_dir_all(&dir).expect("a folder");
    let stat = "7 (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0";
    std::fs::write(dir.join("stat"), stat).expect("written");
    std::fs::write(dir.join("cgroup"), format!("0::/docker/{id}\n")).expect("written");
    let (lookups, asked) = Lookups::pair();
    line.stage.processes = Processes::at_root(proc.path(), Default::default(), Some(lookups));
    let start = line.transaction.timing.start.0;
    line.report(start + 1_000);
    let p = line.stage.ledger.snapshot().progress;
    assert_eq!((p.left_out.level_none, p.exported), (1, 0));
    asked.answers.send((id, Answer::NotFound)).expect("sent");
    line.stage.news();
    line.report(start + 2_000);
    let p = line.stage.ledger.snapshot().progress;
    assert_eq!((p.left_out.level_none, p.exported), (1, 1));
    assert_eq!(p.imbalance(), 0);
}
