//! One transaction, whole: its facts, both messages with their headers, bodies as far as the level kept them.

use super::super::attach::Shown;
use crate::payload::{Document, Message, escaped, escaped_text};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

/// Bytes of each body that are shown.
const SHOWN: usize = 16 << 10;

/// What redaction put in the place of a value.
fn is_redacted(value: &str) -> bool {
    value.contains("REDACTED") || value.contains("hmac:")
}

/// Text of values; what redaction touched stands out.
fn value(text: String) -> Span<'static> {
    match is_redacted(&text) {
        true => Span::styled(
            text,
            Style::new()
                .fg(Color::Yellow)
                .add_modifier(Modifier::ITALIC),
        ),
        false => Span::raw(text),
    }
}

fn name(text: String) -> Span<'static> {
    Span::styled(text, Style::new().fg(Color::Cyan))
}

fn title(text: String) -> Line<'static> {
    Line::styled(text, Style::new().add_modifier(Modifier::BOLD))
}

/// All lines of it.
pub(super) fn lines(shown: &Shown) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for (key, text) in facts(shown) {
        let text = escaped(text.as_bytes());
        lines.push(Line::from(vec![name(format!("{key:<12}")), value(text)]));
    }
    let document = &shown.document;
    if let Some(request) = &document.request {
        let start = format!("{} {}", request.method, request.url);
        message(&mut lines, &start, request);
    }
    match &document.response {
        Some(response) => {
            let start = format!("{} {}", response.status, response.reason);
            message(&mut lines, start.trim_end(), response);
        }
        None => lines.extend([Line::default(), title("no response was seen".to_owned())]),
    }
    lines
}

fn facts(shown: &Shown) -> Vec<(&'static str, String)> {
    let document = &shown.document;
    let metadata = &document.metadata;
    let connection = &document.connection;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let peer = match connection.role.as_str() {
        "server" => "from",
        _ => "to",
    };
    let remote = connection.remote.as_deref().unwrap_or("an unknown address");
    let payload = shown.payload.as_ref().map(|payload| {
        let url = payload.url.as_deref().unwrap_or("-");
        format!("{url} ({})", payload.status)
    });
    let level = match &document.rule {
        Some(rule) => format!("{} by rule `{rule}`", document.level),
        None => document.level.clone(),
    };
    let pod = [&*metadata.pod_namespace, &*metadata.pod_name];
    let all = [
        ("time", document.transaction_time.clone()),
        ("took", timing(document)),
        (
            "process",
            format!(
                "{} {} {}",
                shown.process, metadata.process_id, metadata.process_exe
            ),
        ),
        ("service", metadata.service_name.clone()),
        ("container", metadata.container_name.clone()),
        ("pod", pod.join("/").trim_matches('/').to_owned()),
        ("peer", format!("{peer} {remote}")),
        ("route", text(&shown.route)),
        ("trace", text(&document.trace_id)),
        ("span", span(document)),
        ("level", level),
        ("payload", payload.unwrap_or_default()),
        ("error", text(&shown.error)),
        ("marks", document.marks.join(", ")),
    ];
    all.into_iter()
        .filter(|(_, text)| !text.is_empty())
        .collect()
}

fn span(document: &Document) -> String {
    match (&document.span_id, &document.parent_span_id) {
        (Some(span), Some(parent)) => format!("{span}, child of {parent}"),
        (Some(span), None) => span.clone(),
        (None, _) => String::new(),
    }
}

/// Where the time went.
fn timing(document: &Document) -> String {
    let total = document.duration_ns();
    let sent = document.request_end_ns.unwrap_or_default().min(total);
    let all = duration(total);
    match document.response_start_ns {
        Some(first) => {
            let first = first.clamp(sent, total);
            let (wait, receive) = (duration(first - sent), duration(total - first));
            format!(
                "{all}: request {}, wait {wait}, response {receive}",
                duration(sent)
            )
        }
        None => all,
    }
}

/// A duration for people.
pub(super) fn duration(ns: u64) -> String {
    let ms = ns as f64 / 1e6;
    match ns {
        0..100_000_000 => format!("{ms:.1} ms"),
        100_000_000..1_000_000_000 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1e3),
    }
}

fn message(lines: &mut Vec<Line<'static>>, start: &str, message: &Message) {
    lines.push(Line::default());
    lines.push(title(escaped(start.as_bytes())));
    let trailers = message.trailer_list.iter().map(|(n, v)| (&*n.0, &*v.0));
    for (key, text) in message.headers().chain(trailers) {
        let key = name(format!("{}: ", escaped(key)));
        lines.push(Line::from(vec![key, value(escaped(text))]));
    }
    let content = message.content();
    match message.text() {
        Some(_) if !content.is_empty() => {
            let shown = content.get(..SHOWN).unwrap_or(content);
            lines.push(Line::default());
            let text = escaped_text(shown).replace('\t', "    ");
            lines.extend(text.lines().map(|line| Line::from(value(line.to_owned()))));
            note(lines, content.len() - shown.len(), "bytes more");
        }
        _ => note(lines, content.len(), "bytes that are no text"),
    }
    if message.body_redacted {
        lines.push(Line::from(value(
            "[the body has REDACTED values]".to_owned(),
        )));
    }
    if let Some(cut) = message.cut() {
        let cut = escaped(cut.as_bytes());
        lines.push(Line::raw(format!("[the body is not whole: {cut}]")));
    }
}

fn note(lines: &mut Vec<Line<'static>>, count: usize, what: &str) {
    if count > 0 {
        lines.push(Line::raw(format!(
            "[{count} {what}: s saves all that is here]"
        )));
    }
}

/// Whether its line, ids or headers hold `wanted`, which is in lower case.
pub(super) fn holds(shown: &Shown, wanted: &str) -> bool {
    let document = &shown.document;
    let ids = [&document.trace_id, &document.span_id];
    let ids = ids.into_iter().flatten().any(|id| id.contains(wanted));
    let messages = [&document.request, &document.response];
    let mut headers = messages.into_iter().flatten().flat_map(Message::headers);
    let holds = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes)
            .to_lowercase()
            .contains(wanted)
    };
    ids || holds(shown.line.as_bytes()) || headers.any(|(name, value)| holds(name) || holds(value))
}
