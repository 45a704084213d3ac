//! A library that only processes use which the filters leave out.

use super::{Asker, Stage, own_library};
use crate::harness::seen::Seen;
use crate::harness::servers::PYTHON;
use crate::harness::wait_until;
use crate::harness::{exchange, turn};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

fn wait_for(stage: &Stage, library: &Path, wanted: &str) {
    let now = || stage.verdict(library).map(|of| of["state"].clone());
    wait_until(
        Duration::from_secs(15),
        wanted,
        || now().is_some_and(|state| state == wanted).then_some(()),
        || format!("{:?}\n{:#}", now(), stage.agent.status()["verdicts"]),
    );
}

#[test]
fn a_library_of_processes_that_are_left_out_alone_is_not_probed_until_another_uses_it() {
    let _turn = turn();
    let stage = Stage::with(|config| {
        let filters = json!({"custom": [{"exe": "/left-out", "strategy": "suffix"}]});
        config.tap("filters", filters)
    });
    let library = own_library(&stage.work.folder("of-both"));
    let program = stage.work.path("left-out");
    std::fs::copy(PYTHON, &program).expect("copied");

    let mut out = Asker::start_as(&stage, &program, "out", &library);
    wait_for(&stage, &library, "filtered");
    let unseen = stage.calls("unseen", 5);
    out.ask(&unseen);

    let mut kept = Asker::start(&stage, "kept", &library);
    wait_for(&stage, &library, "attached");
    let seen = stage.calls("seen", 5);
    kept.ask(&seen);
    // The probes are in its memory too now, and take nothing there.
    let still_unseen = stage.calls("still-unseen", 5);
    out.ask(&still_unseen);
    kept.end();
    out.end();

    let unseen: Vec<_> = unseen.into_iter().chain(still_unseen).collect();
    exchange::wait_for_targets(&stage.agent, &stage.sink, &seen, 2);
    exchange::wait_for_targets(&stage.agent, &stage.sink, &unseen, 1);
    stage.agent.ledger().assert_nothing_lost();
    stage.agent.stop();
    let spans = Seen::of(&stage.sink);
    for call in &seen {
        spans.pair(&call.target);
    }
    for call in &unseen {
        let kinds: Vec<SpanKind> = spans
            .spans_of(&call.target)
            .iter()
            .map(|span| span.span.kind())
            .collect();
        assert_eq!(kinds, [SpanKind::Server], "{}", call.target);
    }
}
