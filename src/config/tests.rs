//! The reference file agrees with the tables of keys.

use super::*;
use settings::{Fields, Value};
use std::collections::BTreeSet;

const REFERENCE: &str = include_str!("../../otel-config/plainspan.yaml");
const HEADERS_ONLY: &str = include_str!("../../otel-config/headers-only.yaml");

/// The same choices as the reference file, with no key that has a default.
const SHORT: &str = "\
version: 2
services:
  event_stores: [{id: collector, type: otel}]
  object_stores: [{id: payloads, type: disk, path: /var/lib/plainspan/payloads}]
stacks:
  default:
    plugins:
      - {type: http_capture, config: {level: headers}}
      - {type: access_logs}
tap: {http: {stack: default}}
";

/// The reference with its optional lines (`#` in the first column, then at least two spaces) taken in. Options below
/// `rules: []` and the like take the place of the empty value.
fn with_options() -> String {
    let lines: Vec<&str> = REFERENCE.lines().collect();
    let is_option = |line: &str| line.starts_with("#  ");
    let option_follows = |at: usize| {
        lines[at + 1..]
            .iter()
            .find(|l| is_option(l) || !l.trim_start().starts_with('#'))
            .is_some_and(|l| is_option(l))
    };
    let line =
        |(at, line): (usize, &&str)| match line.strip_suffix(" []").or(line.strip_suffix(" {}")) {
            _ if is_option(line) => line[1..].to_owned(),
            Some(key) if option_follows(at) => key.to_owned(),
            _ => (*line).to_owned(),
        };
    lines.iter().enumerate().map(|l| line(l) + "\n").collect()
}

fn environment() -> Environment {
    let names = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AZURE_STORAGE_ACCOUNT_KEY",
        "OTEL_API_KEY",
        "PLAINSPAN_HASH_KEY",
        "PLAINSPAN_SITE_KEY",
    ];
    let value = "a value of any length";
    names.into_iter().map(|name| (name, value)).collect()
}

fn shown(result: Result<Loaded, Vec<Problem>>, file: &str) -> Loaded {
    result.unwrap_or_else(|problems| panic!("{}", render(file, &problems)))
}

#[test]
fn the_reference_file_loads_without_a_warning_and_its_values_are_the_defaults() {
    let environment = Environment::default();
    let reference = shown(
        load(REFERENCE, "plainspan.yaml", &environment),
        "plainspan.yaml",
    );
    assert_eq!(
        reference.warnings,
        [],
        "{}",
        render("plainspan.yaml", &reference.warnings)
    );
    assert_eq!(
        reference.config,
        shown(load(SHORT, "short", &environment), "short").config
    );
}

#[test]
fn every_key_that_is_acted_on_stands_in_the_reference_file() {
    let text = with_options();
    let environment = environment();
    let loaded = shown(load(&text, "with options", &environment), "with options");
    assert_eq!(
        loaded.warnings,
        [],
        "{}",
        render("with options", &loaded.warnings)
    );

    let mut problems = Problems::default();
    let root = tree::read(&text, &mut problems).expect("a tree");
    let mut decoder = Decoder {
        environment: &environment,
        problems: &mut problems,
    };
    let settings = decoder.section(&schema::ROOT, Some(&root), Mark::default());
    let mut written = BTreeSet::new();
    collect(&settings, &mut written);
    // What is accepted for the sake of QTap's files alone is no advice to anyone.
    let for_qtap = |section: &str, key: &str| {
        (section, key) == ("http_capture.config.rules", "format")
            // Not beside `hash_key` and `site_key`, which are there.
            || (section, key) == ("http_capture.config.redact", "hash_key_file")
            || (section, key) == ("tap.trace", "site_key_file")
    };
    let missing: Vec<_> = known_keys()
        .filter(|(section, key)| !for_qtap(section, key) && !written.contains(&(*section, *key)))
        .collect();
    assert!(
        missing.is_empty(),
        "not in otel-config/plainspan.yaml: {missing:?}"
    );
}

fn collect(fields: &Fields, written: &mut BTreeSet<(&'static str, &'static str)>) {
    written.extend(fields.written.iter().map(|key| (fields.section, *key)));
    for (_, setting) in &fields.entries {
        collect_value(&setting.value, written);
    }
}

fn collect_value(value: &Value, written: &mut BTreeSet<(&'static str, &'static str)>) {
    match value {
        Value::Section(fields) => collect(fields, written),
        Value::List(items) => items
            .iter()
            .for_each(|item| collect_value(&item.value, written)),
        Value::Map(entries) => entries
            .iter()
            .for_each(|(_, setting)| collect_value(&setting.value, written)),
        _ => {}
    }
}

#[test]
fn the_preset_for_headers_keeps_headers_and_no_payload() {
    let loaded = shown(
        load(HEADERS_ONLY, "headers-only.yaml", &Environment::default()),
        "headers-only.yaml",
    );
    assert_eq!(
        loaded.warnings,
        [],
        "{}",
        render("headers-only.yaml", &loaded.warnings)
    );
    let capture = loaded
        .config
        .http_stack()
        .and_then(|s| s.http_capture.as_ref())
        .expect("http_capture");
    assert_eq!(
        (capture.level, capture.object_store.as_deref()),
        (crate::rules::Level::Headers, None)
    );
}

#[test]
fn every_default_of_the_tables_can_be_read() {
    let mut problems = Problems::default();
    let environment = Environment::default();
    for section in table::all_sections(&schema::ROOT) {
        let mut decoder = Decoder {
            environment: &environment,
            problems: &mut problems,
        };
        let fields = decoder.section(section, None, Mark::default());
        for key in section.keys.iter().filter(|k| k.default.is_some()) {
            assert!(
                fields.get(key.name).is_some(),
                "default of {} in {}",
                key.name,
                section.name
            );
        }
    }
    let missing_required_only = problems
        .finish("", &[])
        .iter()
        .all(|p| p.message.contains("is missing"));
    assert!(missing_required_only);
}

#[test]
fn a_byte_order_mark_changes_nothing() {
    let text = format!("\u{feff}{SHORT}");
    let environment = Environment::default();
    assert_eq!(
        shown(load(&text, "bom", &environment), "bom").config,
        shown(load(SHORT, "short", &environment), "short").config
    );
}

#[test]
fn no_key_that_is_not_acted_on_is_passed_over_in_silence() {
    let environment = Environment::default();
    let mut looked_at = 0;
    for section in table::all_sections(&schema::ROOT) {
        for key in section.keys {
            let severity = match key.state {
                table::State::Acts => continue,
                table::State::Ignored(_) => Severity::Warning,
                table::State::Refused(_) => Severity::Error,
            };
            let mut problems = Problems::default();
            let node = tree::read(&format!("{}: something", key.name), &mut problems);
            let mut decoder = Decoder {
                environment: &environment,
                problems: &mut problems,
            };
            decoder.section(section, node.as_ref(), Mark::default());
            let named = format!("`{}` in {}", key.name, section.name);
            let found = problems.finish("", &[]);
            let said = |p: &Problem| p.severity == severity && p.message.starts_with(&named);
            assert!(found.iter().any(said), "{named}: {found:?}");
            looked_at += 1;
        }
    }
    assert!(looked_at > 20, "only {looked_at} keys");
}
