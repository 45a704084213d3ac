//! OTLP destinations: for each signal the file's value, else the environment's, else the default.
//!
//! Environment: `OTEL_EXPORTER_OTLP_<SIGNAL>_X`, else `OTEL_EXPORTER_OTLP_X` (OpenTelemetry specification, "OTLP
//! Exporter Configuration"). A value that cannot be used is an error that names its variable: the specification would
//! have it ignored, and telemetry would go elsewhere without anyone knowing.

use super::Builder;
use crate::config::model::{Compression, OtelStore, OtlpEndpoint, OtlpProtocol, OtlpTls, Secret};
use crate::config::near::nearest;
use crate::config::problem::{MASK, quote};
use crate::config::schema::{COMPRESSIONS, PROTOCOLS, SIGNALS, Signal};
use crate::config::settings::{Fields, Value};
use crate::config::sources::{Origin, yaml_text};
use crate::config::template;
use crate::config::text::show_duration;
use crate::config::tree::Mark;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

const PREFIX: &str = "OTEL_EXPORTER_OTLP_";
const SIGNAL_WORDS: [(Signal, &str, &str); 3] = [
    (Signal::Traces, "TRACES", "traces"),
    (Signal::Logs, "LOGS", "logs"),
    (Signal::Metrics, "METRICS", "metrics"),
];
const VARIABLES: [&str; 9] = [
    "ENDPOINT",
    "PROTOCOL",
    "HEADERS",
    "TIMEOUT",
    "COMPRESSION",
    "INSECURE",
    "CERTIFICATE",
    "CLIENT_KEY",
    "CLIENT_CERTIFICATE",
];
const TEMPORALITY: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";

/// A value and where it comes from.
#[derive(Clone)]
struct Picked<T> {
    value: T,
    origin: Origin,
    mark: Mark,
    /// From a variable of this signal alone.
    of_signal: bool,
}

/// One destination with the source of each part.
pub(super) struct Resolved {
    endpoint: OtlpEndpoint,
    lines: Vec<(String, String, Origin)>,
}

/// Each signal's destination, before the store has its id; None: off.
pub(super) type ResolvedStore = [Option<Resolved>; 3];

impl Builder<'_> {
    pub(super) fn otel_store(&mut self, fields: &Fields, id: &str) -> OtelStore {
        let wanted: Vec<Signal> = fields
            .list("signals")
            .iter()
            .filter_map(|s| SIGNALS.get(s.value.text()?))
            .collect();
        if wanted.is_empty() {
            self.problems.warn(
                fields.mark("signals"),
                "an otel store without signals receives nothing",
            );
        }
        self.tls_pair_in_file(fields);
        let store = SIGNAL_WORDS.map(|(signal, ..)| {
            wanted
                .contains(&signal)
                .then(|| self.endpoint(fields, signal))
                .flatten()
        });
        self.resolved(store, id)
    }

    /// The store that the environment asks for; a signal's variable alone asks for that signal alone.
    pub(super) fn otel_store_of_environment(&mut self) -> Option<ResolvedStore> {
        let set = |name: String| self.environment.get(&name).is_some();
        let general = set(format!("{PREFIX}ENDPOINT"));
        let wanted =
            SIGNAL_WORDS.map(|(_, word, _)| general || set(format!("{PREFIX}{word}_ENDPOINT")));
        if wanted == [false; 3] {
            return None;
        }
        let none = Fields::default();
        let mut of = |i: usize, signal| {
            if wanted[i] {
                self.endpoint(&none, signal)
            } else {
                None
            }
        };
        Some([
            of(0, Signal::Traces),
            of(1, Signal::Logs),
            of(2, Signal::Metrics),
        ])
    }

    /// Puts the sources of a store's parts into the list.
    pub(super) fn resolved(&mut self, store: ResolvedStore, id: &str) -> OtelStore {
        let mut words = SIGNAL_WORDS.iter().map(|(_, _, word)| *word);
        let [traces, logs, metrics] = store.map(|resolved| {
            let word = words.next().unwrap_or_default();
            let resolved = resolved?;
            for (name, value, origin) in resolved.lines {
                self.sources.add(
                    format!("services.event_stores[{id}].{word}.{name}"),
                    value,
                    origin,
                );
            }
            Some(resolved.endpoint)
        });
        OtelStore {
            traces,
            logs,
            metrics,
        }
    }

    /// None: a problem was reported.
    fn endpoint(&mut self, fields: &Fields, signal: Signal) -> Option<Resolved> {
        let protocol = self.protocol(fields, signal);
        let text = self.endpoint_text(fields, signal, protocol.as_ref().map(|p| p.value))?;
        let url = self.parse_url(&text, fields, signal)?;
        let protocol = protocol.unwrap_or_else(|| Picked {
            value: if url.port() == Some(4317) {
                OtlpProtocol::Grpc
            } else {
                OtlpProtocol::Http
            },
            origin: Origin::Default,
            mark: Mark::default(),
            of_signal: false,
        });
        let shown = self.compose(&text, url.clone(), protocol.value, signal)?;
        let headers = self.headers(fields, signal);
        let (tls, tls_lines) = self.tls(fields, signal, url.scheme() == "https");
        let compression = self.compression(fields, signal);
        let timeout = self.timeout(fields, signal);

        let mut lines = vec![
            ("url".to_owned(), yaml_text(&shown), text.origin),
            (
                "protocol".to_owned(),
                word_of(protocol.value).to_owned(),
                protocol.origin,
            ),
            (
                "compression".to_owned(),
                word_of_compression(compression.value).to_owned(),
                compression.origin,
            ),
            (
                "timeout".to_owned(),
                show_duration(timeout.value),
                timeout.origin,
            ),
        ];
        lines.extend(headers.value.iter().map(|(n, _)| {
            (
                format!("headers.{n}"),
                yaml_text(MASK),
                headers.origin.clone(),
            )
        }));
        lines.extend(tls_lines);
        let endpoint = OtlpEndpoint {
            protocol: protocol.value,
            url: shown,
            headers: headers.value,
            tls,
            compression: compression.value,
            timeout: timeout.value,
        };
        Some(Resolved { endpoint, lines })
    }

    /// The variable of the signal, else the general one.
    fn variable(&self, signal: Signal, name: &str) -> Option<Picked<String>> {
        let word = SIGNAL_WORDS
            .iter()
            .find(|(s, ..)| *s == signal)
            .map_or("", |(_, word, _)| word);
        let names = [
            (format!("{PREFIX}{word}_{name}"), true),
            (format!("{PREFIX}{name}"), false),
        ];
        names.into_iter().find_map(|(variable, of_signal)| {
            let value = self.environment.get(&variable)?.trim().to_owned();
            Some(Picked {
                value,
                origin: Origin::Environment(variable),
                mark: Mark::default(),
                of_signal,
            })
        })
    }

    /// A value of the environment that `read` understands; else an error that does not show it.
    fn read_variable<T>(
        &mut self,
        signal: Signal,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Picked<T>> {
        let found = self.variable(signal, name)?;
        match read(&found.value) {
            Ok(value) => Some(Picked {
                value,
                origin: found.origin,
                mark: found.mark,
                of_signal: found.of_signal,
            }),
            Err(problem) => {
                self.complain(&found.origin, found.mark, &problem);
                None
            }
        }
    }

    fn complain(&mut self, origin: &Origin, mark: Mark, problem: &str) {
        match origin {
            Origin::Environment(name) => self
                .problems
                .error(mark, format!("environment variable {name} {problem}")),
            Origin::File(_) | Origin::Default => {
                self.problems.error(mark, format!("`endpoint` {problem}"))
            }
        };
    }

    fn protocol(&mut self, fields: &Fields, signal: Signal) -> Option<Picked<OtlpProtocol>> {
        if let Some(value) = fields.choice("protocol", &PROTOCOLS) {
            return Some(picked(value, fields.mark("protocol")));
        }
        self.read_variable(signal, "PROTOCOL", |text| {
            let known = if text == "http" {
                None
            } else {
                PROTOCOLS.get(text)
            };
            known.ok_or_else(|| format!("is {}: use grpc or http/protobuf", quote(text)))
        })
    }

    fn endpoint_text(
        &mut self,
        fields: &Fields,
        signal: Signal,
        protocol: Option<OtlpProtocol>,
    ) -> Option<Picked<String>> {
        if let Some(text) = fields.text("endpoint") {
            let mark = fields.mark("endpoint");
            return match template::expand(text, |name| self.environment.get(name)) {
                Ok(value) => Some(picked(value, mark)),
                Err(problem) => {
                    self.problems.error(mark, format!("`endpoint` {problem}"));
                    None
                }
            };
        }
        // Where a file says `type: otel` and no more, QTap sends to the collector's gRPC port.
        let port = if protocol == Some(OtlpProtocol::Http) {
            4318
        } else {
            4317
        };
        let default = picked(format!("http://localhost:{port}"), Mark::default());
        Some(self.variable(signal, "ENDPOINT").unwrap_or(default))
    }

    fn parse_url(&mut self, text: &Picked<String>, fields: &Fields, signal: Signal) -> Option<Url> {
        let whole = match text.value.contains("://") {
            true => text.value.clone(),
            false => {
                let scheme = if self.wants_tls(text, fields, signal)? {
                    "https"
                } else {
                    "http"
                };
                format!("{scheme}://{}", text.value)
            }
        };
        match check_url(&whole) {
            Ok(url) => {
                if url.scheme() == "http"
                    && fields.section("tls").and_then(|t| t.bool("enabled")) == Some(true)
                {
                    self.problems.warn(
                        text.mark,
                        "`tls.enabled` has no effect: the endpoint's scheme is http",
                    );
                    self.problems.hint("write https://, or no scheme");
                }
                Some(url)
            }
            Err(problem) => {
                self.complain(&text.origin, text.mark, &problem);
                None
            }
        }
    }

    /// For an endpoint without scheme: `tls.enabled`; without that, plain for one of the file (as QTap), and what
    /// `…_INSECURE` says for one of the environment (as OpenTelemetry: TLS when it is not set).
    fn wants_tls(
        &mut self,
        text: &Picked<String>,
        fields: &Fields,
        signal: Signal,
    ) -> Option<bool> {
        if let Some(enabled) = fields.section("tls").and_then(|t| t.bool("enabled")) {
            return Some(enabled);
        }
        let insecure = if self.variable(signal, "INSECURE").is_some() {
            Some(self.read_variable(signal, "INSECURE", read_bool)?.value)
        } else {
            None
        };
        Some(!insecure.unwrap_or(!matches!(text.origin, Origin::Environment(_))))
    }

    fn compose(
        &mut self,
        text: &Picked<String>,
        mut url: Url,
        protocol: OtlpProtocol,
        signal: Signal,
    ) -> Option<String> {
        if protocol == OtlpProtocol::Grpc {
            if url.path() != "/" && !url.path().is_empty() {
                self.complain(
                    &text.origin,
                    text.mark,
                    "has a path, and gRPC has none: protocol http, or no path",
                );
                return None;
            }
            let host = url.host_str().unwrap_or_default();
            let port = url.port_or_known_default().unwrap_or(4317);
            return Some(format!("{}://{host}:{port}", url.scheme()));
        }
        if text.of_signal {
            return Some(url.to_string());
        }
        let word = SIGNAL_WORDS
            .iter()
            .find(|(s, ..)| *s == signal)
            .map_or("", |(.., word)| word);
        let mut base = url.path().trim_end_matches('/').to_owned();
        for (_, _, word) in SIGNAL_WORDS {
            if let Some(shorter) = base.strip_suffix(&format!("/v1/{word}")) {
                self.problems.warn(
                    text.mark,
                    format!("`/v1/{word}` is left out of the endpoint: each signal has its own"),
                );
                base = shorter.to_owned();
                break;
            }
        }
        url.set_path(&format!("{base}/v1/{word}"));
        Some(url.to_string())
    }

    fn headers(&mut self, fields: &Fields, signal: Signal) -> Picked<Vec<(String, Secret)>> {
        let given = fields.map("headers");
        if let Some((_, first)) = given.first() {
            let mut headers = Vec::new();
            for (name, setting) in given {
                let Value::Secret(value) = &setting.value else {
                    continue;
                };
                if let Err(problem) = check_header(name, value.expose()) {
                    self.problems
                        .error(setting.mark, format!("header {} {problem}", quote(name)));
                }
                headers.push((name.to_ascii_lowercase(), value.clone()));
            }
            return picked(headers, first.mark);
        }
        self.read_variable(signal, "HEADERS", read_headers)
            .unwrap_or_else(|| picked(Vec::new(), Mark::default()))
    }

    fn compression(&mut self, fields: &Fields, signal: Signal) -> Picked<Compression> {
        if let Some(value) = fields.choice("compression", &COMPRESSIONS) {
            return picked(value, fields.mark("compression"));
        }
        let read = |text: &str| {
            COMPRESSIONS
                .get(text)
                .ok_or_else(|| format!("is {}: use none, gzip or zstd", quote(text)))
        };
        let found = self.read_variable(signal, "COMPRESSION", read);
        found.unwrap_or_else(|| picked(Compression::Gzip, Mark::default()))
    }

    fn timeout(&mut self, fields: &Fields, signal: Signal) -> Picked<Duration> {
        if let Some(value) = fields.duration("timeout") {
            return picked(value, fields.mark("timeout"));
        }
        let read = |text: &str| match text.parse::<u64>() {
            Ok(ms @ 1..=86_400_000) => Ok(Duration::from_millis(ms)),
            _ => Err("must be a whole number of milliseconds, 1 to 86400000".to_owned()),
        };
        let found = self.read_variable(signal, "TIMEOUT", read);
        found.unwrap_or_else(|| picked(Duration::from_secs(10), Mark::default()))
    }

    fn tls(
        &mut self,
        fields: &Fields,
        signal: Signal,
        https: bool,
    ) -> (OtlpTls, Vec<(String, String, Origin)>) {
        let none = Fields::default();
        let section = fields.section("tls").unwrap_or(&none);
        let mut lines = Vec::new();
        let mut file = |this: &Self, key: &str, variable: &str| {
            let found = section
                .text(key)
                .map(|text| picked(text.to_owned(), section.mark(key)))
                .or_else(|| this.variable(signal, variable))?;
            if https {
                lines.push((
                    format!("tls.{key}"),
                    yaml_text(&found.value),
                    found.origin.clone(),
                ));
            }
            Some(PathBuf::from(found.value))
        };
        let tls = OtlpTls {
            ca_file: file(self, "ca_file", "CERTIFICATE"),
            cert_file: file(self, "cert_file", "CLIENT_CERTIFICATE"),
            key_file: file(self, "key_file", "CLIENT_KEY"),
            insecure_skip_verify: section.bool("insecure_skip_verify").unwrap_or(false),
        };
        if tls.insecure_skip_verify && https {
            self.problems.warn(
                section.mark("insecure_skip_verify"),
                "anyone can pretend to be this collector",
            );
            self.problems
                .hint("name its certificate authority in `ca_file`");
        }
        let in_file = section.text("cert_file").is_some() || section.text("key_file").is_some();
        if tls.cert_file.is_some() != tls.key_file.is_some() && !in_file {
            self.problems.error(
                Mark::default(),
                "client certificate and key of the environment: one is missing",
            );
            self.problems.hint(format!(
                "set both {PREFIX}CLIENT_CERTIFICATE and {PREFIX}CLIENT_KEY"
            ));
        }
        (tls, lines)
    }

    fn tls_pair_in_file(&mut self, fields: &Fields) {
        let Some(tls) = fields.section("tls") else {
            return;
        };
        for (given, missing) in [("cert_file", "key_file"), ("key_file", "cert_file")] {
            if tls.text(given).is_some() && !tls.written.contains(&missing) {
                self.problems
                    .error(tls.mark(given), format!("`{given}` without `{missing}`"))
                    .hint("give both or neither");
            }
        }
    }

    /// A misspelt variable would change nothing, and nobody would know.
    pub(super) fn unknown_variables(&mut self) {
        let mut known: Vec<String> = VARIABLES.iter().map(|v| format!("{PREFIX}{v}")).collect();
        known.extend(
            SIGNAL_WORDS
                .iter()
                .flat_map(|(_, w, _)| VARIABLES.iter().map(move |v| format!("{PREFIX}{w}_{v}"))),
        );
        let environment = self.environment;
        for name in environment
            .names_with(PREFIX)
            .filter(|n| !known.iter().any(|k| k == n))
        {
            if name == TEMPORALITY && environment.get(name) == Some("cumulative") {
                continue;
            }
            self.problems.warn(
                Mark::default(),
                format!("environment variable {name} is not acted on"),
            );
            if let Some(near) = nearest(name, known.iter().map(String::as_str)) {
                self.problems.hint(format!("did you mean {near}?"));
            }
        }
    }
}

fn picked<T>(value: T, mark: Mark) -> Picked<T> {
    Picked {
        value,
        origin: Origin::of(mark),
        mark,
        of_signal: false,
    }
}

fn word_of(protocol: OtlpProtocol) -> &'static str {
    match protocol {
        OtlpProtocol::Grpc => "grpc",
        OtlpProtocol::Http => "http",
    }
}

fn word_of_compression(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    }
}

/// The problem never shows the URL: it may hold a password.
fn check_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| match error {
        url::ParseError::InvalidPort => "has a port that is not from 1 to 65535".to_owned(),
        other => format!("is not a URL: {other}"),
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!(
            "has scheme {}: use http or https",
            quote(url.scheme())
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold user or password: use `headers`".to_owned());
    }
    if url.port() == Some(0) {
        return Err("has a port that is not from 1 to 65535".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must not have a query or a fragment".to_owned());
    }
    Ok(url)
}

/// Name: an RFC 9110 token. Value: what fits both a header and gRPC metadata (visible ASCII and space).
fn check_header(name: &str, value: &str) -> Result<(), &'static str> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(token) {
        return Err("is not a header name");
    }
    if !value.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
        return Err("has a value with characters that a header cannot carry");
    }
    Ok(())
}

fn read_bool(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// `name=value,name=value`, values percent-encoded (W3C Baggage, section 3.3).
fn read_headers(text: &str) -> Result<Vec<(String, Secret)>, String> {
    let mut headers = Vec::new();
    for pair in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (name, value) = pair
            .split_once('=')
            .ok_or("must be name=value pairs with `,` between them")?;
        let value = percent_encoding::percent_decode_str(value.trim())
            .decode_utf8()
            .map_err(|_| "has a value that is not UTF-8 after percent-decoding")?;
        let name = name.trim().to_ascii_lowercase();
        check_header(&name, &value).map_err(|problem| format!("names a header that {problem}"))?;
        headers.push((name, Secret::new(value.into_owned())));
    }
    Ok(headers)
}
