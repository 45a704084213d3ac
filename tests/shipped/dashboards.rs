//! Dashboards and data sources of Grafana: our own schema, for Grafana has none that can be had.

use crate::{files, json, root, text, walk, yaml};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Types that a panel's or a variable's data source may have.
const DATA_SOURCES: &[&str] = &["prometheus", "loki", "tempo"];
/// Links of others point at these: they stay.
const UIDS: &[&str] = &[
    "plainspan-agent",
    "plainspan-errors",
    "plainspan-headers",
    "plainspan-traffic",
];
/// Variables that Grafana has.
const BUILT_IN: &[&str] = &["__rate_interval", "__range", "__interval", "__value.raw"];

fn dashboards() -> Vec<(PathBuf, Value)> {
    let all = files("grafana/dashboards", &[".json"]);
    all.into_iter()
        .map(|path| (path.clone(), json(&path)))
        .collect()
}

fn panels(dashboard: &Value) -> &Vec<Value> {
    dashboard["panels"].as_array().expect("panels")
}

/// Whole numbers of `gridPos`: x, y, w, h.
fn place(panel: &Value) -> [i64; 4] {
    ["x", "y", "w", "h"].map(|name| {
        panel["gridPos"][name]
            .as_i64()
            .unwrap_or_else(|| panic!("panel {} has no {name}", panel["id"]))
    })
}

#[test]
fn dashboards_are_of_the_classic_form_with_fixed_ids() {
    let mut uids = BTreeSet::new();
    for (path, dashboard) in dashboards() {
        let at = path.display();
        assert_eq!(dashboard["id"], Value::Null, "{at}: `id` is the database's");
        assert_eq!(dashboard["schemaVersion"], 39, "{at}");
        assert_eq!(dashboard["version"], 1, "{at}");
        let uid = dashboard["uid"].as_str().expect("uid").to_owned();
        assert_eq!(
            path.file_stem().expect("a name").to_string_lossy(),
            uid,
            "{at}"
        );
        assert!(uids.insert(uid.clone()), "{at}: uid {uid} twice");
        for (name, kind) in [
            ("title", "string"),
            ("description", "string"),
            ("tags", "array"),
            ("refresh", "string"),
            ("time", "object"),
            ("templating", "object"),
            ("annotations", "object"),
            ("links", "array"),
        ] {
            let value = &dashboard[name];
            let fits = match kind {
                "string" => value.as_str().is_some_and(|text| !text.is_empty()),
                "array" => value.is_array(),
                _ => value.is_object(),
            };
            assert!(fits, "{at}: {name} is no {kind}: {value}");
        }
    }
    let uids: Vec<&str> = uids.iter().map(String::as_str).collect();
    assert_eq!(uids, UIDS);
    let readme = text(&root().join("grafana/README.md"));
    for uid in UIDS {
        assert!(readme.contains(uid), "grafana/README.md has no {uid}");
    }
}

#[test]
fn panels_have_a_place_of_their_own_a_title_and_queries() {
    for (path, dashboard) in dashboards() {
        let at = path.display();
        let (mut ids, mut titles) = (BTreeSet::new(), BTreeSet::new());
        let panels = panels(&dashboard);
        for (index, panel) in panels.iter().enumerate() {
            let id = panel["id"].as_i64().expect("a panel id");
            assert!(ids.insert(id), "{at}: panel id {id} twice");
            let title = panel["title"].as_str().expect("a title");
            let new = panel["type"] == "row" || titles.insert(title);
            assert!(new, "{at}: panel {title} twice");
            let [x, y, w, h] = place(panel);
            assert!(
                x >= 0 && y >= 0 && w > 0 && h > 0 && x + w <= 24,
                "{at}: {title}"
            );
            for other in &panels[..index] {
                let [ox, oy, ow, oh] = place(other);
                let apart = x + w <= ox || ox + ow <= x || y + h <= oy || oy + oh <= y;
                assert!(apart, "{at}: {title} lies on {}", other["title"]);
            }
            let kind = panel["type"].as_str().expect("a type");
            assert!(
                ["row", "stat", "timeseries", "table", "logs"].contains(&kind),
                "{at}: {kind}"
            );
            let targets = panel["targets"].as_array();
            assert_eq!(
                kind != "row",
                targets.is_some_and(|t| !t.is_empty()),
                "{at}: {title}"
            );
            let mut references = BTreeSet::new();
            for target in targets.into_iter().flatten() {
                let reference = target["refId"].as_str().expect("refId");
                assert!(
                    references.insert(reference),
                    "{at}: {title}: {reference} twice"
                );
                assert_eq!(target["datasource"], panel["datasource"], "{at}: {title}");
                let key = match target["datasource"]["type"].as_str() {
                    Some("tempo") => "query",
                    _ => "expr",
                };
                assert!(target[key].is_string(), "{at}: {title}: no {key}");
            }
        }
    }
}

#[test]
fn data_sources_are_variables_and_every_variable_is_used_and_defined() {
    for (path, dashboard) in dashboards() {
        let at = path.display();
        let variables = dashboard["templating"]["list"]
            .as_array()
            .expect("variables");
        let mut kinds = BTreeMap::new();
        for variable in variables {
            let name = variable["name"].as_str().expect("a name");
            let kind = match variable["type"].as_str() {
                Some("datasource") => variable["query"].as_str().expect("a type"),
                Some("query") => "",
                other => panic!("{at}: variable {name} of type {other:?}"),
            };
            assert!(
                kind.is_empty() || DATA_SOURCES.contains(&kind),
                "{at}: {kind}"
            );
            assert!(kinds.insert(name, kind).is_none(), "{at}: {name} twice");
        }
        let mut used = BTreeSet::new();
        walk(&dashboard, &mut |fields| {
            if let Some(source) = fields.get("datasource") {
                let kind = source["type"].as_str().expect("a data source's type");
                let uid = source["uid"].as_str().expect("a data source's uid");
                let variable = uid
                    .strip_prefix("${")
                    .and_then(|uid| uid.strip_suffix('}'))
                    .unwrap_or_else(|| panic!("{at}: data source {uid} is fixed"));
                assert_eq!(kinds.get(variable), Some(&kind), "{at}: {uid}");
                used.insert(variable.to_owned());
            }
            for key in ["expr", "query", "url"] {
                if let Some(text) = fields.get(key).and_then(Value::as_str) {
                    used.extend(variables_of(text));
                }
            }
        });
        let defined: BTreeSet<String> = kinds.keys().map(|name| (*name).to_owned()).collect();
        let known = |name: &&String| !BUILT_IN.contains(&name.as_str());
        let used: BTreeSet<String> = used.iter().filter(known).cloned().collect();
        assert_eq!(used, defined, "{at}: variables used and defined");
    }
}

/// Names after `$` and in `${}`.
fn variables_of(text: &str) -> Vec<String> {
    let parts = text.split('$').skip(1);
    let name = |part: &str| match part.strip_prefix('{') {
        Some(rest) => rest.split('}').next().unwrap_or_default().to_owned(),
        None => part
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect(),
    };
    parts.map(name).collect()
}

#[test]
fn durations_have_exemplars_and_payloads_have_links() {
    let dashboards = dashboards();
    let all = || dashboards.iter().flat_map(|(_, d)| panels(d));
    let of_durations = all().filter(|panel| {
        let title = panel["title"].as_str().unwrap_or_default();
        title.starts_with("Duration")
    });
    let mut durations = 0;
    for panel in of_durations {
        durations += 1;
        for target in panel["targets"].as_array().expect("targets") {
            assert_eq!(target["exemplar"], true, "{}", panel["title"]);
        }
    }
    assert_eq!(durations, 2);
    let mut payloads = 0;
    for panel in all() {
        let asks = panel["targets"].as_array().into_iter().flatten();
        let asks = asks.filter_map(|target| target["query"].as_str());
        for query in asks.filter(|query| query.contains("payload.url")) {
            payloads += 1;
            let links = panel["fieldConfig"].to_string();
            assert!(links.contains("${__value.raw}"), "{query}");
        }
    }
    assert!(payloads >= 4);
}

/// Words of a PromQL expression.
fn words(expr: &str) -> impl Iterator<Item = &str> {
    expr.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}

#[test]
fn metrics_of_the_agent_that_are_asked_for_are_those_of_its_table() {
    let page = text(&root().join("docs/own-telemetry.md"));
    let known: BTreeSet<&str> = page.split('`').collect();
    let expressions = crate::queries::prometheus_expressions();
    let mut seen = BTreeSet::new();
    for (at, expr) in &expressions {
        let quoted = |word: &&str| expr.contains(&format!("\"{word}"));
        for word in words(expr).filter(|w| w.starts_with("plainspan_") && !quoted(w)) {
            assert!(
                known.contains(word),
                "{at}: {word} is not in docs/own-telemetry.md"
            );
            seen.insert(word);
        }
        for word in words(expr).filter(|w| w.starts_with("http_server_request_duration")) {
            let suffix = word.strip_prefix("http_server_request_duration_seconds");
            assert!(
                ["_count", "_sum", "_bucket"].contains(&suffix.unwrap_or_default()),
                "{at}: {word}"
            );
        }
    }
    assert!(seen.len() > 30, "{seen:?}");
}

fn data_sources() -> (PathBuf, Value) {
    let path = root().join("grafana/provisioning/datasources/plainspan.yaml");
    let config = yaml(&path);
    (path, config)
}

fn of_kind<'a>(config: &'a Value, kind: &str) -> &'a Value {
    let mut sources = config["datasources"].as_array().into_iter().flatten();
    sources
        .find(|source| source["type"] == kind)
        .expect("a data source of this type")
}

#[test]
fn provisioned_data_sources_name_each_other_and_escape_their_dollars() {
    let (path, config) = data_sources();
    {
        let at = path.display();
        let sources = config["datasources"].as_array().expect("datasources");
        let uids: BTreeSet<&str> = sources
            .iter()
            .map(|s| s["uid"].as_str().expect("uid"))
            .collect();
        assert_eq!(uids.len(), sources.len(), "{at}: a uid twice");
        for source in sources {
            let kind = source["type"].as_str().expect("type");
            assert!(DATA_SOURCES.contains(&kind), "{at}: {kind}");
        }
        walk(&config, &mut |fields| {
            if let Some(uid) = fields.get("datasourceUid").and_then(Value::as_str) {
                assert!(uids.contains(uid), "{at}: no data source {uid}");
            }
        });
        single_dollar(&path);
    }
}

/// A literal `$` is written `$$` in files of provisioning.
fn single_dollar(path: &Path) {
    let unescaped = text(path)
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .find(|line| line.replace("$$", "").contains('$'))
        .map(str::to_owned);
    assert_eq!(
        unescaped,
        None,
        "{}: a single $ is read from the environment",
        path.display()
    );
}

#[test]
fn provisioned_alerts_escape_their_dollars() {
    for path in files("grafana/provisioning/alerting", &[".yaml"]) {
        single_dollar(&path);
    }
}

#[test]
fn a_log_record_links_to_its_payload_and_a_span_to_its_log_record() {
    let (_, config) = data_sources();
    let of = |kind: &str| of_kind(&config, kind);
    let fields = of("loki")["jsonData"]["derivedFields"]
        .as_array()
        .expect("derivedFields");
    let payload = fields
        .iter()
        .find(|f| f["matcherRegex"] == "plainspan_payload_url")
        .expect("a payload link");
    // After Grafana has read `$$` as `$`.
    assert_eq!(
        payload["url"]
            .as_str()
            .map(|url| url.replace("$$", "$"))
            .as_deref(),
        Some("${__value.raw}")
    );
    assert_eq!(payload["matcherType"], "label");
    assert_eq!(
        of("tempo")["jsonData"]["tracesToLogsV2"]["datasourceUid"],
        of("loki")["uid"]
    );
    assert_eq!(
        of("tempo")["jsonData"]["tracesToMetrics"]["datasourceUid"],
        of("prometheus")["uid"]
    );
    assert_eq!(
        of("tempo")["jsonData"]["serviceMap"]["datasourceUid"],
        of("prometheus")["uid"]
    );
    let exemplars = &of("prometheus")["jsonData"]["exemplarTraceIdDestinations"][0];
    assert_eq!(exemplars["datasourceUid"], of("tempo")["uid"]);
    assert_eq!(exemplars["name"], "trace_id");
}
