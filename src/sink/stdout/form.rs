//! One transaction as text: a readable line, or an object of JSON.

use super::text::{escape, escape_json, is_text};
use crate::config::AccessLogs;
use crate::event::Role;
use crate::redact::{Capture, Redacted};
use crate::rules::Level;
use crate::sink::PayloadLink;
use crate::sink::otlp::EncodeOptions;
use crate::sink::otlp::encode::{self, names};
use crate::transaction::{Body, Headers};
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value as Any};
use serde_json::{Map, Value};
use std::fmt::Write;
use std::io::{self, IsTerminal};

/// How a transaction is written, and how much of it: never more than its own level kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    pub format: Format,
    pub level: Level,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A readable line; from level headers on, more lines below it.
    Console,
    /// One JSON object a line, with the span's attribute names.
    Json,
}

impl Form {
    /// Of an event store `stdout`: lines for people on a terminal, else JSON for programs.
    pub fn of_event_store() -> Self {
        Self::of_terminal(io::stdout().is_terminal())
    }

    pub(super) fn of_terminal(terminal: bool) -> Self {
        if terminal {
            Form {
                format: Format::Console,
                level: Level::Summary,
            }
        } else {
            Form {
                format: Format::Json,
                level: Level::Headers,
            }
        }
    }

    /// Of the plugin `access_logs`.
    pub fn of_access_logs(plugin: AccessLogs) -> Self {
        Form {
            format: match plugin.json {
                true => Format::Json,
                false => Format::Console,
            },
            level: plugin.mode,
        }
    }

    /// The text, with its line end.
    pub fn render(
        &self,
        capture: &Redacted,
        link: Option<&PayloadLink>,
        options: &EncodeOptions,
    ) -> String {
        let level = self.level.min(capture.decision.level);
        match self.format {
            Format::Console => console(capture, link, level),
            Format::Json => json(capture, link, level, options),
        }
    }
}

fn console(capture: &Capture, link: Option<&PayloadLink>, level: Level) -> String {
    let transaction = &capture.transaction;
    let mut out = humantime::format_rfc3339_millis(capture.start).to_string();
    out.push_str(match transaction.role {
        Role::Client => " → ",
        Role::Server => " ← ",
    });
    escape(&mut out, &encode::line(capture));
    let sent = transaction.request.as_ref().map(|r| r.wire_size);
    let got = transaction.response.as_ref().map(|r| r.wire_size);
    put(
        &mut out,
        format_args!(" {}/{} B ", number(sent), number(got)),
    );
    escape(&mut out, &capture.process.name);
    put(&mut out, format_args!("[{}]", capture.process.pid));
    if !transaction.marks.is_empty() {
        let marks: Vec<_> = transaction.marks.iter().map(|m| m.name()).collect();
        put(&mut out, format_args!(" ({})", marks.join(", ")));
    }
    if let Some(url) = link.and_then(|l| l.url.as_deref()) {
        out.push(' ');
        escape(&mut out, url);
    }
    out.push('\n');
    if level >= Level::Headers {
        messages(&mut out, capture, level);
    }
    out
}

fn number(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), |n| n.to_string())
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes any text");
}

/// Headers, and at level full the bodies.
fn messages(out: &mut String, capture: &Capture, level: Level) {
    let facts = &capture.facts;
    if let Some(request) = &capture.transaction.request {
        fields(out, "> ", &request.headers);
        if level >= Level::Full {
            let text = is_text(
                facts.request_content_type.as_deref(),
                facts.request_content_encoding.as_deref(),
            );
            content(out, "> ", &request.body, text);
        }
        fields(out, "> ", &request.trailers);
    }
    if let Some(response) = &capture.transaction.response {
        fields(out, "< ", &response.headers);
        if level >= Level::Full {
            let text = is_text(
                facts.response_content_type.as_deref(),
                facts.response_content_encoding.as_deref(),
            );
            content(out, "< ", &response.body, text);
        }
        fields(out, "< ", &response.trailers);
    }
}

fn fields(out: &mut String, prefix: &str, headers: &Headers) {
    for (name, value) in headers.iter() {
        put(out, format_args!("    {prefix}"));
        escape(out, &String::from_utf8_lossy(name));
        out.push_str(": ");
        escape(out, &String::from_utf8_lossy(value));
        out.push('\n');
    }
}

fn content(out: &mut String, prefix: &str, body: &Body, text: bool) {
    let (kept, size) = (body.bytes().len(), body.size());
    if size == 0 {
        return;
    }
    if !text {
        put(out, format_args!("    {prefix}({size} bytes, not text)\n"));
        return;
    }
    for line in String::from_utf8_lossy(body.bytes()).lines() {
        put(out, format_args!("    {prefix}"));
        escape(out, line);
        out.push('\n');
    }
    if body.truncated() {
        put(
            out,
            format_args!("    {prefix}(the first {kept} of {size} bytes)\n"),
        );
    }
}

fn json(
    capture: &Capture,
    link: Option<&PayloadLink>,
    level: Level,
    options: &EncodeOptions,
) -> String {
    let mut object = Map::new();
    for attribute in encode::resource(&capture.process).attributes {
        if ["service.name", "process.pid"].contains(&attribute.key.as_str()) {
            object.insert(attribute.key, value(attribute.value));
        }
    }
    for attribute in encode::attributes(capture, link, level, options).finish() {
        object.insert(attribute.key, value(attribute.value));
    }
    let kind = match capture.transaction.role {
        Role::Client => "client",
        Role::Server => "server",
    };
    let time = |t| humantime::format_rfc3339_nanos(t).to_string();
    for (key, text) in [
        ("trace_id", hex(&capture.ids.trace_id)),
        ("span_id", hex(&capture.ids.span_id)),
        ("kind", kind.to_owned()),
        ("start", time(capture.start)),
        ("end", time(capture.end)),
    ] {
        object.insert(key.to_owned(), text.into());
    }
    if let Some(parent) = &capture.ids.parent_span_id {
        object.insert("parent_span_id".to_owned(), hex(parent).into());
    }
    if level >= Level::Full {
        bodies(&mut object, capture);
    }
    let plain = Value::Object(object).to_string();
    let mut out = String::with_capacity(plain.len() + 1);
    escape_json(&mut out, &plain);
    out.push('\n');
    out
}

/// Bodies that are text.
fn bodies(object: &mut Map<String, Value>, capture: &Capture) {
    let (transaction, facts) = (&capture.transaction, &capture.facts);
    let request = transaction.request.as_ref().map(|r| &r.body).filter(|_| {
        let encoding = facts.request_content_encoding.as_deref();
        is_text(facts.request_content_type.as_deref(), encoding)
    });
    let response = transaction.response.as_ref().map(|r| &r.body).filter(|_| {
        let encoding = facts.response_content_encoding.as_deref();
        is_text(facts.response_content_type.as_deref(), encoding)
    });
    for (key, body) in [
        (names::HTTP_REQUEST_BODY_CONTENT, request),
        (names::HTTP_RESPONSE_BODY_CONTENT, response),
    ] {
        if let Some(body) = body.filter(|b| !b.bytes().is_empty()) {
            let text = String::from_utf8_lossy(body.bytes()).into_owned();
            object.insert(key.to_owned(), text.into());
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        put(&mut text, format_args!("{byte:02x}"));
    }
    text
}

fn value(value: Option<AnyValue>) -> Value {
    match value.and_then(|v| v.value) {
        Some(Any::StringValue(text)) => text.into(),
        Some(Any::IntValue(number)) => number.into(),
        Some(Any::DoubleValue(number)) => number.into(),
        Some(Any::BoolValue(truth)) => truth.into(),
        Some(Any::ArrayValue(array)) => {
            let values = array.values.into_iter();
            values.map(|v| self::value(Some(v))).collect()
        }
        // The encoder makes no other kinds.
        _ => Value::Null,
    }
}
