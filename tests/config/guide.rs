//! The configuration of QTap's guide, unchanged.

use crate::{loaded, read, text_of};
use plainspan::config::{Direction, EventStoreKind, ObjectStoreKind, S3Store, Secret, describe};
use plainspan::rules::Level;

const KEYS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "AKIA-canary"),
    ("AWS_SECRET_ACCESS_KEY", "hunter2-canary"),
];

#[test]
fn the_guides_file_runs_unchanged_when_its_variables_are_set() {
    let loaded = loaded(&text_of("tests/fixtures/qtap-guide.yaml"), &KEYS);
    assert_eq!(loaded.warnings, []);
    let config = loaded.config;
    assert_eq!(config.event_stores.len(), 1);
    assert_eq!(
        (
            config.event_stores[0].id.as_str(),
            &config.event_stores[0].kind
        ),
        ("stdout", &EventStoreKind::Stdout)
    );
    let store = &config.object_stores[0];
    assert_eq!(store.id, "s3");
    assert_eq!(
        store.access_url.as_deref(),
        Some("https://s3.amazonaws.com/{{BUCKET}}/{{DIGEST}}")
    );
    let s3 = S3Store {
        endpoint: "s3.amazonaws.com".into(),
        bucket: "traffic-capture".into(),
        region: "us-east-1".into(),
        insecure: false,
        credentials: Some((Secret::new("AKIA-canary"), Secret::new("hunter2-canary"))),
        ..S3Store::default()
    };
    assert_eq!(store.kind, ObjectStoreKind::S3(s3));
    let capture = config
        .http_stack()
        .and_then(|s| s.http_capture.as_ref())
        .expect("http_capture");
    assert_eq!(capture.level, Level::Headers);
    assert_eq!(
        (capture.object_store.as_deref(), capture.object_from_level),
        (Some("s3"), Level::Summary)
    );
    assert_eq!(
        (config.tap.direction, config.tap.ignore_loopback),
        (Direction::All, true)
    );
}

#[test]
fn unset_variables_are_both_named_in_one_run() {
    let shown = read(&text_of("tests/fixtures/qtap-guide.yaml"), &[]).expect_err("refused");
    assert!(
        shown.contains("test.yaml:15:16: error: environment variable `AWS_ACCESS_KEY_ID`"),
        "{shown}"
    );
    assert!(
        shown.contains("test.yaml:18:16: error: environment variable `AWS_SECRET_ACCESS_KEY`"),
        "{shown}"
    );
    assert!(shown.ends_with("test.yaml: 2 errors\n"), "{shown}");
}

#[test]
fn print_says_where_each_value_comes_from_and_masks_secrets() {
    let shown = describe(&loaded(&text_of("tests/fixtures/qtap-guide.yaml"), &KEYS).sources);
    let line = |path: &str| {
        shown
            .lines()
            .find(|l| l.starts_with(path))
            .unwrap_or_else(|| panic!("{path}\n{shown}"))
    };
    assert!(
        line("tap.direction: all ").ends_with("# test.yaml:27"),
        "{shown}"
    );
    assert!(
        line("limits.ring: 16MiB ").ends_with("# default"),
        "{shown}"
    );
    assert!(
        line("services.object_stores[s3].secret_key: '********'").contains("# test.yaml:"),
        "{shown}"
    );
    assert!(!shown.contains("canary"), "{shown}");
    let yaml: serde_yaml::Value = serde_yaml::from_str(&shown).expect("the output is YAML");
    assert_eq!(
        yaml.get("tap.ignore_loopback").and_then(|v| v.as_bool()),
        Some(true)
    );
}

#[test]
fn print_gives_each_value_a_path_of_its_own() {
    let text = "version: 2\nservices: {event_stores: [{type: otel}, {type: otel}, {type: stdout}]}\n\
        stacks: {s: {plugins: [{type: http_capture, config: {level: headers, redact: {rules: [\
        {in: query, key: a}, {in: query, key: b}]}}}]}}\ntap: {http: {stack: s}}\n";
    let loaded = loaded(text, &[]);
    let mut paths: Vec<&str> = loaded.sources.iter().map(|s| s.path.as_str()).collect();
    let all = paths.len();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), all, "{paths:?}");
    assert_eq!(loaded.config.event_stores[1].id, "otel-2");
    assert!(paths.contains(&"services.event_stores[otel-2].traces.url"));
}
