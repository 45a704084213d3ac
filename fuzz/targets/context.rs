//! Trace context of a request: what is understood is what the headers say, and what is written here comes back.

use super::input::Input;
use plainspan::transaction::{Headers, TraceContext, TraceContextSource};

/// Members that a `tracestate` may have (Trace Context §3.3.1.1).
const MEMBERS: usize = 32;

const NAMES: [&[u8]; 8] = [
    b"traceparent",
    b"TraceParent",
    b"tracestate",
    b"b3",
    b"X-B3-TraceId",
    b"x-b3-spanid",
    b"x-b3-sampled",
    b"x-b3-flags",
];

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let choices = input.byte();
    if choices & 0x80 != 0 {
        return come_back(input, choices);
    }
    let mut headers = Headers::default();
    while !input.is_empty() {
        let choice = input.byte();
        let name = NAMES[usize::from(choice & 7)];
        match choice >> 3 & 3 {
            // Nearly right.
            0 => headers.push(name, &value(name, input.text())),
            1 => headers.push(input.text(), input.text()),
            _ => headers.push(name, input.text()),
        }
    }
    let context = TraceContext::from_headers(&headers);
    if let Some(context) = &context {
        check(context, &headers);
    }
    // Other headers, and the case of names, change nothing.
    let mut more = Headers::default();
    more.push(b"accept", b"*/*");
    for (name, value) in headers.iter() {
        more.push(&name.to_ascii_uppercase(), value);
    }
    assert!(context == TraceContext::from_headers(&more));
}

/// A valid value of this name, with the places changed that `edits` names.
fn value(name: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut value = match name.len() {
        // `traceparent`
        11 => b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_vec(),
        // `tracestate` (its length is that of the flags' names too)
        10 => b"a=1, b=2,c@d=3".to_vec(),
        2 => b"4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1-05e3ac9a4f6e3b90".to_vec(),
        _ => b"00f067aa0ba902b7".to_vec(),
    };
    for edit in edits.chunks_exact(2) {
        let place = usize::from(edit[0]) % (value.len() + 1);
        match value.get_mut(place) {
            Some(byte) => *byte = edit[1],
            None => value.push(edit[1]),
        }
    }
    value
}

fn check(context: &TraceContext, headers: &Headers) {
    assert!(context.trace_id != [0; 16] && context.span_id != [0; 8]);
    assert!(context.flags & !3 == 0, "{}", context.flags);
    let members = context.tracestate.split(',').filter(|m| !m.is_empty());
    assert!(members.clone().count() <= MEMBERS);
    assert!(members.clone().all(|m| m.contains('=') && m.trim() == m));
    assert!(context.tracestate.is_ascii());
    // The ids stand in a value, as they are.
    let values: Vec<Vec<u8>> = headers
        .iter()
        .map(|(_, v)| v.to_ascii_lowercase())
        .collect();
    let stands = |id: &[u8]| {
        let hex: String = id.iter().map(|b| format!("{b:02x}")).collect();
        values
            .iter()
            .any(|v| v.windows(hex.len()).any(|w| w == hex.as_bytes()))
    };
    assert!(stands(&context.trace_id[8..]) && stands(&context.span_id));
    if context.source == TraceContextSource::B3 {
        assert!(context.tracestate.is_empty() && context.flags <= 1);
    }
}

/// A context that is written comes back.
fn come_back(mut input: Input<'_>, choices: u8) {
    let (mut trace_id, mut span_id) = ([0; 16], [0; 8]);
    trace_id.iter_mut().for_each(|b| *b = input.byte());
    span_id.iter_mut().for_each(|b| *b = input.byte());
    let hex = |id: &[u8]| -> String { id.iter().map(|b| format!("{b:02x}")).collect() };
    let [trace, span] = [hex(&trace_id), hex(&span_id)];
    let flags = input.byte();
    let mut headers = Headers::default();
    match choices & 3 {
        0 | 1 => {
            let rest = if choices & 4 != 0 { "-more" } else { "" };
            let version = if choices & 4 != 0 { choices & 0x7f } else { 0 };
            let value = format!("{version:02x}-{trace}-{span}-{flags:02x}{rest}");
            headers.push(b"traceparent", value.as_bytes());
        }
        2 => headers.push(b"b3", format!("{trace}-{span}-{}", flags & 1).as_bytes()),
        _ => {
            headers.push(b"X-B3-TraceId", trace.to_uppercase().as_bytes());
            headers.push(b"X-B3-SpanId", span.as_bytes());
            headers.push(b"X-B3-Sampled", if flags & 1 != 0 { b"true" } else { b"0" });
        }
    }
    let context = TraceContext::from_headers(&headers);
    if trace_id == [0; 16] || span_id == [0; 8] {
        assert!(context.is_none(), "zeros are no id");
        return;
    }
    let context = context.expect("a valid context");
    assert_eq!((context.trace_id, context.span_id), (trace_id, span_id));
    let known = if choices & 2 == 0 { 3 } else { 1 };
    assert_eq!(context.flags, flags & known);
}
