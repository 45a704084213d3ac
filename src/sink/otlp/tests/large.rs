//! Collectors that take messages up to a limit: 4 MiB with gRPC, as they come; less where someone set it.

use super::*;
use crate::config::SpoolSettings;

const MIB: usize = 1 << 20;

/// A capture whose span has about this many bytes.
fn sized(n: usize, bytes: usize, process: &Arc<Process>) -> crate::redact::Capture {
    let mut capture = numbered(n, process);
    if let Some(request) = capture.transaction.request.as_mut() {
        for header in 0..bytes / 2000 {
            let name = format!("x-large-{header}");
            request.headers.push(name.as_bytes(), &[b'x'; 2000]);
        }
    }
    capture
}

fn offer_sized(rig: &Rig, count: usize, bytes: usize) {
    let process = testing::process(1, "a");
    for n in 0..count {
        rig.offer(sized(n, bytes, &process));
    }
}

fn arrived(collector: &Collector) -> Vec<usize> {
    let mut seen = numbers(&collector.spans());
    seen.sort_unstable();
    seen
}

#[test]
fn big_transactions_go_through_a_limit_of_4_mib() {
    for protocol in PROTOCOLS {
        let collector = Collector::start();
        collector.limit_messages(4 * MIB);
        let rig = Rig::new(&traces(&collector.http_endpoint(), protocol), quick());
        offer_sized(&rig, 30, 500_000);
        assert_eq!(rig.settled(), counts(30, 30, none_lost()), "{protocol:?}");
        assert_eq!(arrived(&collector), (0..30).collect::<Vec<_>>());
        // None was refused: all were read.
        assert_eq!(
            collector.requests().len() as u64,
            collector.stats().requests
        );
        assert_balanced(&rig.ledger.snapshot());
    }
}

#[test]
fn what_alone_is_more_than_the_limit_is_lost_as_rejected_and_the_others_arrive() {
    for protocol in PROTOCOLS {
        let collector = Collector::start();
        collector.limit_messages(4 * MIB);
        let rig = Rig::new(&traces(&collector.http_endpoint(), protocol), quick());
        let process = testing::process(1, "a");
        for (n, bytes) in [(0, 1000), (1, 5 * MIB), (2, 1000)] {
            rig.offer(sized(n, bytes, &process));
        }
        let lost = SignalLost {
            rejected: 1,
            ..none_lost()
        };
        assert_eq!(rig.settled(), counts(3, 2, lost), "{protocol:?}");
        assert_eq!(arrived(&collector), [0, 2], "{protocol:?}");
        let snapshot = rig.ledger.snapshot();
        assert_eq!(snapshot.transactions.lost.rejected, 1);
        assert_balanced(&snapshot);
    }
}

#[test]
fn a_batch_that_a_lower_limit_refuses_goes_in_parts_and_the_next_ones_are_smaller() {
    for protocol in PROTOCOLS {
        let collector = Collector::start();
        collector.limit_messages(MIB / 2);
        let rig = Rig::new(&traces(&collector.http_endpoint(), protocol), quick());
        offer_sized(&rig, 300, 60_000);
        assert_eq!(rig.settled(), counts(300, 300, none_lost()), "{protocol:?}");
        assert_eq!(arrived(&collector), (0..300).collect::<Vec<_>>());
        let requests = collector.requests();
        assert!(
            requests.iter().all(|r| r.body.len() <= MIB / 2),
            "{protocol:?}"
        );
        // Those under way when the limit showed, and no more.
        let refused = collector.stats().requests - requests.len() as u64;
        assert!((1..=8).contains(&refused), "{protocol:?}: {refused}");
    }
}

#[test]
fn a_part_that_cannot_be_taken_at_all_costs_itself_alone() {
    let collector = Collector::start();
    collector.limit_messages(MIB);
    let mut options = quick();
    options.traces_delay = seconds(1);
    let rig = Rig::new(
        &traces(&collector.http_endpoint(), OtlpProtocol::Grpc),
        options,
    );
    let process = testing::process(1, "a");
    for n in 0..8 {
        let bytes = if n == 5 { 2 * MIB } else { 1000 };
        rig.offer(sized(n, bytes, &process));
    }
    let lost = SignalLost {
        rejected: 1,
        ..none_lost()
    };
    assert_eq!(rig.settled(), counts(8, 7, lost));
    assert_eq!(arrived(&collector), [0, 1, 2, 3, 4, 6, 7]);
}

#[test]
fn what_waits_in_the_spool_goes_in_parts_too() {
    let dir = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let mut store = traces(&format!("http://127.0.0.1:{port}"), OtlpProtocol::Http);
    store.spool = Some(SpoolSettings {
        dir: dir.path().to_owned(),
        max_bytes: 64 << 20,
        max_age: seconds(3600),
    });
    let mut options = quick();
    // Long enough for the limit to be there before the first request is.
    options.retry.first = seconds(3);
    options.retry.longest = seconds(3);
    let rig = Rig::new(&store, options);
    offer_sized(&rig, 100, 60_000);
    let end = Instant::now() + PATIENCE;
    while rig.ledger.spool("c/traces").items < 100 {
        assert!(Instant::now() < end, "{:?}", rig.ledger.snapshot());
        std::thread::sleep(millis(5));
    }
    let collector = Collector::start_at(port);
    collector.limit_messages(MIB / 2);
    assert_eq!(rig.settled(), counts(100, 100, none_lost()));
    // Requests that fail at the same time reach the spool in any order.
    assert_eq!(arrived(&collector), (0..100).collect::<Vec<_>>());
    assert_eq!(rig.ledger.spool("c/traces").batches, 0);
}
