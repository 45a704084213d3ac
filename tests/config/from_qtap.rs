//! Files of QTap's users: taken as they are, with what they mean there; what is not acted on is said.

use crate::{environment, text_of};
use plainspan::config::{Config, Direction, EventStoreKind, Loaded, load};
use plainspan::rules::Level;

fn read(name: &str) -> Loaded {
    let text = text_of(&format!("otel-config/from-qtap/{name}"));
    let variables = ["OTEL_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    let variables: Vec<(&str, &str)> = variables.iter().map(|name| (*name, "x")).collect();
    load(&text, name, &environment(&variables)).unwrap_or_else(|problems| {
        panic!("{}", plainspan::config::render(name, &problems));
    })
}

/// Places of the warnings, and the word that each has to say.
fn warns(loaded: &Loaded, words: &[&str]) {
    let said: Vec<&str> = loaded.warnings.iter().map(|w| w.message.as_str()).collect();
    assert_eq!(said.len(), words.len(), "{said:#?}");
    for (said, word) in said.iter().zip(words) {
        assert!(said.contains(word), "no {word:?} in {said:?}");
    }
}

fn capture(config: &Config) -> &plainspan::config::HttpCapture {
    let stack = config.http_stack().expect("a stack is in effect");
    stack.http_capture.as_ref().expect("http_capture")
}

#[test]
fn internal_calls_alone() {
    let loaded = read("internal-only.yaml");
    let config = &loaded.config;
    assert_eq!(config.tap.direction, Direction::EgressInternal);
    assert!(config.tap.ignore_loopback);
    assert_eq!(config.resource["deployment.environment.name"], "staging");
    let capture = capture(config);
    assert_eq!((capture.level, capture.rules.len()), (Level::Summary, 1));
    assert_eq!(capture.object_store, None);
    let access = config.http_stack().and_then(|s| s.access_logs.as_ref());
    assert!(access.is_some_and(|a| a.json && a.mode == Level::Summary));
    assert!(config.tap.exclude.iter().any(|e| e.exe.contains("kubelet")));
    warns(&loaded, &["service_name"]);
}

#[test]
fn debug_of_some_services() {
    let loaded = read("debug-services.yaml");
    let config = &loaded.config;
    let capture = capture(config);
    assert_eq!(
        (capture.level, capture.highest()),
        (Level::None, Level::Full)
    );
    assert_eq!(capture.rules[1].level, Level::Headers);
    assert_eq!(config.macros[0].name, "is_error");
    let access = config.http_stack().and_then(|s| s.access_logs.as_ref());
    assert!(access.is_some_and(|a| !a.json && a.mode == Level::Headers && a.rules.len() == 1));
    assert_eq!(config.tap.exclude.len(), 2);
    warns(&loaded, &["has a new name"]);
}

#[test]
fn production_recording() {
    let loaded = read("production-recording.yaml");
    let config = &loaded.config;
    let capture = capture(config);
    assert_eq!(capture.object_store.as_deref(), Some("recordings"));
    let levels: Vec<Level> = capture.rules.iter().map(|rule| rule.level).collect();
    assert_eq!(levels, [Level::Full, Level::Headers]);
    let stack = config.http_stack().expect("a stack");
    assert!(stack.report_usage && stack.http_metrics);
    let EventStoreKind::Otel(otel) = &config.event_stores[0].kind else {
        panic!("{:?}", config.event_stores)
    };
    let traces = otel.traces.as_ref().expect("traces are on");
    assert_eq!(traces.url, "https://collector.example.com:4318/v1/traces");
    warns(&loaded, &["event_store", "control"]);
}

/// What else QTap knows by name is taken with a warning that says what to do, or refused where nothing would arrive.
#[test]
fn everything_else_of_qtap_has_a_message_of_its_own() {
    let plugin = |name: &str| {
        format!(
            "stacks: {{s: {{plugins: [{{type: {name}}}, {{type: http_capture, config: {{level: summary}}}}]}}}}\ntap: {{http: {{stack: s}}}}\n"
        )
    };
    let event =
        |name: &str| format!("services: {{event_stores: [{{type: {name}, url: 'http://x'}}]}}\n");
    let object =
        |name: &str| format!("services: {{object_stores: [{{type: {name}, url: 'http://x'}}]}}\n");
    for (file, error, says) in [
        (plugin("detect_errors"), false, "rules of http_capture"),
        (plugin("qscan"), false, "redact"),
        (plugin("dlp"), false, "redact"),
        (plugin("llm"), false, "level full"),
        (plugin("logger"), false, "--log-level"),
        (plugin("devtools"), false, "event store of type stdout"),
        (event("axiom"), true, "OpenTelemetry collector"),
        (event("pulse"), true, "OpenTelemetry collector"),
        (event("pulse-streaming"), true, "OpenTelemetry collector"),
        (event("pulse-legacy"), true, "OpenTelemetry collector"),
        (object("qpoint"), true, "`azure` or `disk`"),
        (object("otel"), true, "`azure` or `disk`"),
        (
            "services: {qscan: {type: client}}\n".to_owned(),
            false,
            "Qscan",
        ),
        (
            "control: {default: allow}\n".to_owned(),
            false,
            "only observes",
        ),
        (
            "tap: {redis: {stack: none}}\n".to_owned(),
            false,
            "only HTTP",
        ),
        (
            "tap: {kafka: {stack: none}}\n".to_owned(),
            false,
            "only HTTP",
        ),
    ] {
        let text = format!("version: 2\n{file}");
        let (problems, refused) = match load(&text, "test.yaml", &environment(&[])) {
            Ok(loaded) => (loaded.warnings, false),
            Err(problems) => (problems, true),
        };
        let shown = plainspan::config::render("test.yaml", &problems);
        assert!(shown.contains(says), "{file}: no {says:?} in\n{shown}");
        assert_eq!(refused, error, "{file}:\n{shown}");
    }
}
