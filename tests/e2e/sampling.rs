//! Sampling by the ratio, from the request's `traceparent` to the span's `tracestate`, and rates in the ledger.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::plan::{Call, Client};
use crate::harness::seen::Seen;
use crate::harness::servers;
use crate::harness::turn;
use crate::harness::work::Work;
use crate::otlp_sink::OtlpSink;
use serde_json::{Value, json};
use std::time::Duration;

/// The threshold of a quarter, of 56 bits.
const QUARTER: u64 = 0xc0_0000_0000_0000;

#[test]
fn a_ratio_keeps_both_ends_of_a_trace_or_none_by_its_id_and_errors_always() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx_plain(&work);
    let config = Config::new("headers")
        .capture(
            "sample",
            json!({"ratio": 0.25, "keep": ["http.res.status >= 400"]}),
        )
        .grpc(&sink.grpc_endpoint())
        .tap("filters", json!({"include": [{"port": nginx.port}]}));
    let agent = Agent::start(&work, &config.yaml());

    let low: Vec<u64> = (0..64).map(|n| (n << 50) + 7).collect();
    let trace = |low: u64| format!("00-0123456789abcdef01{low:014x}-00f067aa0ba902b7-03");
    let call = |target: String, low: u64| {
        Call::get(target)
            .header("traceparent", &trace(low))
            .header("tracestate", "x=y")
    };
    let mut calls: Vec<Call> = low
        .iter()
        .enumerate()
        .map(|(n, low)| call(work.url_path(&format!("{n}")), *low))
        .collect();
    calls.push(call(work.url_path("status/503/low"), 1));
    Client::Curl.perform(&work, &nginx.base(), &[calls]);

    let wanted = low.iter().filter(|low| **low >= QUARTER).count();
    assert_eq!(wanted, 16);
    let (kept, left_out) = (2 * wanted as u64, 2 * (low.len() - wanted) as u64);
    let ledger = agent.wait_ledger("all decided", Duration::from_secs(20), |ledger| {
        ledger.get(&["sampling", "asked"]) == 2 * 65 && ledger.in_flight() == 0
    });
    assert_eq!(ledger.get(&["sampling", "kept"]), kept);
    assert_eq!(ledger.get(&["sampling", "always_kept"]), 2);
    assert_eq!(
        ledger.get(&["transactions", "left_out", "sampled_out"]),
        left_out
    );
    agent.stop();

    let seen = Seen::of(&sink);
    for (n, low) in low.iter().enumerate() {
        let target = work.url_path(&format!("{n}"));
        if *low < QUARTER {
            assert!(seen.spans_of(&target).is_empty(), "{target}");
            continue;
        }
        let pair = seen.pair(&target);
        for span in [pair.client, pair.server] {
            assert_eq!(span.span.trace_state, "ot=th:c,x=y");
            assert_eq!(
                span.attr("plainspan.sampling.adjusted_count"),
                Some(Value::from(4.0))
            );
        }
    }
    let error = seen.pair(&work.url_path("status/503/low"));
    assert_eq!(error.server.span.trace_state, "x=y");
    assert_eq!(error.server.attr("plainspan.sampling.adjusted_count"), None);
}

#[test]
fn a_rate_leaves_out_what_the_ledger_says_and_spans_add_up_to_what_was_asked() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx_plain(&work);
    let config = Config::new("summary")
        .capture("sample", json!({"per_endpoint": "2/s"}))
        .grpc(&sink.grpc_endpoint())
        .tap("direction", json!("ingress"))
        .tap("filters", json!({"include": [{"port": nginx.port}]}));
    let agent = Agent::start(&work, &config.yaml());
    let ask = |count: usize| {
        let calls = (0..count)
            .map(|_| Call::get(work.url_path("rate")))
            .collect();
        Client::Curl.perform(&work, &nginx.base(), &[calls]);
    };
    ask(50);
    std::thread::sleep(Duration::from_secs(1));
    // The one that tells of those before it.
    ask(1);
    let asked = |ledger: &crate::harness::ledger::Ledger| ledger.get(&["sampling", "asked"]);
    let ledger = agent.wait_ledger("all decided", Duration::from_secs(20), |ledger| {
        asked(ledger) == 51 && ledger.in_flight() == 0
    });
    let left_out = ledger.get(&["transactions", "left_out", "rate_limited"]);
    assert!((40..=48).contains(&left_out), "{left_out}");
    agent.stop();

    let seen = Seen::of(&sink);
    let spans = seen.spans_of(&work.url_path("rate"));
    assert_eq!(spans.len() as u64, 51 - left_out);
    let count = |span: &&crate::otlp_sink::SeenSpan| {
        let count = span.attr("plainspan.sampling.adjusted_count");
        count.map_or(1.0, |count| count.as_f64().expect("a number"))
    };
    assert_eq!(spans.iter().map(count).sum::<f64>(), 51.0);
}
