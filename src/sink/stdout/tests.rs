//! The sink with a stdout of the test's own.

use super::*;
use crate::event::Role;
use crate::redact::{Capture, Redacted};
use crate::rules::Level;
use crate::sink::testing::{body, capture};
use crate::telemetry::ledger::Signal;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const LIMITS: Limits = Limits {
    items: 4,
    bytes: 1 << 20,
};

/// Takes writes only as the test lets it.
struct Gate {
    begun: Sender<()>,
    /// One message a write; its end opens the gate for good.
    go: Receiver<io::Result<()>>,
    taken: Arc<Mutex<Vec<u8>>>,
}

struct Far {
    begun: Receiver<()>,
    go: Sender<io::Result<()>>,
    taken: Arc<Mutex<Vec<u8>>>,
}

fn text(taken: &Mutex<Vec<u8>>) -> String {
    let taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8(taken.clone()).expect("lines are UTF-8")
}

impl Far {
    /// The writer stands in a write.
    fn stuck(&self) {
        let wait = Duration::from_secs(10);
        self.begun.recv_timeout(wait).expect("a write begins");
    }
}

fn gate() -> (Gate, Far) {
    let (begin, begun) = channel();
    let (go, wait) = channel();
    let taken = Arc::default();
    let near = Gate {
        begun: begin,
        go: wait,
        taken: Arc::clone(&taken),
    };
    (near, Far { begun, go, taken })
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.begun.send(()).is_err() {
            return Err(io::Error::other("the test is over"));
        }
        if let Ok(result) = self.go.recv() {
            result?;
        }
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn form() -> Form {
    Form::AccessLogs {
        mode: Level::Summary,
    }
}

fn sink(out: impl Write + Send + 'static, form: Form, ledger: &Ledger) -> StdoutSink {
    StdoutSink::to(out, "out", form, ledger.clone(), LIMITS).expect("a thread")
}

/// A sink whose writes the test lets go, and its books.
fn gated(form: Form) -> (StdoutSink, Far, Ledger) {
    let ledger = Ledger::new();
    let (near, far) = gate();
    (sink(near, form, &ledger), far, ledger)
}

fn offer(sink: &StdoutSink, ledger: &Ledger, change: impl FnOnce(&mut Capture)) {
    let mut capture = capture(Role::Client);
    change(&mut capture);
    sink.offer(Delivery {
        capture: Arc::new(Redacted::for_test(capture)),
        link: None,
        ticket: ledger.transaction_seen().shared(),
    });
}

fn offer_many(sink: &StdoutSink, ledger: &Ledger, count: u64) {
    for _ in 0..count {
        offer(sink, ledger, |_| {});
    }
}

fn signal(ledger: &Ledger) -> Signal {
    let snapshot = ledger.snapshot();
    assert_eq!(snapshot.imbalance(), 0);
    snapshot.signals["out/stdout"].clone()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// Waits for what the writer's thread does on its own.
fn until(what: impl Fn() -> bool) {
    let deadline = soon();
    while !what() {
        assert!(Instant::now() < deadline, "it did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[tokio::test]
async fn all_that_was_taken_is_written_in_order_before_drain_ends() {
    let (sink, far, ledger) = gated(form());
    for id in ["first", "second", "third"] {
        offer(&sink, &ledger, |c| c.id = id.into());
    }
    drop(far.go);
    sink.drain(soon()).await;
    let text = text(&far.taken);
    let ids: Vec<_> = text
        .lines()
        .map(|l| serde_json::from_str::<serde_json::Value>(l).expect("a whole line"))
        .map(|v| v["qpoint_request_id"].as_str().map(str::to_owned))
        .collect();
    let expected = ["first", "second", "third"].map(|id| Some(id.to_owned()));
    assert_eq!(ids, expected);
    let s = signal(&ledger);
    assert_eq!((s.offered, s.exported, s.in_flight), (3, 3, 0));
    assert_eq!(ledger.snapshot().transactions.exported, 3);
}

#[tokio::test]
async fn lines_leave_without_a_drain() {
    let (sink, far, ledger) = gated(form());
    far.go.send(Ok(())).expect("the writer waits");
    offer_many(&sink, &ledger, 1);
    until(|| signal(&ledger).exported == 1);
    assert_eq!(text(&far.taken).lines().count(), 1);
}

#[tokio::test]
async fn what_finds_no_room_is_lost_as_queue_full_at_once() {
    let (sink, far, ledger) = gated(form());
    offer_many(&sink, &ledger, 1);
    far.stuck();
    // One is being written, three wait.
    offer_many(&sink, &ledger, 5);
    let s = signal(&ledger);
    assert_eq!((s.in_flight, s.lost.queue_full), (4, 2));
    drop(far.go);
    sink.drain(soon()).await;
    assert_eq!(signal(&ledger).exported, 4);
}

#[tokio::test]
async fn the_queue_is_bounded_by_bytes_and_gives_them_back() {
    let (sink, far, ledger) = gated(Form::AccessLogs { mode: Level::Full });
    let large = |c: &mut Capture| {
        let response = c.transaction.response.as_mut().expect("a response");
        response.body = body(&[b'x'; 600 << 10]);
    };
    offer(&sink, &ledger, large);
    far.stuck();
    offer(&sink, &ledger, large);
    assert_eq!(signal(&ledger).lost.queue_full, 1);
    far.go.send(Ok(())).expect("the writer waits");
    until(|| signal(&ledger).exported == 1);
    drop(far.go);
    offer(&sink, &ledger, large);
    sink.drain(soon()).await;
    let s = signal(&ledger);
    assert_eq!((s.exported, s.lost.queue_full), (2, 1));
}

#[tokio::test]
async fn bodies_take_no_room_where_lines_do_not_hold_them() {
    let (sink, far, ledger) = gated(form());
    for _ in 0..4 {
        offer(&sink, &ledger, |c| {
            let response = c.transaction.response.as_mut().expect("a response");
            response.body = body(&[b'x'; 600 << 10]);
        });
    }
    drop(far.go);
    sink.drain(soon()).await;
    assert_eq!(signal(&ledger).exported, 4);
}

#[tokio::test]
async fn a_broken_pipe_rejects_what_is_there_and_all_that_follows() {
    let (sink, far, ledger) = gated(form());
    offer_many(&sink, &ledger, 1);
    far.stuck();
    offer_many(&sink, &ledger, 2);
    far.go
        .send(Err(io::ErrorKind::BrokenPipe.into()))
        .expect("the writer waits");
    until(|| signal(&ledger).lost.rejected == 3);
    offer_many(&sink, &ledger, 2);
    let s = signal(&ledger);
    assert_eq!((s.offered, s.lost.rejected, s.in_flight), (5, 5, 0));
    sink.drain(soon()).await;
    assert_eq!(text(&far.taken), "");
    assert_eq!(ledger.snapshot().transactions.lost.rejected, 5);
}

#[tokio::test]
async fn what_is_not_written_at_the_deadline_is_lost_as_shutdown() {
    let (sink, far, ledger) = gated(form());
    offer_many(&sink, &ledger, 1);
    far.stuck();
    offer_many(&sink, &ledger, 2);
    sink.drain(Instant::now() + Duration::from_millis(20)).await;
    offer_many(&sink, &ledger, 1);
    let s = signal(&ledger);
    assert_eq!((s.exported, s.in_flight, s.lost.shutdown), (0, 0, 4));
    // The write that comes back late changes nothing.
    drop(far.go);
    until(|| !text(&far.taken).is_empty());
    assert_eq!(signal(&ledger), s);
}

#[tokio::test]
async fn a_sink_that_is_dropped_writes_what_it_took() {
    let (sink, far, ledger) = gated(form());
    offer_many(&sink, &ledger, 2);
    drop(sink);
    drop(far.go);
    until(|| signal(&ledger).exported == 2);
}

#[test]
fn a_report_is_a_line_of_its_own_and_counted_apart() {
    let spans = Form::Spans(crate::sink::otlp::EncodeOptions::default());
    let console = Form::Console {
        detail: Level::Full,
        colour: false,
    };
    assert!(spans.takes_progress() && console.takes_progress() && !form().takes_progress());
    let ledger = Ledger::new();
    let taken = Arc::new(Mutex::new(Vec::new()));
    for form in [spans, console] {
        let out = Collected(Arc::clone(&taken));
        let sink = StdoutSink::to(out, "lines", form, ledger.clone(), LIMITS).unwrap();
        let report = capture(Role::Client);
        sink.offer_progress(ProgressDelivery {
            progress: Arc::new(crate::redact::RedactedProgress::for_test(report)),
            ticket: ledger.progress_seen().shared(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(sink.drain(Instant::now() + Duration::from_secs(10)));
    }
    let told = text(&taken);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    let wanted = r#"{"timestamp":"2023-11-14T22:13:20.012300000Z","event.name":"plainspan.http.progress","trace_id":"#;
    assert!(lines[0].starts_with(wanted), "{told}");
    let wanted = "2023-11-14T22:13:20.012Z curl[42] → GET https://example.com/a/b?c=d 200 goes on after 0.0 s ↑0 B ↓5 B";
    assert_eq!(lines[1], wanted);
    let s = ledger.snapshot();
    assert_eq!((s.progress.seen, s.progress.exported), (2, 2));
    assert_eq!(
        (s.transactions.seen, s.signals["lines/progress"].exported),
        (0, 2)
    );
}

/// Takes all at once.
struct Collected(Arc<Mutex<Vec<u8>>>);

impl Write for Collected {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
