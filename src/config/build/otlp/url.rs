//! The endpoint of a signal as a URL.

use super::variables::SIGNAL_WORDS;
use super::{Line, Picked, line, picked};
use crate::config::build::Builder;
use crate::config::model::OtlpProtocol;
use crate::config::problem::quote;
use crate::config::schema::Signal;
use crate::config::settings::Fields;
use crate::config::sources::Origin;
use crate::config::template;
use crate::config::tree::Mark;
use ::url::Url;

impl Builder<'_> {
    pub(super) fn endpoint_text(
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

    /// The endpoint, and what decided about TLS where its scheme does not.
    pub(super) fn parse_url(
        &mut self,
        text: &Picked<String>,
        fields: &Fields,
        signal: Signal,
    ) -> Option<(Url, Option<Line>)> {
        let mut decided = None;
        let whole = match text.value.contains("://") {
            true => text.value.clone(),
            false => {
                let tls = self.wants_tls(text, fields, signal)?;
                let scheme = if tls.value { "https" } else { "http" };
                decided = Some(line("tls.enabled", tls.value.to_string(), tls.origin));
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
                Some((url, decided))
            }
            Err(problem) => {
                self.complain(&text.origin, text.mark, &problem);
                None
            }
        }
    }

    /// For an endpoint without scheme: `tls.enabled`; without that, plain for one of the file (as QTap), and what
    /// `…_INSECURE` says for one of the environment (as OpenTelemetry: TLS when it is not set).
    pub(super) fn wants_tls(
        &mut self,
        text: &Picked<String>,
        fields: &Fields,
        signal: Signal,
    ) -> Option<Picked<bool>> {
        let section = fields.section("tls");
        if let Some(enabled) = section.and_then(|t| t.bool("enabled")) {
            let mark = section.map(|t| t.mark("enabled")).unwrap_or_default();
            return Some(picked(enabled, mark));
        }
        if self.variable(signal, "INSECURE").is_some() {
            let insecure = self.read_variable(signal, "INSECURE", read_bool)?;
            return Some(Picked {
                value: !insecure.value,
                origin: insecure.origin,
                mark: insecure.mark,
                of_signal: insecure.of_signal,
            });
        }
        let of_environment = matches!(text.origin, Origin::Environment(_));
        Some(picked(of_environment, Mark::default()))
    }

    pub(super) fn compose(
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

fn read_bool(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}
