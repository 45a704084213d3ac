use super::*;
use crate::config::{DiskStore, S3Store};
use crate::redact::sample::{body, policy, redact, transaction};
use crate::rules::Level;
use crate::sink::PayloadFate;
use crate::telemetry::ledger::Payloads;
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use object_store::{ObjectStore as Objects, ObjectStoreExt};
use sha2::{Digest, Sha256};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tokio::sync::mpsc::UnboundedReceiver;

#[path = "stage_store_tests.rs"]
mod stores;

type Gone = (Arc<Redacted>, Option<PayloadLink>, Instant);

pub(super) struct Bench {
    pub stage: PayloadStage,
    pub ledger: Ledger,
    pub gone: UnboundedReceiver<Gone>,
    pub events: UnboundedReceiver<PayloadEvent>,
}

fn sink() -> (
    Telemetry,
    UnboundedReceiver<Gone>,
    UnboundedReceiver<PayloadEvent>,
) {
    let (sender, gone) = mpsc::unbounded_channel();
    let next: Next = Arc::new(move |capture, link, ticket: SharedTicket| {
        ticket.taken();
        sender.send((capture, link, Instant::now())).unwrap();
    });
    let (sender, events) = mpsc::unbounded_channel();
    let tell: Tell = Arc::new(move |event| sender.send(event).unwrap());
    let agent = BTreeMap::from([("service.name".to_owned(), "plainspan".to_owned())]);
    (Telemetry::new(next, tell, &agent), gone, events)
}

pub(super) fn bucket(kind: ObjectStoreKind) -> ObjectStore {
    ObjectStore {
        id: "payloads".to_owned(),
        access_url: None,
        prefix: String::new(),
        layout: Layout::Object,
        spool: None,
        kind,
    }
}

pub(super) fn s3(endpoint: &str) -> ObjectStore {
    bucket(ObjectStoreKind::S3(S3Store {
        endpoint: endpoint.to_owned(),
        bucket: "traffic".to_owned(),
        region: "us-east-1".to_owned(),
        insecure: true,
        credentials: Some((
            crate::config::Secret::new("key"),
            crate::config::Secret::new("secret"),
        )),
        ..S3Store::default()
    }))
}

impl Bench {
    /// A stage on a store in memory.
    fn on(store: Arc<dyn Objects>, options: PayloadOptions) -> Bench {
        Bench::in_layout(store, Layout::Object, options)
    }

    fn in_layout(store: Arc<dyn Objects>, layout: Layout, options: PayloadOptions) -> Bench {
        let (telemetry, gone, events) = sink();
        let ledger = Ledger::new();
        let link = LinkTemplate::new(&s3("store.example"));
        let handle = Handle::current();
        let opened = (Store::remote(store), link, layout);
        let about = (ledger.clone(), telemetry);
        let stage = PayloadStage::run(opened, true, options, about, None, &handle);
        Bench {
            stage,
            ledger,
            gone,
            events,
        }
    }

    pub fn of(store: &ObjectStore, options: PayloadOptions) -> Bench {
        Bench::with(store, options, Ledger::new())
    }

    /// With the books of another stage, as after a reload.
    pub fn with(store: &ObjectStore, options: PayloadOptions, ledger: Ledger) -> Bench {
        let (telemetry, gone, events) = sink();
        let handle = Handle::current();
        let stage = PayloadStage::start(store, options, ledger.clone(), &handle, telemetry);
        Bench {
            stage: stage.unwrap(),
            ledger,
            gone,
            events,
        }
    }

    /// The next event.
    pub async fn event(&mut self) -> PayloadEvent {
        let wait = tokio::time::timeout(Duration::from_secs(30), self.events.recv());
        wait.await.expect("an event").unwrap()
    }

    pub fn offer(&self, number: usize) {
        self.offer_at(number, Level::Full);
    }

    pub fn offer_at(&self, number: usize, level: Level) {
        let mut t = transaction(&format!("/{number}"), &[("host", "h")], &[]);
        t.request.as_mut().unwrap().body = body(&vec![b'x'; 1000]);
        let (capture, _) = redact(&policy(), t, level);
        self.stage
            .offer(Arc::new(capture), self.ledger.transaction_seen().shared());
    }

    pub async fn next(&mut self) -> Gone {
        let wait = tokio::time::timeout(Duration::from_secs(20), self.gone.recv());
        wait.await.expect("telemetry goes on").unwrap()
    }

    pub async fn link(&mut self) -> PayloadLink {
        self.next().await.1.unwrap()
    }

    pub fn payloads(&self) -> Payloads {
        self.ledger.snapshot().payloads
    }

    pub async fn drain(&self, time: Duration) {
        self.stage.drain(Instant::now() + time).await;
    }

    /// Every payload wanted has its end, and every transaction went on.
    pub fn balanced(&self) {
        let p = self.payloads();
        let l = &p.lost;
        let lost = l.queue_full
            + l.store_failed
            + l.store_refused
            + l.store_full
            + l.too_large
            + l.spool_full
            + l.spool_expired
            + l.spool_corrupt
            + l.shutdown;
        assert_eq!((p.wanted, p.in_flight), (p.stored + lost, 0), "{p:?}");
        let t = self.ledger.snapshot().transactions;
        assert_eq!(t.seen, t.exported, "{t:?}");
    }
}

fn slow(put: Duration) -> Arc<dyn Objects> {
    let config = ThrottleConfig {
        wait_put_per_call: put,
        ..ThrottleConfig::default()
    };
    Arc::new(ThrottledStore::new(InMemory::new(), config))
}

pub(super) const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_object_of_the_link_is_the_document_and_its_digest_is_its_key() {
    let store = Arc::new(InMemory::new());
    let mut bench = Bench::on(store.clone(), PayloadOptions::default());
    bench.offer(1);
    let (capture, link, _) = bench.next().await;
    let link = link.unwrap();
    assert_eq!(link.status, PayloadStatus::Stored);
    let digest = link.digest.unwrap();
    assert_eq!(
        link.url.unwrap(),
        format!("http://store.example/traffic/{digest}")
    );
    let got = store.get(&Key::from(digest.as_str())).await.unwrap();
    let attribute = got
        .attributes
        .get(&object_store::Attribute::ContentType)
        .cloned();
    assert_eq!(attribute.as_deref(), Some("application/json"));
    let bytes = got.bytes().await.unwrap();
    assert_eq!(bytes, document::encode(&capture));
    assert_eq!(document::Hex(&Sha256::digest(&bytes)).to_string(), digest);
    assert_eq!(link.size, Some(bytes.len() as u64));
    bench.drain(LONG).await;
    bench.balanced();
}

#[tokio::test]
async fn equal_documents_are_stored_once() {
    let mut bench = Bench::on(Arc::new(InMemory::new()), PayloadOptions::default());
    for _ in 0..3 {
        bench.offer(1);
        assert_eq!(bench.link().await.status, PayloadStatus::Stored);
    }
    bench.drain(LONG).await;
    assert_eq!(
        (bench.payloads().stored, bench.payloads().deduplicated),
        (3, 2)
    );
}

#[tokio::test]
async fn telemetry_waits_no_longer_than_its_patience_and_then_says_pending() {
    let patience = Duration::from_millis(50);
    let options = PayloadOptions {
        patience,
        writers: 1,
        ..PayloadOptions::default()
    };
    let mut bench = Bench::on(slow(Duration::from_millis(400)), options);
    let began = Instant::now();
    for number in 0..3 {
        bench.offer(number);
    }
    for _ in 0..3 {
        let (_, link, at) = bench.next().await;
        let link = link.unwrap();
        // The second and third wait for the only writer: their keys are known all the same.
        assert_eq!(link.status, PayloadStatus::Pending);
        assert!(link.url.is_some() && link.digest.is_some());
        assert!(at - began >= patience, "{:?}", at - began);
    }
    assert_eq!(bench.payloads().stored, 0);
    bench.drain(LONG).await;
    assert_eq!(bench.payloads().stored, 3);
    bench.balanced();
    // What telemetry did not know is told, one event an object, under the agent's resource.
    for _ in 0..3 {
        let event = bench.event().await;
        assert_eq!(event.fate, PayloadFate::Stored { transactions: 1 });
        assert!(event.span.is_some() && event.url.is_some(), "{event:?}");
        let name = (
            "service.name".to_owned(),
            ResourceValue::Str("plainspan".to_owned()),
        );
        assert_eq!(event.process.resource, [name]);
    }
    assert!(bench.events.try_recv().is_err());
}

#[tokio::test]
async fn a_full_queue_loses_the_payload_and_not_the_transaction() {
    for options in [
        PayloadOptions {
            max_queued: 2,
            ..PayloadOptions::default()
        },
        PayloadOptions {
            max_queued_bytes: 20_000,
            ..PayloadOptions::default()
        },
    ] {
        let mut bench = Bench::on(slow(Duration::from_millis(300)), options);
        for number in 0..20 {
            bench.offer(number);
        }
        let first = bench.link().await;
        assert_eq!((first.status, first.url), (PayloadStatus::Lost, None));
        bench.drain(LONG).await;
        let p = bench.payloads();
        assert!(p.stored > 0 && p.lost.queue_full > 0, "{p:?}");
        bench.balanced();
    }
}

#[tokio::test]
async fn what_is_left_at_the_deadline_is_lost_and_told() {
    let options = PayloadOptions {
        writers: 1,
        patience: LONG,
        ..PayloadOptions::default()
    };
    let mut bench = Bench::on(slow(LONG), options);
    for number in 0..5 {
        bench.offer(number);
    }
    bench.drain(Duration::from_millis(200)).await;
    for _ in 0..5 {
        assert_eq!(bench.link().await.status, PayloadStatus::Lost);
    }
    // The spans say it themselves.
    assert!(bench.events.try_recv().is_err());
    assert_eq!(bench.payloads().lost.shutdown, 5);
    bench.offer(6);
    assert_eq!(bench.link().await.status, PayloadStatus::Lost);
    bench.balanced();
}

#[tokio::test]
async fn a_document_that_is_too_large_is_lost_by_that_reason() {
    let options = PayloadOptions {
        max_object_bytes: 1000,
        ..PayloadOptions::default()
    };
    let mut bench = Bench::on(Arc::new(InMemory::new()), options);
    bench.offer(1);
    assert_eq!(bench.link().await.status, PayloadStatus::Lost);
    bench.drain(LONG).await;
    assert_eq!(bench.payloads().lost.too_large, 1);
}

#[tokio::test]
async fn at_a_disabled_store_no_payload_is_wanted() {
    let mut off = Bench::of(
        &bucket(ObjectStoreKind::Disabled),
        PayloadOptions::default(),
    );
    off.offer(1);
    assert_eq!(off.next().await.1, None);
    assert!(!off.stage.lowers());
    off.drain(LONG).await;
    assert_eq!(off.payloads().wanted, 0);
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn local(link: &PayloadLink) -> std::path::PathBuf {
    let url = url::Url::parse(link.url.as_deref().unwrap()).unwrap();
    url.to_file_path().unwrap()
}

#[tokio::test]
async fn a_folder_gets_files_for_its_owner_alone_and_file_urls() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pay loads");
    let store = bucket(ObjectStoreKind::Disk(DiskStore::at(&path)));
    let mut bench = Bench::of(&store, PayloadOptions::default());
    bench.offer(1);
    let link = bench.link().await;
    assert_eq!(link.status, PayloadStatus::Stored);
    let file = local(&link);
    assert_eq!((mode(&path), mode(&file)), (0o700, 0o600));
    let bytes = std::fs::read(&file).unwrap();
    let digest = document::Hex(&Sha256::digest(&bytes)).to_string();
    assert_eq!(file, path.join(&digest));
    assert_eq!(link.digest, Some(digest));

    bench.offer(1);
    assert_eq!(bench.link().await.status, PayloadStatus::Stored);
    assert_eq!(bench.payloads().deduplicated, 1);

    // Removed while it runs: made again, as closed as before.
    std::fs::remove_dir_all(&path).unwrap();
    bench.offer(2);
    let link = bench.link().await;
    assert_eq!((mode(&path), mode(&local(&link))), (0o700, 0o600));

    // Replaced by a link: nothing is written through it.
    let elsewhere = dir.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::remove_dir_all(&path).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    bench.offer(3);
    assert_eq!(bench.link().await.status, PayloadStatus::Lost);
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
    bench.drain(LONG).await;
    assert_eq!(bench.payloads().lost.store_refused, 1);
    bench.balanced();
}

#[tokio::test]
async fn a_store_that_is_down_loses_payloads_and_nothing_else() {
    // Bound and dropped: nothing listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let options = PayloadOptions {
        patience: LONG,
        ..PayloadOptions::default()
    };
    let mut bench = Bench::of(&s3(&port.to_string()), options);
    bench.offer(1);
    let link = bench.link().await;
    assert_eq!(link.status, PayloadStatus::Lost);
    assert!(link.url.is_some());
    bench.drain(LONG).await;
    assert_eq!(bench.payloads().lost.store_failed, 1);
    bench.balanced();
}

#[tokio::test]
async fn a_stage_with_a_folder_that_cannot_be_used_does_not_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let store = bucket(ObjectStoreKind::Disk(DiskStore::at(file.path())));
    let (telemetry, _gone, _events) = sink();
    let options = PayloadOptions::default();
    let handle = Handle::current();
    let started = PayloadStage::start(&store, options, Ledger::new(), &handle, telemetry);
    let message = started.err().unwrap().to_string();
    assert!(
        message.contains("payloads") && message.contains("not a folder"),
        "{message}"
    );
}

/// Layout segment, with these bounds.
fn packed(store: Arc<dyn Objects>, bytes: u64, time: Duration) -> Bench {
    let layout = Layout::Segment { bytes, time };
    Bench::in_layout(store, layout, patient())
}

/// Telemetry waits until all is decided, and for longer than any segment of these tests is open.
pub(super) fn patient() -> PayloadOptions {
    PayloadOptions {
        patience: Duration::from_secs(7200),
        ..PayloadOptions::default()
    }
}

/// All objects of the bucket, by key.
async fn objects(memory: &InMemory) -> Vec<(String, Vec<u8>)> {
    let listed = memory.list_with_delimiter(None).await.unwrap();
    let mut objects = Vec::new();
    for meta in listed.objects {
        let bytes = memory.get(&meta.location).await.unwrap().bytes().await;
        objects.push((meta.location.to_string(), bytes.unwrap().to_vec()));
    }
    objects.sort();
    objects
}

/// The document that a link names, read by its range alone.
async fn linked(memory: &InMemory, link: &PayloadLink) -> serde_json::Value {
    let url = link.url.as_deref().unwrap();
    let (url, range) = url.split_once("#bytes=").unwrap();
    let key = url.strip_prefix("http://store.example/traffic/").unwrap();
    let (first, last) = range.split_once('-').unwrap();
    let range = first.parse().unwrap()..last.parse::<u64>().unwrap() + 1;
    let frame = memory.get_range(&Key::from(key), range).await.unwrap();
    let json = segment::document(&frame).unwrap();
    segment::verify(&json, link.digest.as_deref().unwrap()).unwrap();
    assert_eq!(link.size, Some(json.len() as u64));
    serde_json::from_slice(&json).unwrap()
}

#[tokio::test]
async fn many_transactions_are_one_put_and_each_link_gives_its_own() {
    let memory = Arc::new(InMemory::new());
    let mut bench = packed(memory.clone(), 1 << 20, Duration::from_millis(200));
    for number in 0..500 {
        bench.offer(number);
    }
    let mut links = Vec::new();
    for _ in 0..500 {
        links.push(bench.link().await);
    }
    assert!(
        links
            .iter()
            .all(|link| link.status == PayloadStatus::Stored)
    );
    let objects = objects(&memory).await;
    assert_eq!(objects.len(), 1);
    assert!(objects[0].0.ends_with(segment::SUFFIX), "{}", objects[0].0);
    for (number, link) in links.iter().enumerate() {
        let document = linked(&memory, link).await;
        assert_eq!(document["request"]["path"], format!("/{number}"));
    }
    bench.balanced();
    assert_eq!(bench.payloads().stored, 500);
}

#[tokio::test]
async fn a_segment_is_closed_when_it_is_large_enough() {
    let memory = Arc::new(InMemory::new());
    let mut bench = packed(memory.clone(), 64 << 10, Duration::from_secs(3600));
    for number in 0..1000 {
        bench.offer(number);
    }
    bench.drain(Duration::from_secs(20)).await;
    let objects = objects(&memory).await;
    assert!(objects.len() > 4, "{}", objects.len());
    let (last, whole) = objects.split_last().unwrap();
    assert!(whole.iter().all(|(_, object)| object.len() >= 64 << 10));
    assert!(!last.1.is_empty());
    for _ in 0..1000 {
        assert_eq!(bench.link().await.status, PayloadStatus::Stored);
    }
    bench.balanced();
}

#[tokio::test]
async fn telemetry_does_not_wait_for_a_segment_and_has_the_link_that_will_be_good() {
    let memory = Arc::new(InMemory::new());
    let layout = Layout::Segment {
        bytes: 1 << 20,
        time: Duration::from_secs(3600),
    };
    let options = PayloadOptions {
        patience: Duration::from_secs(3600),
        ..PayloadOptions::default()
    };
    let mut bench = Bench::in_layout(memory.clone(), layout, options);
    bench.offer(7);
    let (_, link, _) = bench.next().await;
    let link = link.unwrap();
    assert_eq!(link.status, PayloadStatus::Pending);
    assert_eq!(bench.payloads().in_flight, 1);
    bench.drain(Duration::from_secs(20)).await;
    assert_eq!(linked(&memory, &link).await["request"]["path"], "/7");
    bench.balanced();
    let event = bench.event().await;
    assert_eq!(event.fate, PayloadFate::Stored { transactions: 1 });
    let of_object = link.url.unwrap().split('#').next().map(str::to_owned);
    assert_eq!((event.url, event.span), (of_object, None));
}

#[tokio::test]
async fn a_payload_that_is_lost_after_its_span_has_left_is_told_with_its_ids() {
    let options = PayloadOptions {
        writers: 1,
        patience: Duration::from_millis(20),
        ..PayloadOptions::default()
    };
    let mut bench = Bench::on(slow(LONG), options);
    for number in 0..3 {
        bench.offer(number);
    }
    let mut pending = Vec::new();
    for _ in 0..3 {
        let (capture, link, _) = bench.next().await;
        let link = link.unwrap();
        assert_eq!(link.status, PayloadStatus::Pending);
        pending.push((capture.id.clone(), link.url, link.digest));
    }
    bench.drain(Duration::from_millis(100)).await;
    let mut told = Vec::new();
    for _ in 0..3 {
        let event = bench.event().await;
        assert_eq!(event.fate, PayloadFate::Lost(PayloadLost::Shutdown));
        assert!(event.span.is_some(), "{event:?}");
        told.push((event.transaction.unwrap(), event.url, event.digest));
    }
    pending.sort();
    told.sort();
    assert_eq!(told, pending);
    assert!(bench.events.try_recv().is_err());
    bench.balanced();
}

#[tokio::test]
async fn little_room_lowers_levels_until_there_is_plenty() {
    let options = PayloadOptions {
        max_queued: 8,
        writers: 1,
        ..PayloadOptions::default()
    };
    let bench = Bench::on(slow(Duration::from_millis(100)), options);
    for number in 0..5 {
        bench.offer(number);
    }
    assert!(!bench.stage.lowers());
    bench.offer(5);
    assert!(bench.stage.lowers());
    let wait = |left: usize| {
        let stage = &bench.stage;
        async move {
            while stage.shared.budget().count() > left {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    wait(4).await;
    assert!(bench.stage.lowers(), "half is not plenty");
    wait(3).await;
    assert!(!bench.stage.lowers());
    bench.drain(LONG).await;
    bench.balanced();
}

#[tokio::test]
async fn a_segment_that_cannot_be_stored_loses_each_of_its_payloads_and_no_telemetry() {
    let closed = s3("127.0.0.1:1");
    let layout = Layout::Segment {
        bytes: 1 << 20,
        time: Duration::from_millis(100),
    };
    let mut bench = Bench::of(&ObjectStore { layout, ..closed }, patient());
    for number in 0..10 {
        bench.offer(number);
    }
    for _ in 0..10 {
        assert_eq!(bench.link().await.status, PayloadStatus::Lost);
    }
    assert_eq!(bench.payloads().lost.store_failed, 10);
    bench.balanced();
}
