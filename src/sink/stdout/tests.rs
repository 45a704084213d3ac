use super::*;
use crate::event::Role;
use crate::redact::Capture;
use crate::rules::Level;
use crate::sink::PayloadStatus;
use crate::sink::testing::{self, headers};
use crate::telemetry::ledger::{Signal, SignalLost};
use crate::transaction::Mark;
use serde_json::{Value, json};
use std::sync::mpsc;

fn form(format: Format, level: Level) -> Form {
    Form { format, level }
}

fn render(form: Form, capture: Capture) -> String {
    form.render(
        &Redacted::for_test(capture),
        None,
        &EncodeOptions::default(),
    )
}

/// A capture that kept everything, with text both ways.
fn full(role: Role) -> Capture {
    let mut capture = testing::capture(role);
    capture.decision.level = Level::Full;
    capture.facts.request_content_type = Some("application/json".into());
    capture.facts.response_content_type = Some("text/plain; charset=utf-8".into());
    if let Some(request) = capture.transaction.request.as_mut() {
        request.body = testing::body(b"{\n\"a\":1}");
    }
    capture
}

#[test]
fn a_summary_is_one_readable_line() {
    let summary = form(Format::Console, Level::Summary);
    assert_eq!(
        render(summary, full(Role::Client)),
        "2023-11-14T22:13:20.000Z → GET https://example.com/a/b?c=d 200 12.3 ms 80/69 B curl[42]\n"
    );
    let mut broken = full(Role::Server);
    broken.transaction.response = None;
    broken.transaction.marks.set(Mark::ResponseMissing);
    broken.transaction.marks.set(Mark::Reset);
    assert_eq!(
        render(summary, broken),
        "2023-11-14T22:13:20.000Z ← GET https://example.com/a/b?c=d connection_reset 12.3 ms 80/- B curl[42] \
         (response_missing, reset)\n"
    );
}

#[test]
fn details_have_headers_and_full_has_bodies_that_are_text() {
    let details = render(form(Format::Console, Level::Headers), full(Role::Client));
    let lines: Vec<_> = details.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "    > Host: example.com",
            "    > User-Agent: curl/8",
            "    < Content-Type: text/plain",
            "    < Content-Length: 5",
        ]
    );
    let all = render(form(Format::Console, Level::Full), full(Role::Client));
    for line in ["    > {", "    > \"a\":1}", "    < hello"] {
        assert!(all.lines().any(|l| l == line), "{all}");
    }
    let mut packed = full(Role::Client);
    packed.facts.response_content_encoding = Some("gzip".into());
    let all = render(form(Format::Console, Level::Full), packed);
    assert!(all.contains("< (5 bytes, not text)") && !all.contains("hello"));
}

#[test]
fn a_form_shows_no_more_than_the_capture_kept() {
    for format in [Format::Console, Format::Json] {
        let mut capture = full(Role::Server);
        capture.decision.level = Level::Summary;
        let text = render(form(format, Level::Full), capture);
        assert!(
            !text.contains("text/plain") && !text.contains("hello"),
            "{text}"
        );
    }
}

#[test]
fn json_has_the_spans_names_and_is_one_line() {
    let text = render(form(Format::Json, Level::Full), full(Role::Client));
    assert!(text.ends_with('\n') && text.matches('\n').count() == 1);
    let object: Value = serde_json::from_str(&text).expect("JSON");
    for (key, value) in [
        ("service.name", json!("unknown_service:curl")),
        ("process.pid", json!(42)),
        ("trace_id", json!("ab".repeat(16))),
        ("span_id", json!("cd".repeat(8))),
        ("kind", json!("client")),
        ("start", json!("2023-11-14T22:13:20.000000000Z")),
        ("end", json!("2023-11-14T22:13:20.012300000Z")),
        ("url.full", json!("https://example.com/a/b?c=d")),
        ("http.response.status_code", json!(200)),
        ("http.response.header.content-type", json!(["text/plain"])),
        ("http.request.body.content", json!("{\n\"a\":1}")),
        ("http.response.body.content", json!("hello")),
        ("plainspan.ttfb", json!(0.01)),
        ("plainspan.complete", json!(true)),
    ] {
        assert_eq!(object[key], value, "{key}");
    }
    let summary = render(form(Format::Json, Level::Summary), full(Role::Client));
    assert!(!summary.contains(".header.") && !summary.contains("body.content"));
}

#[test]
fn nothing_captured_can_steer_a_terminal() {
    let evil = "a\x1b[2J\u{9b}31m\x7f\r\n\t\u{202e}x\u{2028}\u{2066}";
    for format in [Format::Console, Format::Json] {
        let mut capture = full(Role::Server);
        capture.facts.host = Some(evil.into());
        let mut process = (*capture.process).clone();
        process.name = evil.into();
        capture.process = Arc::new(process);
        if let Some(request) = capture.transaction.request.as_mut() {
            request.target = format!("/{evil}").into_bytes();
            request.method = evil.as_bytes().to_vec();
            request.headers = headers(&[(evil, evil)]);
            request.body = testing::body(evil.as_bytes());
        }
        let text = render(form(format, Level::Full), capture);
        let steering = text
            .chars()
            .filter(|c| *c != '\n')
            .find(|c| text::steers(*c));
        assert_eq!(steering, None, "{text}");
        if format == Format::Json {
            let object: Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(object["url.path"], json!(format!("/{evil}")));
        } else {
            assert!(
                text.contains("\\x1b[2J\\x9b31m\\x7f\\r\\n\\t\\u{202e}x"),
                "{text}"
            );
        }
    }
}

#[test]
fn text_is_told_by_type_and_encoding() {
    for (kind, encoding, wanted) in [
        (Some("text/html"), None, true),
        (Some("application/json"), Some("identity"), true),
        (Some("application/problem+JSON; v=1"), None, true),
        (Some("image/svg+xml"), None, true),
        (Some("application/x-www-form-urlencoded"), None, true),
        (Some("application/x-thing; charset=utf-8"), None, true),
        (Some("application/octet-stream"), None, false),
        (Some("text/html"), Some("gzip"), false),
        (Some("application/jsonish"), None, false),
        (None, None, false),
    ] {
        assert_eq!(
            text::is_text(kind, encoding),
            wanted,
            "{kind:?} {encoding:?}"
        );
    }
}

// The thread

/// A writer that hands on what it gets, and can be told to block or to break.
struct Pipe {
    out: mpsc::Sender<Vec<u8>>,
    /// Taken before each write: where it is empty the writer blocks.
    turns: mpsc::Receiver<io::Result<()>>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.turns
            .recv()
            .unwrap_or_else(|_| Err(ErrorKind::BrokenPipe.into()))?;
        match self.out.send(bytes.to_vec()) {
            Ok(()) => Ok(bytes.len()),
            Err(_) => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Rig {
    sink: StdoutSink,
    ledger: Ledger,
    out: mpsc::Receiver<Vec<u8>>,
    turns: mpsc::Sender<io::Result<()>>,
}

impl Rig {
    fn new(queue_items: usize) -> Rig {
        let (sender, out) = mpsc::channel();
        let (turns, receiver) = mpsc::channel();
        let ledger = Ledger::new();
        let options = StdoutOptions {
            queue_items,
            ..StdoutOptions::new(Form::of_terminal(true))
        };
        let pipe = Pipe {
            out: sender,
            turns: receiver,
        };
        let sink = StdoutSink::start_with("s", options, ledger.clone(), pipe).expect("a thread");
        Rig {
            sink,
            ledger,
            out,
            turns,
        }
    }

    fn offer(&self, count: usize) {
        for _ in 0..count {
            self.sink.offer(Delivery {
                capture: Arc::new(Redacted::for_test(testing::capture(Role::Client))),
                link: Some(PayloadLink {
                    url: Some("https://s3/x".into()),
                    digest: None,
                    size: None,
                    status: PayloadStatus::Stored,
                }),
                ticket: self.ledger.transaction_seen().shared(),
            });
        }
    }

    fn turn(&self, turn: io::Result<()>) {
        self.turns.send(turn).expect("the writer is there");
    }

    fn drain(&self, limit: Duration) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        runtime.block_on(self.sink.drain(Instant::now() + limit));
    }

    fn counts(&self) -> Signal {
        let snapshot = self.ledger.snapshot();
        assert_eq!(snapshot.imbalance(), 0);
        snapshot.signals["s/stdout"].clone()
    }

    /// Waits until the writer has something in its hands.
    fn wait_taken(&self) {
        while self.sink.shared.lock().writing.is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn counts(offered: u64, exported: u64, lost: SignalLost) -> Signal {
    Signal {
        offered,
        exported,
        in_flight: 0,
        lost,
    }
}

#[test]
fn what_is_offered_is_written_before_draining_ends() {
    let rig = Rig::new(100);
    (0..5).for_each(|_| rig.turn(Ok(())));
    rig.offer(5);
    rig.drain(Duration::from_secs(10));
    assert_eq!(rig.counts(), counts(5, 5, SignalLost::default()));
    let text: Vec<u8> = rig.out.try_iter().flatten().collect();
    let text = String::from_utf8(text).expect("text");
    assert_eq!(text.lines().count(), 5);
    assert!(text.lines().all(|l| l.ends_with("https://s3/x")));
    rig.offer(1);
    assert_eq!(rig.counts().lost.shutdown, 1);
}

#[test]
fn a_writer_that_blocks_loses_the_newest_and_draining_ends_all_the_same() {
    let rig = Rig::new(10);
    rig.offer(1);
    rig.wait_taken();
    rig.offer(15);
    assert_eq!(rig.counts().lost.queue_full, 5);
    let started = Instant::now();
    rig.drain(Duration::from_millis(100));
    assert!(started.elapsed() < Duration::from_secs(5));
    let lost = SignalLost {
        queue_full: 5,
        shutdown: 11,
        ..SignalLost::default()
    };
    assert_eq!(rig.counts(), counts(16, 0, lost));
}

#[test]
fn a_reader_that_goes_away_ends_writing_and_everything_after_is_counted() {
    let rig = Rig::new(10);
    rig.turn(Ok(()));
    rig.offer(1);
    while rig.counts().exported == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    rig.turn(Err(ErrorKind::BrokenPipe.into()));
    rig.offer(1);
    while rig.counts().lost.rejected == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    rig.offer(3);
    rig.drain(Duration::from_secs(5));
    let lost = SignalLost {
        rejected: 4,
        ..SignalLost::default()
    };
    assert_eq!(rig.counts(), counts(5, 1, lost));
}

#[test]
fn a_writer_that_would_block_is_asked_again() {
    let rig = Rig::new(10);
    rig.turn(Err(ErrorKind::WouldBlock.into()));
    rig.turn(Err(ErrorKind::Interrupted.into()));
    rig.turn(Ok(()));
    rig.offer(1);
    rig.drain(Duration::from_secs(10));
    assert_eq!(rig.counts(), counts(1, 1, SignalLost::default()));
}
