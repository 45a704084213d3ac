//! Configurations of the OpenTelemetry collector, held against a table of components: each key with its type, each signal
//! with what takes it, and pipelines in both directions.

use crate::{files, list, names, root, yaml};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

const SECTIONS: [&str; 5] = [
    "receivers",
    "processors",
    "exporters",
    "connectors",
    "extensions",
];

fn table() -> Value {
    yaml(&root().join("tests/shipped/collector-components.yaml"))
}

/// Configurations of collectors are those files with a `service`.
fn configurations() -> Vec<(PathBuf, Value)> {
    let all = files("collector-examples", &[".yaml"]);
    let found: Vec<_> = (all.into_iter())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("collector") && !name.contains("deployment")
        })
        .map(|path| (path.clone(), yaml(&path)))
        .collect();
    assert!(found.len() >= 14, "{} collectors", found.len());
    found
}

fn kind(name: &str) -> &str {
    name.split('/').next().expect("a split has a first part")
}

/// The paths of all values in `value` under `at`, with what is there.
fn leaves(at: &str, value: &Value, out: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                let dot = if at.is_empty() { "" } else { "." };
                // Keys of a map may hold dots; the table has a star for them.
                leaves(&format!("{at}{dot}{key}"), value, out);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for item in items {
                leaves(&format!("{at}[]"), item, out);
            }
        }
        Value::Object(_) | Value::Null => {}
        _ => out.push((at.to_owned(), value.clone())),
    }
}

/// What the table says of each key of a component.
fn keys(table: &Value, component: &Value) -> BTreeMap<String, String> {
    let shared = list(&component["shared"]);
    let parts = shared.iter().map(|name| {
        let part = &table["shared"][name];
        assert!(part.is_object(), "the table has no shared {name}");
        part
    });
    let all = parts.chain([&component["keys"]]);
    let fields = all.filter_map(Value::as_object).flatten();
    fields
        .map(|(key, kind)| (key.clone(), kind.as_str().expect("a type").to_owned()))
        .collect()
}

fn matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix(".*") {
        Some(map) => path
            .strip_prefix(map)
            .is_some_and(|rest| rest.starts_with('.')),
        None => pattern == path,
    }
}

fn is_duration(text: &str) -> bool {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text[number.len()..];
    number.parse::<f64>().is_ok() && ["ms", "s", "m", "h"].contains(&unit)
}

fn fits(kind: &str, value: &Value) -> bool {
    match kind {
        "text" => value.is_string(),
        "number" => value.is_number(),
        "bool" => value.is_boolean(),
        "duration" => value.as_str().is_some_and(is_duration),
        "list" => value
            .as_array()
            .is_some_and(|items| items.iter().all(Value::is_string)),
        words => value
            .as_str()
            .is_some_and(|word| words.contains('|') && words.split('|').any(|w| w == word)),
    }
}

/// What is wrong with the components of a configuration.
fn faults(table: &Value, config: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for section in SECTIONS {
        for (name, settings) in config[section].as_object().into_iter().flatten() {
            let component = &table[section][kind(name)];
            if !component.is_object() {
                faults.push(format!("{section} has no {}", kind(name)));
                continue;
            }
            let keys = keys(table, component);
            let mut found = Vec::new();
            leaves("", settings, &mut found);
            for (path, value) in found {
                match keys.iter().find(|(pattern, _)| matches(pattern, &path)) {
                    None => faults.push(format!("{section}.{name} has no {path}")),
                    Some((_, kind)) if !fits(kind, &value) => {
                        faults.push(format!("{section}.{name}: {path} is {kind}, not {value}"));
                    }
                    Some(_) => {}
                }
            }
        }
    }
    for top in names(config) {
        if !SECTIONS.contains(&&*top) && top != "service" {
            faults.push(format!("no section {top}"));
        }
    }
    faults
}

#[test]
fn every_component_and_key_is_in_the_table_with_its_type() {
    let table = table();
    for (path, config) in configurations() {
        assert_eq!(
            faults(&table, &config),
            Vec::<String>::new(),
            "{}",
            path.display()
        );
    }
}

#[test]
fn a_component_a_key_or_a_type_that_is_wrong_is_found() {
    let table = table();
    for (text, fault) in [
        ("exporters: { oltp: {} }", "exporters has no oltp"),
        (
            "exporters: { otlp/a: { endpint: x } }",
            "exporters.otlp/a has no endpint",
        ),
        (
            "processors: { batch: { timeout: 5 } }",
            "processors.batch: timeout is duration, not 5",
        ),
        (
            "connectors: { routing: { table: [{ context: spam }] } }",
            "connectors.routing: table[].context is request|resource|span|metric|datapoint|log, not \"spam\"",
        ),
        (
            "exporters: { loadbalancing: { resolver: { dns: { port: 4317 } } } }",
            "exporters.loadbalancing: resolver.dns.port is text, not 4317",
        ),
        ("processor: {}", "no section processor"),
    ] {
        let config: Value = serde_yaml::from_str(text).expect("YAML");
        assert_eq!(faults(&table, &config), [fault], "{text}");
    }
}

/// The signal of a pipeline's name.
fn signal(pipeline: &str) -> String {
    let signal = kind(pipeline).to_owned();
    assert!(
        ["traces", "logs", "metrics"].contains(&&*signal),
        "{pipeline}"
    );
    signal
}

#[test]
fn pipelines_name_what_is_defined_and_takes_their_signal_and_all_of_it_is_used() {
    let table = table();
    for (path, config) in configurations() {
        let at = path.display();
        let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        let extensions = list(&config["service"]["extensions"]);
        used.insert("extensions", extensions.into_iter().collect());
        let connectors = names(&config["connectors"]);
        let (mut ends, mut begins) = (BTreeSet::new(), BTreeSet::new());
        let pipelines = config["service"]["pipelines"]
            .as_object()
            .expect("pipelines");
        for (name, pipeline) in pipelines {
            for section in ["receivers", "processors", "exporters"] {
                for part in list(&pipeline[section]) {
                    let connector = connectors.contains(&part);
                    let from = if connector { "connectors" } else { section };
                    assert!(
                        names(&config[from]).contains(&part),
                        "{at}: pipeline {name} names {part}, which {from} does not define"
                    );
                    let signals = match (connector, section) {
                        (true, "receivers") => "gives",
                        _ => "signals",
                    };
                    let takes = list(&table[from][kind(&part)][signals]);
                    assert!(
                        takes.contains(&signal(name)),
                        "{at}: {part} in pipeline {name}"
                    );
                    match (connector, section) {
                        (true, "receivers") => begins.insert(part.clone()),
                        (true, _) => ends.insert(part.clone()),
                        _ => false,
                    };
                    used.entry(from).or_default().insert(part);
                }
            }
            assert!(!list(&pipeline["receivers"]).is_empty(), "{at}: {name}");
            assert!(!list(&pipeline["exporters"]).is_empty(), "{at}: {name}");
            let first = list(&pipeline["processors"]).into_iter().next();
            assert_eq!(
                first.as_deref(),
                Some("memory_limiter"),
                "{at}: pipeline {name}"
            );
        }
        assert_eq!(
            ends, begins,
            "{at}: connectors end some pipelines and begin others"
        );
        for section in SECTIONS {
            let unused: Vec<_> = names(&config[section])
                .into_iter()
                .filter(|name| !used.get(section).is_some_and(|used| used.contains(name)))
                .collect();
            assert!(
                unused.is_empty(),
                "{at}: {section} defines {unused:?} and nothing uses it"
            );
        }
        for (name, routing) in config["connectors"].as_object().into_iter().flatten() {
            let rows = routing["table"].as_array().into_iter().flatten();
            let targets = rows.flat_map(|row| list(&row["pipelines"]));
            for target in targets.chain(list(&routing["default_pipelines"])) {
                let goes = pipelines
                    .get(&target)
                    .is_some_and(|p| list(&p["receivers"]).contains(name));
                assert!(goes, "{at}: {name} routes to {target}");
            }
        }
    }
}

#[test]
fn images_are_of_the_version_that_the_table_was_taken_from() {
    let version = table()["version"].as_str().expect("a version").to_owned();
    let mut images = 0;
    for path in files("collector-examples", &[".yaml", ".md"]) {
        let text = crate::text(&path);
        for line in text
            .lines()
            .filter(|l| l.contains("opentelemetry-collector-contrib:"))
        {
            images += 1;
            assert!(
                line.ends_with(&format!(":{version}")),
                "{}: {line}",
                path.display()
            );
        }
    }
    assert!(images >= 2);
}
