//! Every variable of OpenTelemetry that is acted on, by what wins over it, and where `check --print` says the value is from.

use crate::{loaded, read};
use plainspan::config::{
    Compression, EventStoreKind, Loaded, Origin, OtelStore, OtlpEndpoint, OtlpProtocol,
};
use std::time::Duration;

const REST: &str = "stacks: {s: {plugins: [{type: http_capture, config: {level: headers}}]}}\ntap: {http: {stack: s}}\n";
const SIGNALS: [&str; 3] = ["TRACES", "LOGS", "METRICS"];

/// A file with one store; `more` of its keys stand on line 3.
fn file(more: &str) -> String {
    format!("version: 2\nservices: {{event_stores: [{{type: otel, id: c,\n  {more}}}]}}\n{REST}")
}

const LINE: usize = 3;

/// One variable: `OTEL_EXPORTER_OTLP_<name>` and `OTEL_EXPORTER_OTLP_<SIGNAL>_<name>`, each with a value and what is
/// printed of it at `path`.
struct Variable {
    name: &'static str,
    /// Others that must be set for it to matter.
    others: &'static [(&'static str, &'static str)],
    path: &'static str,
    /// None: nothing is printed.
    default: Option<&'static str>,
    general: (&'static str, &'static str),
    of_signal: (&'static str, &'static str),
    in_file: (&'static str, &'static str),
}

const HTTPS: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:4317");

const VARIABLES: [Variable; 9] = [
    Variable {
        name: "ENDPOINT",
        others: &[],
        path: "url",
        default: Some("http://localhost:4317"),
        general: ("http://general:4317", "http://general:4317"),
        of_signal: ("http://signal:4317", "http://signal:4317"),
        in_file: ("endpoint: 'http://file:4317'", "http://file:4317"),
    },
    Variable {
        name: "PROTOCOL",
        others: &[],
        path: "protocol",
        default: Some("grpc"),
        general: ("http/protobuf", "http"),
        of_signal: ("grpc", "grpc"),
        in_file: ("protocol: http", "http"),
    },
    Variable {
        name: "HEADERS",
        others: &[],
        path: "headers.key",
        default: None,
        general: ("key=general", "'********'"),
        of_signal: ("key=signal", "'********'"),
        in_file: ("headers: {key: {type: text, value: file}}", "'********'"),
    },
    Variable {
        name: "TIMEOUT",
        others: &[],
        path: "timeout",
        default: Some("10s"),
        general: ("2000", "2s"),
        of_signal: ("3000", "3s"),
        in_file: ("timeout: 4s", "4s"),
    },
    Variable {
        name: "COMPRESSION",
        others: &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317")],
        path: "compression",
        default: Some("gzip"),
        general: ("none", "none"),
        of_signal: ("zstd", "zstd"),
        in_file: ("compression: gzip", "gzip"),
    },
    Variable {
        name: "INSECURE",
        others: &[("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4317")],
        path: "tls.enabled",
        default: Some("true"),
        general: ("true", "false"),
        of_signal: ("false", "true"),
        in_file: ("tls: {enabled: false}", "false"),
    },
    Variable {
        name: "CERTIFICATE",
        others: &[HTTPS],
        path: "tls.ca_file",
        default: None,
        general: ("/general.pem", "/general.pem"),
        of_signal: ("/signal.pem", "/signal.pem"),
        in_file: ("tls: {ca_file: /file.pem}", "/file.pem"),
    },
    Variable {
        name: "CLIENT_CERTIFICATE",
        others: &[HTTPS, ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key")],
        path: "tls.cert_file",
        default: None,
        general: ("/general.pem", "/general.pem"),
        of_signal: ("/signal.pem", "/signal.pem"),
        in_file: (
            "tls: {cert_file: /file.pem, key_file: /file.key}",
            "/file.pem",
        ),
    },
    Variable {
        name: "CLIENT_KEY",
        others: &[HTTPS, ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/cert")],
        path: "tls.key_file",
        default: None,
        general: ("/general.key", "/general.key"),
        of_signal: ("/signal.key", "/signal.key"),
        in_file: (
            "tls: {cert_file: /file.pem, key_file: /file.key}",
            "/file.key",
        ),
    },
];

/// Variables with their values.
type Set<'a> = &'a [(&'a str, &'a str)];

/// Value and source of a printed line; None: there is none.
fn printed(loaded: &Loaded, path: &str) -> Option<(String, Origin)> {
    let found = loaded.sources.iter().find(|s| s.path == path)?;
    Some((found.value.clone(), found.origin.clone()))
}

#[test]
fn each_variable_gives_way_to_its_signal_s_and_that_to_the_file() {
    for variable in &VARIABLES {
        for signal in SIGNALS {
            let general = format!("OTEL_EXPORTER_OTLP_{}", variable.name);
            let own = format!("OTEL_EXPORTER_OTLP_{signal}_{}", variable.name);
            let context = format!("{general}, {signal}");
            let path = format!(
                "services.event_stores[c].{}.{}",
                signal.to_lowercase(),
                variable.path
            );
            let mut set = variable.others.to_vec();
            let at = |set: &[(&str, &str)], more: &str| printed(&loaded(&file(more), set), &path);
            let from = |name: &str, value: &str| {
                Some((value.to_owned(), Origin::Environment(name.into())))
            };

            // A key without its certificate is an error: there is no default to see.
            if !variable.name.starts_with("CLIENT_") {
                let default = variable
                    .default
                    .map(|value| (value.to_owned(), Origin::Default));
                assert_eq!(at(&set, ""), default, "{context}: default");
            }
            set.push((&general, variable.general.0));
            assert_eq!(
                at(&set, ""),
                from(&general, variable.general.1),
                "{context}"
            );
            // Nothing is as good as not set.
            set.push((&own, ""));
            assert_eq!(
                at(&set, ""),
                from(&general, variable.general.1),
                "{context}: empty"
            );
            set.pop();
            for other in SIGNALS.iter().filter(|other| **other != signal) {
                let other = format!("OTEL_EXPORTER_OTLP_{other}_{}", variable.name);
                let set = [&set[..], &[(&other, variable.of_signal.0)]].concat();
                assert_eq!(
                    at(&set, ""),
                    from(&general, variable.general.1),
                    "{context}: {other}"
                );
            }
            set.push((&own, variable.of_signal.0));
            assert_eq!(
                at(&set, ""),
                from(&own, variable.of_signal.1),
                "{context}: own"
            );
            let (more, value) = variable.in_file;
            let wanted = Some((value.to_owned(), Origin::File(LINE)));
            assert_eq!(at(&set, more), wanted, "{context}: file");
        }
    }
}

fn store(variables: &[(&str, &str)]) -> OtelStore {
    let loaded = loaded(&file(""), variables);
    match &loaded.config.event_stores[0].kind {
        EventStoreKind::Otel(store) => (**store).clone(),
        other => panic!("{other:?}"),
    }
}

fn traces(variables: &[(&str, &str)]) -> OtlpEndpoint {
    store(variables).traces.expect("traces are on")
}

#[test]
fn words_are_read_in_any_case_and_no_limit_is_the_longest() {
    let endpoint = traces(&[
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "HTTP/Protobuf"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "ZSTD"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
    ]);
    assert_eq!(endpoint.protocol, OtlpProtocol::Http);
    assert_eq!(endpoint.compression, Compression::Zstd);
    assert_eq!(endpoint.timeout, Duration::from_secs(24 * 3600));
}

#[test]
fn requests_to_this_host_are_not_compressed_unless_somebody_says_so() {
    let compression = |endpoint: &str| {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
        traces(&[endpoint]).compression
    };
    for here in ["localhost:4317", "127.0.0.9:4318", "[::1]:4317"] {
        assert_eq!(compression(&format!("http://{here}")), Compression::None);
    }
    for away in ["collector:4317", "localhost.example:4317", "10.0.0.1:4317"] {
        assert_eq!(compression(&format!("http://{away}")), Compression::Gzip);
    }
    let said = traces(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
    ]);
    assert_eq!(said.compression, Compression::Gzip);
}

#[test]
fn headers_are_percent_decoded_and_bound_to_their_signal() {
    let store = store(&[
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "a=b%20c%2Cd%3D, Tenant = x=y ,",
        ),
        ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "l=1"),
    ]);
    let of = |endpoint: Option<OtlpEndpoint>| -> Vec<(String, String)> {
        let headers = endpoint.expect("on").headers.into_iter();
        headers
            .map(|(name, value)| (name, value.expose().to_owned()))
            .collect()
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let general = [pair("a", "b c,d="), pair("tenant", "x=y")];
    assert_eq!(of(store.traces), general);
    assert_eq!(of(store.metrics), general);
    assert_eq!(of(store.logs), [pair("l", "1")]);
}

#[test]
fn http_json_is_refused_with_what_to_use() {
    for name in [
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL",
    ] {
        let shown = read(&file(""), &[(name, "http/json")]).expect_err("refused");
        assert!(
            shown.contains(&format!("environment variable {name} is"))
                && shown.contains("http/json")
                && shown.contains("use grpc or http/protobuf"),
            "{shown}"
        );
    }
}

#[test]
fn temporality_and_buckets_of_metrics_come_from_the_file_else_from_the_variable() {
    type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);
    let rows: [Row; 2] = [
        (
            "TEMPORALITY_PREFERENCE",
            "temporality_preference",
            &[
                ("cumulative", "cumulative"),
                ("Delta", "delta"),
                ("LOWMEMORY", "low_memory"),
            ],
        ),
        (
            "DEFAULT_HISTOGRAM_AGGREGATION",
            "default_histogram_aggregation",
            &[
                ("explicit_bucket_histogram", "explicit_bucket_histogram"),
                (
                    "base2_exponential_bucket_histogram",
                    "base2_exponential_bucket_histogram",
                ),
            ],
        ),
    ];
    for (rest, key, words) in rows {
        let name = format!("OTEL_EXPORTER_OTLP_METRICS_{rest}");
        let path = format!("metrics.{key}");
        let value = |loaded: &Loaded| {
            let found = loaded.sources.iter().find(|s| s.path == path);
            found.map(|s| (s.value.clone(), s.origin.clone()))
        };
        let none = loaded(&file(""), &[]);
        let first = words[0].1.to_owned();
        assert_eq!(value(&none), Some((first.clone(), Origin::Default)));
        let empty = loaded(&file(""), &[(&name, "")]);
        assert_eq!(empty.config.metrics, none.config.metrics);
        for (said, meant) in words {
            let set = loaded(&file(""), &[(&name, said)]);
            let origin = Origin::Environment(name.clone());
            assert_eq!(value(&set), Some(((*meant).to_owned(), origin)));
            assert!(set.warnings.is_empty(), "{:?}", set.warnings);
            let text = format!("{}metrics: {{{key}: {meant}}}\n", file(""));
            let written = loaded(&text, &[]);
            assert_eq!(written.config.metrics, set.config.metrics, "{said}");
            // The file goes before.
            let text = format!("{}metrics: {{{key}: {first}}}\n", file(""));
            let written = loaded(&text, &[(&name, said)]);
            assert_eq!(written.config.metrics, none.config.metrics, "{said}");
        }
        let differing = words
            .iter()
            .map(|(said, _)| loaded(&file(""), &[(&name, said)]));
        let mut seen: Vec<_> = differing.map(|loaded| loaded.config.metrics).collect();
        seen.dedup();
        assert_eq!(seen.len(), words.len());
        let shown = read(&file(""), &[(&name, "sometimes")]).expect_err("refused");
        let wanted = format!("environment variable {name} is `sometimes`, which is none of");
        assert!(shown.contains(&wanted), "{shown}");
    }
}

#[test]
fn the_agent_says_of_itself_what_the_environment_says_by_the_specification_s_precedence() {
    let name = |value| ("OTEL_SERVICE_NAME", value);
    let attributes = |value| ("OTEL_RESOURCE_ATTRIBUTES", value);
    let variable = |name: &str| Origin::Environment(name.into());
    let cases: [(Set<'_>, &str, Origin); 5] = [
        (&[], "plainspan", Origin::Default),
        (&[name("")], "plainspan", Origin::Default),
        (&[name("a")], "a", variable("OTEL_SERVICE_NAME")),
        (
            &[attributes("service.name=b,team=core")],
            "b",
            variable("OTEL_RESOURCE_ATTRIBUTES"),
        ),
        (
            &[name("a"), attributes("service.name=b")],
            "a",
            variable("OTEL_SERVICE_NAME"),
        ),
    ];
    for (set, wanted, origin) in cases {
        let loaded = loaded(&file(""), set);
        assert_eq!(loaded.config.agent["service.name"], wanted, "{set:?}");
        let line = printed(&loaded, "agent.resource.attributes.service.name");
        assert_eq!(line, Some((wanted.to_owned(), origin)), "{set:?}");
    }
    let set = [attributes(
        "team=a%2Cb%3D,service.version=9,deployment.environment.name=x%20y",
    )];
    let with_more = loaded(&file(""), &set).config.agent;
    assert_eq!(with_more["team"], "a,b=");
    assert_eq!(with_more["deployment.environment.name"], "x y");
    // What the agent itself knows is better.
    assert_eq!(with_more["service.version"], env!("CARGO_PKG_VERSION"));
    // They describe the agent alone.
    assert!(loaded(&file(""), &set).config.resource.is_empty());
}

#[test]
fn resource_attributes_that_cannot_be_read_are_dropped_whole_and_named() {
    for value in ["team=a,nonsense", "team=%ff", "=x"] {
        let loaded = loaded(&file(""), &[("OTEL_RESOURCE_ATTRIBUTES", value)]);
        assert_eq!(loaded.config.agent.len(), 2, "{value}");
        let warning = &loaded.warnings[0];
        assert!(
            warning.message.contains("OTEL_RESOURCE_ATTRIBUTES"),
            "{warning:?}"
        );
    }
}

#[test]
fn the_proxy_is_that_of_the_scheme_else_of_all_and_never_for_what_no_proxy_names() {
    const PROXIES: [(&str, &str); 3] = [
        ("HTTPS_PROXY", "http://secure:1"),
        ("HTTP_PROXY", "http://plain:1"),
        ("ALL_PROXY", "http://all:1"),
    ];
    let at = |endpoint: &str, set: &[(&str, &str)]| {
        let endpoint = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)];
        let set = [&endpoint[..], set].concat();
        let found = printed(
            &loaded(&file(""), &set),
            "services.event_stores[c].logs.proxy",
        );
        let used = traces(&set).proxy.map(|proxy| proxy.url);
        assert_eq!(found.as_ref().map(|(url, _)| url.clone()), used);
        found
    };
    let from = |name: &str, url: &str| Some((url.to_owned(), Origin::Environment(name.into())));
    let (https, http) = ("https://c:4318", "http://c:4318");
    assert_eq!(at(https, &[]), None);
    assert_eq!(at(https, &PROXIES), from("HTTPS_PROXY", "http://secure:1"));
    assert_eq!(at(http, &PROXIES), from("HTTP_PROXY", "http://plain:1"));
    // gRPC goes by CONNECT, and those proxies are named there.
    let grpc = at("http://c:4317", &PROXIES);
    assert_eq!(grpc, from("HTTPS_PROXY", "http://secure:1"));
    assert_eq!(at(http, &PROXIES[2..]), from("ALL_PROXY", "http://all:1"));
    let small = [("https_proxy", "small:2")];
    assert_eq!(at(https, &small), from("https_proxy", "http://small:2"));
    let both = [PROXIES[0], small[0]];
    assert_eq!(at(https, &both), from("HTTPS_PROXY", "http://secure:1"));
    for spared in [("NO_PROXY", "x,c"), ("no_proxy", "*")] {
        assert_eq!(at(https, &[PROXIES[0], spared]), None, "{spared:?}");
    }
    assert_eq!(at("http://localhost:4317", &PROXIES), None);
}

#[test]
fn a_proxy_that_cannot_be_used_is_named_without_its_password() {
    let set = |proxy| {
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:4317"),
            ("HTTPS_PROXY", proxy),
        ]
    };
    let shown = read(&file(""), &set("socks5://me:hunter2@p:1")).expect_err("no SOCKS");
    assert!(
        shown.contains("environment variable HTTPS_PROXY has scheme")
            && shown.contains("NO_PROXY")
            && !shown.contains("hunter2"),
        "{shown}"
    );
    let loaded = loaded(&file(""), &set("http://me:hunter2@p:1"));
    assert!(!plainspan::config::describe(&loaded.sources).contains("hunter2"));
    assert!(!format!("{:?}", loaded.config).contains("bWU6aHVudGVyMg"));
}
