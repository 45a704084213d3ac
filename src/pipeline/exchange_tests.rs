//! An exchange of settings while the line runs, and the stacks of domains.

use super::tests::{audience, give, kept, limited, settings, stage, tap};
use super::*;
use crate::config::Tap;
use crate::rules::sample;

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
