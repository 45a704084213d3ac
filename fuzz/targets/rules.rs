//! The rule language: no text makes reading or evaluation panic; what is printed reads back; what is said of an
//! expression before its transaction is known holds for every transaction.

use super::input::Input;
use plainspan::enrich::{Identity, Process};
use plainspan::event::{KernelTime, Role, TlsId};
use plainspan::rules::TransactionFacts;
use plainspan::rules::expr::{
    Buffers, FIELDS, Facts, Fault, Known, Macros, Presence, Program, Truths, exercise, lint, parse,
};
use plainspan::rules::facts::UpTo;
use plainspan::transaction::{
    Body, BodyLimits, ConnectionInfo, Headers, Marks, Protocol, Request, Response, Timing, TlsInfo,
    TraceContext, TraceContextSource, Transaction,
};

const MOMENTS: [Known; 5] = [
    Known::Process,
    Known::Connection,
    Known::Request,
    Known::Response,
    Known::End,
];

/// What expressions are made of, beside the names of fields.
const WORDS: [&str; 56] = [
    "and",
    "or",
    "not",
    "&&",
    "||",
    "!",
    "==",
    "!=",
    ">",
    ">=",
    "<",
    "<=",
    "contains",
    "in",
    "matches",
    "(",
    ")",
    "(",
    ")",
    "[",
    "]",
    ",",
    "true",
    "false",
    "0",
    "1",
    "-2.5",
    "200",
    "42",
    "10ms",
    "1.5s",
    "64KiB",
    "2h",
    "10.0.0.0/8",
    "fd00::/8",
    "10.9.8.7",
    "::1",
    "47:45:54",
    "\"GET\"",
    "'POST'",
    "\"api.example.com\"",
    "\"\"",
    "\"10.0.0.0/8\"",
    "\"a\\u00e9\\n\"",
    "/^a.*b$/",
    "|x\\|y|",
    "/(?i)red/",
    "starts_with(",
    "ends_with(",
    "in_zone(",
    "lower(",
    "zone(",
    "exists(",
    "twice()",
    "wrong()",
    "-- note\n",
];
const KEYS: [&str; 4] = ["x-tag", "page", "sid", "none"];

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let choices = input.byte();
    let transaction = transaction(choices, &mut input);
    if choices & 0x80 == 0 {
        check(&String::from_utf8_lossy(input.0), &transaction);
    } else {
        let text = words(input.0);
        check(&text, &transaction);
        // A near one: the same but for a word. For one in four.
        let place = input.0.len() / 2;
        if text.len().is_multiple_of(4) && place > 0 {
            let mut near = input.0.to_vec();
            near[place] = near[place].wrapping_add(1);
            let near = words(&near);
            check_implied(&text, &near, &transaction);
            check_implied(&near, &text, &transaction);
        }
    }
}

/// Each byte is a word or a field.
fn words(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes.iter().copied().map(usize::from) {
        if let Some(word) = WORDS.get(byte) {
            text.push_str(word);
        } else {
            let def = &FIELDS[(byte - WORDS.len()) % FIELDS.len()];
            text.push_str(def.name);
            if def.keyed() {
                text.push_str(KEYS[byte % KEYS.len()]);
            }
        }
        text.push(' ');
    }
    text
}

fn check(text: &str, transaction: &Transaction) {
    exercise(text);
    let expr = match parse(text) {
        Ok(expr) => expr,
        Err(fault) => return check_faults(text, &[fault]),
    };
    let mut macros = Macros::default();
    macros
        .add("twice", "http.req.method == 'GET' or twice_more()")
        .and(macros.add("twice_more", "http.res.status >= 500"))
        .and(macros.add("wrong", "wrong() or ("))
        .expect("names that can be called");
    check_faults(text, &lint::of_text(text, &expr));
    let mut faults = Vec::new();
    let program = Program::new(&expr, &macros, &mut faults);
    assert!(
        program.is_some() || faults.iter().any(|f| !f.warning),
        "{text:?}: no reason"
    );
    check_faults(text, &faults);
    if let Some(program) = program {
        check_program(text, &program, transaction);
    }
}

/// A fault lies in the text, and can be shown.
fn check_faults(text: &str, faults: &[Fault]) {
    for fault in faults {
        assert!(!fault.message.is_empty());
        assert!(fault.column(text) > 0);
        assert!(fault.render(text).lines().count() >= 2);
    }
}

fn contains(set: Truths, one: Truths) -> bool {
    one == Truths::TRUE && set.may_be_true()
        || one == Truths::FALSE && set.may_be_false()
        || one == Truths::UNKNOWN && set.may_be_unknown()
}

fn check_program(text: &str, program: &Program, transaction: &Transaction) {
    let process = process(transaction);
    let facts = TransactionFacts {
        transaction,
        process: &process,
    };
    let mut buffers = Buffers::default();
    let last = program.evaluate(&facts, &mut buffers);
    assert!(
        [Truths::TRUE, Truths::FALSE, Truths::UNKNOWN].contains(&last),
        "{text:?}"
    );
    let unknown = program.evaluate(&Presence::NotYet, &mut buffers);
    assert!(contains(unknown, last), "{text:?}");
    for known in MOMENTS {
        let some = UpTo {
            facts: &facts as &dyn Facts,
            known,
        };
        let now = program.evaluate(&some, &mut buffers);
        assert!(
            contains(now, last),
            "{text:?}: {now:?} at {known:?}, then {last:?}"
        );
        if program.known() <= known {
            assert_eq!(now, last, "{text:?}: all that it asks for is known");
        }
    }
    assert!(!program.is_always() || last == Truths::TRUE, "{text:?}");
    let never = program.never().iter().any(|never| never.whole);
    assert!(!never || last != Truths::TRUE, "{text:?}");
    let steps = program.steps(&facts);
    assert!(
        steps.first().is_some_and(|step| step.outcome == last),
        "{text:?}"
    );
    program.cause(&facts);
}

/// What one expression is said to imply is true where it is.
fn check_implied(text: &str, other: &str, transaction: &Transaction) {
    let macros = Macros::default();
    let [Ok((one, _)), Ok((two, _))] = [text, other].map(|t| Program::compile(t, &macros)) else {
        return;
    };
    if !one.implies(&two) {
        return;
    }
    let process = process(transaction);
    let facts = TransactionFacts {
        transaction,
        process: &process,
    };
    let [one, two] = [one, two].map(|p| p.evaluate(&facts, &mut Buffers::default()));
    assert!(
        !one.is_true() || two.is_true(),
        "{text:?} does not imply {other:?}"
    );
}

fn transaction(choices: u8, input: &mut Input<'_>) -> Transaction {
    let is = |bit: u8| choices & bit != 0;
    let mut headers = Headers::default();
    headers.push(b"Host", b"API.Example.com:8443");
    headers.push(b"Cookie", b"sid=abc; theme=\"dark\"");
    let (target, tag, other) = (input.text(), input.text(), input.text());
    headers.push(b"X-Tag", tag);
    headers.push(b"x-tag", other);
    if is(1) {
        headers.push(b"content-type", b"application/grpc+proto");
    }
    let mut body = Body::default();
    let limits = BodyLimits {
        capture: false,
        max_bytes: 0,
    };
    body.push(target, limits);
    let request = Request {
        method: b"GET".to_vec(),
        target: [b"/", target].concat(),
        headers: headers.clone(),
        body: body.clone(),
        ..Request::default()
    };
    let response = Response {
        status: 100 + u16::from(choices) * 2,
        headers,
        body,
        ..Response::default()
    };
    let context = TraceContext {
        trace_id: [choices | 1; 16],
        span_id: [1; 8],
        flags: choices & 1,
        tracestate: String::new(),
        source: TraceContextSource::W3c,
    };
    let tls = TlsInfo {
        version: Some("1.3"),
        sni: Some("API.example.com".into()),
        alpn_offered: vec!["h2".into(), "http/1.1".into()],
    };
    let remote = if is(2) {
        "10.9.8.7:8443"
    } else {
        "[2001:db8::17]:443"
    };
    let start = KernelTime(1_000_000_000);
    Transaction {
        role: if is(4) { Role::Client } else { Role::Server },
        protocol: if is(8) {
            Protocol::Http2
        } else {
            Protocol::Http11
        },
        pid: 1,
        tid: 1,
        connection: ConnectionInfo {
            conn: None,
            tls: is(16).then_some(TlsId(5)),
            local: is(32).then(|| "[::1]:80".parse().expect("an address")),
            remote: is(32).then(|| remote.parse().expect("an address")),
            netns: 7,
            tls_info: is(16).then_some(tls),
            join: None,
        },
        ordinal: 0,
        request: (choices & 0x60 != 0).then_some(request),
        response: is(64).then_some(response),
        timing: Timing {
            start,
            request_end: start,
            response_start: is(64).then_some(KernelTime(start.0 + 5_000_000)),
            end: KernelTime(start.0 + u64::from(choices) * 10_000_000),
        },
        marks: Marks::default(),
        context: is(8).then_some(context),
        websocket: None,
        grpc: None,
        lasting: None,
    }
}

fn process(transaction: &Transaction) -> Process {
    let known = transaction.context.is_some();
    Process {
        pid: 4711,
        parent_pid: Some(1),
        exe: known.then(|| "/usr/bin/python3.11".into()),
        name: "python3.11".into(),
        uid: known.then_some(33),
        owner: known.then(|| "www-data".into()),
        started: None,
        netns: Some(7),
        container_id: known.then(|| "0123456789abcdef".repeat(4)),
        identity: Identity::default(),
        is_agent: false,
        resource: Vec::new(),
    }
}
