//! The files that people copy: they parse, and they name nothing that does not exist.
//!
//! No collector, Tempo, Loki, Prometheus or Grafana runs here; these checks find what reading can find.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Components of the collector's contrib distribution that the examples may use, by their section.
const COMPONENTS: &[(&str, &[&str])] = &[
    ("receivers", &["otlp", "prometheus", "filelog"]),
    (
        "processors",
        &[
            "attributes",
            "batch",
            "filter",
            "groupbyattrs",
            "k8sattributes",
            "memory_limiter",
            "probabilistic_sampler",
            "resource",
            "resourcedetection",
            "tail_sampling",
            "transform",
        ],
    ),
    (
        "exporters",
        &[
            "debug",
            "loadbalancing",
            "otlp",
            "otlphttp",
            "prometheus",
            "prometheusremotewrite",
        ],
    ),
    (
        "connectors",
        &["count", "forward", "routing", "servicegraph", "spanmetrics"],
    ),
    (
        "extensions",
        &["file_storage", "health_check", "pprof", "zpages"],
    ),
];

/// Types that a panel's or a variable's data source may have.
const DATA_SOURCES: &[&str] = &["prometheus", "loki", "tempo"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files under `dir` whose names end with one of `endings`, in order.
fn files(dir: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(dir)];
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        for entry in entries {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if endings
                .iter()
                .any(|ending| path.to_string_lossy().ends_with(ending))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no {endings:?} under {dir}");
    found
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn yaml(path: &Path) -> Value {
    serde_yaml::from_str(&text(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&text(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Calls `visit` for every object in `value`, at any depth.
fn walk<'a>(value: &'a Value, visit: &mut impl FnMut(&'a serde_json::Map<String, Value>)) {
    match value {
        Value::Object(fields) => {
            visit(fields);
            fields.values().for_each(|field| walk(field, visit));
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        _ => {}
    }
}

fn names(value: &Value) -> BTreeSet<String> {
    value
        .as_object()
        .map(|fields| fields.keys().cloned().collect())
        .unwrap_or_default()
}

fn list(value: &Value) -> Vec<String> {
    let items = value.as_array().cloned().unwrap_or_default();
    items
        .iter()
        .map(|item| item.as_str().expect("a name").to_owned())
        .collect()
}

#[test]
fn every_yaml_and_json_file_of_the_examples_parses() {
    for dir in ["collector-examples", "grafana"] {
        for path in files(dir, &[".yaml", ".yml"]) {
            assert!(yaml(&path).is_object(), "{} is no mapping", path.display());
        }
    }
    for path in files("grafana", &[".json"]) {
        assert!(json(&path).is_object(), "{} is no object", path.display());
    }
}

#[test]
fn collector_components_exist_and_pipelines_name_what_is_defined_and_all_of_it_is_used() {
    let known: BTreeMap<&str, &[&str]> = COMPONENTS.iter().copied().collect();
    for path in files("collector-examples", &["collector.yaml"]) {
        let config = yaml(&path);
        let at = path.display();
        for (section, kinds) in &known {
            for name in names(&config[*section]) {
                let kind = name.split('/').next().expect("a split has a first part");
                assert!(kinds.contains(&kind), "{at}: {section} has no {kind}");
            }
        }
        let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        used.insert(
            "extensions",
            list(&config["service"]["extensions"]).into_iter().collect(),
        );
        let connectors = names(&config["connectors"]);
        let pipelines = config["service"]["pipelines"]
            .as_object()
            .expect("pipelines");
        for (signal, pipeline) in pipelines {
            for section in ["receivers", "processors", "exporters"] {
                for name in list(&pipeline[section]) {
                    let section = if connectors.contains(&name) {
                        "connectors"
                    } else {
                        section
                    };
                    assert!(
                        names(&config[section]).contains(&name),
                        "{at}: pipeline {signal} names {name}, which {section} does not define"
                    );
                    used.entry(section).or_default().insert(name);
                }
            }
            let first = list(&pipeline["processors"]).into_iter().next();
            assert_eq!(
                first.as_deref(),
                Some("memory_limiter"),
                "{at}: pipeline {signal}"
            );
        }
        for section in known.keys() {
            let unused: Vec<_> = names(&config[*section])
                .into_iter()
                .filter(|name| !used.get(section).is_some_and(|used| used.contains(name)))
                .collect();
            assert!(
                unused.is_empty(),
                "{at}: {section} defines {unused:?} and nothing uses it"
            );
        }
    }
}

#[test]
fn dashboards_have_fixed_and_unique_ids_and_take_their_data_sources_from_variables() {
    let mut uids = BTreeSet::new();
    for path in files("grafana/dashboards", &[".json"]) {
        let dashboard = json(&path);
        let at = path.display();
        assert_eq!(dashboard["id"], Value::Null, "{at}: `id` is the database's");
        assert_eq!(dashboard["schemaVersion"], 39, "{at}");
        let uid = dashboard["uid"].as_str().expect("uid").to_owned();
        assert!((8..=40).contains(&uid.len()), "{at}: uid {uid}");
        assert!(uids.insert(uid.clone()), "{at}: uid {uid} twice");
        let variables = data_source_variables(&dashboard);

        let panels = dashboard["panels"].as_array().expect("panels");
        let mut ids = BTreeSet::new();
        for panel in panels {
            assert!(
                ids.insert(panel["id"].as_i64().expect("a panel id")),
                "{at}: a panel id twice: {}",
                panel["id"]
            );
            let place = &panel["gridPos"];
            let right = place["x"].as_i64().expect("x") + place["w"].as_i64().expect("w");
            assert!(
                right <= 24,
                "{at}: panel {} is wider than the grid",
                panel["id"]
            );
            if panel["type"] != "row" {
                assert!(
                    panel["targets"].as_array().is_some_and(|t| !t.is_empty()),
                    "{at}: panel {}",
                    panel["id"]
                );
            }
        }
        let mut references = 0;
        walk(&dashboard, &mut |fields| {
            if let Some(source) = fields.get("datasource") {
                references += 1;
                let kind = source["type"].as_str().expect("a data source's type");
                let uid = source["uid"].as_str().expect("a data source's uid");
                let variable = uid.strip_prefix("${").and_then(|uid| uid.strip_suffix('}'));
                let wanted = variable.and_then(|name| variables.get(name));
                assert_eq!(
                    wanted.map(String::as_str),
                    Some(kind),
                    "{at}: data source {uid} of type {kind}"
                );
            }
        });
        assert!(references > 0, "{at} names no data source");
    }
}

/// Names of the variables that stand for data sources, with the type of each.
fn data_source_variables(dashboard: &Value) -> BTreeMap<String, String> {
    let variables = dashboard["templating"]["list"]
        .as_array()
        .expect("variables");
    let sources = variables
        .iter()
        .filter(|variable| variable["type"] == "datasource");
    sources
        .map(|variable| {
            let kind = variable["query"].as_str().expect("a type").to_owned();
            assert!(
                DATA_SOURCES.contains(&kind.as_str()),
                "data source type {kind}"
            );
            (variable["name"].as_str().expect("a name").to_owned(), kind)
        })
        .collect()
}

#[test]
fn provisioned_data_sources_name_each_other_and_escape_their_dollars() {
    for path in files("grafana/provisioning/datasources", &[".yaml"]) {
        let at = path.display();
        let config = yaml(&path);
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
        let unescaped = text(&path)
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'))
            .find(|line| line.replace("$$", "").contains('$'))
            .map(str::to_owned);
        assert_eq!(
            unescaped, None,
            "{at}: a single $ is read from the environment"
        );
    }
}

#[test]
fn a_log_record_links_to_its_payload_and_a_span_to_its_log_record() {
    let path = root().join("grafana/provisioning/datasources/plainspan.yaml");
    let config = yaml(&path);
    let sources = config["datasources"].as_array().expect("datasources");
    let of = |kind: &str| {
        sources
            .iter()
            .find(|s| s["type"] == kind)
            .expect("a data source of this type")
    };
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
}

#[test]
fn every_file_that_compose_mounts_is_there_and_every_port_is_on_loopback() {
    for path in files("collector-examples", &["compose.yaml"]) {
        let folder = path.parent().expect("a folder");
        let config = yaml(&path);
        for (name, service) in config["services"].as_object().expect("services") {
            for mount in list(&service["volumes"]) {
                let source = mount.split(':').next().expect("a source");
                if source.starts_with('.') {
                    assert!(
                        folder.join(source).exists(),
                        "{name} mounts {source}, which is not there"
                    );
                } else {
                    assert!(
                        names(&config["volumes"]).contains(source),
                        "{name} mounts the volume {source}"
                    );
                }
            }
            for port in list(&service["ports"]) {
                assert!(
                    port.starts_with("127.0.0.1:"),
                    "{name} is reachable from outside: {port}"
                );
            }
            let image = service["image"].as_str().expect("image");
            assert!(
                image.contains(':') && !image.ends_with(":latest"),
                "{image} is not pinned"
            );
        }
    }
}

#[test]
fn every_example_says_in_its_first_line_what_was_not_run() {
    for path in files("collector-examples", &["README.md"]) {
        let first = text(&path).lines().next().unwrap_or_default().to_owned();
        assert!(
            first.contains("Not run here"),
            "{}: {first}",
            path.display()
        );
    }
}
