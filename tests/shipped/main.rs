//! The files that people copy: they parse, and they name nothing that does not exist.
//!
//! No collector, Tempo, Loki or Grafana runs here; these checks find what reading can find, and what promtool and the
//! grammars of Grafana's editors find. A real Prometheus is asked in `tests/e2e/prometheus`.

mod collector;
mod dashboards;
mod deploy;
mod queries;

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

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

/// All documents of a file.
fn documents(path: &Path) -> Vec<Value> {
    let text = text(path);
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| {
            Value::deserialize(document).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        })
        .collect()
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
            let all = documents(&path);
            let objects = !all.is_empty() && all.iter().all(Value::is_object);
            assert!(objects, "{} is no mapping", path.display());
        }
    }
    for path in files("grafana", &[".json"]) {
        assert!(json(&path).is_object(), "{} is no object", path.display());
    }
}
