//! Collectors that are away, refuse, hang or ask to wait.

use super::*;

#[test]
fn an_unavailable_collector_is_asked_again() {
    for protocol in PROTOCOLS {
        for fault in [Fault::Unavailable, Fault::Disconnect] {
            let collector = Collector::start();
            collector.fail_next(2, fault.clone());
            let rig = Rig::new(&traces(&collector.http_endpoint(), protocol), quick());
            rig.offer_many(0, 3);
            let context = format!("{protocol:?} {fault:?}");
            assert_eq!(rig.settled(), counts(3, 3, none_lost()), "{context}");
            assert_eq!(numbers(&collector.spans()), [0, 1, 2], "{context}");
            assert_balanced(&rig.ledger.snapshot());
        }
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
fn what_is_refused_for_good_is_lost_at_once() {
    for protocol in PROTOCOLS {
        for fault in [
            Fault::Invalid,
            Fault::Code {
                grpc: 13,
                http: 500,
            },
            Fault::Code {
                grpc: 16,
                http: 401,
            },
        ] {
            let collector = Collector::start();
            collector.fail_next(1, fault);
            let rig = Rig::new(&traces(&collector.http_endpoint(), protocol), quick());
            rig.offer_many(0, 2);
            let lost = SignalLost {
                rejected: 2,
                ..none_lost()
            };
            assert_eq!(rig.settled(), counts(2, 0, lost.clone()));
            assert_eq!(collector.stats().requests, 1);
            assert_eq!(rig.ledger.snapshot().transactions.lost.rejected, 2);
            // Others are not harmed.
            rig.offer_many(2, 1);
            assert_eq!(rig.settled(), counts(3, 1, lost));
        }
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

#[test]
fn partial_success_loses_as_many_as_were_refused_and_is_not_repeated() {
    for protocol in PROTOCOLS {
        for (rejected, exported) in [(2, 3), (0, 5), (9, 0)] {
            let collector = Collector::start();
            let fault = Fault::PartialSuccess {
                rejected,
                message: "too old".into(),
            };
            collector.fail_next(1, fault);
            let rig = Rig::new(&traces(&collector.http_endpoint(), protocol), quick());
            rig.offer_many(0, 5);
            let lost = SignalLost {
                rejected: 5 - exported,
                ..none_lost()
            };
            assert_eq!(rig.settled(), counts(5, exported, lost), "{protocol:?}");
            assert_eq!(collector.spans().len() as u64, exported);
            assert_eq!(collector.stats().requests, 1);
            assert_balanced(&rig.ledger.snapshot());
        }
    }
}

#[test]
fn a_collector_that_hangs_is_given_up_after_the_timeout_and_asked_again() {
    for protocol in PROTOCOLS {
        let collector = Collector::start();
        collector.fail_next(1, Fault::Slow(seconds(30)));
        let mut store = traces(&collector.http_endpoint(), protocol);
        if let Some(traces) = store.traces.as_mut() {
            traces.timeout = millis(300);
        }
        let rig = Rig::new(&store, quick());
        let started = Instant::now();
        rig.offer_many(0, 2);
        assert_eq!(rig.settled(), counts(2, 2, none_lost()), "{protocol:?}");
        assert!(started.elapsed() >= millis(300));
    }
}

#[test]
fn a_servers_own_wait_is_kept() {
    let wait = Some(seconds(1));
    for (protocol, fault) in [
        (OtlpProtocol::Grpc, Fault::Exhausted { retry_after: wait }),
        (OtlpProtocol::Http, Fault::Exhausted { retry_after: wait }),
        (
            OtlpProtocol::Http,
            Fault::RetryAfter {
                http: 503,
                value: "1".into(),
            },
        ),
    ] {
        let collector = Collector::start();
        collector.fail_next(1, fault);
        let rig = Rig::new(&traces(&collector.http_endpoint(), protocol), quick());
        let started = Instant::now();
        rig.offer_many(0, 1);
        assert_eq!(rig.settled(), counts(1, 1, none_lost()), "{protocol:?}");
        assert!(started.elapsed() >= seconds(1), "{protocol:?}");
        assert_eq!(collector.stats().requests, 2);
    }
}

#[test]
fn exhausted_without_a_hint_is_final_in_grpc_and_not_in_http() {
    let fault = Fault::Exhausted { retry_after: None };
    let lost = SignalLost {
        rejected: 1,
        ..none_lost()
    };
    for (protocol, wanted) in [
        (OtlpProtocol::Grpc, counts(1, 0, lost)),
        (OtlpProtocol::Http, counts(1, 1, none_lost())),
    ] {
        let collector = Collector::start();
        collector.fail_next(1, fault.clone());
        let rig = Rig::new(&traces(&collector.http_endpoint(), protocol), quick());
        rig.offer_many(0, 1);
        assert_eq!(rig.settled(), wanted, "{protocol:?}");
    }
}
