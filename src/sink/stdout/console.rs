//! A transaction for people: one line, and what belongs to it indented below.
//!
//! ```text
//! 2023-11-14T22:13:20.000Z curl[42] → GET https://example.com/a/b?c=d 200 12.3 ms ↑0 B ↓5 B
//!   Process
//!     PID: 42 @ /usr/bin/curl
//!   Network
//!     Direction: egress-internal
//!     Sent: 80 B
//!     Received: 69 B
//!   REQUEST
//!     > Host: example.com
//!   RESPONSE
//!     < Content-Type: text/plain
//!       hello
//! ```
//!
//! The time is that of the first byte, in UTC. `→`: this process asked; `←`: it answered. Sizes are those of the contents
//! of request and response. A call of gRPC has its code behind the status, and then the messages of each direction, with a
//! `?` where they could not be counted to the end. Then, where there are any: `[marks]` of what is missing or in doubt, and the payload's link.
//!
//! Below stand the sections of QTap's `details`: the process with its container, image, pod and namespace where it has
//! them, the bytes on the wire as the process has them, and both messages. Header and trailer lines stand behind `>`
//! (request) and `<` (response), bodies six columns in; nothing captured can begin a line at the left edge, or where a
//! section begins. All captured text goes through [`escape`].

use super::escape;
use crate::enrich::rfc3339_millis;
use crate::event::Role;
use crate::redact::{Capture, Content};
use crate::rules::Level;
use crate::sink::otlp::encode::{self, REQUEST_NOT_SEEN};
use crate::sink::payload::document;
use crate::sink::{PayloadLink, PayloadStatus};
use crate::transaction::{Body, Headers, Transaction};
use std::fmt::Write;

/// Bytes of each body that are shown at the most.
pub const MAX_BODY: usize = 64 << 10;

/// Appends the lines of a capture, the last with its line break. `detail` shows no more than the capture's own level
/// kept.
pub fn push(
    out: &mut String,
    capture: &Capture,
    link: Option<&PayloadLink>,
    detail: Level,
    colour: bool,
) {
    line(out, capture, link, colour);
    if detail >= Level::Headers {
        process(out, capture);
        network(out, capture);
        messages(out, capture, detail);
    }
}

/// Appends the line of a report of a transaction that goes on; the time is that of the report.
///
/// ```text
/// 2023-11-14T22:14:20.000Z curl[42] → GET https://example.com/events 200 goes on after 60.0 s ↑0 B ↓1.2 MiB
/// ```
pub fn push_progress(out: &mut String, capture: &Capture) {
    let transaction = &capture.transaction;
    add(out, format_args!("{} ", rfc3339_millis(capture.end)));
    who(out, capture);
    escape::push(out, encode::progress_line(capture).as_bytes());
    sizes(out, transaction);
    marks(out, transaction);
    out.push('\n');
}

fn who(out: &mut String, capture: &Capture) {
    escape::push(out, capture.process.name.as_bytes());
    let arrow = match capture.transaction.role {
        Role::Client => '→',
        Role::Server => '←',
    };
    add(out, format_args!("[{}] {arrow} ", capture.process.pid));
}

fn line(out: &mut String, capture: &Capture, link: Option<&PayloadLink>, colour: bool) {
    let transaction = &capture.transaction;
    add(out, format_args!("{} ", rfc3339_millis(capture.start)));
    who(out, capture);
    match &transaction.request {
        Some(request) => escape::push(out, &request.method),
        None => out.push_str(REQUEST_NOT_SEEN),
    }
    let url = encode::url(&encode::web(capture));
    if !url.is_empty() {
        out.push(' ');
        escape::push(out, url.as_bytes());
    }
    out.push(' ');
    status(out, transaction, colour);
    let timing = &transaction.timing;
    let millis = timing.end.since(timing.start) as f64 / 1e6;
    add(out, format_args!(" {millis:.1} ms"));
    sizes(out, transaction);
    calls(out, transaction);
    marks(out, transaction);
    if let Some(link) = link {
        payload(out, link);
    }
    out.push('\n');
}

fn status(out: &mut String, transaction: &Transaction, colour: bool) {
    let word = encode::status(transaction);
    let code = transaction.response.as_ref().map(|r| r.status);
    let failed = encode::outcome(transaction).severity == encode::Severity::Error;
    let paint = match code {
        _ if failed => 31,
        Some(100..300) => 32,
        Some(300..400) => 36,
        Some(400..500) => 33,
        Some(_) => 31,
        None => 2,
    };
    if colour {
        add(out, format_args!("\x1b[{paint}m{word}\x1b[0m"));
    } else {
        out.push_str(&word);
    }
}

fn sizes(out: &mut String, transaction: &Transaction) {
    if let Some(request) = &transaction.request {
        out.push_str(" ↑");
        size(out, request.body.size());
    }
    if let Some(response) = &transaction.response {
        out.push_str(" ↓");
        size(out, response.body.size());
    }
}

/// Messages of a call in each direction.
fn calls(out: &mut String, transaction: &Transaction) {
    let Some(grpc) = &transaction.grpc else {
        return;
    };
    out.push_str(" messages");
    for (arrow, counts) in [('↑', grpc.from_client), ('↓', grpc.from_server)] {
        if let Some(counts) = counts {
            let more = if counts.marks().next().is_some() {
                "?"
            } else {
                ""
            };
            add(out, format_args!(" {arrow}{}{more}", counts.messages));
        }
    }
}

/// Bytes in the greatest binary unit that leaves a whole part.
fn size(out: &mut String, bytes: u64) {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        add(out, format_args!("{bytes} B"));
        return;
    }
    let mut value = bytes as f64 / 1024.0;
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or_default();
    for greater in units {
        // What would be rounded up to 1024.0 has the next unit too.
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = greater;
    }
    add(out, format_args!("{value:.1} {unit}"));
}

fn marks(out: &mut String, transaction: &Transaction) {
    let mut before = " [";
    for mark in transaction.marks.iter() {
        out.push_str(before);
        out.push_str(mark.name());
        before = " ";
    }
    if !transaction.complete() {
        out.push(']');
    }
}

fn payload(out: &mut String, link: &PayloadLink) {
    if let Some(url) = &link.url {
        out.push(' ');
        escape::push(out, url.as_bytes());
    }
    if link.status != PayloadStatus::Stored {
        add(out, format_args!(" (payload {})", link.status.name()));
    }
}

fn section(out: &mut String, name: &str) {
    add(out, format_args!("  {name}\n"));
}

/// One line of a section; what is not there has none.
fn entry(out: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        add(out, format_args!("    {name}: "));
        escape::push(out, value.as_bytes());
        out.push('\n');
    }
}

fn process(out: &mut String, capture: &Capture) {
    let process = &*capture.process;
    section(out, "Process");
    add(out, format_args!("    PID: {} @ ", process.pid));
    let exe = process.exe.as_deref().unwrap_or(&process.name);
    escape::push(out, exe.as_bytes());
    out.push('\n');
    let resource = |attribute| document::resource(process, attribute);
    entry(out, "Container", resource("container.name"));
    entry(out, "Image", document::image(process));
    entry(out, "Pod", resource("k8s.pod.name"));
    entry(out, "Namespace", resource("k8s.namespace.name"));
}

fn network(out: &mut String, capture: &Capture) {
    section(out, "Network");
    entry(out, "Direction", document::direction(capture));
    let (sent, received) = document::wire_bytes(&capture.transaction);
    for (name, bytes) in [("Sent", sent), ("Received", received)] {
        add(out, format_args!("    {name}: "));
        size(out, bytes);
        out.push('\n');
    }
}

fn messages(out: &mut String, capture: &Capture, detail: Level) {
    let facts = &capture.facts;
    // Bodies are there from level full on alone; what was not kept is not spoken of.
    let bodies = detail.min(capture.decision.level) >= Level::Full;
    if let Some(request) = &capture.transaction.request {
        section(out, "REQUEST");
        headers(out, '>', &request.headers);
        if bodies {
            let content_type = facts.request_content_type.as_deref();
            let encoding = facts.request_content_encoding.as_deref();
            if let Some(body) = capture.request_content() {
                content(out, &request.body, &body, content_type, encoding);
            }
        }
        headers(out, '>', &request.trailers);
    }
    if let Some(response) = &capture.transaction.response {
        section(out, "RESPONSE");
        headers(out, '<', &response.headers);
        if bodies {
            let content_type = facts.response_content_type.as_deref();
            let encoding = facts.response_content_encoding.as_deref();
            if let Some(body) = capture.response_content() {
                content(out, &response.body, &body, content_type, encoding);
            }
        }
        headers(out, '<', &response.trailers);
    }
}

fn headers(out: &mut String, side: char, headers: &Headers) {
    for (name, value) in headers.iter() {
        add(out, format_args!("    {side} "));
        escape::push(out, name);
        out.push_str(": ");
        escape::push(out, value);
        out.push('\n');
    }
}

fn content(
    out: &mut String,
    body: &Body,
    content: &Content<'_>,
    content_type: Option<&str>,
    encoding: Option<&str>,
) {
    if body.size() == 0 {
        return;
    }
    if let Some(dropped) = content.dropped() {
        add(
            out,
            format_args!("      <redaction left out content: {}>\n", dropped.name()),
        );
    }
    let Some(text) = content.text() else {
        add(out, format_args!("      <{} bytes of ", body.size()));
        let content_type = content_type.unwrap_or("unknown type");
        escape::push(out, content_type.as_bytes());
        if let Some(encoding) = encoding {
            out.push_str(", ");
            escape::push(out, encoding.as_bytes());
        }
        out.push_str(">\n");
        return;
    };
    let shown = head(text, MAX_BODY);
    let lines = shown.strip_suffix(b"\n").unwrap_or(shown);
    if !shown.is_empty() {
        for line in lines.split(|b| *b == b'\n') {
            out.push_str("      ");
            escape::push(out, line.strip_suffix(b"\r").unwrap_or(line));
            out.push('\n');
        }
    }
    let cut = body.truncated() || content.stop().is_some();
    // Of coded content nobody knows how much there is behind the cut.
    let size = match content.encoding().as_str() {
        "" if !content.redacted() => body.size(),
        _ => text.len() as u64,
    };
    let shown = shown.len() as u64;
    if shown < size {
        add(out, format_args!("      <{shown} of {size} bytes shown>\n"));
    } else if cut {
        add(
            out,
            format_args!("      <{shown} bytes shown, the rest is missing>\n"),
        );
    }
}

/// The first `max` bytes, less those of a character that the cut would go through.
fn head(text: &[u8], max: usize) -> &[u8] {
    let Some(head) = text.get(..max).filter(|head| head.len() < text.len()) else {
        return text;
    };
    let begins = |at: usize| text.get(at).is_none_or(|b| b & 0xc0 != 0x80);
    let end = (max.saturating_sub(3)..=max).rev().find(|at| begins(*at));
    head.get(..end.unwrap_or(max)).unwrap_or(head)
}

fn add(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes every write");
}

#[cfg(test)]
#[path = "console_tests.rs"]
mod tests;
