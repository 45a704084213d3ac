//! A transaction as `access_logs` with format `json` writes it: one object a line.
//!
//! Keys after QTap, with the meaning they have there:
//! - mode `summary`: `msg`, `bin`, `direction`, `method`, `url`, `status`, `qpoint_request_id` (our transaction id).
//! - mode `details`: `msg`, `meta` (`bytes_sent` and `bytes_received`, strings as in QTap, bytes on the wire as this
//!   process has them; `pid`, `exe`, `container_name`, `container_image`, `pod_name`, `pod_namespace`), `direction`,
//!   `request` (`url`, `method`, `proto`, `qpoint_request_id`, `headers`), `response` (`status`, `headers`).
//!   `headers` has one string a name, the first, under its canonical name.
//! - mode `full`: `details` and `body` in `request` and `response`; binary content is `<binary>`.
//!
//! Ours follow. At the top, in every mode: `timestamp` (RFC 3339, the first byte), `level`, `duration_ms`, `pid`,
//! `trace_id`, `span_id`, `error` (as `error.type`; absent where there is none), `complete`, `marks` (absent where there
//! are none), `grpc` (of a call: as in payloads, without its messages), `payload` (`url`, `digest`, `size`, `status`; absent
//! without one). In messages: `body_size` (bytes of
//! the content), `body_truncated`, `header_list` and `trailer_list` (pairs in wire order, every line; bytes that are
//! not UTF-8 as `{"base64": "…"}`).
//! What was not seen is null. A capture whose level kept no headers has none in any mode, likewise bodies.

use crate::enrich::rfc3339;

use crate::redact::{Capture, Content};
use crate::rules::Level;
use crate::sink::PayloadLink;
use crate::sink::json::Json;
use crate::sink::otlp::encode;
use crate::sink::payload::{document, grpc};
use crate::transaction::{Body, Headers, Request, Response};

/// One JSON object, without a line break.
pub fn encode(capture: &Capture, link: Option<&PayloadLink>, mode: Level) -> Vec<u8> {
    let mut json = Json::with_capacity(1024);
    json.object(|j| {
        j.key("msg").string("HTTP transaction");
        match mode {
            Level::None | Level::Summary => summary(j, capture),
            Level::Headers | Level::Full => details(j, capture, mode.min(capture.decision.level)),
        }
        ours(j, capture, link);
    });
    json.finish()
}

fn summary(j: &mut Json, capture: &Capture) {
    let transaction = &capture.transaction;
    j.key("bin").string(&capture.process.name);
    j.key("direction").string(document::direction(capture));
    match &transaction.request {
        Some(request) => j.key("method").lossy(&request.method),
        None => j.key("method").null(),
    }
    url(j, capture);
    match &transaction.response {
        Some(response) => j.key("status").number(response.status),
        None => j.key("status").null(),
    }
    j.key("qpoint_request_id").string(&capture.id);
}

fn url(j: &mut Json, capture: &Capture) {
    let url = encode::url(&encode::web(capture));
    match url.is_empty() {
        true => j.key("url").null(),
        false => j.key("url").string(&url),
    }
}

fn details(j: &mut Json, capture: &Capture, level: Level) {
    j.key("meta");
    meta(j, capture);
    j.key("direction").string(document::direction(capture));
    j.key("request");
    match &capture.transaction.request {
        Some(r) => request(j, capture, r, level),
        None => j.null(),
    }
    j.key("response");
    match &capture.transaction.response {
        Some(r) => response(j, capture, r, level),
        None => j.null(),
    }
}

fn meta(j: &mut Json, capture: &Capture) {
    let transaction = &capture.transaction;
    let process = &*capture.process;
    let (sent, received) = document::wire_bytes(transaction);
    j.object(|j| {
        j.key("bytes_sent").plain(format_args!("{sent}"));
        j.key("bytes_received").plain(format_args!("{received}"));
        j.key("pid").number(process.pid);
        j.key("exe")
            .string(process.exe.as_deref().unwrap_or(&process.name));
        j.key("container_name")
            .string(document::resource(process, "container.name"));
        j.key("container_image").string(document::image(process));
        for (key, attribute) in [
            ("pod_name", "k8s.pod.name"),
            ("pod_namespace", "k8s.namespace.name"),
        ] {
            j.key(key).string(document::resource(process, attribute));
        }
    });
}

fn request(j: &mut Json, capture: &Capture, request: &Request, level: Level) {
    j.object(|j| {
        url(j, capture);
        j.key("method").lossy(&request.method);
        j.key("proto")
            .string(document::protocol(capture.transaction.protocol));
        j.key("qpoint_request_id").string(&capture.id);
        message(j, level, &request.headers, &request.trailers);
        content(j, level, &request.body, capture.request_content());
    });
}

fn response(j: &mut Json, capture: &Capture, response: &Response, level: Level) {
    j.object(|j| {
        j.key("status").number(response.status);
        message(j, level, &response.headers, &response.trailers);
        content(j, level, &response.body, capture.response_content());
    });
}

fn message(j: &mut Json, level: Level, headers: &Headers, trailers: &Headers) {
    if level < Level::Headers {
        return;
    }
    document::headers(j.key("headers"), &[], headers);
    document::list(j.key("header_list"), headers);
    document::list(j.key("trailer_list"), trailers);
}

fn content(j: &mut Json, level: Level, body: &Body, content: Option<Content<'_>>) {
    let mut cut = false;
    if level >= Level::Full {
        match content.as_ref().and_then(Content::text) {
            Some(text) => j.key("body").lossy(text),
            None if body.size() == 0 => j.key("body").string(""),
            None => j.key("body").string("<binary>"),
        }
        cut = content.is_some_and(|c| c.stop().is_some());
    }
    j.key("body_size").number(body.size());
    j.key("body_truncated").bool(body.truncated() || cut);
}

fn ours(j: &mut Json, capture: &Capture, link: Option<&PayloadLink>) {
    let transaction = &capture.transaction;
    let timing = &transaction.timing;
    j.key("timestamp").string(&rfc3339(capture.start));
    j.key("level").string(capture.decision.level.name());
    j.key("duration_ms")
        .double(timing.end.since(timing.start) as f64 / 1e6);
    j.key("pid").number(capture.process.pid);
    if let Some((trace_id, span_id)) = capture.ids.shown() {
        document::hex(j.key("trace_id"), trace_id);
        document::hex(j.key("span_id"), span_id);
    }
    if let Some(error) = encode::outcome(transaction).error {
        j.key("error").string(&error);
    }
    j.key("complete").bool(transaction.complete());
    if !transaction.complete() {
        let marks = transaction.marks;
        j.key("marks")
            .array(|j| marks.iter().for_each(|mark| j.string(mark.name())));
    }
    if let Some(call) = &transaction.grpc {
        grpc::write(j.key("grpc"), capture, call, Level::Headers);
    }
    if let Some(link) = link {
        j.key("payload").object(|j| payload(j, link));
    }
}

fn payload(j: &mut Json, link: &PayloadLink) {
    if let Some(url) = &link.url {
        j.key("url").string(url);
    }
    if let Some(digest) = &link.digest {
        j.key("digest").string(digest);
    }
    if let Some(size) = link.size {
        j.key("size").number(size);
    }
    j.key("status").string(link.status.name());
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
