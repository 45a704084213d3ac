//! Content redacted: a secret that a rule names is in no output, whatever is around it, however it is coded and wherever
//! it is cut; and of JSON that another reader takes, every member that a rule names is masked, and nothing is lost.

#[path = "../../tests/support/bare.rs"]
mod bare;

use super::input::Input;
use flate2::Compression;
use flate2::write::GzEncoder;
use plainspan::config::{
    HashKeySource, HttpCapture, NameMatch, RedactMode, RedactPlace, RedactRule, Secret,
};
use plainspan::event::KernelTime;
use plainspan::redact::{Raw, Redacted, Redactor};
use plainspan::rules::Level;
use plainspan::transaction::grpc::{Grpc, Kind};
use plainspan::transaction::websocket::{WebSocket, WebSocketMessage};
use plainspan::transaction::{Headers, Mark, Response, Transaction};
use std::io::Write;
use std::sync::LazyLock;

const SECRET: &str = "ZQSECRET-0123456789";
/// So much of it is too much.
const PART: &[u8] = b"ZQS";
const MODES: [RedactMode; 3] = [RedactMode::Mask, RedactMode::Hash, RedactMode::Drop];
const TYPES: [&str; 8] = [
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "text/event-stream",
    "application/octet-stream",
    "application/grpc",
    "application/grpc-web+json",
    "application/x-ndjson",
];

/// By mode; the last one knows members of JSON alone.
static REDACTORS: LazyLock<Vec<Redactor>> = LazyLock::new(|| {
    let body = |mode| {
        vec![
            rule(RedactPlace::Body, NameMatch::Exact(SECRET.to_owned()), mode),
            rule(
                RedactPlace::Json,
                NameMatch::Exact("hidden".to_owned()),
                mode,
            ),
        ]
    };
    let mut all: Vec<Redactor> = MODES.iter().map(|mode| redactor(body(*mode))).collect();
    let any = NameMatch::Exact("*".to_owned());
    let private = NameMatch::Exact("private".to_owned());
    all.push(redactor(vec![
        rule(RedactPlace::Detector, any, RedactMode::Keep),
        rule(RedactPlace::Json, private, RedactMode::Mask),
    ]));
    all
});

fn rule(place: RedactPlace, matcher: NameMatch, mode: RedactMode) -> RedactRule {
    RedactRule {
        name: "rule".to_owned(),
        place,
        matcher,
        mode,
    }
}

fn redactor(rules: Vec<RedactRule>) -> Redactor {
    let capture = HttpCapture {
        level: Level::Full,
        redact: rules,
        hash_key: Some(HashKeySource::Text(Secret::new(
            "a key that is long enough",
        ))),
        body_max_bytes: 1 << 16,
        body_as_sent: true,
        ..HttpCapture::default()
    };
    Redactor::new(&capture).expect("good rules")
}

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (choices, how, cut) = (input.byte(), input.byte(), input.byte());
    if choices & 0x80 != 0 {
        return members(input.0);
    }
    let content_type = TYPES[usize::from(choices & 7)];
    let before = input.text();
    let after = input.0;
    let around = [before, after].concat();
    // The noise has nothing of the secret in it.
    if around.iter().any(|b| matches!(b, b'Z' | b'Q' | b'S')) {
        return;
    }
    let secret = match how & 3 {
        0 => SECRET.to_owned(),
        1 => SECRET.replace('-', "%2D"),
        2 => SECRET.replace('-', "\\u002d"),
        _ => SECRET.replace('-', "%252d"),
    };
    let content = [before, secret.as_bytes(), after].concat();
    let redactor = &REDACTORS[usize::from(choices >> 3) % MODES.len()];
    if how & 4 != 0 {
        return socket(redactor, &content, cut, how & 8 != 0);
    }
    let framed = content_type.starts_with("application/grpc");
    let content = if framed {
        message(&content, how & 16 != 0)
    } else {
        content
    };
    let (coding, sent) = match how & 8 {
        0 => (None, content),
        _ => (Some("gzip"), gzip(&content)),
    };
    let end = sent.len() * usize::from(cut) / 255;
    let mut t = transaction(content_type, coding, &sent[..end]);
    if end < sent.len() {
        t.marks.set(Mark::ResponseCut);
    }
    if framed {
        t.grpc = Some(Grpc {
            kind: Kind::of(content_type.as_bytes()).expect("a kind"),
            from_client: None,
            from_server: None,
            code: None,
            inferred: false,
        });
    }
    let capture = redact(redactor, t);
    let content = capture.response_content().expect("a response");
    clean(content.bytes());
    clean(content.as_sent().unwrap_or_default());
    capture
        .messages_from_server()
        .iter()
        .for_each(|m| clean(&m.bytes));
}

fn clean(bytes: &[u8]) {
    assert!(
        !bytes.windows(PART.len()).any(|w| w == PART),
        "{}",
        String::from_utf8_lossy(bytes)
    );
}

fn socket(redactor: &Redactor, content: &[u8], cut: u8, text: bool) {
    let end = content.len() * usize::from(cut) / 255;
    let mut websocket = WebSocket::default();
    websocket.from_server.kept.push(WebSocketMessage {
        text,
        compressed: false,
        whole: true,
        follows: true,
        time: KernelTime(1),
        size: content.len() as u64,
        bytes: content[..end].to_vec(),
    });
    let mut t = transaction("text/plain", None, b"");
    t.websocket = Some(websocket);
    for message in redact(redactor, t).websocket_messages().iter().flatten() {
        clean(&message.bytes);
    }
}

/// All members of the name are masked, and the rest is as it was.
fn members(text: &[u8]) {
    let Ok(before) = serde_json::from_slice::<serde_json::Value>(text) else {
        return;
    };
    let capture = redact(
        &REDACTORS[MODES.len()],
        transaction("application/json", None, text),
    );
    let content = capture.response_content().expect("a response");
    assert!(content.dropped().is_none(), "{before}");
    let after: serde_json::Value = serde_json::from_slice(content.bytes()).expect("JSON");
    same(&before, &after);
}

fn same(before: &serde_json::Value, after: &serde_json::Value) {
    use serde_json::Value;
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            assert!(before.keys().eq(after.keys()));
            for (name, value) in before {
                let lower = name.to_ascii_lowercase();
                if lower == "private" {
                    assert_eq!(after[name], "REDACTED");
                } else if !lower.ends_with(".private") {
                    same(value, &after[name]);
                }
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            assert_eq!(before.len(), after.len());
            before.iter().zip(after).for_each(|(b, a)| same(b, a));
        }
        // JSON inside of a text.
        (Value::String(before), Value::String(after)) if after == "REDACTED" => {
            let begin = before.trim_start_matches('\u{feff}').trim_start();
            assert!(
                before == after || begin.starts_with(['{', '[', '\u{1e}']),
                "{before}"
            );
        }
        _ => assert_eq!(before, after),
    }
}

fn message(content: &[u8], compressed: bool) -> Vec<u8> {
    let content = if compressed {
        gzip(content)
    } else {
        content.to_vec()
    };
    let mut out = vec![compressed.into()];
    out.extend_from_slice(&(content.len() as u32).to_be_bytes());
    out.extend(content);
    out
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let all = "a vector takes all";
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).expect(all);
    encoder.finish().expect(all)
}

fn redact(redactor: &Redactor, transaction: Transaction) -> Redacted {
    redactor
        .redact(Raw::new(Box::new(transaction)), bare::about())
        .0
}

fn transaction(content_type: &str, coding: Option<&str>, content: &[u8]) -> Transaction {
    let mut headers = Headers::default();
    headers.push(b"content-type", content_type.as_bytes());
    headers.push(b"grpc-encoding", b"gzip");
    if let Some(coding) = coding {
        headers.push(b"content-encoding", coding.as_bytes());
    }
    Transaction {
        response: Some(Response {
            status: 200,
            headers,
            body: bare::body(content),
            ..Response::default()
        }),
        ..bare::transaction()
    }
}
