//! The WebSocket part of a payload document: counts of both directions, and at level full the messages, as they came where nothing
//! had to be hidden in them.

use crate::event::KernelTime;
use crate::redact::{Capture, Dropped, SocketMessage};
use crate::rules::Level;
use crate::sink::json::Json;
use crate::transaction::websocket::{Frames, WebSocket};

/// Writes the value of `websocket`.
pub(super) fn write(j: &mut Json, capture: &Capture, websocket: &WebSocket) {
    let start = capture.transaction.timing.start;
    j.object(|j| {
        frames(j.key("from_client"), &websocket.from_client);
        frames(j.key("from_server"), &websocket.from_server);
        match websocket.close_code() {
            Some(code) => j.key("close_code").number(code),
            None => j.key("close_code").null(),
        }
        j.key("permessage_deflate").bool(websocket.deflate);
        if capture.decision.level >= Level::Full {
            j.key("messages").array(|j| {
                for (from, m) in in_time(capture) {
                    message(j, from, &m, start);
                }
            });
        }
    });
}

fn frames(j: &mut Json, frames: &Frames) {
    j.object(|j| {
        for (key, value) in counts(frames) {
            j.key(key).number(value);
        }
        j.key("left_out").number(frames.left_out());
    });
}

/// Names and values of what is counted in a direction.
pub(in crate::sink) fn counts(frames: &Frames) -> [(&'static str, u64); 9] {
    [
        ("messages", frames.messages),
        ("payload_size", frames.payload),
        ("wire_size", frames.wire_size),
        ("text", frames.text),
        ("binary", frames.binary),
        ("continuation", frames.continuation),
        ("ping", frames.ping),
        ("pong", frames.pong),
        ("close", frames.close),
    ]
}

/// Messages of both directions by the time of their first byte; of one time, the client's come first.
fn in_time(capture: &Capture) -> Vec<(&'static str, SocketMessage<'_>)> {
    let [client, server] = capture.websocket_messages();
    let client = client.into_iter().map(|m| ("client", m));
    let server = server.into_iter().map(|m| ("server", m));
    let mut all: Vec<_> = client.chain(server).collect();
    all.sort_by_key(|(_, m)| m.message.time);
    all
}

fn message(j: &mut Json, from: &str, shown: &SocketMessage<'_>, start: KernelTime) {
    let message = shown.message;
    j.object(|j| {
        j.key("from").string(from);
        let kind = if message.text { "text" } else { "binary" };
        j.key("type").string(kind);
        j.key("time_ns").number(message.time.since(start));
        j.key("size").number(message.size);
        j.key("truncated").bool(message.truncated());
        j.key("compressed").bool(shown.compressed);
        if message.compressed && !shown.compressed {
            j.key("inflated").bool(true);
        }
        redaction(j, shown.redacted, shown.dropped);
        match std::str::from_utf8(&shown.bytes) {
            Ok(text) if message.text && !shown.compressed => j.key("text").string(text),
            _ => j.key("base64").base64(&shown.bytes),
        }
    });
}

/// Says what redaction did to the content beside it, where it did something.
pub(super) fn redaction(j: &mut Json, redacted: bool, dropped: Option<Dropped>) {
    if redacted {
        j.key("redacted").bool(true);
    }
    if let Some(dropped) = dropped {
        j.key("dropped").string(dropped.name());
    }
}
