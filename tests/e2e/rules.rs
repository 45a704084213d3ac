//! Rules: which transactions leave, at which level, and what is not copied from the kernel.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::exchange::wait_for_targets;
use crate::harness::plan::{Call, Client};
use crate::harness::seen::Seen;
use crate::harness::servers;
use crate::harness::turn;
use crate::harness::work::Work;
use crate::otlp_sink::OtlpSink;
use serde_json::json;
use std::time::Duration;

#[test]
fn the_first_rule_that_applies_gives_its_level_and_its_name() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx_plain(&work);
    let config = Config::new("none")
        .rule("missing", "http.res.status == 404", "full")
        .rule(
            "wanted",
            "http.req.query.keep == \"a b\" and not exists(http.req.headers.x-skip)",
            "headers",
        )
        .grpc(&sink.grpc_endpoint())
        .disk(&work.folder("payloads"));
    let agent = Agent::start(&work, &config.yaml());
    let missing = Call::get(work.url_path("status/404"));
    let wanted = Call::get(work.url_path("status/404?keep=a%20b")).header("x-skip", "1");
    let kept = Call::get(format!("{}?keep=a%20b", work.url_path("answer")));
    let skipped = Call::get(work.url_path("answer"));
    let calls = [
        missing.clone(),
        wanted.clone(),
        kept.clone(),
        skipped.clone(),
    ];
    Client::Curl.perform(&work, &nginx.base(), &[calls.to_vec()]);
    wait_for_targets(
        &agent,
        &sink,
        &[missing.clone(), wanted.clone(), kept.clone()],
        2,
    );
    let ledger = agent.wait_ledger(
        "the skipped one is left out",
        Duration::from_secs(10),
        |ledger| ledger.get(&["transactions", "left_out", "level_none"]) >= 2,
    );
    ledger.assert_nothing_lost();
    agent.stop();

    let seen = Seen::of(&sink);
    for (call, rule, level) in [
        (&missing, "missing", "full"),
        (&wanted, "missing", "full"),
        (&kept, "wanted", "headers"),
    ] {
        let pair = seen.pair(&call.target);
        for span in [pair.client, pair.server] {
            assert_eq!(
                span.attr("plainspan.capture.rule"),
                Some(json!(rule)),
                "{}",
                call.target
            );
            assert_eq!(
                span.attr("plainspan.capture.level"),
                Some(json!(level)),
                "{}",
                call.target
            );
        }
    }
    assert!(seen.spans_of(&skipped.target).is_empty());
}

#[test]
fn of_a_process_that_no_rule_can_want_nothing_is_copied() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx_plain(&work);
    let config = Config::new("none")
        .rule(
            "never curl",
            "src.process.binary == \"no-such-program\" and http.res.status >= 100",
            "full",
        )
        .grpc(&sink.grpc_endpoint())
        .disk(&work.folder("payloads"));
    let agent = Agent::start(&work, &config.yaml());
    // A worker of nginx that was there before the agent is judged by its first connection, each curl by its `execve`.
    let target = |i: usize| work.url_path(&format!("file/200k.bin?{i}"));
    for i in 0..20 {
        let call = Call::get(target(i));
        let answers = Client::Curl.perform(&work, &nginx.base(), &[vec![call]]);
        assert_eq!(answers.first().map(|a| a.body.len()), Some(200 * 1024));
    }
    let ledger = agent.wait_ledger("most is left out", Duration::from_secs(10), |ledger| {
        ledger.get(&["bytes", "skipped", "level_none"]) > 30 * 200 * 1024
    });
    // A worker may answer some more before the kernel knows.
    assert!(ledger.seen() <= 8, "{ledger}");
    assert!(
        ledger.get(&["bytes", "copied"]) < 10 * 200 * 1024,
        "{ledger}"
    );
    assert!(
        ledger.get(&["connections", "uncaptured", "level_none"]) > 10,
        "{ledger}"
    );
    agent.stop();
    assert_eq!(ledger.exported(), 0);
    let seen = Seen::of(&sink);
    assert!((0..20).all(|i| seen.spans_of(&target(i)).is_empty()));
}
