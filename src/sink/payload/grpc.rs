//! The part of a payload document about a call of gRPC, gRPC-Web or Connect: counts of both directions, how it ended,
//! and at level full its messages, those of the client first.

use super::websocket;
use crate::redact::{Capture, Message};
use crate::rules::Level;
use crate::sink::json::Json;
use crate::sink::otlp::encode::grpc::counts;
use crate::transaction::grpc::{Code, Counts, Grpc, Kind};

/// Writes the value of `grpc`. Messages are there where `level` and the capture's own are full.
pub(in crate::sink) fn write(j: &mut Json, capture: &Capture, grpc: &Grpc, level: Level) {
    let level = level.min(capture.decision.level);
    // The bodies of Connect without streams are the messages.
    let split = level >= Level::Full && grpc.kind != Kind::ConnectUnary;
    let client = split.then(|| capture.messages_from_client());
    let server = split.then(|| capture.messages_from_server());
    j.object(|j| {
        j.key("protocol").string(grpc.kind.name());
        match capture.transaction.rpc_method() {
            Some(method) => j.key("method").lossy(method),
            None => j.key("method").null(),
        }
        match grpc.code {
            Some(Code(code)) => {
                j.key("status").string(&Code(code).name());
                j.key("status_code").number(code);
            }
            None => {
                j.key("status").null();
                j.key("status_code").null();
            }
        }
        j.key("status_inferred").bool(grpc.inferred);
        if level >= Level::Headers {
            match &capture.facts.grpc_message {
                Some(message) => j.key("message").string(message),
                None => j.key("message").null(),
            }
        }
        side(j.key("from_client"), grpc.from_client, client.as_deref());
        side(j.key("from_server"), grpc.from_server, server.as_deref());
        if let (Some(client), Some(server)) = (client, server) {
            j.key("messages").array(|j| {
                client.iter().for_each(|m| message(j, "client", m));
                server.iter().for_each(|m| message(j, "server", m));
            });
        }
    });
}

/// `shown`: messages that are in the document.
fn side(j: &mut Json, counted: Option<Counts>, shown: Option<&[Message<'_>]>) {
    let Some(counted) = counted else {
        return j.null();
    };
    j.object(|j| {
        for (key, value) in counts(&counted) {
            j.key(key).number(value);
        }
        if let Some(shown) = shown {
            let whole = shown.iter().filter(|m| !m.truncated && !m.is_end).count() as u64;
            j.key("left_out")
                .number(counted.messages.saturating_sub(whole));
        }
        j.key("marks")
            .array(|j| counted.marks().for_each(|mark| j.string(mark)));
    });
}

fn message(j: &mut Json, from: &str, message: &Message<'_>) {
    j.object(|j| {
        j.key("from").string(from);
        j.key("size").number(message.size);
        j.key("truncated").bool(message.truncated);
        j.key("compressed").bool(message.compressed);
        if message.is_end {
            j.key("end_of_stream").bool(true);
        }
        if message.compressed {
            match message.encoding {
                Some(encoding) => j.key("encoding").string(encoding),
                None => j.key("encoding").null(),
            }
        }
        if let Some(stop) = message.stop {
            j.key("decoding_ended").string(stop.name());
        }
        websocket::redaction(j, message.changed, message.dropped);
        match message.text() {
            Some(text) => j.key("text").string(text),
            None => j.key("base64").base64(&message.bytes),
        }
    });
}
