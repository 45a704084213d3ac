//! Collectors that are away, with a spool: late, and never lost.

use super::*;
use crate::config::SpoolSettings;
use std::os::unix::fs::FileExt;

/// The spool of a store, in a folder.
fn settings(dir: &Path) -> SpoolSettings {
    SpoolSettings {
        dir: dir.to_owned(),
        max_bytes: 64 << 20,
        max_age: seconds(3600),
    }
}

fn spooled(mut store: OtelStore, dir: &Path) -> OtelStore {
    store.spool = Some(settings(dir));
    store
}

fn spool_of(rig: &Rig) -> crate::telemetry::ledger::Spool {
    rig.ledger.spool("c/traces")
}

/// Waits until the spool of the traces is as wanted.
fn wait_spool(rig: &Rig, what: &str, wanted: impl Fn(&crate::telemetry::ledger::Spool) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !wanted(&spool_of(rig)) {
        assert!(Instant::now() < end, "{what}: {:?}", rig.ledger.snapshot());
        std::thread::sleep(millis(5));
    }
}

/// Offers `count` batches of `size` items, each in the spool before the next.
fn spool_batches(rig: &Rig, count: usize, size: usize) {
    for batch in 0..count {
        let before = spool_of(rig).items;
        rig.offer_many(batch * size, size);
        wait_spool(rig, "a batch in the spool", |s| {
            s.items == before + size as u64
        });
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("c.traces")).expect("a folder");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "spool"))
        .collect();
    files.sort();
    files
}

#[test]
fn what_is_offered_while_the_collector_is_away_goes_to_the_spool_and_arrives_in_its_order() {
    for protocol in PROTOCOLS {
        let dir = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let store = traces(&format!("http://127.0.0.1:{port}"), protocol);
        let mut options = quick();
        // Memory alone would hold ten, and for no time at all.
        options.queue_items = 10;
        options.retry.budget = millis(1);
        let rig = Rig::new(&spooled(store, dir.path()), options);
        spool_batches(&rig, 20, 8);
        let snapshot = rig.ledger.snapshot();
        // With the spool they are in good hands.
        assert_eq!(snapshot.transactions.exported, 160);
        assert_balanced(&snapshot);
        assert_eq!(rig.traces().in_flight, 160);
        let spool = spool_of(&rig);
        assert!(
            spool.bytes > 0 && spool.oldest_unix_seconds > 0,
            "{spool:?}"
        );

        let collector = Collector::start_at(port);
        assert_eq!(rig.settled(), counts(160, 160, none_lost()), "{protocol:?}");
        assert_eq!(numbers(&collector.spans()), (0..160).collect::<Vec<_>>());
        assert_eq!(files(dir.path()), [] as [PathBuf; 0]);
        assert_eq!(spool_of(&rig).batches, 0);
        // From now on nothing goes through the disk.
        rig.offer_many(160, 5);
        assert_eq!(rig.settled().exported, 165);
    }
}

#[test]
fn fresh_spans_do_not_wait_for_the_spool_and_the_spool_not_for_them() {
    let dir = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let store = traces(&format!("http://127.0.0.1:{port}"), OtlpProtocol::Grpc);
    let mut options = quick();
    // So many fresh batches that some are under way at any moment.
    options.traces_delay = millis(5);
    let rig = Rig::new(&spooled(store, dir.path()), options);
    spool_batches(&rig, 30, 2);
    let collector = Collector::start_at(port);
    collector.fail_always(Fault::Slow(millis(50)));
    assert!(collector.wait_spans(2, PATIENCE));
    // 30 batches at 50 ms each: there is a backlog for a second and a half.
    let mut next = 1000;
    let end = Instant::now() + PATIENCE;
    while spool_of(&rig).batches > 0 {
        assert!(Instant::now() < end, "the spool waits for the fresh ones");
        rig.offer_many(next, 1);
        next += 1;
        std::thread::sleep(millis(5));
    }
    assert_eq!(rig.settled().in_flight, 0);
    let seen = numbers(&collector.spans());
    let spooled: Vec<_> = seen.iter().copied().filter(|n| *n < 1000).collect();
    assert_eq!(spooled, (0..60).collect::<Vec<_>>());
    let first_fresh = seen.iter().position(|n| *n >= 1000).expect("fresh ones");
    let last_old = seen.iter().rposition(|n| *n < 1000).expect("old ones");
    assert!(first_fresh < last_old, "{seen:?}");
    assert_eq!(seen.len(), 60 + next - 1000);
}

#[test]
fn a_new_process_finds_what_the_one_before_left_and_counts_it_as_offered() {
    let dir = tempfile::tempdir().expect("a folder");
    let away = store(
        &format!("http://127.0.0.1:{}", free_port()),
        OtlpProtocol::Http,
    );
    {
        // Dropped as by SIGKILL: nobody drains.
        let rig = Rig::new(&spooled(away, dir.path()), quick());
        spool_batches(&rig, 5, 10);
        let end = Instant::now() + PATIENCE;
        while rig.ledger.spool("c/logs").items < 50 {
            assert!(Instant::now() < end, "{:?}", rig.ledger.snapshot());
            std::thread::sleep(millis(5));
        }
    }
    let collector = Collector::start();
    let store = store(&collector.http_endpoint(), OtlpProtocol::Http);
    let rig = Rig::new(&spooled(store, dir.path()), quick());
    assert!(collector.wait_spans(50, PATIENCE));
    assert_eq!(rig.settled(), counts(50, 50, none_lost()));
    assert_eq!(numbers(&collector.spans()), (0..50).collect::<Vec<_>>());
    assert!(collector.wait_logs(50, PATIENCE));
    // They are no transactions of this process.
    assert_eq!(rig.ledger.snapshot().transactions.seen, 0);
}

#[test]
fn stopping_puts_what_cannot_be_sent_into_the_spool() {
    for fault in [Fault::Unavailable, Fault::Slow(seconds(60))] {
        let dir = tempfile::tempdir().expect("a folder");
        let collector = Collector::start();
        collector.fail_always(fault.clone());
        let store = traces(&collector.http_endpoint(), OtlpProtocol::Grpc);
        let mut options = quick();
        options.retry.first = seconds(30);
        options.retry.longest = seconds(30);
        let rig = Rig::new(&spooled(store.clone(), dir.path()), options.clone());
        rig.offer_many(0, 600);
        std::thread::sleep(millis(150));
        let started = Instant::now();
        rig.drain(millis(600));
        assert!(started.elapsed() < seconds(3), "{fault:?}");
        let snapshot = rig.ledger.snapshot();
        assert_eq!(snapshot.transactions.exported, 600, "{fault:?}");
        assert_balanced(&snapshot);
        assert_eq!(rig.traces().in_flight, 600);
        assert_eq!(spool_of(&rig).items, 600);
        drop(rig);

        collector.heal();
        let rig = Rig::new(&spooled(store, dir.path()), options);
        assert!(collector.wait_for(
            |c| {
                let mut seen = numbers(&c.spans());
                seen.sort_unstable();
                seen.dedup();
                seen == (0..600).collect::<Vec<_>>()
            },
            PATIENCE
        ));
        assert_eq!(rig.settled(), counts(600, 600, none_lost()), "{fault:?}");
    }
}

#[test]
fn a_full_spool_refuses_the_newest_and_what_it_has_arrives() {
    let dir = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let mut store = traces(&format!("http://127.0.0.1:{port}"), OtlpProtocol::Grpc);
    let mut small = settings(dir.path());
    small.max_bytes = 2000;
    store.spool = Some(small);
    let rig = Rig::new(&store, quick());
    let mut offered = 0;
    let end = Instant::now() + PATIENCE;
    while rig.traces().lost.spool_full == 0 {
        assert!(Instant::now() < end, "{:?}", rig.ledger.snapshot());
        rig.offer_many(offered, 1);
        offered += 1;
        std::thread::sleep(millis(60));
    }
    rig.drain(seconds(5));
    let held = spool_of(&rig);
    assert!(held.bytes <= 2000 && held.items > 0, "{held:?}");
    let lost = rig.traces().lost.spool_full;
    assert_eq!(held.items + lost, offered as u64);
    let snapshot = rig.ledger.snapshot();
    assert_eq!(snapshot.transactions.lost.spool_full, lost);
    assert_balanced(&snapshot);
    drop(rig);
    let collector = Collector::start_at(port);
    let rig = Rig::new(&store, quick());
    assert!(collector.wait_spans(1, PATIENCE));
    assert_eq!(rig.settled(), counts(held.items, held.items, none_lost()));
}

#[test]
fn what_is_too_old_is_lost_as_expired_though_the_collector_is_away() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = traces(
        &format!("http://127.0.0.1:{}", free_port()),
        OtlpProtocol::Http,
    );
    let mut short = settings(dir.path());
    short.max_age = millis(300);
    store.spool = Some(short);
    let rig = Rig::new(&store, quick());
    rig.offer_many(0, 6);
    let lost = SignalLost {
        spool_expired: 6,
        ..none_lost()
    };
    assert_eq!(rig.settled(), counts(6, 0, lost));
    assert_eq!(spool_of(&rig).batches, 0);
    assert_eq!(files(dir.path()), [] as [PathBuf; 0]);
}

#[test]
fn damage_on_the_disk_costs_what_it_hit_and_the_books_balance() {
    let dir = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let store = traces(&format!("http://127.0.0.1:{port}"), OtlpProtocol::Grpc);
    let mut options = quick();
    // Not asked while the file is damaged.
    options.retry.first = seconds(5);
    options.retry.longest = seconds(5);
    let rig = Rig::new(&spooled(store, dir.path()), options);
    spool_batches(&rig, 10, 3);
    let flip = |file: &Path, at: u64| {
        let file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(file);
        let file = file.expect("the file");
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("a byte");
        byte[0] ^= 0xff;
        file.write_all_at(&byte, at).expect("a byte");
    };
    let last = files(dir.path()).pop().expect("a file");
    let len = last.metadata().expect("a file").len();
    // The last record's content.
    flip(&last, len - 1);
    let collector = Collector::start_at(port);
    let lost = SignalLost {
        spool_corrupt: 3,
        ..none_lost()
    };
    assert_eq!(rig.settled(), counts(30, 27, lost));
    assert_eq!(numbers(&collector.spans()), (0..27).collect::<Vec<_>>());
    assert_balanced(&rig.ledger.snapshot());
}

#[test]
fn a_disk_that_takes_nothing_leaves_batches_in_memory_until_they_are_sent() {
    let dir = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let store = traces(&format!("http://127.0.0.1:{port}"), OtlpProtocol::Grpc);
    let rig = Rig::new(&spooled(store, dir.path()), quick());
    std::thread::sleep(millis(200));
    // A folder that is gone stands for a disk that is full: nothing can be written.
    std::fs::remove_dir_all(dir.path().join("c.traces")).expect("remove it");
    rig.offer_many(0, 20);
    std::thread::sleep(millis(500));
    assert_eq!(
        rig.traces(),
        Counts {
            offered: 20,
            in_flight: 20,
            ..Counts::default()
        }
    );
    let collector = Collector::start_at(port);
    assert_eq!(rig.settled(), counts(20, 20, none_lost()));
    assert_eq!(collector.spans().len(), 20);
}

#[test]
fn reports_of_transactions_that_last_keep_their_own_books_in_the_spool() {
    let dir = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let both = store(&format!("http://127.0.0.1:{port}"), OtlpProtocol::Grpc);
    let rig = Rig::new(&spooled(both, dir.path()), quick());
    let process = testing::process(42, "one");
    rig.offer_many(0, 3);
    for n in 3..5 {
        let progress = crate::redact::RedactedProgress::for_test(numbered(n, &process));
        rig.sink.offer_progress(ProgressDelivery {
            progress: Arc::new(progress),
            ticket: rig.ledger.progress_seen().shared(),
        });
    }
    let end = Instant::now() + PATIENCE;
    let mut held = rig.ledger.spool("c/logs");
    while (held.items, held.progress) != (3, 2) {
        assert!(Instant::now() < end, "{:?}", rig.ledger.snapshot());
        std::thread::sleep(millis(5));
        held = rig.ledger.spool("c/logs");
    }
    let collector = Collector::start_at(port);
    assert!(collector.wait_logs(5, PATIENCE));
    assert_eq!(rig.settled(), counts(3, 3, none_lost()));
    rig.drain(seconds(5));
    let snapshot = rig.ledger.snapshot();
    assert_eq!(snapshot.signals["c/logs"], counts(3, 3, none_lost()));
    assert_eq!(snapshot.signals["c/progress"], counts(2, 2, none_lost()));
    assert_eq!(
        (snapshot.progress.exported, snapshot.progress.in_flight),
        (2, 0)
    );
    assert_balanced(&snapshot);
}

#[test]
fn what_the_collector_refuses_for_good_leaves_the_spool_as_rejected() {
    let message = "no room".to_owned();
    let partly = Fault::PartialSuccess {
        rejected: 1,
        message,
    };
    for (fault, rejected) in [(partly, 3), (Fault::Invalid, 12)] {
        let dir = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let store = traces(&format!("http://127.0.0.1:{port}"), OtlpProtocol::Http);
        let mut options = quick();
        // Long enough for the fault to be there before the first request is.
        options.retry.first = seconds(3);
        options.retry.longest = seconds(3);
        let rig = Rig::new(&spooled(store, dir.path()), options);
        spool_batches(&rig, 3, 4);
        let collector = Collector::start_at(port);
        collector.fail_always(fault);
        let end = rig.settled();
        assert_eq!((end.offered, end.in_flight), (12, 0));
        assert_eq!((end.exported, end.lost.rejected), (12 - rejected, rejected));
        assert_eq!(spool_of(&rig).batches, 0);
    }
}

#[test]
fn one_signal_that_fails_stalls_no_other() {
    let dir = tempfile::tempdir().expect("a folder");
    let collector = Collector::start();
    let mut store = spooled(
        store(&collector.http_endpoint(), OtlpProtocol::Http),
        dir.path(),
    );
    if let Some(logs) = store.logs.as_mut() {
        logs.url = format!("http://127.0.0.1:{}/v1/logs", free_port());
    }
    let rig = Rig::new(&store, quick());
    rig.offer_many(0, 50);
    assert_eq!(rig.settled(), counts(50, 50, none_lost()));
    let end = Instant::now() + PATIENCE;
    while rig.ledger.spool("c/logs").items < 50 {
        assert!(Instant::now() < end, "{:?}", rig.ledger.snapshot());
        std::thread::sleep(millis(5));
    }
    assert_eq!(spool_of(&rig).batches, 0);
}

#[test]
fn another_configuration_of_the_agent_takes_the_spool_over_without_counting_it_twice() {
    let dir = tempfile::tempdir().expect("a folder");
    let away = traces(
        &format!("http://127.0.0.1:{}", free_port()),
        OtlpProtocol::Grpc,
    );
    let rig = Rig::new(&spooled(away, dir.path()), quick());
    spool_batches(&rig, 4, 5);
    let collector = Collector::start();
    let store = spooled(
        traces(&collector.http_endpoint(), OtlpProtocol::Grpc),
        dir.path(),
    );
    let next = OtlpSink::start(
        "c",
        &store,
        quick(),
        rig.ledger.clone(),
        rig.runtime.handle(),
    )
    .unwrap_or_else(|e| panic!("{e}"));
    rig.drain(seconds(5));
    assert!(collector.wait_spans(20, PATIENCE));
    assert_eq!(rig.settled(), counts(20, 20, none_lost()));
    rig.runtime
        .block_on(next.drain(Instant::now() + seconds(5)));
}

#[test]
fn a_spool_that_another_agent_uses_is_an_error_at_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = spooled(traces("http://127.0.0.1:1", OtlpProtocol::Grpc), dir.path());
    assert_eq!(start_error(&store), "started");
    let lock = std::fs::File::open(dir.path().join("c.traces/lock")).expect("the file");
    let end = Instant::now() + PATIENCE;
    while lock.try_lock().is_err() {
        assert!(Instant::now() < end, "the lock was not given back");
        std::thread::sleep(millis(5));
    }
    let error = start_error(&store);
    assert!(
        error.contains("c.traces") && error.contains("spool.dir"),
        "{error}"
    );
}

#[test]
fn a_slow_collector_makes_the_queue_spill_into_the_spool() {
    let dir = tempfile::tempdir().expect("a folder");
    let collector = Collector::start();
    collector.fail_always(Fault::Slow(millis(200)));
    let mut options = quick();
    options.queue_items = 1500;
    options.batch.items = 50;
    let store = traces(&collector.http_endpoint(), OtlpProtocol::Grpc);
    let rig = Rig::new(&spooled(store, dir.path()), options);
    for round in 0..50 {
        rig.offer_many(round * 50, 50);
        std::thread::sleep(millis(20));
    }
    assert!(spool_of(&rig).items > 0, "{:?}", rig.ledger.snapshot());
    assert_eq!(rig.settled(), counts(2500, 2500, none_lost()));
    let mut seen = numbers(&collector.spans());
    seen.sort_unstable();
    assert_eq!(seen, (0..2500).collect::<Vec<_>>());
}
