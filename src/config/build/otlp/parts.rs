//! What goes with an endpoint: protocol, headers, compression, timeout, TLS.

use super::proxy::is_loopback;
use super::variables::PREFIX;
use super::{Line, Picked, line, picked};
use crate::config::build::Builder;
use crate::config::model::{Compression, OtlpProtocol, OtlpTls, Secret};
use crate::config::problem::quote;
use crate::config::schema::{COMPRESSIONS, PROTOCOLS, Signal};
use crate::config::settings::{Fields, Value};
use crate::config::sources::yaml_text;
use crate::config::tree::Mark;
use ::url::Url;
use std::path::PathBuf;
use std::time::Duration;

const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

impl Builder<'_> {
    pub(super) fn protocol(
        &mut self,
        fields: &Fields,
        signal: Signal,
    ) -> Option<Picked<OtlpProtocol>> {
        if let Some(value) = fields.choice("protocol", &PROTOCOLS) {
            return Some(picked(value, fields.mark("protocol")));
        }
        self.read_variable(signal, "PROTOCOL", |text| {
            let known = match text.to_ascii_lowercase().as_str() {
                "http" => None,
                word => PROTOCOLS.get(word),
            };
            known.ok_or_else(|| format!("is {}: use grpc or http/protobuf", quote(text)))
        })
    }

    pub(super) fn headers(
        &mut self,
        fields: &Fields,
        signal: Signal,
    ) -> Picked<Vec<(String, Secret)>> {
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

    /// What nobody chose is gzip, the one coding that the specification names. On the way to this host nothing: there
    /// it saves no network, and costs both ends.
    pub(super) fn compression(
        &mut self,
        fields: &Fields,
        signal: Signal,
        destination: &Url,
    ) -> Picked<Compression> {
        if let Some(value) = fields.choice("compression", &COMPRESSIONS) {
            return picked(value, fields.mark("compression"));
        }
        let read = |text: &str| {
            COMPRESSIONS
                .get(&text.to_ascii_lowercase())
                .ok_or_else(|| format!("is {}: use none, gzip or zstd", quote(text)))
        };
        let found = self.read_variable(signal, "COMPRESSION", read);
        let default = if is_loopback(destination) {
            Compression::None
        } else {
            Compression::Gzip
        };
        found.unwrap_or_else(|| picked(default, Mark::default()))
    }

    pub(super) fn timeout(&mut self, fields: &Fields, signal: Signal) -> Picked<Duration> {
        if let Some(value) = fields.duration("timeout") {
            return picked(value, fields.mark("timeout"));
        }
        let read = |text: &str| match text.parse::<u64>() {
            // No limit, by the specification: the longest there is.
            Ok(0) => Ok(LONGEST_TIMEOUT),
            Ok(ms) if Duration::from_millis(ms) <= LONGEST_TIMEOUT => Ok(Duration::from_millis(ms)),
            _ => Err("must be a whole number of milliseconds, up to 86400000".to_owned()),
        };
        let found = self.read_variable(signal, "TIMEOUT", read);
        found.unwrap_or_else(|| picked(Duration::from_secs(10), Mark::default()))
    }

    pub(super) fn tls(
        &mut self,
        fields: &Fields,
        signal: Signal,
        https: bool,
    ) -> (OtlpTls, Vec<Line>) {
        let none = Fields::default();
        let section = fields.section("tls").unwrap_or(&none);
        let file = |key, variable| self.tls_file(section, key, signal, variable);
        let ca = file("ca_file", "CERTIFICATE");
        let cert = file("cert_file", "CLIENT_CERTIFICATE");
        let key = file("key_file", "CLIENT_KEY");
        let parts = [("ca_file", &ca), ("cert_file", &cert), ("key_file", &key)];
        let used = parts
            .iter()
            .filter_map(|(name, part)| Some((name, part.as_ref().filter(|_| https)?)));
        let lines = used.map(|(name, p)| {
            line(
                &format!("tls.{name}"),
                yaml_text(&p.value),
                p.origin.clone(),
            )
        });
        let lines = lines.collect();

        let path = |part: Option<Picked<String>>| part.map(|p| PathBuf::from(p.value));
        let tls = OtlpTls {
            ca_file: path(ca),
            cert_file: path(cert),
            key_file: path(key),
            insecure_skip_verify: section.bool("insecure_skip_verify").unwrap_or(false),
        };
        self.tls_as_a_whole(section, &tls, https);
        (tls, lines)
    }

    fn tls_file(
        &self,
        section: &Fields,
        key: &str,
        signal: Signal,
        variable: &str,
    ) -> Option<Picked<String>> {
        let in_file = section
            .text(key)
            .map(|text| picked(text.to_owned(), section.mark(key)));
        in_file.or_else(|| self.variable(signal, variable))
    }

    fn tls_as_a_whole(&mut self, section: &Fields, tls: &OtlpTls, https: bool) {
        if tls.insecure_skip_verify && https {
            let mark = section.mark("insecure_skip_verify");
            self.problems
                .warn(mark, "anyone can pretend to be this collector");
            self.problems
                .hint("name its certificate authority in `ca_file`");
        }
        let in_file = section.text("cert_file").is_some() || section.text("key_file").is_some();
        if tls.cert_file.is_some() != tls.key_file.is_some() && !in_file {
            let message = "client certificate and key of the environment: one is missing";
            self.problems.error(Mark::default(), message);
            self.problems.hint(format!(
                "set both {PREFIX}CLIENT_CERTIFICATE and {PREFIX}CLIENT_KEY"
            ));
        }
    }

    pub(super) fn tls_pair_in_file(&mut self, fields: &Fields) {
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
