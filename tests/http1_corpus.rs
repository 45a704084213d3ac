//! HTTP/1 messages, well-formed and not, are read as `h11` reads them, or the difference is explained here.
//!
//! `tests/programs/http1_corpus.py` makes the messages and asks h11, which is a parser for programs that take part in a
//! conversation: it refuses what it would not answer. We look on: what two others understood has to be understood.

mod http_support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_support::{Cutting, Fixture, Step, View, play, record};
use plainspan::event::Role;
use plainspan::transaction::{Headers, Mark, Transaction};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

/// Kind of message, what we say and what h11 says, and why that is right.
#[rustfmt::skip]
const EXPLAINED: &[(&str, &str, &str)] = &[
    // What h11 refuses, and others understand.
    ("blank_lines_first", "whole, h11 error", "empty lines before a request are to be ignored, at least one (RFC 9112 §2.2); we ignore all"),
    ("no_host", "whole, h11 error", "a server has to refuse it (RFC 9112 §3.2); who looks on can read it"),
    ("two_hosts", "whole, h11 error", "as no_host; both are kept"),
    ("two_spaces", "whole, h11 error", "start lines may be split at any white space (RFC 9112 §3)"),
    ("trailing_space", "whole, h11 error", "white space before the end of a request line may be ignored (RFC 9112 §3)"),
    ("response_two_spaces", "whole, h11 error", "start lines may be split at any white space (RFC 9112 §4)"),
    ("coding_before_chunked", "whole, h11 error", "allowed (RFC 9112 §6.1); h11 has no other coding"),
    ("response_coding_unknown", "whole, h11 error", "a response whose last coding is not chunked ends with the connection (RFC 9112 §6.3)"),
    ("chunk_bare_lf", "whole, h11 partial", "a recipient may take a bare LF for the end of a line (RFC 9112 §2.2); h11 does so in heads only"),
    // What h11 takes, and we mark: receivers differ in what they make of it.
    ("both_lengths", "error, h11 whole", "what request smuggling looks like (RFC 9112 §6.1)"),
    ("response_both_lengths", "error, h11 whole", "what response splitting looks like (RFC 9112 §6.1)"),
    ("chunked_http10", "error, h11 whole", "framing is faulty where HTTP/1.0 has a transfer coding (RFC 9112 §6.1)"),
    ("version_2", "nothing, h11 whole", "no start line of HTTP/1; h11 leaves the version to its caller"),
    // Where there is nothing to compare.
    ("chunk_size_huge", "error, h11 partial", "h11 waits for 2^68 bytes; we take sizes of 64 bits"),
    ("cut", "nothing, h11 partial", "a start line that is not whole proves no HTTP: the connection counts as not HTTP"),
    ("tunnel", "whole, h11 partial", "h11 stops for its caller to take over; the response has no content (RFC 9110 §9.3.6)"),
    // What h11 rewrites, and we keep as it was sent.
    ("folded", "other fields", "a fold becomes one space (RFC 9112 §5.2); h11 leaves white space in front of a second fold"),
    ("mutated", "other fields", "as folded: it is one of those, with another byte changed"),
    ("version_12", "other version", "a higher minor version means the highest that the reader knows (RFC 9110 §2.5)"),
    ("length_twice_same", "other fields", "h11 makes one of equal lengths"),
    ("length_list_same", "other fields", "h11 makes one of equal lengths"),
    ("chunked_case", "other fields", "h11 writes `chunked` in lower case"),
];

fn corpus(seed: u32) -> Vec<Value> {
    let venv = std::env::var_os("PLAINSPAN_TEST_VENV").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-venv")),
        PathBuf::from,
    );
    let output = Command::new(venv.join("bin/python"))
        .arg("tests/programs/http1_corpus.py")
        .arg(seed.to_string())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the Python of tests/setup.sh");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "run tests/setup.sh: {errors}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines = text.lines();
    lines
        .map(|l| serde_json::from_str(l).expect("JSON"))
        .collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_else(|| panic!("no text: {value}"));
    STANDARD.decode(text).expect("base64")
}

/// The first transaction of a connection that carries the message, cut into events of `size` bytes.
fn read(message: &Value, size: usize) -> Option<Transaction> {
    let sent = bytes(&message["bytes"]);
    let asked = message["asked"].as_str().unwrap_or_default();
    let steps = match message["side"].as_str() {
        Some("request") => vec![Step::Request(sent)],
        _ => {
            let request = format!("{asked} / HTTP/1.1\r\nHost: a\r\n\r\n");
            vec![Step::Request(request.into_bytes()), Step::Response(sent)]
        }
    };
    let fixture = Fixture {
        name: "corpus",
        steps,
        transactions: 1,
    };
    let view = View {
        role: Role::Server,
        tls: false,
    };
    let cutting = Cutting {
        operations: vec![usize::MAX],
        events: vec![size],
    };
    let seen = play(&record(&fixture, view, &cutting));
    let mut transactions = seen.transactions;
    transactions.sort_by_key(|t| t.ordinal);
    transactions.into_iter().next()
}

fn pairs(headers: &Headers) -> Value {
    let encode = |b: &[u8]| STANDARD.encode(b);
    headers
        .iter()
        .map(|(n, v)| json!([encode(n), encode(v)]))
        .collect()
}

/// What we say of a message, in the words of the corpus.
fn ours(message: &Value, size: usize) -> Value {
    let request = message["side"] == "request";
    let Some(t) = read(message, size) else {
        return json!({"verdict": "nothing"});
    };
    let has = |q, a| t.marks.has(if request { q } else { a });
    let verdict = if has(Mark::RequestMalformed, Mark::ResponseMalformed) {
        "error"
    } else if has(Mark::RequestCut, Mark::ResponseCut) {
        "partial"
    } else {
        "whole"
    };
    let version = t.protocol.version();
    let encode = |b: &[u8]| STANDARD.encode(b);
    match (&t.request, &t.response) {
        (Some(r), _) if request => json!({
            "verdict": verdict, "version": version,
            "method": encode(&r.method), "target": encode(&r.target), "fields": pairs(&r.headers),
            "body": encode(r.body.bytes()), "trailers": pairs(&r.trailers), "interim": [],
        }),
        (_, Some(r)) if !request => json!({
            "verdict": verdict, "status": r.status,
            "reason": encode(&r.reason), "fields": pairs(&r.headers),
            "body": encode(r.body.bytes()), "trailers": pairs(&r.trailers), "interim": r.interim,
        }),
        _ => json!({"verdict": "nothing"}),
    }
}

/// How the two differ; None: they agree.
fn difference(ours: &Value, h11: &Value) -> Option<String> {
    let (a, b) = (&ours["verdict"], &h11["verdict"]);
    // What h11 refuses need not have a start line of HTTP.
    if a == "nothing" && b == "error" {
        return None;
    }
    if a != b {
        let word = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        return Some(format!("{}, h11 {}", word(a), word(b)));
    }
    if a != "whole" {
        return None;
    }
    let keys = ours.as_object().into_iter().flat_map(|o| o.keys());
    let differ: Vec<&str> = keys
        .filter(|key| ours[*key] != h11[*key])
        .map(String::as_str)
        .collect();
    (!differ.is_empty()).then(|| format!("other {}", differ.join(" ")))
}

/// A mutated message is explained by what h11 says against it.
fn kind(message: &Value) -> String {
    let name = message["name"].as_str().unwrap_or_default();
    let kind = name.split('/').next().unwrap_or_default();
    match (kind, message["h11"]["why"].as_str()) {
        ("mutated", Some(why)) => {
            let why = why.split(['(', '{', ':']).next().unwrap_or_default();
            format!("mutated: {}", why.trim())
        }
        _ => kind.to_owned(),
    }
}

#[test]
fn messages_are_read_as_h11_reads_them_or_the_difference_is_explained() {
    let corpus = corpus(1);
    assert!(corpus.len() >= 300, "{}", corpus.len());
    let mut met = BTreeSet::new();
    let mut unexplained = Vec::new();
    for message in &corpus {
        let read = ours(message, usize::MAX);
        let Some(difference) = difference(&read, &message["h11"]) else {
            continue;
        };
        let kind = kind(message);
        let found = EXPLAINED
            .iter()
            .position(|(k, d, _)| *k == kind && *d == difference);
        match found {
            Some(at) => {
                met.insert(at);
            }
            None => unexplained.push(format!(
                "{kind}: {difference}\n  {:?}\n  ours {read}\n  h11  {}",
                String::from_utf8_lossy(&bytes(&message["bytes"])),
                message["h11"]
            )),
        }
    }
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
    for (at, (kind, difference, _)) in EXPLAINED.iter().enumerate() {
        assert!(met.contains(&at), "no longer so: {kind}: {difference}");
    }
}

#[test]
fn each_message_is_read_the_same_however_it_is_cut() {
    for message in corpus(2) {
        let whole = ours(&message, usize::MAX);
        for size in [1, 7] {
            assert_eq!(ours(&message, size), whole, "{}", message["name"]);
        }
    }
}
