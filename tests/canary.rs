//! Secrets of requests and responses that are cut at every byte, from kernel records to what sinks write.
//!
//! Each carrier is one connection whose bytes hold one secret many times. It is played whole, and cut at each byte, as
//! client and as server, at each level, with every log line of every level kept. Nothing that a sink can write and no
//! log line may hold three characters of the secret, as they are or in base64.

mod http_support;

use base64::Engine;
use http_support::Step;
use http_support::frames::{self, END_STREAM, Encoder, PREFACE, settings};
use plainspan::config::{Environment, HttpCapture, Tap, TraceContextPolicy, load, render};
use plainspan::conn::{Limits, Table};
use plainspan::enrich::{Clock, Ids, Processes};
use plainspan::event::build::EventBuilder;
use plainspan::event::{Dir, KernelTime, Role};
use plainspan::metrics::Metrics;
use plainspan::pipeline::{Audience, Joins, Pipeline, Policies, Stage};
use plainspan::redact::{Redacted, Redactor};
use plainspan::rules::expr::Buffers;
use plainspan::rules::{Filter, Level, Ruleset};
use plainspan::sampling::Sampler;
use plainspan::sink::otlp::{EncodeOptions, KnownMethods, encode};
use plainspan::sink::stdout::Form;
use plainspan::sink::{Delivery, Fanout, ProgressDelivery, Sink, payload};
use plainspan::telemetry::Ledger;
use plainspan::transaction::BodyLimits;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

/// What no word and no number of the fixtures has three characters of.
const SECRET: &str = "ZQXJ7K9VWPM3";

/// Characters of it that nothing may hold, wherever in it they stand.
const PARTS: [&[u8]; 3] = [b"ZQX", b"QXJ", b"7K9V"];

const LEVELS: [Level; 4] = [Level::None, Level::Summary, Level::Headers, Level::Full];

/// Keeps what it gets.
#[derive(Default)]
struct Kept(Mutex<Vec<Arc<Redacted>>>);

impl Sink for Kept {
    fn offer(&self, delivery: Delivery) {
        self.0.lock().expect("kept").push(delivery.capture);
        delivery.ticket.taken();
    }

    fn takes_progress(&self) -> bool {
        false
    }

    fn offer_progress(&self, delivery: ProgressDelivery) {
        delivery.ticket.taken();
    }
}

/// A log of every level in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("the log").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The settings of a stack, with matchers for what the carriers hold.
fn capture(level: Level, mode: &str) -> HttpCapture {
    let rule = |place: &str, name: &str, key: &str| {
        format!("{{in: {place}, match: {name}, key: '{key}', mode: {mode}}}")
    };
    let rules = [
        rule("json", "exact", "private.name"),
        rule("body", "regex", r"pin=([^\s&]+)"),
        rule("header", "exact", "x-user"),
        rule("query", "exact", "user"),
        rule("cookie", "exact", "user"),
    ];
    let text = format!(
        "version: 2\nstacks: {{s: {{plugins: [{{type: http_capture, config: {{level: {}, bodies: {{as_sent: true}}, \
         redact: {{hash_key: {{type: text, value: a key that is long enough}}, rules: [{}]}}}}}}]}}}}\n",
        level.name(),
        rules.join(", ")
    );
    let loaded = load(&text, "test", &Environment::default())
        .unwrap_or_else(|problems| panic!("{}", render("test", &problems)));
    let stack = loaded.config.stacks.get("s").expect("the stack");
    stack.http_capture.clone().expect("http_capture")
}

/// A pipeline at one level, and what comes out of it.
struct Line {
    pipeline: Pipeline,
    ledger: Ledger,
    metrics: Metrics,
    kept: Arc<Kept>,
    connections: u64,
}

impl Line {
    fn new(level: Level, mode: &str) -> Line {
        let settings = capture(level, mode);
        let (ledger, kept) = (Ledger::new(), Arc::new(Kept::default()));
        let counts = ledger.clone();
        let redactor = Redactor::new(&settings)
            .expect("a redactor")
            .reporting(Arc::new(move |matcher, count| {
                counts.redacted(matcher, count)
            }));
        let telemetry = Audience {
            rules: Ruleset::compile(level, &[], &[]).expect("no rules"),
            least: Level::None,
            counts_all: false,
            sampler: Sampler::new(&settings, &[]).expect("a sampler"),
            redactor,
            payloads: None,
            sinks: Fanout::new(vec![kept.clone()]),
        };
        let clock = Clock::new(KernelTime(0), SystemTime::UNIX_EPOCH);
        let metrics = Metrics::new(
            KnownMethods::default(),
            ledger.clone(),
            SystemTime::UNIX_EPOCH,
        );
        let stage = Stage {
            ledger: ledger.clone(),
            processes: Processes::new(&BTreeMap::new()),
            clock,
            ids: Ids::new(TraceContextPolicy::Auto),
            filter: Filter::new(&Tap::default()).expect("no patterns"),
            telemetry: Some(telemetry),
            access: None,
            metrics: metrics.clone(),
            stacks: Default::default(),
            routes: Default::default(),
            measures: Default::default(),
            held: Default::default(),
            joins: Joins::default(),
            policies: Policies::default(),
            buffers: Buffers::default(),
            verdicts: Default::default(),
        };
        let limits = Limits {
            body: BodyLimits {
                capture: level == Level::Full,
                max_bytes: 1 << 20,
            },
            connection_memory: 4 << 20,
            total_memory: 128 << 20,
        };
        Line {
            pipeline: Pipeline::new(Table::new(limits), stage, None),
            ledger,
            metrics,
            kept,
            connections: 0,
        }
    }

    /// Plays a connection up to its byte `end` and closes it. Returns what left.
    fn play(&mut self, steps: &[Step], end: usize, role: Role) -> Vec<Arc<Redacted>> {
        self.connections += 1;
        let mut builder = EventBuilder::new(u32::MAX - 1, self.connections, role);
        self.pipeline.control(&builder.open());
        let mut left = end;
        for step in steps {
            let (bytes, dir) = match (step, role) {
                (Step::Request(bytes), Role::Client) => (bytes, Dir::Write),
                (Step::Request(bytes), Role::Server) => (bytes, Dir::Read),
                (Step::Response(bytes), Role::Client) => (bytes, Dir::Read),
                (Step::Response(bytes), Role::Server) => (bytes, Dir::Write),
            };
            let bytes = &bytes[..left.min(bytes.len())];
            if !bytes.is_empty() {
                self.pipeline.data(&builder.data(dir, bytes));
            }
            left -= bytes.len();
        }
        self.pipeline.control(&builder.close());
        self.pipeline.apply_ends();
        // Those that wait for the client's end to turn up have waited long enough.
        self.pipeline.settle(KernelTime(u64::MAX));
        std::mem::take(&mut *self.kept.0.lock().expect("kept"))
    }
}

/// All that any sink writes of a capture, base64 undone.
fn written(capture: &Redacted) -> Vec<u8> {
    let options = EncodeOptions::default();
    let mut all = format!("{capture:?} {:?} {:?}", capture.facts, capture.decision).into_bytes();
    all.extend(encode::span_bytes(
        Vec::new(),
        &encode::Common::new(capture, None, &options),
    ));
    let now = SystemTime::UNIX_EPOCH;
    all.extend(encode::log_record_bytes(
        Vec::new(),
        &encode::Common::new(capture, None, &options),
        now,
    ));
    let document = payload::encode(capture);
    texts(&serde_json::from_slice(&document).expect("JSON"), &mut all);
    all.extend(document);
    let colour = false;
    for form in [
        Form::Console {
            detail: Level::Full,
            colour,
        },
        Form::Spans(options),
        Form::AccessLogs { mode: Level::Full },
    ] {
        form.push(&mut all, capture, None);
    }
    all
}

/// What the texts of a document are in base64.
fn texts(value: &serde_json::Value, out: &mut Vec<u8>) {
    use serde_json::Value;
    match value {
        Value::String(text) => {
            if let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(text) {
                out.extend(bytes);
                out.push(b'\n');
            }
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, out)),
        Value::Object(items) => items.values().for_each(|item| texts(item, out)),
        _ => {}
    }
}

fn must_be_clean(what: &dyn Fn() -> String, bytes: &[u8]) {
    for part in PARTS {
        if let Some(at) = memchr::memmem::find(bytes, part) {
            let around = &bytes[at.saturating_sub(200)..(at + 60).min(bytes.len())];
            panic!(
                "{} holds the secret: …{}…",
                what(),
                String::from_utf8_lossy(around)
            );
        }
    }
}

/// Plays the connection whole and cut at each byte, in every way there is.
fn nothing_leaks(name: &str, steps: &[Step]) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let length = length(steps);
    tracing::subscriber::with_default(subscriber, || {
        tracing::debug!("the log is kept");
        for level in LEVELS {
            let mut line = Line::new(level, "mask");
            for role in [Role::Client, Role::Server] {
                let what = |end: usize| {
                    format!("{name} at {level:?} as {role:?}, {end} of {length} bytes,")
                };
                let whole = line.play(steps, length, role);
                assert_eq!(whole.is_empty(), level == Level::None, "{}", what(length));
                for capture in &whole {
                    must_be_clean(&|| what(length), &written(capture));
                }
                let mut halves = 0;
                for end in 1..length {
                    for capture in line.play(steps, end, role) {
                        halves += 1;
                        must_be_clean(&|| what(end), &written(&capture));
                    }
                }
                // A head that is cut gives nothing; all that follows gives at least what was seen.
                let enough = level == Level::None || halves > length / 8;
                assert!(enough, "{} {halves} halves", what(length));
            }
            line.pipeline.finish(KernelTime(u64::MAX / 2));
            for capture in line.kept.0.lock().expect("kept").iter() {
                must_be_clean(
                    &|| format!("{name} at {level:?}, at the end,"),
                    &written(capture),
                );
            }
            let metrics = line.metrics.prometheus();
            assert_eq!(metrics.is_empty(), level == Level::None);
            must_be_clean(&|| format!("metrics of {name}"), metrics.as_bytes());
            let counts = serde_json::to_vec(&line.ledger.snapshot()).expect("JSON");
            must_be_clean(&|| format!("the ledger after {name}"), &counts);
        }
    });
    let log = log.0.lock().expect("the log");
    assert!(!log.is_empty(), "nothing was logged");
    must_be_clean(&|| format!("the log after {name}"), &log);
}

fn length(steps: &[Step]) -> usize {
    let bytes = |step: &Step| match step {
        Step::Request(bytes) | Step::Response(bytes) => bytes.len(),
    };
    steps.iter().map(bytes).sum()
}

/// A request and its response with these fields and contents.
fn exchange(
    target: &str,
    fields: &[(&str, &str)],
    content: &[u8],
    answer: &[(&str, &str)],
) -> Vec<Step> {
    let lines = |fields: &[(&str, &str)]| -> String {
        fields
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect()
    };
    let method = if content.is_empty() { "GET" } else { "POST" };
    let framing =
        |fields: &[(&str, &str)]| match fields.iter().any(|(name, _)| *name == "Transfer-Encoding")
        {
            true => String::new(),
            false => format!("Content-Length: {}\r\n", content.len()),
        };
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: shop.example\r\n{}{}\r\n",
        lines(fields),
        framing(fields)
    );
    let response = format!(
        "HTTP/1.1 200 OK\r\n{}{}\r\n",
        lines(answer),
        framing(answer)
    );
    vec![
        Step::Request([request.as_bytes(), content].concat()),
        Step::Response([response.as_bytes(), content].concat()),
    ]
}

/// The same content both ways.
fn with_content(content_type: &str, extra: &[(&str, &str)], content: &[u8]) -> Vec<Step> {
    let fields = [&[("Content-Type", content_type)], extra].concat();
    exchange("/upload", &fields, content, &fields)
}

fn json() -> String {
    serde_json::json!({"a": 1, "private": {"name": SECRET}, "note": format!("Bearer {SECRET}")})
        .to_string()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).expect("a vector takes all");
    encoder.finish().expect("a vector takes all")
}

/// Every character percent-encoded.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[test]
fn header_fields_cookies_and_urls_leak_nothing_wherever_they_are_cut() {
    let bearer = format!("Bearer {SECRET}");
    let cookie = format!("sid={SECRET}; theme=dark; user={SECRET}");
    let referer = format!("https://h.example/?access_token={SECRET}&n=1");
    let nested = format!("https://u:{SECRET}@h.example/?next=%2F%3Ftoken%3D{SECRET}");
    let location = format!("https://h.example/cb?code={SECRET}&state=1#access_token={SECRET}");
    let link = format!("<https://h.example/?token={SECRET}>; rel=next");
    let set_cookie = format!("sid={SECRET}; Path=/; HttpOnly");
    let fields = [
        ("Authorization", &*bearer),
        ("Proxy-Authorization", &*bearer),
        ("Cookie", &cookie),
        ("X-Api-Key", SECRET),
        ("X-Session-Id", SECRET),
        ("X-User", SECRET),
        ("Referer", &referer),
        ("Referer", &nested),
    ];
    let answer = [
        ("Set-Cookie", &*set_cookie),
        ("Location", &location),
        ("Content-Location", &referer),
        ("Link", &link),
        ("X-Auth-Token", SECRET),
    ];
    nothing_leaks("a head", &exchange("/p?a=1", &fields, b"", &answer));
}

#[test]
fn queries_plain_and_percent_encoded_leak_nothing_wherever_they_are_cut() {
    let hidden = encoded(SECRET);
    let twice = hidden.replace('%', "%25");
    for target in [
        format!("/p?access_token={SECRET}&n=1&user={SECRET}&Password={SECRET}"),
        format!("/p?acc%65ss_token={SECRET}&n=1&%75ser={SECRET}"),
        format!("/p?access_token={hidden}&n=1&acc%65ss_token={twice}"),
        format!("https://u:{SECRET}@shop.example/p?X-Amz-Signature={SECRET}#token={SECRET}"),
    ] {
        nothing_leaks(&target, &exchange(&target, &[], b"", &[]));
    }
}

#[test]
fn json_and_text_bodies_leak_nothing_wherever_they_are_cut() {
    let text = format!("the pin={SECRET} and a bearer {SECRET} said\n");
    let form = format!("a=1&pin={SECRET}&t=Bearer+{SECRET}");
    let events = format!("id: 1\ndata: {}\n\n", json());
    for (content_type, content) in [
        ("application/json", json()),
        ("text/plain", text),
        ("application/x-www-form-urlencoded", form),
        ("text/event-stream", events),
    ] {
        nothing_leaks(
            content_type,
            &with_content(content_type, &[], content.as_bytes()),
        );
    }
}

#[test]
fn chunked_bodies_leak_nothing_wherever_they_are_cut() {
    let chunks: Vec<u8> = json()
        .as_bytes()
        .chunks(7)
        .flat_map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
        .collect();
    let trailer = format!("0\r\nX-Auth-Token: {SECRET}\r\n\r\n");
    let content = [&chunks, trailer.as_bytes()].concat();
    let extra = [("Transfer-Encoding", "chunked")];
    nothing_leaks(
        "chunks",
        &with_content("application/json", &extra, &content),
    );
}

#[test]
fn gzip_bodies_leak_nothing_wherever_they_are_cut() {
    let text = format!("the pin={SECRET} and a bearer {SECRET} said\n");
    for (content_type, content) in [("application/json", json()), ("text/plain", text)] {
        let extra = [("Content-Encoding", "gzip")];
        let steps = with_content(content_type, &extra, &gzip(content.as_bytes()));
        nothing_leaks(&format!("{content_type} in gzip"), &steps);
    }
}

#[test]
fn metadata_and_messages_of_grpc_leak_nothing_wherever_they_are_cut() {
    let (mut client, mut server) = (Encoder::default(), Encoder::default());
    let bearer = format!("Bearer {SECRET}");
    let message = [&[0, 0, 0, 0, bearer.len() as u8], bearer.as_bytes()].concat();
    let in_base64 = base64::engine::general_purpose::STANDARD.encode(SECRET);
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", "/shop.v1.Cart/Add"),
        (":authority", "shop.example"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("authorization", &*bearer),
        ("x-my-token", SECRET),
        ("x-my-token-bin", &in_base64),
        ("x-user", SECRET),
    ];
    let trailers = [("grpc-status", "0"), ("x-auth-token", SECRET)];
    let content_type = [(":status", "200"), ("content-type", "application/grpc")];
    let steps = [
        Step::Request([PREFACE.to_vec(), settings(), client.headers(1, 0, &fields)].concat()),
        Step::Request(frames::data(1, END_STREAM, &message)),
        Step::Response([settings(), server.headers(1, 0, &content_type)].concat()),
        Step::Response(frames::data(1, 0, &message)),
        Step::Response(server.headers(1, END_STREAM, &trailers)),
    ];
    nothing_leaks("a call", &steps);
}

#[test]
fn messages_of_a_websocket_leak_nothing_wherever_they_are_cut() {
    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let text = format!("{{\"note\": \"Bearer {SECRET}\", \"pin\": \"pin={SECRET}\"}}");
    let len = u8::try_from(text.len()).expect("short");
    let masked = text
        .bytes()
        .zip(KEY.iter().cycle())
        .map(|(byte, key)| byte ^ key);
    let from_client: Vec<u8> = [&[0x81, 0x80 | len], &KEY[..]]
        .concat()
        .into_iter()
        .chain(masked)
        .collect();
    let from_server = [&[0x81, len], text.as_bytes()].concat();
    let ask = format!(
        "GET /socket?token={SECRET} HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let agree = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let steps = [
        Step::Request(ask.into_bytes()),
        Step::Response(agree.as_bytes().to_vec()),
        Step::Request(from_client),
        Step::Response(from_server),
    ];
    nothing_leaks("a websocket", &steps);
}

#[test]
fn with_mode_hash_a_secret_has_the_same_value_wherever_it_stands() {
    let mut line = Line::new(Level::Full, "hash");
    let json = with_content(
        "application/json",
        &[],
        format!("{{\"private\":{{\"name\":\"{SECRET}\"}}}}").as_bytes(),
    );
    let text = with_content(
        "text/plain",
        &[],
        format!("the pin={SECRET} said\n").as_bytes(),
    );
    let cookie = format!("user={SECRET}");
    let fields = [("Cookie", &*cookie), ("X-User", SECRET)];
    let head = exchange(&format!("/p?user={SECRET}"), &fields, b"", &[]);
    let mut found = BTreeMap::new();
    for steps in [&json, &json, &text, &head] {
        for capture in line.play(steps, length(steps), Role::Server) {
            let all = String::from_utf8_lossy(&written(&capture)).into_owned();
            must_be_clean(&|| "a hashed secret".to_owned(), all.as_bytes());
            for (at, _) in all.match_indices("hmac:") {
                let value = all.get(at..at + "hmac:01234567:0123456789abcdef".len());
                *found
                    .entry(value.unwrap_or_default().to_owned())
                    .or_insert(0) += 1;
            }
        }
    }
    let [(value, count)] = &Vec::from_iter(found)[..] else {
        panic!("not one value");
    };
    assert!(
        value.starts_with("hmac:") && *count >= 20,
        "{value} {count} times"
    );
}

#[test]
fn what_looks_for_the_secret_finds_it() {
    let mut line = Line::new(Level::Full, "mask");
    let steps = exchange("/p", &[("X-Note", SECRET)], b"", &[]);
    let leaked = line.play(&steps, length(&steps), Role::Server);
    let all: Vec<u8> = leaked.iter().flat_map(|capture| written(capture)).collect();
    let caught = std::panic::catch_unwind(|| must_be_clean(&|| "a note".to_owned(), &all));
    assert!(
        caught.is_err(),
        "a header that is not secret is kept, and was not found"
    );
}
