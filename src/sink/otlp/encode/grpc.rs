//! What the conventions for remote procedure calls, and ours, say of a call beside what they say of its HTTP.

use super::attributes::Attributes;
use super::http::{Outcome, Severity};
use super::names;
use crate::event::Role;
use crate::redact::Capture;
use crate::rules::Level;
use crate::transaction::Transaction;
use crate::transaction::grpc::{Code, Counts};
use std::borrow::Cow;

/// The name of a call's span: its method. What a server does not know can be anything that a client says, and is no name.
pub fn name(transaction: &Transaction) -> Option<Cow<'_, str>> {
    let grpc = transaction.grpc.as_ref()?;
    match transaction.rpc_method() {
        Some(method) if grpc.code != Some(Code::UNIMPLEMENTED) => {
            let mut name = String::from_utf8_lossy(method).into_owned();
            name.truncate(name.floor_char_boundary(names::MAX_VALUE));
            Some(Cow::Owned(name))
        }
        _ => Some(Cow::Borrowed(grpc.kind.system())),
    }
}

/// How a call ended, where its code is known. A client's span is in error by every code but OK, a server's by those
/// that are the server's fault.
pub fn outcome(transaction: &Transaction) -> Option<Outcome> {
    let code = transaction.grpc.as_ref()?.code?;
    let error = code != Code::OK && (transaction.role == Role::Client || code.is_server_error());
    Some(Outcome {
        error: error.then(|| code.name()),
        severity: match code {
            Code::OK => Severity::Info,
            code if code.is_server_error() => Severity::Error,
            _ => Severity::Warn,
        },
    })
}

/// Names and values of what is counted in a direction.
pub fn counts(counts: &Counts) -> [(&'static str, u64); 4] {
    [
        ("messages", counts.messages),
        ("payload_size", counts.size),
        ("longest", counts.longest),
        ("compressed", counts.compressed),
    ]
}

/// Adds the attributes of a call.
pub fn attributes(list: &mut Attributes, capture: &Capture, level: Level) {
    let Some(grpc) = &capture.transaction.grpc else {
        return;
    };
    list.text(names::RPC_SYSTEM_NAME, grpc.kind.system());
    let method = capture.transaction.rpc_method();
    list.maybe_text(names::RPC_METHOD, method.map(String::from_utf8_lossy));
    let code = grpc.code.map(Code::name);
    list.maybe_text(names::RPC_RESPONSE_STATUS_CODE, code);
    let own = |name: &str| format!("{}{name}", names::GRPC);
    list.text(&own("protocol"), grpc.kind.name());
    if grpc.inferred {
        list.bool(&own("status_inferred"), true);
    }
    if level >= Level::Headers {
        list.maybe_text(&own("message"), capture.facts.grpc_message.as_deref());
    }
    for (side, counted) in [
        ("from_client", &grpc.from_client),
        ("from_server", &grpc.from_server),
    ] {
        let Some(counted) = counted else { continue };
        for (what, count) in counts(counted) {
            list.int(&own(&format!("{side}.{what}")), count);
        }
        let marks: Vec<String> = counted.marks().map(str::to_owned).collect();
        if !marks.is_empty() {
            list.texts(&own(&format!("{side}.marks")), marks);
        }
    }
}
