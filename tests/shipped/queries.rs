//! Queries and alerts: PromQL through promtool, TraceQL and LogQL through the grammars of Grafana's editors.

use crate::{files, json, root, yaml};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// As a panel has it when it is asked.
fn filled(query: &str) -> String {
    let mut query = query.to_owned();
    for (name, value) in [
        ("$__rate_interval", "1m"),
        ("$__range", "1h"),
        ("$__interval", "15s"),
        ("$service", ".*"),
        ("$client", ".*"),
        ("$instance", ".*"),
    ] {
        query = query.replace(name, value);
    }
    assert!(!query.contains('$'), "{query}");
    query
}

/// Queries of all panels for this kind of data source, with where they are.
fn of_panels(kind: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for path in files("grafana/dashboards", &[".json"]) {
        let dashboard = json(&path);
        for panel in dashboard["panels"].as_array().expect("panels") {
            for target in panel["targets"].as_array().into_iter().flatten() {
                if target["datasource"]["type"] != kind {
                    continue;
                }
                let query = target["expr"].as_str().or(target["query"].as_str());
                let at = format!("{} / {}", dashboard["uid"], panel["title"]);
                found.push((at, filled(query.expect("a query"))));
            }
        }
    }
    assert!(!found.is_empty(), "no queries for {kind}");
    found
}

/// Every PromQL expression that is shipped: of panels, of alerts, of links from traces to metrics.
pub fn prometheus_expressions() -> Vec<(String, String)> {
    let mut all = of_panels("prometheus");
    for rule in rules() {
        all.push((alert(&rule), text(&rule["expr"])));
    }
    let sources = yaml(&root().join("grafana/provisioning/datasources/plainspan.yaml"));
    for source in sources["datasources"].as_array().expect("datasources") {
        let queries = source["jsonData"]["tracesToMetrics"]["queries"].as_array();
        for query in queries.into_iter().flatten() {
            let expr = text(&query["query"]).replace("$$__tags", "service_name=\"a\"");
            all.push((text(&query["name"]), expr));
        }
    }
    all
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}

fn alert(rule: &Value) -> String {
    text(&rule["alert"])
}

fn rule_files() -> Vec<PathBuf> {
    files("grafana/alerts", &[".rules.yaml"])
}

/// All rules in the form of Prometheus.
fn rules() -> Vec<Value> {
    let groups = rule_files()
        .into_iter()
        .flat_map(|path| yaml(&path)["groups"].as_array().cloned().expect("groups"));
    groups
        .flat_map(|group| group["rules"].as_array().cloned().expect("rules"))
        .collect()
}

fn promtool(arguments: &[&str], files: &[&Path]) -> Output {
    let mut command = Command::new("promtool");
    command.args(arguments).args(files);
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("promtool: {e}; run tests/setup.sh"));
    assert!(
        output.status.success(),
        "promtool {arguments:?} {files:?}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

#[test]
fn promtool_takes_every_expression_every_rule_and_every_configuration() {
    // promtool parses expressions where they are rules.
    let expressions = prometheus_expressions();
    let record = |(index, (_, expr)): (usize, &(String, String))| json!({"record": format!("panel:{index}"), "expr": expr});
    let rules: Vec<Value> = expressions.iter().enumerate().map(record).collect();
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("panels.yaml");
    let groups = json!({"groups": [{"name": "panels", "rules": rules}]});
    std::fs::write(&path, groups.to_string()).expect("write the rules");
    promtool(&["check", "rules"], &[&path]);
    println!("PromQL: {} expressions, 0 errors", expressions.len());
    for path in rule_files() {
        promtool(&["check", "rules"], &[&path]);
    }
    for path in files("collector-examples", &["prometheus.yml"]) {
        promtool(&["check", "config", "--syntax-only"], &[&path]);
    }
}

#[test]
fn every_alert_fires_when_it_should_and_not_when_it_should_not() {
    let path = root().join("tests/shipped/alerts.test.yaml");
    promtool(&["test", "rules"], &[&path]);
    let tests = yaml(&path);
    let mut fires: BTreeMap<String, bool> =
        rules().iter().map(|rule| (alert(rule), false)).collect();
    let of_tests = tests["tests"].as_array().expect("tests").iter();
    let cases = of_tests.flat_map(|test| test["alert_rule_test"].as_array().expect("cases"));
    for case in cases {
        let name = text(&case["alertname"]);
        let seen = fires
            .get_mut(&name)
            .unwrap_or_else(|| panic!("no alert {name}"));
        *seen |= case["exp_alerts"].as_array().is_some_and(|a| !a.is_empty());
    }
    let silent: Vec<_> = fires.iter().filter(|(_, seen)| !**seen).collect();
    assert!(silent.is_empty(), "alerts that no test fires: {silent:?}");
}

#[test]
fn every_alert_says_how_bad_it_is_and_what_to_do() {
    let mut names = std::collections::BTreeSet::new();
    for rule in rules() {
        let name = alert(&rule);
        let severity = rule["labels"]["severity"].as_str().unwrap_or_default();
        assert!(
            ["info", "warning", "critical"].contains(&severity),
            "{name}"
        );
        for annotation in ["summary", "description"] {
            let text = rule["annotations"][annotation].as_str().unwrap_or_default();
            assert!(text.len() > 15, "{name} has no {annotation}");
        }
        assert!(names.insert(name.clone()), "{name} twice");
    }
    assert!(names.len() >= 17);
}

#[test]
fn the_alerts_of_grafana_are_those_of_prometheus() {
    let config = yaml(&root().join("grafana/provisioning/alerting/plainspan.yaml"));
    let groups = config["groups"].as_array().expect("groups");
    let provisioned: Vec<&Value> = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().expect("rules"))
        .collect();
    let rules = rules();
    assert_eq!(provisioned.len(), rules.len());
    let mut uids = std::collections::BTreeSet::new();
    for rule in &rules {
        let name = alert(rule);
        let found = provisioned.iter().find(|p| p["title"] == *name);
        let found = found.unwrap_or_else(|| panic!("Grafana has no {name}"));
        let uid = text(&found["uid"]);
        assert!(
            (8..=40).contains(&uid.len()) && uids.insert(uid.clone()),
            "{uid}"
        );
        let data = found["data"].as_array().expect("data");
        let ids: Vec<String> = data.iter().map(|step| text(&step["refId"])).collect();
        assert_eq!(ids, ["A", "B", "C"], "{name}");
        assert_eq!(found["condition"], "C", "{name}");
        let expr = |value: &Value| text(value).trim().to_owned();
        assert_eq!(
            expr(&data[0]["model"]["expr"]),
            expr(&rule["expr"]),
            "{name}"
        );
        assert_eq!(found["labels"], rule["labels"], "{name}");
        let wait = rule["for"].as_str().unwrap_or("0s");
        assert_eq!(found["for"], wait, "{name}");
        for annotation in ["summary", "description"] {
            let ours = text(&rule["annotations"][annotation]);
            let theirs = text(&found["annotations"][annotation]).replace("$$", "$");
            let theirs = theirs.replace("$values.B.Value", "$value");
            assert_eq!(theirs, ours, "{name}");
        }
    }
}

/// npm packages of the tests.
fn node_packages() -> PathBuf {
    let dir = std::env::var_os("PLAINSPAN_TEST_NODE")
        .map_or_else(|| root().join("target/test-node"), PathBuf::from);
    let found = dir.join("node_modules/@grafana/lezer-traceql");
    assert!(
        found.exists(),
        "{} is missing: run tests/setup.sh",
        found.display()
    );
    dir
}

/// What the grammars do not understand of these, as (language, query).
fn not_understood(queries: &[(&str, String)]) -> Value {
    let asked: Vec<Value> = queries
        .iter()
        .map(|(language, query)| json!({"language": language, "query": query}))
        .collect();
    let mut child = Command::new("node")
        .arg(root().join("tests/node/queries.mjs"))
        .arg(node_packages())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("node: {e}; run tests/setup.sh"));
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin
        .write_all(json!(asked).to_string().as_bytes())
        .expect("write the queries");
    drop(stdin);
    let output = child.wait_with_output().expect("node's output");
    assert!(output.status.success(), "node: {}", output.status);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Queries in backquotes of a page that are of this language, by how they begin.
fn of_pages() -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for dir in ["collector-examples", "grafana"] {
        for path in files(dir, &[".md"]) {
            let page = crate::text(&path);
            for part in page.split('`').skip(1).step_by(2) {
                if part.starts_with("{ ") {
                    found.push(("traceql", part.to_owned()));
                } else if part.starts_with("{service_name") {
                    found.push(("logql", part.to_owned()));
                }
            }
        }
    }
    assert!(found.len() >= 4, "{found:?}");
    found
}

#[test]
fn traceql_and_logql_are_understood_by_the_grammars_of_grafana() {
    let mut queries = of_pages();
    for (kind, language) in [("tempo", "traceql"), ("loki", "logql")] {
        let of_kind = of_panels(kind);
        println!("{language}: {} queries of panels", of_kind.len());
        queries.extend(of_kind.into_iter().map(|(_, query)| (language, query)));
    }
    let sources = yaml(&root().join("grafana/provisioning/datasources/plainspan.yaml"));
    for source in sources["datasources"].as_array().expect("datasources") {
        if let Some(query) = source["jsonData"]["tracesToLogsV2"]["query"].as_str() {
            let query = query
                .replace("$${__tags}", "service_name=\"a\"")
                .replace("$${__span.traceId}", "00")
                .replace("$${__span.spanId}", "00");
            queries.push(("logql", query));
        }
    }
    assert_eq!(not_understood(&queries), json!([]));
    // The check finds what it is for.
    for (language, query) in [
        ("traceql", "{ span.a = }"),
        ("traceql", "{ span.a = 1 } | selct(span.a)"),
        ("logql", "{service_name=~\".*\"} | a=="),
        ("logql", "sum(count_over_time({a=\"b\"}[5m])"),
    ] {
        let faults = not_understood(&[(language, query.to_owned())]);
        assert!(faults.as_array().is_some_and(|f| !f.is_empty()), "{query}");
    }
}
