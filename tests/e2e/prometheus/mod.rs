//! Dashboards and alerts as people use them: a real Prometheus scrapes the agent, every PromQL query of every panel is asked,
//! and what it answers is the traffic. Alerts fire on a header that was sent.

mod server;

use self::server::Prometheus;
use crate::harness::agent::{Agent, Launch, write_config};
use crate::harness::config::Config;
use crate::harness::plan::{Call, Client};
use crate::harness::seen::Seen;
use crate::harness::servers::{self, Server};
use crate::harness::work::Work;
use crate::harness::{repository, turn, wait_until};
use crate::otlp_sink::OtlpSink;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(15);
/// Requests of one round of traffic, and those of them that are answered with 503.
const REQUESTS: usize = 120;
const ERRORS: usize = 12;

/// A query of a panel.
#[derive(Debug)]
struct Query {
    dashboard: String,
    panel: String,
    reference: String,
    expr: String,
}

/// Every PromQL query of every dashboard, with variables replaced: all services, and this window for each interval.
fn queries(window: &str) -> Vec<Query> {
    let folder = std::fs::read_dir(repository("grafana/dashboards")).expect("dashboards");
    let mut found = Vec::new();
    for entry in folder {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("a dashboard");
        let dashboard: Value = serde_json::from_str(&text).expect("JSON");
        for panel in dashboard["panels"].as_array().expect("panels") {
            for target in panel["targets"].as_array().into_iter().flatten() {
                if target["datasource"]["type"] != "prometheus" {
                    continue;
                }
                let text = |value: &Value| value.as_str().expect("a text").to_owned();
                let mut expr = text(&target["expr"]);
                for name in ["$__rate_interval", "$__range"] {
                    expr = expr.replace(name, window);
                }
                for name in ["$service", "$client", "$instance"] {
                    expr = expr.replace(name, ".*");
                }
                assert!(!expr.contains('$'), "{expr}");
                found.push(Query {
                    dashboard: text(&dashboard["uid"]),
                    panel: text(&panel["title"]),
                    reference: text(&target["refId"]),
                    expr,
                });
            }
        }
    }
    found.sort_by(|a, b| (&a.dashboard, &a.panel).cmp(&(&b.dashboard, &b.panel)));
    found
}

/// One round: 120 requests of three callers, two keys, two user agents and two tenants; every tenth fails.
fn round(work: &Work) -> Vec<Call> {
    let call = |n: usize| {
        let target = match n % (REQUESTS / ERRORS) {
            0 => work.url_path(&format!("status/503/{n}")),
            _ => work.url_path(&format!("get/{n}")),
        };
        Call::get(target)
            .header("x-caller", ["checkout", "billing", "search"][n % 3])
            .header("x-api-key", ["first-key", "second-key"][n % 2])
            .header("user-agent", ["shop-app/2.1", "batch-job/7"][n % 2])
            .header("x-tenant", ["acme", "globex", "globex", "globex"][n % 4])
            .header("api-version", "2025-01")
    };
    (0..REQUESTS).map(call).collect()
}

/// The agent with the settings that the dashboards ask for.
fn agent(work: &Work, sink: &OtlpSink, nginx: &Server) -> Agent {
    let text =
        std::fs::read_to_string(repository("grafana/plainspan.yaml")).expect("plainspan.yaml");
    let shipped: Value = serde_yaml::from_str(&text).expect("YAML");
    let capture = &shipped["stacks"]["headers"]["plugins"][0]["config"];
    let config = Config::new("headers")
        .grpc(&sink.grpc_endpoint())
        .spool(&work.folder("spool"), "64MiB")
        .disk(&work.folder("payloads"))
        .capture("rules", capture["rules"].clone())
        .capture("redact", capture["redact"].clone())
        .root("metrics", shipped["metrics"].clone())
        .root("telemetry", json!({"program_stats": true}))
        .tap("filters", json!({"include": [{"port": nginx.port}]}))
        .tap(
            "routes",
            json!(["/{run}/get/{n}", "/{run}/status/{code}/{n}"]),
        );
    Launch::new(&write_config(work, &config.yaml()))
        .env("PLAINSPAN_HASH_KEY", "a key of the test's own")
        .quiet()
        .start(work)
}

/// Waits until all of this many requests have left the agent and been scraped; gives the time of that scrape.
fn settled(agent: &Agent, prometheus: &Prometheus, requests: usize) -> f64 {
    let sides = 2 * requests as u64;
    agent.wait_ledger("all exported", LIMIT, |ledger| {
        let payloads = |name| ledger.get(&["payloads", name]);
        ledger.exported() == sides
            && ledger.get(&["metrics", "transactions"]) == sides
            && payloads("stored") == payloads("wanted")
            && payloads("wanted") == sides
    });
    prometheus.next_scrape();
    prometheus.next_scrape()
}

/// What a panel must say, in the window of one round: dashboard, panel, reference, labels, value.
fn expected(seconds: f64) -> Vec<(&'static str, &'static str, &'static str, Value, f64)> {
    let (all, errors) = (REQUESTS as f64, ERRORS as f64);
    let (traffic, headers) = ("plainspan-traffic", "plainspan-headers");
    vec![
        (traffic, "Requests", "A", json!({}), all),
        (traffic, "Requests a second", "A", json!({}), all / seconds),
        (traffic, "Failed requests", "A", json!({}), errors),
        (traffic, "Share that failed", "A", json!({}), errors / all),
        (
            traffic,
            "Failed requests a second",
            "A",
            json!({"error_type": "503"}),
            errors / seconds,
        ),
        (
            traffic,
            "Endpoints",
            "A",
            json!({"http_route": "/{run}/get/{n}"}),
            (all - errors) / seconds,
        ),
        (
            traffic,
            "Endpoints",
            "B",
            json!({"http_route": "/{run}/status/{code}/{n}"}),
            1.0,
        ),
        (
            traffic,
            "Calls a second",
            "A",
            json!({"server_address": "localhost"}),
            all / seconds,
        ),
        (headers, "Callers", "A", json!({}), 3.0),
        (headers, "Requests without a caller", "A", json!({}), 0.0),
        (
            headers,
            "Requests a second by caller",
            "A",
            json!({"caller": "billing"}),
            40.0 / seconds,
        ),
        (
            headers,
            "Requests a second by user agent",
            "A",
            json!({"user_agent": "batch-job/7"}),
            60.0 / seconds,
        ),
        (
            headers,
            "Tenants",
            "B",
            json!({"tenant": "acme"}),
            6.0 / 30.0,
        ),
        (
            headers,
            "Tenants",
            "B",
            json!({"tenant": "globex"}),
            6.0 / 90.0,
        ),
        (
            "plainspan-errors",
            "Failed requests",
            "A",
            json!({}),
            errors,
        ),
        (
            "plainspan-errors",
            "Payloads stored",
            "A",
            json!({}),
            2.0 * all,
        ),
        ("plainspan-agent", "Exported", "A", json!({}), 2.0 * all),
        ("plainspan-agent", "Lost", "A", json!({}), 0.0),
        ("plainspan-agent", "Books", "A", json!({}), 0.0),
    ]
}

/// What Prometheus said to a query: its series, or an error.
type Asked = (Query, Result<Vec<(Value, f64)>, String>);

/// Asks every query of every panel over this window, and prints how many had data. Gives them with their series.
///
/// # Panics
/// When a query is an error, or has no data.
fn ask(prometheus: &Prometheus, window: &str, end: f64) -> Vec<(Query, Vec<(Value, f64)>)> {
    let asked: Vec<Asked> = (queries(window).into_iter())
        .map(|query| {
            let answer = prometheus.query(&query.expr, Some(end));
            (query, answer)
        })
        .collect();
    let uids: BTreeSet<&str> = asked.iter().map(|(q, _)| &*q.dashboard).collect();
    println!("dashboard | panels' queries | with data | errors");
    for uid in uids {
        let of_uid = || asked.iter().filter(|(query, _)| query.dashboard == uid);
        let data = |(_, answer): &&Asked| answer.as_ref().is_ok_and(|s| !s.is_empty());
        let (with_data, errors) = (
            of_uid().filter(data).count(),
            of_uid().filter(|(_, answer)| answer.is_err()).count(),
        );
        println!("{uid} | {} | {with_data} | {errors}", of_uid().count());
    }
    let (mut answers, mut wrong) = (Vec::new(), Vec::new());
    for (query, answer) in asked {
        match answer {
            Ok(series) if !series.is_empty() => answers.push((query, series)),
            Ok(_) => wrong.push(format!("{query:?} has no data")),
            Err(error) => wrong.push(format!("{query:?}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    answers
}

#[test]
fn every_panel_has_data_that_equals_the_traffic_and_alerts_fire_on_headers() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx(&work);
    let agent = agent(&work, &sink, &nginx);
    let prometheus = Prometheus::scraping(&work, &agent);

    // The same twice: of a series that is not there yet no rate can be told. The second round is what is asked for; a
    // window from scrape to scrape needs no extrapolation, so that numbers are exact.
    let perform = |calls: Vec<Call>| {
        Client::Curl.perform_as("shop-client", &work, &nginx.base(), &[calls]);
    };
    perform(round(&work));
    let start = settled(&agent, &prometheus, REQUESTS);
    perform(round(&work));
    let end = settled(&agent, &prometheus, 2 * REQUESTS);
    let seconds = end - start;
    let window = format!("{}ms", (seconds * 1e3).round());
    let answers = ask(&prometheus, &window, end);
    for (dashboard, panel, reference, labels, value) in expected(seconds) {
        let (_, series) = answers
            .iter()
            .find(|(q, _)| {
                (&*q.dashboard, &*q.panel, &*q.reference) == (dashboard, panel, reference)
            })
            .unwrap_or_else(|| panic!("no {dashboard} / {panel} {reference}"));
        let has = |of: &Value| {
            let wanted = labels.as_object().into_iter().flatten();
            wanted.into_iter().all(|(name, value)| of[name] == *value)
        };
        let found: Vec<f64> = series
            .iter()
            .filter(|(of, _)| has(of))
            .map(|p| p.1)
            .collect();
        assert!(
            matches!(found[..], [one] if (one - value).abs() < 1e-6),
            "{dashboard} / {panel} {reference} {labels}: {value} wanted, {series:?}"
        );
    }
    exemplars_are_traces(&prometheus, &answers, &sink, (start, end));
    alerts_fire(&prometheus, &work, perform);
    agent.stop();
}

/// The dots on the panels of durations are traces that arrived.
fn exemplars_are_traces(
    prometheus: &Prometheus,
    answers: &[(Query, Vec<(Value, f64)>)],
    sink: &OtlpSink,
    (start, end): (f64, f64),
) {
    let panel = "Duration by service (50, 95, 99 of 100)";
    let (query, _) = answers
        .iter()
        .find(|(query, _)| query.panel == panel)
        .expect("a panel of durations");
    let (from, to) = (format!("{start:.3}"), format!("{end:.3}"));
    let parameters = [("query", &*query.expr), ("start", &*from), ("end", &*to)];
    let data = prometheus
        .api("query_exemplars", &parameters)
        .expect("exemplars");
    let series = data.as_array().cloned().unwrap_or_default();
    let traces: Vec<String> = series
        .iter()
        .flat_map(|series| series["exemplars"].as_array().cloned().unwrap_or_default())
        .map(|exemplar| exemplar["labels"]["trace_id"].as_str().map(str::to_owned))
        .map(|trace| trace.expect("a trace id"))
        .collect();
    let seen = Seen::of(sink);
    let known: BTreeSet<String> = seen.spans().iter().map(|span| span.trace_id()).collect();
    assert!(!traces.is_empty(), "no exemplars: {data}");
    assert!(
        traces.iter().all(|trace| known.contains(trace)),
        "{traces:?}"
    );
}

/// One request of a stranger with a version that is no more, a token in its URL, and one request without a version.
fn alerts_fire(prometheus: &Prometheus, work: &Work, perform: impl Fn(Vec<Call>)) {
    let before = prometheus.alerts();
    // More than 5 of 100 fail for both tenants, for some seconds.
    assert_eq!(
        before,
        BTreeSet::from(["pending PlainspanTenantErrors".to_owned()])
    );
    perform(vec![
        Call::get(work.url_path("get/deprecated?access_token=t0ps3cret"))
            .header("x-caller", "stranger")
            .header("api-version", "2022-11"),
        Call::get(work.url_path("get/plain")).header("x-caller", "billing"),
    ]);
    let wanted: BTreeSet<String> = [
        "firing PlainspanApiVersionDeprecated",
        "firing PlainspanApiVersionMissing",
        "firing PlainspanCredentialLeaked",
        "firing PlainspanUnknownCaller",
        "pending PlainspanTenantErrors",
    ]
    .map(str::to_owned)
    .into();
    wait_until(
        LIMIT,
        "firing alerts",
        || (prometheus.alerts() == wanted).then_some(()),
        || format!("{:?}\n{}", prometheus.alerts(), prometheus.outputs()),
    );
}
