//! OTLP destinations: file, environment, default.

use crate::{loaded, read};
use plainspan::config::{
    Compression, EventStoreKind, Loaded, Origin, OtelStore, OtlpEndpoint, OtlpProtocol, describe,
    embedded,
};
use plainspan::rules::Level;
use std::path::Path;
use std::time::Duration;

const REST: &str = "stacks: {s: {plugins: [{type: http_capture, config: {level: headers}}]}}\ntap: {http: {stack: s}}\n";

fn file(store: &str) -> String {
    format!("version: 2\nservices: {{event_stores: [{store}]}}\n{REST}")
}

fn otel_of(loaded: &Loaded) -> &OtelStore {
    let stores = &loaded.config.event_stores;
    let otel = stores.iter().find_map(|s| {
        if let EventStoreKind::Otel(o) = &s.kind {
            Some(o)
        } else {
            None
        }
    });
    otel.expect("a store of type otel")
}

#[track_caller]
fn otel(store: &str, variables: &[(&str, &str)]) -> OtelStore {
    otel_of(&loaded(&file(store), variables)).clone()
}

#[track_caller]
fn traces(store: &str, variables: &[(&str, &str)]) -> OtlpEndpoint {
    otel(store, variables).traces.expect("traces are on")
}

#[test]
fn endpoints_of_the_file() {
    use OtlpProtocol::{Grpc, Http};
    for (store, protocol, url) in [
        ("{type: otel}", Grpc, "http://localhost:4317"),
        (
            "{type: otel, protocol: http}",
            Http,
            "http://localhost:4318/v1/traces",
        ),
        (
            "{type: otel, endpoint: 'collector:4317'}",
            Grpc,
            "http://collector:4317",
        ),
        (
            "{type: otel, endpoint: 'collector:4317', tls: {enabled: true}}",
            Grpc,
            "https://collector:4317",
        ),
        (
            "{type: otel, endpoint: 'collector:4318'}",
            Http,
            "http://collector:4318/v1/traces",
        ),
        (
            "{type: otel, endpoint: 'https://collector:4317'}",
            Grpc,
            "https://collector:4317",
        ),
        (
            "{type: otel, endpoint: 'https://collector', protocol: grpc}",
            Grpc,
            "https://collector:443",
        ),
        (
            "{type: otel, endpoint: 'https://c/otlp/'}",
            Http,
            "https://c/otlp/v1/traces",
        ),
        (
            "{type: otel, endpoint: 'https://c:4317/otlp', protocol: http/protobuf}",
            Http,
            "https://c:4317/otlp/v1/traces",
        ),
        (
            "{type: otel, endpoint: 'http://[::1]:4317'}",
            Grpc,
            "http://[::1]:4317",
        ),
        (
            "{type: otel, endpoint: 'http://{{NODE_IP}}:4317'}",
            Grpc,
            "http://10.0.0.7:4317",
        ),
    ] {
        let endpoint = traces(store, &[("NODE_IP", "10.0.0.7")]);
        assert_eq!(
            (endpoint.protocol, endpoint.url.as_str()),
            (protocol, url),
            "{store}"
        );
    }
    let all = otel("{type: otel, endpoint: 'http://c:4318'}", &[]);
    assert_eq!(
        all.logs.map(|e| e.url).as_deref(),
        Some("http://c:4318/v1/logs")
    );
    assert_eq!(
        all.metrics.map(|e| e.url).as_deref(),
        Some("http://c:4318/v1/metrics")
    );
}

#[test]
fn the_environment_fills_what_the_file_leaves_open() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:4318/base"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "https://logs/as/is"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://metrics:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "api-key=a%20b%2Cc, X-Team = web",
        ),
        ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "only=logs"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
        ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key.pem"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/cert.pem"),
    ];
    let store = otel("{type: otel}", &variables);
    let (traces, logs) = (store.traces.expect("traces"), store.logs.expect("logs"));
    assert_eq!(traces.url, "https://c:4318/base/v1/traces");
    assert_eq!(logs.url, "https://logs/as/is");
    assert_eq!(store.metrics.expect("metrics").url, "http://metrics:4318/");
    let headers: Vec<(&str, &str)> = traces
        .headers
        .iter()
        .map(|(n, v)| (n.as_str(), v.expose()))
        .collect();
    assert_eq!(headers, [("api-key", "a b,c"), ("x-team", "web")]);
    assert_eq!(logs.headers.len(), 1);
    assert_eq!(
        (traces.timeout, logs.timeout),
        (Duration::from_millis(2500), Duration::from_millis(1))
    );
    assert_eq!(
        (traces.compression, logs.compression),
        (Compression::None, Compression::Zstd)
    );
    assert_eq!(traces.tls.ca_file.as_deref(), Some(Path::new("/ca.pem")));
    assert_eq!(
        traces.tls.cert_file.as_deref(),
        Some(Path::new("/cert.pem"))
    );
    assert_eq!(traces.tls.key_file.as_deref(), Some(Path::new("/key.pem")));
}

#[test]
fn the_file_wins_over_the_environment() {
    let store = "{type: otel, endpoint: 'http://file:4317', protocol: grpc, timeout: 3s, compression: zstd, \
                 headers: {a: {type: text, value: b}}, tls: {ca_file: /file.pem}}";
    let endpoint = traces(
        store,
        &[
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "https://environment:1",
            ),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "c=d"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/environment.pem"),
        ],
    );
    assert_eq!(
        (endpoint.protocol, endpoint.url.as_str()),
        (OtlpProtocol::Grpc, "http://file:4317")
    );
    assert_eq!(
        (endpoint.timeout, endpoint.compression),
        (Duration::from_secs(3), Compression::Zstd)
    );
    assert_eq!(
        endpoint
            .headers
            .iter()
            .map(|(n, _)| n.as_str())
            .collect::<Vec<_>>(),
        ["a"]
    );
    assert_eq!(
        endpoint.tls.ca_file.as_deref(),
        Some(Path::new("/file.pem"))
    );
}

#[test]
fn insecure_counts_for_endpoints_without_scheme() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4317");
    let insecure = |value| ("OTEL_EXPORTER_OTLP_INSECURE", value);
    assert_eq!(traces("{type: otel}", &[endpoint]).url, "https://c:4317");
    assert_eq!(
        traces("{type: otel}", &[endpoint, insecure("true")]).url,
        "http://c:4317"
    );
    assert_eq!(
        traces(
            "{type: otel, tls: {enabled: true}}",
            &[endpoint, insecure("true")]
        )
        .url,
        "https://c:4317"
    );
    let https = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:4317");
    assert_eq!(
        traces("{type: otel}", &[https, insecure("true")]).url,
        "https://c:4317"
    );
}

#[test]
fn an_endpoint_in_the_environment_adds_a_store_where_the_file_has_none() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317");
    let with = loaded(&file("{type: stdout}"), &[endpoint]);
    let ids: Vec<&str> = with
        .config
        .event_stores
        .iter()
        .map(|s| s.id.as_str())
        .collect();
    assert_eq!(ids, ["stdout", "otel"]);
    assert_eq!(
        loaded(&file("{type: stdout, id: otel}"), &[endpoint])
            .config
            .event_stores[1]
            .id,
        "otel-2"
    );
    assert_eq!(
        loaded(&file("{type: otel, id: mine}"), &[endpoint])
            .config
            .event_stores
            .len(),
        1
    );
    assert_eq!(
        loaded(&file("{type: stdout}"), &[])
            .config
            .event_stores
            .len(),
        1
    );

    let one = loaded(
        &file("{type: stdout}"),
        &[(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "http://localhost:4317",
        )],
    );
    let store = otel_of(&one);
    assert!(store.traces.is_some() && store.logs.is_none() && store.metrics.is_none());
}

#[test]
fn without_a_file_lines_go_to_stdout_and_nothing_leaves_the_machine() {
    let alone = embedded(&crate::environment(&[])).expect("usable");
    assert_eq!(alone.warnings, []);
    assert!(alone.config.event_stores.is_empty() && alone.config.object_stores.is_empty());
    assert!(!alone.config.tap.ignore_loopback);
    let stack = alone.config.http_stack().expect("a stack");
    assert_eq!(
        stack.http_capture.as_ref().map(|c| c.level),
        Some(Level::Headers)
    );
    assert_eq!(
        stack.access_logs.as_ref().map(|a| (a.mode, a.json)),
        Some((Level::Summary, false))
    );

    let with = embedded(&crate::environment(&[(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "http://localhost:4317",
    )]))
    .expect("usable");
    assert_eq!(
        otel_of(&with).traces.as_ref().map(|e| e.url.as_str()),
        Some("http://localhost:4317")
    );
}

#[test]
fn wrong_variables_are_named_and_their_values_are_not_shown() {
    let store = "{type: otel}";
    for (name, value, problem) in [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "http://me:hunter2@c:4317",
            "must not hold user",
        ),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:0", "port"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://", "is not a URL"),
        (
            "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL",
            "http/json",
            "use grpc or http/protobuf",
        ),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "milliseconds"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2", "name=value"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a b=hunter2", "header name"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=hunter2%0a", "cannot carry"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "br", "none, gzip or zstd"),
    ] {
        let shown = read(&file(store), &[(name, value)]).expect_err(value);
        assert!(
            shown.contains(&format!("error: environment variable {name} "))
                && shown.contains(problem),
            "{shown}"
        );
        assert!(
            !shown.contains("hunter2") && shown.ends_with("test.yaml: 1 error\n"),
            "{shown}"
        );
    }
    let shown =
        read(&file(store), &[("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/k")]).expect_err("a key alone");
    assert!(shown.contains("CLIENT_CERTIFICATE"), "{shown}");
    let endpoint = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4317"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "yes"),
    ];
    assert!(
        read(&file(store), &endpoint)
            .expect_err("yes")
            .contains("INSECURE must be true or false")
    );
    let warned = loaded(&file(store), &[("OTEL_EXPORTER_OTLP_HEADER", "a=b")]);
    assert!(
        warned.warnings[0]
            .message
            .contains("OTEL_EXPORTER_OTLP_HEADER is not acted on")
    );
    assert_eq!(
        warned.warnings[0].hint.as_deref(),
        Some("did you mean OTEL_EXPORTER_OTLP_HEADERS?")
    );
}

#[test]
fn print_names_the_variable_that_a_value_comes_from() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:4318/x"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hunter2"),
    ];
    let loaded = loaded(&file("{type: otel, id: c, timeout: 3s}"), &variables);
    let origin = |path: &str| {
        let found = loaded
            .sources
            .iter()
            .find(|s| s.path == format!("services.event_stores[c].{path}"));
        found
            .map(|s| (s.value.as_str(), s.origin.clone()))
            .unwrap_or_else(|| panic!("{path}"))
    };
    let variable = |name: &str| Origin::Environment(format!("OTEL_EXPORTER_OTLP_{name}"));
    assert_eq!(
        origin("traces.url"),
        ("http://c:4318/x", variable("TRACES_ENDPOINT"))
    );
    assert_eq!(
        origin("logs.url"),
        ("http://localhost:4317", Origin::Default)
    );
    assert_eq!(
        origin("logs.headers.api-key"),
        ("'********'", variable("HEADERS"))
    );
    assert_eq!(origin("logs.timeout"), ("3s", Origin::File(2)));
    // Loopback.
    assert_eq!(origin("logs.compression"), ("none", Origin::Default));
    assert_eq!(origin("traces.compression"), ("gzip", Origin::Default));
    assert!(!describe(&loaded.sources).contains("hunter2"));
}

#[test]
fn known_methods_of_the_environment_take_the_place_of_the_usual_and_are_shown() {
    const NAME: &str = "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS";
    let text = file("{type: stdout}");
    let set = loaded(&text, &[(NAME, "GET, PROPFIND")]);
    let methods = &set.config.known_methods;
    assert_eq!(methods.name(b"PROPFIND"), "PROPFIND");
    assert_eq!(methods.name(b"POST"), "_OTHER");
    let line = "http.known_methods: [GET, PROPFIND]";
    let shown = describe(&set.sources);
    let found = shown.lines().find(|l| l.starts_with(line));
    assert!(found.is_some_and(|l| l.ends_with(NAME)), "{shown}");
    for unset in [&[][..], &[(NAME, "")], &[(NAME, " , ")]] {
        let unset = loaded(&text, unset);
        assert_eq!(unset.config.known_methods.name(b"POST"), "POST");
        assert!(!describe(&unset.sources).contains("known_methods"));
    }
    let wrong = read(&text, &[(NAME, "GET,P O")]).expect_err("no method");
    assert!(wrong.contains("names `P O`, which is no method"), "{wrong}");
}
