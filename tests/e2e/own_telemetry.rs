//! What the agent says of itself: the same numbers over OTLP and at `/metrics`, and spans of its own.

use crate::harness::agent::{Agent, Launch, write_config};
use crate::harness::config::Config;
use crate::harness::exchange::wait_for_targets;
use crate::harness::plan::{Call, Client};
use crate::harness::servers;
use crate::harness::work::Work;
use crate::harness::{turn, wait_until};
use crate::otlp_sink::{OtlpSink, SeenSpan, attr};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(15);

/// Spans of the agent itself.
fn own(sink: &OtlpSink) -> Vec<SeenSpan> {
    let of_agent = |span: &SeenSpan| span.service() == Some("plainspan");
    sink.spans().into_iter().filter(of_agent).collect()
}

fn names(spans: &[SeenSpan]) -> BTreeSet<&str> {
    spans.iter().map(|span| &*span.span.name).collect()
}

/// Metrics of Prometheus text under `plainspan_` or `otel_`, by type.
fn scraped(page: &str) -> BTreeMap<String, String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .filter_map(|line| line.split_once(' '))
        .filter(|(name, _)| name.starts_with("plainspan_") || name.starts_with("otel_"))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect()
}

fn value(page: &str, line: &str) -> f64 {
    let found = page.lines().find_map(|l| l.strip_prefix(line));
    let value = found.unwrap_or_else(|| panic!("no {line} in\n{page}"));
    value.trim().parse().expect("a number")
}

#[test]
fn own_metrics_and_spans_arrive_over_grpc_and_http_and_the_agent_does_not_feed_itself() {
    let _turn = turn();
    for grpc in [true, false] {
        let work = Work::new();
        let sink = OtlpSink::start();
        let nginx = servers::nginx(&work);
        let config = Config::new("full")
            .disk(&work.folder("payloads"))
            .tap("filters", json!({"include": [{"port": nginx.port}]}));
        let config = match grpc {
            true => config.grpc(&sink.grpc_endpoint()),
            false => config.http(&sink.http_endpoint()),
        };
        let path = write_config(&work, &config.yaml());
        let agent = Launch::new(&path).quiet().start(&work);
        let calls: Vec<Call> = (0..3)
            .map(|n| Call::get(work.url_path(&format!("get/own/{n}"))))
            .collect();
        Client::Curl.perform(&work, &nginx.base(), std::slice::from_ref(&calls));
        wait_for_targets(&agent, &sink, &calls, 2);
        let arrived = |sink: &OtlpSink| {
            let metrics = sink.metrics();
            metrics
                .iter()
                .any(|m| m.metric.name == "plainspan.transactions.seen")
                && names(&own(sink)).is_superset(&BTreeSet::from(["attach", "start"]))
        };
        assert!(sink.wait_for(arrived, LIMIT), "{}", agent.log());

        // The same names at both places.
        let page = agent.page("/metrics");
        let metrics = sink.metrics();
        let mut sent = BTreeMap::new();
        for seen in &metrics {
            let service = seen.resource.get("service.name");
            if service != Some(&json!("plainspan")) {
                continue;
            }
            let kind = match seen.metric.data.as_ref().expect("data") {
                Data::Sum(sum) if sum.is_monotonic => "counter",
                _ => "gauge",
            };
            sent.insert(seen.metric.name.replace('.', "_"), kind);
        }
        let at_page = scraped(&page);
        for (name, kind) in &sent {
            let same = at_page.iter().any(|(other, of_page)| {
                let rest = other.strip_prefix(name.as_str());
                let suffix = [
                    "",
                    "_total",
                    "_seconds",
                    "_bytes",
                    "_seconds_total",
                    "_bytes_total",
                ];
                rest.is_some_and(|rest| suffix.contains(&rest)) && of_page == kind
            });
            assert!(same, "{name} ({kind}) is not at /metrics");
        }
        assert_eq!(sent.len(), at_page.len());

        // Numbers that say something.
        let kind = if grpc {
            "otlp_grpc_span_exporter"
        } else {
            "otlp_http_span_exporter"
        };
        let labels = format!(
            "{{otel_component_name=\"{kind}/collector/traces\",otel_component_type=\"{kind}\"}}"
        );
        assert!(
            value(
                &page,
                &format!("otel_sdk_exporter_span_exported_total{labels}")
            ) >= 6.0
        );
        assert!(value(&page, "plainspan_memory_pss_bytes") > 1e6);
        assert!(value(&page, "plainspan_cpu_time_seconds_total{cpu_mode=\"user\"}") > 0.0);
        assert!(value(&page, "plainspan_ring_size_bytes{ring=\"data\"}") >= 65536.0);
        assert!(value(&page, "plainspan_ring_most_used_bytes{ring=\"control\"}") > 0.0);
        assert!(value(&page, "plainspan_map_max_entries{map=\"connections\"}") == 65536.0);

        // Nothing more of the agent comes by itself. Libraries that others on this host bring are attached all the same.
        let spans = || {
            let of_exports = own(&sink).into_iter().filter(|s| s.span.name != "attach");
            of_exports.count()
        };
        std::thread::sleep(Duration::from_secs(6));
        let before = spans();
        std::thread::sleep(Duration::from_secs(12));
        assert_eq!(spans(), before, "exporting made spans");
        agent.stop();
        let all = sink.spans();
        assert!(names(&own(&sink)).is_subset(&BTreeSet::from(["attach", "start"])));
        let of_calls = |span: &&SeenSpan| span.service() != Some("plainspan");
        assert_eq!(all.iter().filter(of_calls).count(), 6);
        for seen in &metrics {
            for attribute in ["service.version", "telemetry.sdk.name"] {
                let own = seen.resource.get("service.name") == Some(&json!("plainspan"));
                assert!(!own || seen.resource.contains_key(attribute), "{attribute}");
            }
        }
    }
}

#[test]
fn reloads_failures_and_payloads_are_spans_of_the_agent() {
    let _turn = turn();
    let work = Work::new();
    let (sink, spare) = (OtlpSink::start(), OtlpSink::start());
    let nginx = servers::nginx(&work);
    // What transactions go to fails; own telemetry goes to the first store of the file that takes it.
    let config = Config::new("full")
        .grpc(&sink.grpc_endpoint())
        .disk(&work.folder("payloads"))
        .tap("filters", json!({"include": [{"port": nginx.port}]}));
    let path = write_config(&work, &config.yaml());
    let agent = Launch::new(&path).start(&work);
    let call = Call::get(work.url_path("get/payload"));
    Client::Curl.perform(&work, &nginx.base(), &[vec![call.clone()]]);
    wait_for_targets(&agent, &sink, std::slice::from_ref(&call), 2);
    agent.signal(libc::SIGHUP);
    std::fs::write(&path, "version: 3\n").expect("written");
    wait_until(
        LIMIT,
        "a reload",
        || {
            (agent.status()["config"]["reloads"]["applied"] == json!(1)
                || agent.status()["config"]["reloads"]["refused"] == json!(1))
            .then_some(())
        },
        || agent.log(),
    );
    agent.signal(libc::SIGHUP);
    let has = |wanted: &'static [&'static str]| {
        move |sink: &OtlpSink| wanted.iter().all(|name| names(&own(sink)).contains(name))
    };
    assert!(
        sink.wait_for(has(&["payload.write", "reload"]), LIMIT),
        "{}",
        agent.log()
    );
    // Down for a moment: the failure itself is told once it works again.
    sink.fail_next(2, crate::otlp_sink::Fault::Invalid);
    Client::Curl.perform(
        &work,
        &nginx.base(),
        &[vec![Call::get(work.url_path("get/after"))]],
    );
    assert!(
        sink.wait_for(has(&["export.failure"]), LIMIT),
        "{}",
        agent.log()
    );
    agent.stop();
    let spans = own(&sink);
    let refused = spans.iter().filter(|s| s.span.name == "reload");
    let failed = |s: &&SeenSpan| {
        s.span
            .status
            .as_ref()
            .is_some_and(|status| status.code == 2)
    };
    assert!(
        refused.clone().any(|s| failed(&s)),
        "a bad file is an error"
    );
    let write = spans
        .iter()
        .find(|s| s.span.name == "payload.write")
        .expect("a write");
    assert!(attr(&write.span.attributes, "key").is_some());
    drop(spare);
}

#[test]
fn programs_are_measured_where_it_is_asked_for_and_a_reload_ends_it() {
    let _turn = turn();
    let work = Work::new();
    let nginx = servers::nginx(&work);
    let yaml = |on: bool| {
        Config::new("headers")
            .stdout()
            .root("telemetry", json!({"program_stats": on}))
            .yaml()
    };
    let agent = Agent::start(&work, &yaml(true));
    let call = || {
        let call = Call::get(work.url_path("get/programs"));
        Client::Curl.perform(&work, &nginx.base(), &[vec![call]]);
        let page = agent.page("/metrics");
        let of =
            |name: &str, program: &str| value(&page, &format!("{name}{{program=\"{program}\"}}"));
        let runs = of("plainspan_program_runs_total", "ps_sock_send");
        let time = of("plainspan_program_run_time_seconds_total", "ps_sock_send");
        (runs, time)
    };
    let (runs, time) = call();
    assert!(runs > 0.0 && time > 0.0, "{runs} {time}");
    let (more, _) = call();
    assert!(more > runs);
    println!("{} ns a run of ps_sock_send", time / runs * 1e9);
    write_config(&work, &yaml(false));
    agent.signal(libc::SIGHUP);
    wait_until(
        LIMIT,
        "the reload",
        || (agent.status()["config"]["reloads"]["applied"] == json!(1)).then_some(()),
        || agent.log(),
    );
    let (before, _) = call();
    assert_eq!(call().0, before, "the kernel goes on counting");
    agent.stop();
}
