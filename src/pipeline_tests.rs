//! Levels by rule, from a transaction to the sinks.

use super::*;
use crate::config::{Direction, TraceContextPolicy};
use crate::config::{HttpCapture, Macro, Rate, Rule, Tap};
use crate::conn::Limits;
use crate::rules::sample;
use crate::sink::{Delivery, ProgressDelivery, Sink};
use crate::transaction::BodyLimits;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, UNIX_EPOCH};

/// Keeps what it gets: level, rule, whether there are headers and bodies.
#[derive(Default)]
struct Kept(Mutex<Vec<(Level, Option<String>, bool)>>);

impl Sink for Kept {
    fn offer(&self, delivery: Delivery) {
        let capture = &delivery.capture;
        let headers = capture
            .transaction
            .request
            .as_ref()
            .is_some_and(|r| !r.headers.is_empty());
        let rule = capture.decision.rule.as_deref().map(str::to_owned);
        self.0
            .lock()
            .expect("not poisoned")
            .push((capture.decision.level, rule, headers));
        delivery.ticket.taken();
    }

    fn takes_progress(&self) -> bool {
        false
    }

    fn offer_progress(&self, delivery: ProgressDelivery) {
        delivery.ticket.taken();
    }
}

fn rule(name: &str, expr: &str, level: Level) -> Rule {
    Rule {
        name: Some(name.into()),
        expr: expr.into(),
        level,
    }
}

fn audience(default: Level, rules: &[Rule], least: Level) -> (Audience, Arc<Kept>) {
    let kept = Arc::new(Kept::default());
    let macros = [Macro {
        name: "created".into(),
        expr: "http.res.status == 201".into(),
    }];
    let audience = Audience {
        rules: Ruleset::compile(default, rules, &macros).expect("rules compile"),
        least,
        sampler: Sampler::new(&HttpCapture::default(), &[]).expect("a sampler"),
        redactor: Redactor::new(&HttpCapture::default()).expect("a redactor"),
        payloads: None,
        sinks: Fanout::new(vec![kept.clone()]),
    };
    (audience, kept)
}

fn stage(telemetry: Audience, access: Option<Audience>) -> Stage {
    let tap = tap();
    Stage {
        ledger: Ledger::new(),
        processes: Processes::new(&BTreeMap::new()),
        clock: Clock::new(KernelTime(0), UNIX_EPOCH),
        ids: Ids::new(TraceContextPolicy::Auto),
        filter: Filter::new(&tap).expect("a filter"),
        telemetry: Some(telemetry),
        access,
        policies: Policies::default(),
        buffers: Buffers::default(),
    }
}

/// A POST to `/api/v2/orders` answered 201 in 1.5 s, of a process that is gone.
fn give(stage: &mut Stage) {
    let mut transaction = sample::orders().transaction;
    transaction.pid = u32::MAX - 1;
    stage.transaction(Raw::new(transaction));
}

fn kept(kept: &Kept) -> Vec<(Level, Option<String>, bool)> {
    kept.0.lock().expect("not poisoned").clone()
}

#[test]
fn each_audience_gets_a_transaction_at_the_level_of_its_own_rules() {
    let rules = [
        rule("no get", "http.req.method == \"GET\"", Level::None),
        rule("slow", "http.duration > 1s and created()", Level::Headers),
        rule("all", "true", Level::Full),
    ];
    let (telemetry, spans) = audience(Level::None, &rules, Level::None);
    let (access, lines) = audience(
        Level::Full,
        &[rule("posts", "http.req.method == \"POST\"", Level::Summary)],
        Level::None,
    );
    let mut stage = stage(telemetry, Some(access));
    give(&mut stage);
    assert_eq!(kept(&spans), [(Level::Headers, Some("slow".into()), true)]);
    assert_eq!(
        kept(&lines),
        [(Level::Summary, Some("posts".into()), false)]
    );
    assert_eq!(stage.ledger.snapshot().transactions.seen, 1);
}

#[test]
fn what_every_audience_gives_level_none_is_left_out_and_its_process_too_where_no_rule_can_want_it()
{
    for (expr, wanted) in [
        ("src.process.pid == 7 and http.res.status >= 500", false),
        ("http.res.status >= 500", true),
    ] {
        let (telemetry, spans) = audience(
            Level::None,
            &[rule("errors", expr, Level::Full)],
            Level::None,
        );
        let mut stage = stage(telemetry, None);
        give(&mut stage);
        assert_eq!(kept(&spans), []);
        assert_eq!(stage.ledger.snapshot().transactions.left_out.level_none, 1);
        let expected: &[Policy] = if wanted {
            &[]
        } else {
            &[Policy::Ignore(u32::MAX - 1)]
        };
        assert_eq!(stage.policies.changes, expected, "{expr}");
    }
}

#[test]
fn report_usage_gets_a_summary_of_what_rules_leave_out() {
    let (telemetry, spans) = audience(
        Level::Headers,
        &[rule("none", "true", Level::None)],
        Level::Summary,
    );
    let mut stage = stage(telemetry, None);
    give(&mut stage);
    assert_eq!(kept(&spans), [(Level::Summary, None, false)]);
}

/// Two in three of the transactions that follow one another are of a process that may send one in a minute.
fn limited(least: Level, keep: &[&str]) -> (Stage, Arc<Kept>, Arc<Kept>) {
    let mut capture = HttpCapture::default();
    capture.sample.per_process = Some(Rate {
        count: 1,
        period: Duration::from_secs(60),
    });
    capture.sample.keep = keep.iter().map(|expr| (*expr).to_owned()).collect();
    let (mut telemetry, spans) = audience(Level::Headers, &[], least);
    telemetry.sampler = Sampler::new(&capture, &[]).expect("a sampler");
    let (access, lines) = audience(Level::Summary, &[], Level::None);
    (stage(telemetry, Some(access)), spans, lines)
}

#[test]
fn what_sampling_leaves_out_is_in_the_ledger_under_its_reason() {
    let (mut stage, spans, lines) = limited(Level::None, &[]);
    stage.access = None;
    (0..3).for_each(|_| give(&mut stage));
    assert_eq!((kept(&spans).len(), kept(&lines).len()), (1, 0));
    let ledger = stage.ledger.snapshot();
    assert_eq!(ledger.transactions.left_out.rate_limited, 2);
    assert_eq!((ledger.sampling.asked, ledger.sampling.kept), (3, 1));
    assert_eq!(ledger.sampling.left_out.rate_limited, 2);
    assert_eq!(ledger.imbalance(), 0);

    let (mut stage, spans, _) = limited(Level::None, &["http.res.status == 201"]);
    (0..3).for_each(|_| give(&mut stage));
    assert_eq!(kept(&spans).len(), 3);
    assert_eq!(stage.ledger.snapshot().sampling.always_kept, 3);
}

#[test]
fn access_logs_have_a_line_of_what_sampling_leaves_out_of_telemetry() {
    let (mut stage, spans, lines) = limited(Level::None, &[]);
    (0..3).for_each(|_| give(&mut stage));
    assert_eq!((kept(&spans).len(), kept(&lines).len()), (1, 3));
    let ledger = stage.ledger.snapshot();
    assert_eq!((ledger.transactions.exported, ledger.imbalance()), (3, 0));
    assert_eq!(ledger.sampling.left_out.rate_limited, 2);
}

#[test]
fn report_usage_gets_a_summary_of_what_sampling_lowers() {
    let (mut stage, spans, _) = limited(Level::Summary, &[]);
    (0..2).for_each(|_| give(&mut stage));
    let levels: Vec<Level> = kept(&spans).iter().map(|kept| kept.0).collect();
    assert_eq!(levels, [Level::Headers, Level::Summary]);
}

fn settings(tap: &Tap, telemetry: Audience, resource: &[(&str, &str)]) -> Settings {
    let attributes = resource.iter().map(|(k, v)| ((*k).into(), (*v).into()));
    Settings {
        limits: Limits {
            body: BodyLimits {
                capture: true,
                max_bytes: 10,
            },
            connection_memory: 1 << 20,
            total_memory: 1 << 20,
        },
        progress: Duration::from_secs(60),
        trace_context: TraceContextPolicy::Off,
        resource: attributes.collect(),
        filter: Filter::new(tap).expect("a filter"),
        telemetry: Some(telemetry),
        access: None,
    }
}

fn tap() -> Tap {
    Tap {
        direction: Direction::All,
        ignore_loopback: false,
        http_stack: None,
        exclude: Vec::new(),
        include: Vec::new(),
        trace_context: TraceContextPolicy::Auto,
        progress: Duration::from_secs(60),
    }
}

/// As [`give`], of this very process.
fn give_own(stage: &mut Stage) -> Arc<Process> {
    let mut transaction = sample::orders().transaction;
    transaction.pid = std::process::id();
    let process = stage.processes.get(transaction.pid, transaction.timing.end);
    stage.transaction(Raw::new(transaction));
    process
}

#[test]
fn after_an_exchange_everything_is_of_the_new_settings() {
    let (telemetry, before) = audience(Level::Summary, &[], Level::None);
    let limits = settings(&tap(), audience(Level::None, &[], Level::None).0, &[]).limits;
    let mut pipeline = Pipeline::new(Table::new(limits), stage(telemetry, None), None);
    give(&mut pipeline.stage);
    let configured = |process: &Process| {
        let found = process.resource.iter().find(|(name, _)| &**name == "team");
        found.map(|(_, value)| format!("{value:?}"))
    };
    assert_eq!(configured(&give_own(&mut pipeline.stage)), None);

    let (telemetry, after) = audience(Level::Headers, &[], Level::None);
    let retired = pipeline.exchange(
        settings(&tap(), telemetry, &[("team", "shop")]),
        KernelTime(1),
    );
    assert!(retired.telemetry.is_some());
    give(&mut pipeline.stage);
    let process = give_own(&mut pipeline.stage);
    assert!(configured(&process).is_some_and(|value| value.contains("shop")));
    assert_eq!(kept(&before), [(Level::Summary, None, false)]);
    assert_eq!(kept(&after), [(Level::Headers, None, true)]);
    assert_eq!(pipeline.stage.ledger.snapshot().imbalance(), 0);
}

#[test]
fn processes_that_the_new_settings_may_want_are_looked_at_again() {
    let none = || audience(Level::None, &[], Level::None).0;
    let limits = settings(&tap(), none(), &[]).limits;
    let mut pipeline = Pipeline::new(Table::new(limits), stage(none(), None), None);
    give(&mut pipeline.stage);
    let pid = u32::MAX - 1;
    assert_eq!(
        pipeline.policies().collect::<Vec<_>>(),
        [Policy::Ignore(pid)]
    );
    pipeline.exchange(settings(&tap(), none(), &[]), KernelTime(1));
    assert_eq!(pipeline.policies().count(), 0);
    let (telemetry, _) = audience(Level::Summary, &[], Level::None);
    pipeline.exchange(settings(&tap(), telemetry, &[]), KernelTime(2));
    assert_eq!(
        pipeline.policies().collect::<Vec<_>>(),
        [Policy::Forget(pid)]
    );
}
