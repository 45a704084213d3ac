//! Levels by rule, from a transaction to the sinks.

use super::*;
use crate::config::TraceContextPolicy;
use crate::config::{HttpCapture, Include, Macro, Rate, Rule, Secret, Tap};
use crate::conn::Limits;
use crate::enrich::Wanted;
use crate::event::Want;
use crate::redact::Redactor;
use crate::rules::{Ruleset, sample};
use crate::sampling::Sampler;
use crate::sink::payload::{Next, PayloadOptions, PayloadStage};
use crate::sink::{Delivery, Fanout, ProgressDelivery, Sink};
use crate::transaction::BodyLimits;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, UNIX_EPOCH};

/// Keeps what it gets: level, rule, whether there are headers and bodies.
#[derive(Default)]
pub(super) struct Kept(Mutex<Vec<(Level, Option<String>, bool)>>);

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

pub(super) fn rule(name: &str, expr: &str, level: Level) -> Rule {
    Rule {
        name: Some(name.into()),
        expr: expr.into(),
        level,
    }
}

pub(super) fn audience(default: Level, rules: &[Rule], least: Level) -> (Audience, Arc<Kept>) {
    let kept = Arc::new(Kept::default());
    let macros = [Macro {
        name: "created".into(),
        expr: "http.res.status == 201".into(),
    }];
    let audience = Audience {
        rules: Ruleset::compile(default, rules, &macros).expect("rules compile"),
        least,
        counts_all: false,
        sampler: Sampler::new(&HttpCapture::default(), &[]).expect("a sampler"),
        redactor: Redactor::new(&HttpCapture::default()).expect("a redactor"),
        payloads: None,
        sinks: Fanout::new(vec![kept.clone()]),
    };
    (audience, kept)
}

pub(super) fn stage(telemetry: Audience, access: Option<Audience>) -> Stage {
    let tap = tap();
    Stage {
        ledger: Ledger::new(),
        processes: Processes::new(&BTreeMap::new()),
        clock: Clock::new(KernelTime(0), UNIX_EPOCH),
        ids: Ids::new(TraceContextPolicy::Auto),
        filter: Filter::new(&tap).expect("a filter"),
        telemetry: Some(telemetry),
        access,
        metrics: Metrics::new(Default::default(), Ledger::new(), UNIX_EPOCH),
        stacks: Default::default(),
        routes: Default::default(),
        measures: Default::default(),
        held: Default::default(),
        joins: Default::default(),
        policies: Policies::default(),
        buffers: Buffers::default(),
        verdicts: Default::default(),
    }
}

/// A POST to `/api/v2/orders` answered 201 in 1.5 s, of a process that is gone.
pub(super) fn give(stage: &mut Stage) {
    let mut transaction = sample::orders().transaction;
    transaction.pid = u32::MAX - 1;
    stage.transaction(Raw::new(Box::new(transaction)));
}

pub(super) fn kept(kept: &Kept) -> Vec<(Level, Option<String>, bool)> {
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
            &[Policy::Want(u32::MAX - 1, Want::Nothing)]
        };
        assert_eq!(
            stage.policies.changes().collect::<Vec<_>>(),
            expected,
            "{expr}"
        );
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
pub(super) fn limited(least: Level, keep: &[&str]) -> (Stage, Arc<Kept>, Arc<Kept>) {
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

pub(super) fn settings(tap: &Tap, telemetry: Audience, resource: &[(&str, &str)]) -> Settings {
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
        want: Want::All,
        progress: Duration::from_secs(60),
        trace_context: TraceContextPolicy::Off,
        join: Default::default(),
        wanted: Wanted {
            resource: attributes.collect(),
            ..Wanted::default()
        },
        lookups: LookupsChange::Keep,
        filter: Filter::new(tap).expect("a filter"),
        telemetry: Some(telemetry),
        access: None,
        stacks: Stacks::default(),
        routes: Default::default(),
        measures: Default::default(),
    }
}

pub(super) fn tap() -> Tap {
    Tap::default()
}

#[test]
fn metrics_count_what_sampling_leaves_out_and_not_what_level_none_does_but_for_http_metrics_alone()
{
    for (level, counts_all, rate, expected) in [
        (Level::Summary, false, None, Some("2")),
        (Level::Summary, false, Some(1), Some("2")),
        (Level::None, false, None, None),
        (Level::None, true, None, Some("2")),
    ] {
        let (mut telemetry, spans) = audience(level, &[], Level::None);
        telemetry.counts_all = counts_all;
        let mut capture = HttpCapture::default();
        capture.sample.per_endpoint = rate.map(|count| Rate {
            count,
            period: Duration::from_secs(3600),
        });
        telemetry.sampler = Sampler::new(&capture, &[]).expect("a sampler");
        let mut stage = stage(telemetry, None);
        give(&mut stage);
        give(&mut stage);
        let text = stage.metrics.prometheus();
        let name = "http_client_request_duration_seconds_count{";
        let count = text.lines().find(|line| line.starts_with(name));
        let count = count.and_then(|line| line.rsplit(' ').next());
        assert_eq!(count, expected, "{level:?} {counts_all} {rate:?}");
        let spans = kept(&spans).len();
        assert_eq!(spans == 2, level > Level::None && rate.is_none());
    }
}

#[test]
fn for_metrics_of_every_transaction_the_kernel_copies_heads() {
    let (mut telemetry, _) = audience(Level::None, &[], Level::None);
    assert_eq!(telemetry.highest(), Level::None);
    telemetry.counts_all = true;
    assert_eq!(want(telemetry.highest()), Want::Heads);
}

/// A line at level full whose payloads go to a server that never answers, from this level on, with room for one.
fn before_a_silent_store(
    server: &std::net::TcpListener,
    (level, from_level): (Level, Level),
) -> (Stage, Arc<Kept>) {
    let (mut telemetry, kept) = audience(level, &[], Level::None);
    let store = crate::config::ObjectStore {
        id: "payloads".into(),
        access_url: None,
        prefix: String::new(),
        layout: crate::config::Layout::Object,
        spool: None,
        kind: crate::config::ObjectStoreKind::S3(crate::config::S3Store {
            endpoint: server.local_addr().expect("an address").to_string(),
            bucket: "b".into(),
            region: "r".into(),
            insecure: true,
            credentials: Some((Secret::new("a"), Secret::new("b"))),
            ..crate::config::S3Store::default()
        }),
    };
    let options = PayloadOptions {
        max_queued_bytes: 1,
        ..PayloadOptions::default()
    };
    let ledger = Ledger::new();
    let sinks = telemetry.sinks.clone();
    let next: Next = Arc::new(move |capture, link, ticket| sinks.deliver(capture, link, ticket));
    let runtime = tokio::runtime::Handle::current();
    let payloads = PayloadStage::start(&store, options, ledger.clone(), &runtime, next);
    telemetry.payloads = Some(Destination {
        stage: Arc::new(payloads.expect("a stage")),
        from_level,
    });
    let mut stage = stage(telemetry, None);
    stage.ledger = ledger;
    (stage, kept)
}

#[tokio::test]
async fn below_the_store_s_level_no_payload_is_wanted() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let levels = (Level::Headers, Level::Full);
    let (mut stage, spans) = before_a_silent_store(&server, levels);
    give(&mut stage);
    assert_eq!(kept(&spans), [(Level::Headers, None, true)]);
    assert_eq!(stage.ledger.snapshot().payloads.wanted, 0);
}

#[tokio::test]
async fn where_there_is_little_room_for_payloads_level_full_is_lowered_and_nothing_is_lost() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let levels = (Level::Full, Level::Summary);
    let (mut stage, spans) = before_a_silent_store(&server, levels);
    give(&mut stage);
    assert_eq!(kept(&spans), [], "its telemetry waits for the store");
    give(&mut stage);
    assert_eq!(kept(&spans), [(Level::Headers, None, true)]);
    let payloads = stage.ledger.snapshot().payloads;
    assert_eq!((payloads.wanted, payloads.in_flight), (2, 1));
    assert_eq!(payloads.left_out.lowered, 1);
}

#[test]
fn a_connection_of_a_process_that_the_filters_refuse_counts_as_filtered() {
    let (audience, _) = audience(Level::Headers, &[], Level::None);
    let mut stage = stage(audience, None);
    let open = ConnOpen {
        time: KernelTime(1),
        pid: std::process::id(),
        conn: crate::event::ConnId(1),
        local: ([127, 0, 0, 1], 1).into(),
        remote: ([127, 0, 0, 1], 2).into(),
        role: None,
        whole: true,
        netns: 0,
        local_isn: 0,
        remote_isn: 0,
    };
    for _ in 0..3 {
        stage.connection(ConnectionFate::Seen);
    }
    stage.uncaptured(Uncaptured::UnknownStack, Some(&open));
    stage.uncaptured(Uncaptured::NotHttp, None);
    let other = Include {
        pid: Some(1),
        ..Include::default()
    };
    stage.filter = Filter::new(&Tap {
        include: vec![other],
        ..tap()
    })
    .expect("a filter");
    stage.uncaptured(Uncaptured::UnknownStack, Some(&open));
    let counted = stage.ledger.snapshot().connections.uncaptured;
    assert_eq!(
        (counted.unknown_stack, counted.not_http, counted.filtered),
        (1, 1, 1)
    );
}
