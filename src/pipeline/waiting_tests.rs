//! Transactions that wait for the names of their container, and processes that are judged by them.

use super::tests::{audience, kept, rule, settings, stage, tap};
use super::*;
use crate::config::Tap;
use crate::rules::sample;

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

/// The container that is asked for next.
fn asked_for(asked: &mut crate::enrich::identity::Asked) -> Option<String> {
    let question = asked.questions.try_recv();
    question.ok().map(|question| question.container)
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
    assert_eq!(asked_for(&mut asked), Some(id.clone()));
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
    assert_eq!(asked_for(&mut asked), Some(id.clone()));
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
