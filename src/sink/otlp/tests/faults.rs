//! The table of failures: what a collector does, and the exact books afterwards, over both protocols, without a spool and
//! with one.

use super::*;
use crate::config::SpoolSettings;
use crate::telemetry::ledger::Transactions;

/// Protocols that a row is about.
const BOTH: &[OtlpProtocol] = &PROTOCOLS;
const GRPC: &[OtlpProtocol] = &[OtlpProtocol::Grpc];
const HTTP: &[OtlpProtocol] = &[OtlpProtocol::Http];

/// One row: the collector's fault, and what is true afterwards of [`OFFERED`] spans in one request.
struct Row {
    what: &'static str,
    protocols: &'static [OtlpProtocol],
    fault: Fault,
    /// Requests that meet it.
    times: u64,
    /// Of a request.
    timeout: Duration,
    exported: u64,
    /// Requests until all is over; None: any number.
    requests: Option<u64>,
    /// It takes as long at least.
    least: Duration,
}

const OFFERED: u64 = 5;

/// Met once, and sent again: all of it arrives.
fn again(what: &'static str, protocols: &'static [OtlpProtocol], fault: Fault) -> Row {
    Row {
        what,
        protocols,
        fault,
        times: 1,
        timeout: seconds(10),
        exported: OFFERED,
        requests: Some(2),
        least: Duration::ZERO,
    }
}

/// Refused for good: not sent again, and lost as `rejected`, apart from `exported`.
fn refused(
    what: &'static str,
    protocols: &'static [OtlpProtocol],
    fault: Fault,
    exported: u64,
) -> Row {
    Row {
        exported,
        requests: Some(1),
        ..again(what, protocols, fault)
    }
}

fn partial(rejected: usize, message: &str) -> Fault {
    Fault::PartialSuccess {
        rejected,
        message: message.into(),
    }
}

fn retry_after(http: u16, value: &str) -> Fault {
    Fault::RetryAfter {
        http,
        value: value.into(),
    }
}

/// Rows of codes that mean "later" and "never", by the OTLP specification's table.
fn codes() -> Vec<Row> {
    let grpc = |code| Fault::Code {
        grpc: code,
        http: 0,
    };
    let http = |status| Fault::Code {
        grpc: 0,
        http: status,
    };
    let mut rows = Vec::new();
    for code in [1, 4, 10, 11, 14, 15] {
        rows.push(again("a code of gRPC to retry", GRPC, grpc(code)));
    }
    for code in [2, 3, 5, 6, 7, 8, 9, 12, 13, 16] {
        rows.push(refused("a final code of gRPC", GRPC, grpc(code), 0));
    }
    for status in [429, 502, 503, 504] {
        rows.push(again("a status of HTTP to retry", HTTP, http(status)));
    }
    for status in [301, 400, 401, 403, 404, 415, 500, 501] {
        rows.push(refused("a final status of HTTP", HTTP, http(status), 0));
    }
    rows
}

fn rows() -> Vec<Row> {
    let exhausted = |seconds: Option<u64>| Fault::Exhausted {
        retry_after: seconds.map(Duration::from_secs),
    };
    let waits = |row: Row| Row {
        least: seconds(1),
        ..row
    };
    let mut rows = vec![
        Row {
            times: 3,
            requests: Some(4),
            ..again("UNAVAILABLE, 503", BOTH, Fault::Unavailable)
        },
        waits(again(
            "RESOURCE_EXHAUSTED with RetryInfo",
            GRPC,
            exhausted(Some(1)),
        )),
        refused(
            "RESOURCE_EXHAUSTED without RetryInfo",
            GRPC,
            exhausted(None),
            0,
        ),
        refused("INVALID_ARGUMENT, 400", BOTH, Fault::Invalid, 0),
        waits(again("429 with seconds", HTTP, exhausted(Some(1)))),
        // To the second: between one and two.
        waits(again(
            "429 with a date",
            HTTP,
            Fault::RetryAt {
                http: 429,
                after: seconds(2),
            },
        )),
        again("429 without a hint", HTTP, exhausted(None)),
        waits(again("503 with seconds", HTTP, retry_after(503, "1"))),
        again(
            "503 with what cannot be read",
            HTTP,
            retry_after(503, "soon"),
        ),
        refused("partial success", BOTH, partial(2, "too old"), 3),
        refused(
            "partial success of nothing",
            BOTH,
            partial(OFFERED as usize, "no"),
            0,
        ),
        refused("more refused than was sent", BOTH, partial(9, "no"), 0),
        refused(
            "partial success, a message only",
            BOTH,
            partial(0, "careful"),
            OFFERED,
        ),
        Row {
            timeout: millis(300),
            least: millis(300),
            ..again("hang", BOTH, Fault::Slow(seconds(60)))
        },
        again(
            "the connection ends without a reply",
            BOTH,
            Fault::Disconnect,
        ),
        again("reset in the middle of the request", BOTH, Fault::Reset),
        again("the reply breaks off", BOTH, Fault::CutReply),
        Row {
            // In two parts.
            requests: Some(3),
            ..again("413", HTTP, Fault::Code { grpc: 0, http: 413 })
        },
    ];
    rows.extend(codes());
    rows
}

/// What `row` leaves behind, offered as one batch.
fn run(row: &Row, protocol: OtlpProtocol, spool: Option<&Path>) {
    let context = format!(
        "{} ({:?}), {protocol:?}, spool: {}",
        row.what,
        row.fault,
        spool.is_some()
    );
    let collector = Collector::start();
    collector.fail_next(row.times, row.fault.clone());
    let mut store = traces(&collector.http_endpoint(), protocol);
    if let Some(traces) = store.traces.as_mut() {
        traces.timeout = row.timeout;
    }
    store.spool = spool.map(|dir| SpoolSettings {
        dir: dir.to_owned(),
        max_bytes: 1 << 20,
        max_age: seconds(3600),
    });
    let mut options = quick();
    // One batch, however slow the machine is.
    options.traces_delay = millis(200);
    let rig = Rig::new(&store, options);
    let started = Instant::now();
    rig.offer_many(0, OFFERED as usize);
    let rejected = OFFERED - row.exported;
    let lost = SignalLost {
        rejected,
        ..none_lost()
    };
    assert_eq!(
        rig.settled(),
        counts(OFFERED, row.exported, lost),
        "{context}"
    );
    assert!(started.elapsed() >= row.least, "{context}");
    let spans = numbers(&collector.spans());
    assert_eq!(
        spans,
        (0..row.exported as usize).collect::<Vec<_>>(),
        "{context}"
    );
    if let Some(requests) = row.requests {
        assert_eq!(collector.stats().requests, requests, "{context}");
    }
    let snapshot = rig.ledger.snapshot();
    assert_balanced(&snapshot);
    let mut wanted = Transactions {
        seen: OFFERED,
        exported: row.exported,
        ..Transactions::default()
    };
    wanted.lost.rejected = rejected;
    assert_eq!(snapshot.transactions, wanted, "{context}");
    // It goes on as ever.
    collector.heal();
    rig.offer_many(100, 1);
    assert_eq!(rig.settled().exported, row.exported + 1, "{context}");
}

/// Rows take turns on a few threads, since most of their time is waiting.
fn run_all(rows: &[Row], with_spool: bool) {
    let cases: Vec<(&Row, OtlpProtocol)> = rows
        .iter()
        .flat_map(|row| row.protocols.iter().map(move |protocol| (row, *protocol)))
        .collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some((row, protocol)) = cases.get(at) else {
                        return;
                    };
                    let dir = tempfile::tempdir().expect("a folder");
                    run(row, *protocol, with_spool.then_some(dir.path()));
                }
            });
        }
    });
}

#[test]
fn every_failure_of_the_table_leaves_the_books_that_it_must() {
    run_all(&rows(), false);
}

#[test]
fn every_failure_of_the_table_leaves_the_same_books_with_a_spool() {
    run_all(&rows(), true);
}

#[test]
fn after_the_budget_of_retries_a_batch_is_lost() {
    for protocol in PROTOCOLS {
        let collector = Collector::start();
        collector.fail_always(Fault::Unavailable);
        let mut options = quick();
        options.retry.budget = millis(200);
        let rig = Rig::new(&traces(&collector.http_endpoint(), protocol), options);
        rig.offer_many(0, 3);
        let lost = SignalLost {
            retry_exhausted: 3,
            ..none_lost()
        };
        assert_eq!(rig.settled(), counts(3, 0, lost), "{protocol:?}");
        let snapshot = rig.ledger.snapshot();
        assert_eq!(snapshot.transactions.lost.retry_exhausted, 3);
        assert_balanced(&snapshot);
        assert!(collector.stats().requests > 2);
        // The next batch has a budget of its own.
        collector.heal();
        rig.offer_many(3, 1);
        assert_eq!(rig.settled().exported, 1);
    }
}

#[test]
fn a_collector_that_comes_up_later_gets_what_waited() {
    for protocol in PROTOCOLS {
        let port = free_port();
        let rig = Rig::new(
            &traces(&format!("http://127.0.0.1:{port}"), protocol),
            quick(),
        );
        rig.offer_many(0, 5);
        std::thread::sleep(millis(300));
        assert_eq!(rig.traces().in_flight, 5);
        let collector = Collector::start_at(port);
        assert_eq!(rig.settled(), counts(5, 5, none_lost()), "{protocol:?}");
        assert_eq!(collector.spans().len(), 5);
    }
}

#[test]
fn a_transaction_is_lost_when_one_of_its_signals_is() {
    let collector = Collector::start();
    let mut store = store(&collector.http_endpoint(), OtlpProtocol::Http);
    if let Some(logs) = store.logs.as_mut() {
        logs.url = format!("{}/no/such/path", collector.http_endpoint());
    }
    let rig = Rig::new(&store, quick());
    rig.offer_many(0, 2);
    rig.drain(seconds(5));
    let snapshot = rig.ledger.snapshot();
    assert_eq!(snapshot.signals["c/traces"].exported, 2);
    assert_eq!(snapshot.signals["c/logs"].lost.rejected, 2);
    assert_eq!(snapshot.transactions.lost.rejected, 2);
    assert_balanced(&snapshot);
}

/// A collector that takes a tenth of the 500 spans a second that are offered: 20 spans in 400 ms.
fn tenth_of_the_rate(collector: &Collector, options: &mut OtlpOptions) {
    collector.fail_always(Fault::Slow(millis(400)));
    options.batch.items = 5;
    options.traces_delay = millis(10);
}

/// Offers 500 a second for four seconds; how many.
fn offer_at_rate(rig: &Rig) -> u64 {
    for round in 0..200 {
        rig.offer_many(round * 10, 10);
        std::thread::sleep(millis(20));
    }
    2000
}

#[test]
fn of_ten_times_what_a_collector_takes_the_bound_holds_what_it_can_and_the_rest_is_lost_by_name() {
    const BOUND: u64 = 400;
    let collector = Collector::start();
    let mut options = quick();
    options.queue_items = BOUND as usize;
    tenth_of_the_rate(&collector, &mut options);
    let rig = Rig::new(
        &traces(&collector.http_endpoint(), OtlpProtocol::Grpc),
        options,
    );
    let offered = offer_at_rate(&rig);
    let during = rig.traces();
    // Nothing stalls: what is not held or gone is lost, and the bound is full.
    assert_eq!(during.offered, offered);
    assert!(
        during.in_flight <= BOUND && during.in_flight + 50 > BOUND,
        "{during:?}"
    );
    assert!((100..300).contains(&during.exported), "{during:?}");
    collector.heal();
    let after = rig.settled();
    let lost = SignalLost {
        queue_full: offered - after.exported,
        ..none_lost()
    };
    assert_eq!(after, counts(offered, after.exported, lost));
    assert_eq!(during.lost.queue_full, after.lost.queue_full);
    assert_eq!(after.exported, during.exported + during.in_flight);
    let mut seen = numbers(&collector.spans());
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len() as u64, after.exported);
    let snapshot = rig.ledger.snapshot();
    assert_eq!(snapshot.transactions.lost.queue_full, after.lost.queue_full);
    assert_balanced(&snapshot);
}

#[test]
fn of_ten_times_what_a_collector_takes_a_spool_loses_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let collector = Collector::start();
    let mut options = quick();
    options.queue_items = 400;
    tenth_of_the_rate(&collector, &mut options);
    let mut store = traces(&collector.http_endpoint(), OtlpProtocol::Grpc);
    store.spool = Some(SpoolSettings {
        dir: dir.path().to_owned(),
        max_bytes: 64 << 20,
        max_age: seconds(3600),
    });
    let rig = Rig::new(&store, options);
    let offered = offer_at_rate(&rig);
    assert!(
        rig.ledger.spool("c/traces").items > 1000,
        "{:?}",
        rig.traces()
    );
    collector.heal();
    assert_eq!(rig.settled(), counts(offered, offered, none_lost()));
    let mut seen = numbers(&collector.spans());
    seen.sort_unstable();
    assert_eq!(seen, (0..offered as usize).collect::<Vec<_>>());
    assert_balanced(&rig.ledger.snapshot());
}
