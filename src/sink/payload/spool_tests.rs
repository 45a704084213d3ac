//! The stage with a spool, before a store that is down at times.

use super::fake::{Answers, FakeS3};
use super::tests::{Bench, LONG, patient, s3};
use super::*;
use crate::config::SpoolSettings;
use crate::sink::PayloadFate;
use crate::spool::record;
use std::path::{Path, PathBuf};

const SEGMENTS: Layout = Layout::Segment {
    bytes: 64 << 10,
    time: Duration::from_secs(600),
};

fn store(fake: &FakeS3, dir: &Path, layout: Layout) -> ObjectStore {
    let spool = SpoolSettings {
        dir: dir.to_owned(),
        max_bytes: 64 << 20,
        max_age: Duration::from_secs(3600),
    };
    ObjectStore {
        layout,
        spool: Some(spool),
        ..s3(&fake.endpoint())
    }
}

fn quick() -> PayloadOptions {
    PayloadOptions {
        patience: Duration::from_millis(10),
        ..PayloadOptions::default()
    }
}

/// A bench whose spool is open.
async fn open(store: &ObjectStore, options: PayloadOptions) -> Bench {
    opened(Bench::of(store, options)).await
}

async fn opened(bench: Bench) -> Bench {
    while bench.stage.shared.keep.journals().is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bench
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < LONG, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Files of the spool.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("payloads.payloads")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "spool"))
        .collect();
    files.sort();
    files
}

/// The document of a link, out of what the store has.
fn resolve(fake: &FakeS3, link: &PayloadLink) -> serde_json::Value {
    let url = link.url.as_deref().unwrap();
    let (url, range) = match url.split_once("#bytes=") {
        Some((url, range)) => (url, Some(range)),
        None => (url, None),
    };
    let path = url.split_once("/traffic/").unwrap().1;
    let objects = fake.objects();
    let object = &objects[&format!("/traffic/{path}")];
    let json = match range {
        None => object.clone(),
        Some(range) => {
            let (first, last) = range.split_once('-').unwrap();
            let range = first.parse().unwrap()..=last.parse::<usize>().unwrap();
            segment::document(&object[range]).unwrap()
        }
    };
    segment::verify(&json, link.digest.as_deref().unwrap()).unwrap();
    serde_json::from_slice(&json).unwrap()
}

/// Spooled by a stage whose store is down, and let go of, as at the end of an agent.
async fn spooled(store: &ObjectStore, count: usize) -> Vec<PayloadLink> {
    let mut bench = open(store, quick()).await;
    for number in 0..count {
        bench.offer(number);
    }
    let mut links = Vec::new();
    for _ in 0..count {
        links.push(bench.link().await);
    }
    assert!(links.iter().all(|l| l.status == PayloadStatus::Pending));
    bench.drain(LONG).await;
    let p = bench.payloads();
    assert_eq!((p.in_flight, p.stored), (count as u64, 0), "{p:?}");
    assert!(bench.events.try_recv().is_err(), "nothing is lost");
    let spool = bench.ledger.spool("payloads/payloads");
    assert_eq!(spool.items, count as u64);
    links
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_that_is_down_did_not_take_is_stored_when_it_is_back_and_told() {
    for layout in [Layout::Object, SEGMENTS] {
        let dir = tempfile::tempdir().unwrap();
        let fake = FakeS3::start(Answers::Unavailable);
        let mut bench = open(&store(&fake, dir.path(), layout), quick()).await;
        for number in 0..200 {
            bench.offer(number);
        }
        let mut links = Vec::new();
        for _ in 0..200 {
            links.push(bench.link().await);
        }
        assert!(links.iter().all(|l| l.status == PayloadStatus::Pending));
        if layout != Layout::Object {
            // The open one is closed by its size; here it has to be by the end.
            bench.stage.shared.closing.notify_one();
        }
        let stage = bench.stage.shared.clone();
        until("memory is free", || stage.budget().is_empty()).await;
        assert!(!files(dir.path()).is_empty());
        fake.answer(Answers::Well);
        let ledger = bench.ledger.clone();
        until("all stored", || ledger.snapshot().payloads.stored == 200).await;
        for link in &links {
            let document = resolve(&fake, link);
            assert!(document["request"]["path"].is_string());
        }
        let mut told = 0;
        while told < 200 {
            match bench.event().await.fate {
                PayloadFate::Stored { transactions } => told += transactions,
                lost @ PayloadFate::Lost(_) => panic!("{lost:?}"),
            }
        }
        assert_eq!(told, 200);
        bench.drain(LONG).await;
        bench.balanced();
        assert_eq!(files(dir.path()), [] as [PathBuf; 0], "{layout:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_well_nothing_stays_in_the_spool() {
    for layout in [Layout::Object, SEGMENTS] {
        let dir = tempfile::tempdir().unwrap();
        let fake = FakeS3::start(Answers::Well);
        let mut bench = open(&store(&fake, dir.path(), layout), patient()).await;
        for number in 0..100 {
            bench.offer(number);
        }
        bench.drain(LONG).await;
        for _ in 0..100 {
            let link = bench.link().await;
            assert_eq!(link.status, PayloadStatus::Stored);
            resolve(&fake, &link);
        }
        assert_eq!(files(dir.path()), [] as [PathBuf; 0]);
        assert!(bench.events.try_recv().is_err());
        bench.balanced();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_spool_is_stored_after_the_next_start() {
    for layout in [Layout::Object, SEGMENTS] {
        let dir = tempfile::tempdir().unwrap();
        let fake = FakeS3::start(Answers::Unavailable);
        let store = store(&fake, dir.path(), layout);
        let links = spooled(&store, 50).await;
        fake.answer(Answers::Well);
        let bench = open(&store, quick()).await;
        let ledger = bench.ledger.clone();
        until("all stored", || ledger.snapshot().payloads.stored == 50).await;
        assert_eq!(bench.payloads().wanted, 50);
        links.iter().for_each(|link| {
            resolve(&fake, link);
        });
        until("the spool is empty", || files(dir.path()).is_empty()).await;
        if layout != Layout::Object {
            let objects = fake.objects();
            let object = objects.values().next().unwrap();
            let tail = segment::tail(object.len() as u64, object).unwrap();
            let segment::Tail::Index(index) = tail else {
                panic!("{tail:?}");
            };
            let mut count = 0;
            segment::entries(index, &mut |_| count += 1).unwrap();
            assert_eq!(count, 50);
        }
        bench.drain(LONG).await;
        bench.balanced();
    }
}

/// The open segment, as SIGKILL leaves it: copied away while the stage still writes.
#[tokio::test(flavor = "multi_thread")]
async fn the_open_segment_of_an_agent_that_was_killed_is_stored_by_the_next() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let fake = FakeS3::start(Answers::Well);
    let mut bench = open(&store(&fake, dir.path(), SEGMENTS), quick()).await;
    let mut links = Vec::new();
    for number in 0..20 {
        bench.offer(number);
        links.push(bench.link().await);
    }
    assert_eq!(fake.puts(), 0);
    let settings = store(&fake, other.path(), SEGMENTS);
    let spool = settings.spool.as_ref().unwrap();
    drop(keep::Place::take(spool, "payloads").unwrap());
    let [file] = &files(dir.path())[..] else {
        panic!("one journal");
    };
    let name = file.file_name().unwrap();
    std::fs::copy(file, other.path().join("payloads.payloads").join(name)).unwrap();

    let next = open(&settings, quick()).await;
    let ledger = next.ledger.clone();
    until("all stored", || ledger.snapshot().payloads.stored == 20).await;
    for (number, link) in links.iter().enumerate() {
        let document = resolve(&fake, link);
        assert_eq!(document["request"]["path"], format!("/{number}"));
    }
    next.drain(LONG).await;
    next.balanced();
    bench.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_is_lost_by_that_name_and_each_is_told() {
    for layout in [Layout::Object, SEGMENTS] {
        let dir = tempfile::tempdir().unwrap();
        let fake = FakeS3::start(Answers::Unavailable);
        let mut settings = store(&fake, dir.path(), layout);
        let mut links = spooled(&settings, 10).await;
        settings.spool.as_mut().unwrap().max_age = Duration::from_millis(1);
        let mut bench = open(&settings, quick()).await;
        let mut told = Vec::new();
        for _ in 0..10 {
            let event = bench.event().await;
            assert_eq!(event.fate, PayloadFate::Lost(PayloadLost::SpoolExpired));
            assert!(event.span.is_some() && event.transaction.is_some());
            told.push(event.url.unwrap());
        }
        links.sort_by_key(|link| link.url.clone());
        told.sort();
        let urls: Vec<String> = links.into_iter().filter_map(|link| link.url).collect();
        assert_eq!(told, urls);
        until("the file is gone", || files(dir.path()).is_empty()).await;
        bench.drain(LONG).await;
        assert_eq!(bench.payloads().lost.spool_expired, 10);
        bench.balanced();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_costs_its_own_payload_and_the_links_of_others_stay_good() {
    for layout in [Layout::Object, SEGMENTS] {
        let dir = tempfile::tempdir().unwrap();
        let fake = FakeS3::start(Answers::Unavailable);
        let store = store(&fake, dir.path(), layout);
        let links = spooled(&store, 10).await;
        let file = files(dir.path()).remove(0);
        let mut bytes = std::fs::read(&file).unwrap();
        // The second payload; between them stand processes.
        let mut at = 0;
        let steps = std::iter::from_fn(|| {
            let step = record::step(&bytes, at)?;
            at = step.end;
            Some(step)
        });
        let mut payloads = steps.filter_map(|step| match step.found {
            record::Found::Record { header, .. } if header.items == 1 => Some(step.at),
            _ => None,
        });
        let second = payloads.nth(1).unwrap();
        bytes[second + record::HEADER + 9] ^= 0x10;
        std::fs::write(&file, bytes).unwrap();
        fake.answer(Answers::Well);
        let bench = open(&store, quick()).await;
        let ledger = bench.ledger.clone();
        until("the others are stored", || {
            ledger.snapshot().payloads.stored == 9
        })
        .await;
        let good = links.iter().filter(|link| {
            let link = (*link).clone();
            let fake = fake.clone();
            std::panic::catch_unwind(move || resolve(&fake, &link)).is_ok()
        });
        assert_eq!(good.count(), 9, "{layout:?}");
        bench.drain(LONG).await;
        assert_eq!(bench.payloads().lost.spool_corrupt, 1);
        bench.balanced();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_spool_has_no_room_for_is_lost_by_that_name() {
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeS3::start(Answers::Unavailable);
    let mut settings = store(&fake, dir.path(), Layout::Object);
    settings.spool.as_mut().unwrap().max_bytes = 20_000;
    let bench = open(&settings, quick()).await;
    for number in 0..60 {
        bench.offer(number);
    }
    let stage = bench.stage.shared.clone();
    until("memory is free", || stage.budget().is_empty()).await;
    let p = bench.payloads();
    assert!(p.lost.spool_full > 0 && p.in_flight > 0, "{p:?}");
    assert_eq!(p.lost.spool_full + p.in_flight, 60);
    let bytes: u64 = files(dir.path())
        .iter()
        .map(|file| file.metadata().unwrap().len())
        .sum();
    assert!(bytes <= 20_000, "{bytes}");
    assert!(bench.stage.lowers(), "the spool is nearly full");
    bench.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_keeps_what_is_in_the_spool_and_is_not_asked_often() {
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeS3::start(Answers::Refused);
    let bench = open(&store(&fake, dir.path(), Layout::Object), quick()).await;
    for number in 0..100 {
        bench.offer(number);
    }
    let stage = bench.stage.shared.clone();
    until("memory is free", || stage.budget().is_empty()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(fake.puts() <= 40, "{}", fake.puts());
    assert_eq!(bench.payloads().in_flight, 100);
    bench.drain(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_the_spool_over_and_counts_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeS3::start(Answers::Unavailable);
    let store = store(&fake, dir.path(), Layout::Object);
    let before = open(&store, quick()).await;
    for number in 0..10 {
        before.offer(number);
    }
    let stage = before.stage.shared.clone();
    until("memory is free", || stage.budget().is_empty()).await;
    drop(stage);
    // The new one waits for the folder.
    let after = Bench::with(&store, quick(), before.ledger.clone());
    before.drain(LONG).await;
    drop(before);
    let after = opened(after).await;
    fake.answer(Answers::Well);
    let ledger = after.ledger.clone();
    until("all stored", || ledger.snapshot().payloads.stored == 10).await;
    after.drain(LONG).await;
    after.balanced();
    assert_eq!(after.payloads().wanted, 10);
}

#[tokio::test]
async fn a_spool_whose_folder_cannot_be_made_is_an_error_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeS3::start(Answers::Well);
    let mut settings = store(&fake, dir.path(), Layout::Object);
    settings.spool.as_mut().unwrap().dir = PathBuf::from("/proc/nowhere");
    let (telemetry, options) = (Telemetry::from(nothing()), PayloadOptions::default());
    let handle = Handle::current();
    let started = PayloadStage::start(&settings, options, Ledger::new(), &handle, telemetry);
    let message = started.err().unwrap().to_string();
    assert!(
        message.contains("object store `payloads`: spool"),
        "{message}"
    );
}

fn nothing() -> Next {
    Arc::new(|_, _, ticket: SharedTicket| ticket.taken())
}
