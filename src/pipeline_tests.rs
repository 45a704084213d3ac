//! Levels by rule, from a transaction to the sinks.

use super::*;
use crate::config::TraceContextPolicy;
use crate::config::{HttpCapture, Macro, Rule, Tap};
use crate::rules::sample;
use crate::sink::{Delivery, ProgressDelivery, Sink};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::UNIX_EPOCH;

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
        redactor: Redactor::new(&HttpCapture::default()).expect("a redactor"),
        payloads: None,
        sinks: Fanout::new(vec![kept.clone()]),
    };
    (audience, kept)
}

fn stage(telemetry: Audience, access: Option<Audience>) -> Stage {
    let tap = Tap { ..Tap::default() };
    Stage {
        ledger: Ledger::new(),
        processes: Processes::new(&BTreeMap::new()),
        clock: Clock::new(KernelTime(0), UNIX_EPOCH),
        ids: Ids::new(TraceContextPolicy::Auto),
        filter: Filter::new(&tap).expect("a filter"),
        telemetry: Some(telemetry),
        access,
        stacks: Default::default(),
        held: Default::default(),
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
    stage.transaction(Raw::new(transaction));
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
    assert_eq!(asked.questions.try_recv().as_ref(), Ok(&id));
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
    assert_eq!(stage.policies.changes, []);
    asked.answers.send(named(&id)).expect("sent");
    stage.news();
    assert_eq!(stage.policies.changes, [Policy::Ignore(7)]);
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
        stage.policies.changes,
        [Policy::Ignore(7), Policy::Ignore(7), Policy::Forget(7)]
    );
}
