//! The end: what waits is sent, or counted as lost by the deadline.

use super::*;

#[test]
fn draining_sends_what_waits_at_once() {
    let collector = Collector::start();
    let mut options = quick();
    options.traces_delay = seconds(60);
    options.logs_delay = seconds(60);
    let rig = Rig::new(
        &store(&collector.http_endpoint(), OtlpProtocol::Grpc),
        options,
    );
    rig.offer_many(0, 700);
    let started = Instant::now();
    rig.drain(seconds(10));
    assert!(started.elapsed() < seconds(5));
    assert_eq!(
        (collector.spans().len(), collector.logs().len()),
        (700, 700)
    );
    assert_balanced(&rig.ledger.snapshot());
    // Nothing more is taken, and that is counted.
    rig.offer_many(700, 2);
    let snapshot = rig.ledger.snapshot();
    assert_eq!(snapshot.transactions.lost.shutdown, 2);
    assert_eq!(snapshot.signals["c/traces"].lost.shutdown, 2);
    assert_balanced(&snapshot);
}

#[test]
fn draining_ends_at_the_deadline_and_counts_the_rest_as_shutdown() {
    for protocol in PROTOCOLS {
        for fault in [
            Some(Fault::Unavailable),
            Some(Fault::Slow(seconds(60))),
            None,
        ] {
            let collector = Collector::start();
            // None: nothing listens.
            let base = match &fault {
                Some(fault) => {
                    collector.fail_always(fault.clone());
                    collector.http_endpoint()
                }
                None => format!("http://127.0.0.1:{}", free_port()),
            };
            let mut options = quick();
            // In the middle of a long sleep between attempts.
            options.retry.first = seconds(30);
            options.retry.longest = seconds(30);
            options.retry.budget = seconds(300);
            let rig = Rig::new(&traces(&base, protocol), options);
            rig.offer_many(0, 600);
            std::thread::sleep(millis(150));
            let started = Instant::now();
            rig.drain(millis(400));
            let took = started.elapsed();
            assert!(took < seconds(2), "{protocol:?} {fault:?} {took:?}");
            let lost = SignalLost {
                shutdown: 600,
                ..none_lost()
            };
            assert_eq!(rig.traces(), counts(600, 0, lost), "{protocol:?} {fault:?}");
            assert_balanced(&rig.ledger.snapshot());
        }
    }
}

#[test]
fn draining_wakes_an_exporter_that_sleeps_between_attempts() {
    let collector = Collector::start();
    collector.fail_next(1, Fault::Unavailable);
    let mut options = quick();
    options.retry.first = seconds(60);
    options.retry.longest = seconds(60);
    options.retry.budget = seconds(300);
    let rig = Rig::new(
        &traces(&collector.http_endpoint(), OtlpProtocol::Grpc),
        options,
    );
    rig.offer_many(0, 3);
    assert!(collector.wait_for(|c| c.stats().requests == 1, PATIENCE));
    rig.drain(seconds(10));
    assert_eq!(rig.traces(), counts(3, 3, none_lost()));
}

#[test]
fn a_sink_that_is_dropped_still_balances() {
    let ledger = {
        let store = traces(
            &format!("http://127.0.0.1:{}", free_port()),
            OtlpProtocol::Grpc,
        );
        let rig = Rig::new(&store, quick());
        rig.offer_many(0, 4);
        std::thread::sleep(millis(100));
        rig.ledger.clone()
    };
    let snapshot = ledger.snapshot();
    let lost = SignalLost {
        shutdown: 4,
        ..none_lost()
    };
    assert_eq!(snapshot.signals["c/traces"], counts(4, 0, lost));
    assert_balanced(&snapshot);
}
