//! What the conventions for remote procedure calls, and ours, say of a call beside what they say of its HTTP.

use super::attributes::Attributes;
use super::http::{OTHER, Outcome, Severity};
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
    match known_method(transaction) {
        Some(method) => {
            let mut name = String::from_utf8_lossy(method).into_owned();
            name.truncate(name.floor_char_boundary(names::MAX_VALUE));
            Some(Cow::Owned(name))
        }
        _ => Some(Cow::Borrowed(grpc.kind.system())),
    }
}

/// The method of a call, unless its server does not know it.
fn known_method(transaction: &Transaction) -> Option<&[u8]> {
    let code = transaction.grpc.as_ref()?.code;
    transaction
        .rpc_method()
        .filter(|_| code != Some(Code::UNIMPLEMENTED))
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
    match (
        known_method(&capture.transaction),
        capture.transaction.rpc_method(),
    ) {
        (Some(method), _) => list.text(names::RPC_METHOD, String::from_utf8_lossy(method)),
        (None, Some(original)) => {
            list.text(names::RPC_METHOD, OTHER);
            list.text(
                names::RPC_METHOD_ORIGINAL,
                String::from_utf8_lossy(original),
            );
        }
        (None, None) => {}
    }
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

#[cfg(test)]
mod tests {
    use super::super::{EncodeOptions, line, span};
    use super::*;
    use crate::sink::testing::{call, capture};
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::trace::v1::Span;

    fn calling(role: Role, code: Option<u32>) -> Capture {
        let mut capture = capture(role);
        call(&mut capture, code.map(Code));
        capture
    }

    fn of(capture: &Capture) -> Span {
        span(capture, None, &EncodeOptions::default())
    }

    fn attr(span: &Span, name: &str) -> Option<Value> {
        let found = span.attributes.iter().find(|kv| kv.key == name)?;
        found.value.clone()?.value
    }

    fn text(value: &str) -> Option<Value> {
        Some(Value::StringValue(value.to_owned()))
    }

    #[test]
    fn a_call_has_the_attributes_of_both_conventions() {
        let mut capture = calling(Role::Client, Some(14));
        capture.facts.grpc_message = Some("no cart".to_owned());
        let span = of(&capture);
        assert_eq!(span.name, "shop.v1.Cart/Add");
        for (name, value) in [
            ("rpc.system.name", "grpc"),
            ("rpc.method", "shop.v1.Cart/Add"),
            ("rpc.response.status_code", "UNAVAILABLE"),
            ("error.type", "UNAVAILABLE"),
            ("http.request.method", "POST"),
            ("plainspan.grpc.protocol", "grpc"),
            ("plainspan.grpc.message", "no cart"),
        ] {
            assert_eq!(attr(&span, name), text(value), "{name}");
        }
        let count = |name: &str| attr(&span, &format!("plainspan.grpc.{name}"));
        assert_eq!(count("from_client.messages"), Some(Value::IntValue(1)));
        assert_eq!(count("from_server.payload_size"), Some(Value::IntValue(20)));
        assert_eq!(count("from_server.marks"), None);
        assert!(line(&capture).contains(" 200 UNAVAILABLE "));
    }

    #[test]
    fn a_server_is_in_error_by_its_own_faults_alone() {
        for (code, client, server, severity) in [
            (0, false, false, Severity::Info),
            (1, true, false, Severity::Warn),
            (2, true, true, Severity::Error),
            (4, true, true, Severity::Error),
            (5, true, false, Severity::Warn),
            (16, true, false, Severity::Warn),
            (99, true, true, Severity::Error),
        ] {
            for (role, error) in [(Role::Client, client), (Role::Server, server)] {
                let capture = calling(role, Some(code));
                let outcome = outcome(&capture.transaction).expect("a code");
                let told = (outcome.error.is_some(), outcome.severity);
                assert_eq!(told, (error, severity), "{code} {role:?}");
                assert_eq!(of(&capture).status.is_some(), error, "{code} {role:?}");
            }
        }
    }

    #[test]
    fn without_a_code_the_outcome_is_that_of_http() {
        let mut capture = calling(Role::Client, None);
        if let Some(response) = &mut capture.transaction.response {
            response.status = 503;
        }
        let span = of(&capture);
        assert_eq!(attr(&span, "rpc.response.status_code"), None);
        assert_eq!(attr(&span, "error.type"), text("503"));
    }

    #[test]
    fn what_a_server_does_not_know_is_no_name_of_a_span() {
        let span = of(&calling(Role::Server, Some(12)));
        assert_eq!(span.name, "grpc");
        assert_eq!(attr(&span, "rpc.method"), text("_OTHER"));
        let original = attr(&span, "rpc.method_original");
        assert_eq!(original, text("shop.v1.Cart/Add"));
        let known = of(&calling(Role::Server, Some(5)));
        assert_eq!(attr(&known, "rpc.method_original"), None);
    }

    #[test]
    fn below_level_headers_nothing_is_said_in_words_and_doubtful_counts_say_so() {
        let mut capture = calling(Role::Client, Some(5));
        capture.facts.grpc_message = Some("no cart of ann".to_owned());
        capture.decision.level = Level::Summary;
        if let Some(grpc) = &mut capture.transaction.grpc {
            grpc.inferred = true;
            grpc.from_server = Some(Counts {
                gap: true,
                partial: true,
                ..Counts::default()
            });
        }
        let span = of(&capture);
        assert_eq!(attr(&span, "plainspan.grpc.message"), None);
        let inferred = attr(&span, "plainspan.grpc.status_inferred");
        assert_eq!(inferred, Some(Value::BoolValue(true)));
        let Some(Value::ArrayValue(marks)) = attr(&span, "plainspan.grpc.from_server.marks") else {
            panic!("no marks");
        };
        assert_eq!(marks.values.len(), 2);
    }
}
