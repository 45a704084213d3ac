//! OTLP destinations: for each signal the file's value, else the environment's, else the default.
//!
//! Environment: `OTEL_EXPORTER_OTLP_<SIGNAL>_X`, else `OTEL_EXPORTER_OTLP_X` (OpenTelemetry specification, "OTLP
//! Exporter Configuration"). A value that cannot be used is an error that names its variable: the specification would
//! have it ignored, and telemetry would go elsewhere without anyone knowing.

mod parts;
mod proxy;
mod url;
mod variables;

use super::Builder;
use crate::config::model::{Compression, OtelStore, OtlpEndpoint, OtlpProtocol, SpoolSettings};
use crate::config::problem::MASK;
use crate::config::schema::{SIGNALS, Signal};
use crate::config::settings::Fields;
use crate::config::sources::{Origin, yaml_text};
use crate::config::text::{show_duration, show_size};
use crate::config::tree::Mark;
use std::path::PathBuf;
use std::time::Duration;
pub(super) use variables::{AGGREGATION, TEMPORALITY};
use variables::{PREFIX, SIGNAL_WORDS};

/// Defaults of `spool`.
const SPOOL_BYTES: u64 = 1 << 30;
const SPOOL_AGE: Duration = Duration::from_secs(24 * 3600);

/// A value and where it comes from.
#[derive(Clone)]
struct Picked<T> {
    value: T,
    origin: Origin,
    mark: Mark,
    /// From a variable of this signal alone.
    of_signal: bool,
}

/// Name, value and source of one part, for `check --print`.
type Line = (String, String, Origin);

/// One destination with the source of each part.
pub(super) struct Resolved {
    endpoint: OtlpEndpoint,
    lines: Vec<Line>,
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
        let spool = fields.section("spool").filter(|s| s.mark.line > 0);
        OtelStore {
            spool: spool
                .and_then(|spool| self.spool(spool, &format!("services.event_stores[{id}]"))),
            ..self.resolved(store, id)
        }
    }

    /// The spool of the store whose settings are at `store`. None: a problem was reported.
    pub(in crate::config::build) fn spool(
        &mut self,
        fields: &Fields,
        store: &str,
    ) -> Option<SpoolSettings> {
        let Some(dir) = fields.text("dir") else {
            if !fields.written.contains(&"dir") {
                self.problems
                    .error(fields.mark, "spool is missing `dir`")
                    .hint("a folder for it alone: /var/lib/plainspan/spool");
            }
            return None;
        };
        let mut default = |key: &str, value: String| {
            if fields.get(key).is_none() {
                let path = format!("{store}.spool.{key}");
                self.sources.add(path, value, Origin::Default);
            }
        };
        default("max_bytes", show_size(SPOOL_BYTES));
        default("max_age", show_duration(SPOOL_AGE));
        Some(SpoolSettings {
            dir: PathBuf::from(dir),
            max_bytes: fields.size("max_bytes").unwrap_or(SPOOL_BYTES),
            max_age: fields.duration("max_age").unwrap_or(SPOOL_AGE),
        })
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
            spool: None,
        }
    }

    /// None: a problem was reported.
    fn endpoint(&mut self, fields: &Fields, signal: Signal) -> Option<Resolved> {
        let protocol = self.protocol(fields, signal);
        let text = self.endpoint_text(fields, signal, protocol.as_ref().map(|p| p.value))?;
        let (url, decided) = self.parse_url(&text, fields, signal)?;
        let protocol = protocol.unwrap_or_else(|| {
            let grpc = url.port() == Some(4317);
            let value = if grpc {
                OtlpProtocol::Grpc
            } else {
                OtlpProtocol::Http
            };
            picked(value, Mark::default())
        });
        let shown = self.compose(&text, url.clone(), protocol.value, signal)?;
        let headers = self.headers(fields, signal);
        let proxy = self.proxy(&url, protocol.value);
        let (tls, tls_lines) = self.tls(fields, signal, url.scheme() == "https");
        let compression = self.compression(fields, signal, &url);
        let timeout = self.timeout(fields, signal);

        let mut lines = vec![
            line("url", yaml_text(&shown), text.origin),
            line("protocol", word_of(protocol.value), protocol.origin),
            line(
                "compression",
                word_of_compression(compression.value),
                compression.origin,
            ),
            line("timeout", show_duration(timeout.value), timeout.origin),
        ];
        let masked = |name| {
            line(
                &format!("headers.{name}"),
                yaml_text(MASK),
                headers.origin.clone(),
            )
        };
        lines.extend(headers.value.iter().map(|(name, _)| masked(name)));
        lines.extend(decided);
        lines.extend(tls_lines);
        let shown_proxy = proxy.as_ref().map(|proxy| {
            let url = yaml_text(&proxy.value.url);
            line("proxy", url, proxy.origin.clone())
        });
        lines.extend(shown_proxy);
        let endpoint = OtlpEndpoint {
            protocol: protocol.value,
            url: shown,
            headers: headers.value,
            tls,
            compression: compression.value,
            timeout: timeout.value,
            proxy: proxy.map(|proxy| proxy.value),
        };
        Some(Resolved { endpoint, lines })
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

fn line(name: &str, value: impl Into<String>, origin: Origin) -> Line {
    (name.to_owned(), value.into(), origin)
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
