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

fn rule(name: &str, expr: &str, level: Level) -> Rule {
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
fn give(stage: &mut Stage) {
    let mut transaction = sample::orders().transaction;
    transaction.pid = u32::MAX - 1;
    stage.transaction(Raw::new(Box::new(transaction)));
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

/// A stage whose processes are those of `proc`, and the far end of its questions.
fn asking(telemetry: Audience, proc: &std::path::Path) -> (Stage, crate::enrich::identity::Asked) {
    let (lookups, asked) = crate::enrich::identity::Lookups::pair();
    let processes = Processes::at_root(proc, Default::default(), Some(lookups));
    let stage = Stage {
        processes,
        ..stage(telemetry, None)
    };
    (stage, asked)
}

/// Process 7 in a container.
fn in_container(proc: &std::path::Path) -> String {
    let id = "0123456789abcdef".repeat(4);
    let dir = proc.join("7");
    std::fs::create_dir_all(&dir).expect("a folder");
    let stat = "7 (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0";
    std::fs::write(dir.join("stat"), stat).expect("written");
    std::fs::write(dir.join("cgroup"), format!("0::/docker/{id}\n")).expect("written");
    id
}

fn of_process_7(stage: &mut Stage) {
    let mut transaction = sample::orders().transaction;
    transaction.pid = 7;
    stage.transaction(Raw::new(Box::new(transaction)));
}

fn named(id: &str) -> (String, crate::enrich::identity::Answer) {
    let container = crate::enrich::identity::Container {
        name: Some("web".into()),
        ..Default::default()
    };
    let answer = crate::enrich::identity::Answer::Known(Arc::new(container));
    (id.to_owned(), answer)
}

#[test]
fn a_transaction_waits_for_the_names_of_its_container_and_then_goes_by_them() {
    let proc = tempfile::tempdir().expect("a folder");
    let id = in_container(proc.path());
    let rules = [rule("web", "src.container.name == \"web\"", Level::Headers)];
    let (telemetry, spans) = audience(Level::None, &rules, Level::None);
    let (mut stage, mut asked) = asking(telemetry, proc.path());
    of_process_7(&mut stage);
    of_process_7(&mut stage);
    assert_eq!(kept(&spans), []);
    assert_eq!(stage.ledger.snapshot().transactions.in_flight, 2);
    assert_eq!(
        asked
            .questions
            .try_recv()
            .map(|asked| asked.container)
            .as_ref(),
        Ok(&id)
    );
    asked.answers.send(named(&id)).expect("sent");
    stage.news();
    let expected = (Level::Headers, Some("web".to_owned()), true);
    assert_eq!(kept(&spans), [expected.clone(), expected]);
    assert_eq!(stage.ledger.snapshot().transactions.in_flight, 0);
    // Known now: nothing waits any more.
    of_process_7(&mut stage);
    assert_eq!(kept(&spans).len(), 3);
}

#[test]
fn without_an_answer_a_transaction_goes_on_after_a_second_and_at_the_end() {
    let proc = tempfile::tempdir().expect("a folder");
    in_container(proc.path());
    let (telemetry, spans) = audience(Level::Summary, &[], Level::None);
    let (mut stage, _asked) = asking(telemetry, proc.path());
    of_process_7(&mut stage);
    let end = sample::orders().transaction.timing.end;
    stage.give_up(KernelTime(end.0 + 1));
    assert_eq!(kept(&spans), []);
    stage.give_up(KernelTime(end.0 + 2_000_000_000));
    assert_eq!(kept(&spans), [(Level::Summary, None, false)]);

    let (telemetry, spans) = audience(Level::Summary, &[], Level::None);
    let (mut stage, _asked) = asking(telemetry, proc.path());
    of_process_7(&mut stage);
    stage.release(true);
    assert_eq!(kept(&spans), [(Level::Summary, None, false)]);
}

#[test]
fn what_waits_is_bounded_and_what_finds_no_room_goes_on() {
    let proc = tempfile::tempdir().expect("a folder");
    in_container(proc.path());
    let (telemetry, spans) = audience(Level::Summary, &[], Level::None);
    let (mut stage, _asked) = asking(telemetry, proc.path());
    for _ in 0..2000 {
        of_process_7(&mut stage);
    }
    let waiting = stage.ledger.snapshot().transactions.in_flight;
    assert_eq!(waiting, 1024);
    assert_eq!(kept(&spans).len() as u64, 2000 - waiting);
}

#[test]
fn a_process_that_the_names_of_its_container_leave_out_is_told_to_the_kernel() {
    let proc = tempfile::tempdir().expect("a folder");
    let id = in_container(proc.path());
    let (telemetry, _) = audience(Level::Full, &[], Level::None);
    let (mut stage, asked) = asking(telemetry, proc.path());
    let include = crate::config::Include {
        container: Some("other".into()),
        ..Default::default()
    };
    let tap = Tap {
        include: vec![include],
        ..Tap::default()
    };
    stage.filter = Filter::new(&tap).expect("a filter");
    stage.judge(7, KernelTime(1));
    assert_eq!(stage.policies.changes().collect::<Vec<_>>(), []);
    asked.answers.send(named(&id)).expect("sent");
    stage.news();
    assert_eq!(
        stage.policies.changes().collect::<Vec<_>>(),
        [Policy::Ignore(7)]
    );
}

#[test]
fn nothing_is_said_of_a_jvm_before_its_container_is_known() {
    let include = crate::config::Include {
        container: Some("other".into()),
        ..Default::default()
    };
    for (include, wanted) in [(vec![], true), (vec![include], false)] {
        let proc = tempfile::tempdir().expect("a folder");
        let id = in_container(proc.path());
        let (telemetry, _) = audience(Level::Full, &[], Level::None);
        let (mut stage, asked) = asking(telemetry, proc.path());
        let tap = Tap {
            include,
            ..Tap::default()
        };
        stage.filter = Filter::new(&tap).expect("a filter");
        stage.verdicts.ask(7);
        stage.judge_jvms(KernelTime(1));
        assert_eq!(stage.verdicts.answered(7), None);
        asked.answers.send(named(&id)).expect("sent");
        stage.news();
        stage.judge_jvms(KernelTime(2));
        assert_eq!(stage.verdicts.answered(7), Some(wanted));
    }
}

#[test]
fn of_a_jvm_at_level_none_nothing_is_wanted() {
    let proc = tempfile::tempdir().expect("a folder");
    in_container(proc.path());
    let (telemetry, _) = audience(Level::None, &[], Level::None);
    let (mut stage, _asked) = asking(telemetry, proc.path());
    stage.verdicts.ask(7);
    stage.judge_jvms(KernelTime(1));
    assert_eq!(stage.verdicts.answered(7), Some(false));
}

#[test]
fn a_new_program_is_judged_anew_and_told_to_the_kernel_again() {
    let proc = tempfile::tempdir().expect("a folder");
    let (telemetry, _) = audience(Level::Full, &[], Level::None);
    let (mut stage, _asked) = asking(telemetry, proc.path());
    let include = |uid| Tap {
        include: vec![crate::config::Include {
            uid: Some(uid),
            ..Default::default()
        }],
        ..Tap::default()
    };
    in_container(proc.path());
    std::fs::write(proc.path().join("7/status"), "Uid:\t5\t5\t5\t5\n").expect("written");
    stage.filter = Filter::new(&include(6)).expect("a filter");
    stage.judge_anew(7, KernelTime(1));
    stage.judge_anew(7, KernelTime(2));
    stage.filter = Filter::new(&include(5)).expect("a filter");
    stage.judge_anew(7, KernelTime(3));
    assert_eq!(
        stage.policies.changes().collect::<Vec<_>>(),
        [Policy::Ignore(7), Policy::Ignore(7), Policy::Forget(7)]
    );
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

/// As [`give`], of this very process.
fn give_own(stage: &mut Stage) -> Arc<Process> {
    let mut transaction = sample::orders().transaction;
    transaction.pid = std::process::id();
    let process = stage.processes.get(transaction.pid, transaction.timing.end);
    stage.transaction(Raw::new(Box::new(transaction)));
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
        [Policy::Want(pid, Want::Nothing)]
    );
    pipeline.exchange(settings(&tap(), none(), &[]), KernelTime(1));
    assert_eq!(pipeline.policies().count(), 0);
    let (telemetry, _) = audience(Level::Summary, &[], Level::None);
    pipeline.exchange(settings(&tap(), telemetry, &[]), KernelTime(2));
    assert_eq!(
        pipeline.policies().collect::<Vec<_>>(),
        [Policy::Want(pid, Want::Heads)]
    );
}

/// Another stack beside the general one, for the host of [`give`].
fn of_shop(telemetry: Audience) -> Stacks {
    let tap = Tap {
        endpoints: vec![crate::config::EndpointStack {
            domain: "api.example.com".into(),
            stack: Some("shop".into()),
        }],
        ..Tap::default()
    };
    let plugins = Plugins {
        telemetry: Some(telemetry),
        access: None,
    };
    Stacks::new(&tap, vec![("shop".into(), plugins)])
}

#[test]
fn each_stack_samples_by_its_own_settings() {
    let (general, spans_of_general) = audience(Level::Headers, &[], Level::None);
    let (shop, spans, _) = limited(Level::None, &[]);
    let mut stage = stage(general, None);
    stage.stacks = of_shop(shop.telemetry.expect("an audience"));
    (0..3).for_each(|_| give(&mut stage));
    assert_eq!((kept(&spans).len(), kept(&spans_of_general).len()), (1, 0));
    let ledger = stage.ledger.snapshot();
    assert_eq!(ledger.transactions.left_out.rate_limited, 2);
    assert_eq!(ledger.imbalance(), 0);

    // And the other way round: the limit of the general stack is none of the other's.
    let (mut stage, spans_of_general, _) = limited(Level::None, &[]);
    stage.access = None;
    let (shop, spans) = audience(Level::Headers, &[], Level::None);
    stage.stacks = of_shop(shop);
    (0..3).for_each(|_| give(&mut stage));
    assert_eq!((kept(&spans).len(), kept(&spans_of_general).len()), (3, 0));
}

#[test]
fn an_exchange_takes_the_stacks_of_domains_too() {
    let none = || audience(Level::None, &[], Level::None).0;
    let limits = settings(&tap(), none(), &[]).limits;
    let (before, spans_before) = audience(Level::Summary, &[], Level::None);
    let mut stage = stage(none(), None);
    stage.stacks = of_shop(before);
    let mut pipeline = Pipeline::new(Table::new(limits), stage, None);
    give(&mut pipeline.stage);
    let (after, spans_after) = audience(Level::Headers, &[], Level::None);
    let retired = pipeline.exchange(
        Settings {
            stacks: of_shop(after),
            ..settings(&tap(), none(), &[])
        },
        KernelTime(1),
    );
    assert_eq!(retired.stacks.others().count(), 1);
    give(&mut pipeline.stage);
    assert_eq!(kept(&spans_before), [(Level::Summary, None, false)]);
    assert_eq!(kept(&spans_after), [(Level::Headers, None, true)]);
    // Without the entry, the general stack has it, and that one wants nothing.
    pipeline.exchange(settings(&tap(), none(), &[]), KernelTime(2));
    give(&mut pipeline.stage);
    assert_eq!(kept(&spans_after).len(), 1);
    let ledger = pipeline.stage.ledger.snapshot();
    assert_eq!(ledger.transactions.left_out.level_none, 1);
    assert_eq!(ledger.imbalance(), 0);
}

#[test]
fn who_waits_for_a_container_goes_by_the_new_settings_when_others_are_asked() {
    let proc = tempfile::tempdir().expect("a folder");
    let id = in_container(proc.path());
    let (telemetry, before) = audience(Level::Summary, &[], Level::None);
    let (stage, _nobody_answers) = asking(telemetry, proc.path());
    let limits = settings(&tap(), audience(Level::None, &[], Level::None).0, &[]).limits;
    let mut pipeline = Pipeline::new(Table::new(limits), stage, None);
    of_process_7(&mut pipeline.stage);

    let rules = [rule("web", "src.container.name == \"web\"", Level::Headers)];
    let (telemetry, after) = audience(Level::None, &rules, Level::None);
    let (lookups, mut asked) = crate::enrich::identity::Lookups::pair();
    let retired = pipeline.exchange(
        Settings {
            lookups: LookupsChange::Take(Some(lookups)),
            ..settings(&tap(), telemetry, &[])
        },
        KernelTime(1),
    );
    assert!(retired.containers.is_some());
    pipeline.apply_ends();
    assert_eq!(
        asked
            .questions
            .try_recv()
            .map(|asked| asked.container)
            .as_ref(),
        Ok(&id)
    );
    asked.answers.send(named(&id)).expect("sent");
    pipeline.apply_ends();
    assert_eq!(kept(&before), []);
    assert_eq!(
        kept(&after),
        [(Level::Headers, Some("web".to_owned()), true)]
    );
    assert_eq!(pipeline.stage.ledger.snapshot().imbalance(), 0);
}

#[test]
fn who_waits_for_a_container_goes_on_at_once_when_nobody_is_asked_any_more() {
    let proc = tempfile::tempdir().expect("a folder");
    in_container(proc.path());
    let none = audience(Level::None, &[], Level::None).0;
    let limits = settings(&tap(), none, &[]).limits;
    let (telemetry, _) = audience(Level::Summary, &[], Level::None);
    let (stage, _asked) = asking(telemetry, proc.path());
    let mut pipeline = Pipeline::new(Table::new(limits), stage, None);
    of_process_7(&mut pipeline.stage);
    // Even when the process is gone by then.
    std::fs::remove_dir_all(proc.path().join("7")).expect("removed");
    let (telemetry, spans) = audience(Level::Summary, &[], Level::None);
    pipeline.exchange(
        Settings {
            lookups: LookupsChange::Take(None),
            ..settings(&tap(), telemetry, &[])
        },
        KernelTime(1),
    );
    pipeline.apply_ends();
    assert_eq!(kept(&spans), [(Level::Summary, None, false)]);
    assert_eq!(pipeline.stage.ledger.snapshot().imbalance(), 0);
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
