//! The payload stage against a real S3: SeaweedFS.

#[path = "support/bare.rs"]
mod bare;
#[path = "support/seaweedfs.rs"]
mod seaweedfs;

use plainspan::config::{HttpCapture, Layout, ObjectStore, ObjectStoreKind, S3Store, Secret};
use plainspan::event::KernelTime;
use plainspan::redact::{About, Raw, Redacted, Redactor};
use plainspan::rules::Level;
use plainspan::sink::payload::{Next, PayloadOptions, PayloadStage};
use plainspan::sink::{PayloadLink, PayloadStatus};
use plainspan::telemetry::Ledger;
use plainspan::telemetry::ledger::SharedTicket;
use plainspan::transaction::{Headers, Request, Response, Timing, Transaction};
use seaweedfs::SeaweedFs;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const LONG: Duration = Duration::from_secs(60);

/// What is logged, by all tests of this file.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Lines of the log that name the store `id`.
fn log_of(id: &str) -> String {
    let bytes = log().0.lock().unwrap().clone();
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| line.contains(id)).collect();
    lines.join("\n")
}

fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log::default();
        let writer = log.clone();
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .init();
        log
    })
}

/// One server for the tests that run at the same time; it ends with the last of them.
fn shared() -> Arc<SeaweedFs> {
    static SHARED: Mutex<Weak<SeaweedFs>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap();
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(SeaweedFs::start());
        *shared = Arc::downgrade(&server);
        server
    })
}

fn store(id: &str, endpoint: String, bucket: &str, keys: Option<(&str, &str)>) -> ObjectStore {
    ObjectStore {
        id: id.to_owned(),
        access_url: None,
        prefix: String::new(),
        layout: Layout::Object,
        spool: None,
        kind: ObjectStoreKind::S3(S3Store {
            endpoint,
            bucket: bucket.to_owned(),
            region: "us-east-1".to_owned(),
            insecure: true,
            credentials: keys.map(|(key, secret)| (Secret::new(key), Secret::new(secret))),
            ..S3Store::default()
        }),
    }
}

/// One transaction with a secret, and with bodies of all byte values.
fn capture(number: usize) -> Arc<Redacted> {
    let mut headers = Headers::default();
    headers.push(b"Host", b"shop.example");
    headers.push(b"Authorization", b"Bearer SECRET-CANARY");
    let request = Request {
        method: b"POST".to_vec(),
        target: format!("/order/{number}?token=SECRET-CANARY").into_bytes(),
        headers,
        body: bare::body(&content(number, 3_000)),
        ..Request::default()
    };
    let response = Response {
        status: 200,
        body: bare::body(&content(number + 1, 200_000)),
        ..Response::default()
    };
    let transaction = Transaction {
        request: Some(request),
        response: Some(response),
        timing: Timing {
            start: KernelTime(1),
            end: KernelTime(2),
            ..Timing::default()
        },
        ..bare::transaction()
    };
    redacted(transaction, number)
}

/// Bytes of every value, different for each number.
fn content(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251 + number) as u8).collect()
}

fn redacted(transaction: Transaction, number: usize) -> Arc<Redacted> {
    let policy = HttpCapture {
        level: Level::Full,
        ..HttpCapture::default()
    };
    let about = About {
        id: format!("{number:032x}"),
        start: SystemTime::now(),
        end: SystemTime::now(),
        ..bare::about()
    };
    let redactor = Redactor::new(&policy).expect("a good policy");
    Arc::new(redactor.redact(Raw::new(Box::new(transaction)), about).0)
}

struct Bench {
    stage: PayloadStage,
    ledger: Ledger,
    gone: UnboundedReceiver<PayloadLink>,
}

impl Bench {
    fn of(store: &ObjectStore) -> Bench {
        let (sender, gone) = unbounded_channel();
        let next: Next = Arc::new(move |_, link, ticket: SharedTicket| {
            ticket.taken();
            sender.send(link.expect("a payload was wanted")).unwrap();
        });
        let ledger = Ledger::new();
        let options = PayloadOptions {
            patience: LONG,
            ..PayloadOptions::default()
        };
        log();
        let handle = Handle::current();
        let stage = PayloadStage::start(store, options, ledger.clone(), &handle, next).unwrap();
        Bench {
            stage,
            ledger,
            gone,
        }
    }

    /// Offers `count` captures and waits for their links.
    async fn links(&mut self, count: usize) -> Vec<PayloadLink> {
        for number in 0..count {
            self.stage
                .offer(capture(number), self.ledger.transaction_seen().shared());
        }
        let mut links = Vec::new();
        for _ in 0..count {
            let link = tokio::time::timeout(LONG, self.gone.recv()).await;
            links.push(link.expect("telemetry goes on").unwrap());
        }
        links
    }

    /// Every payload of `wanted` is lost because the store refused it, and no transaction is.
    async fn all_lost(&self, wanted: u64) {
        self.stage.drain(Instant::now() + LONG).await;
        let counts = self.ledger.snapshot();
        let p = &counts.payloads;
        assert_eq!((p.wanted, p.stored, p.in_flight), (wanted, 0, 0), "{p:?}");
        assert_eq!(p.lost.store_refused, wanted, "{p:?}");
        assert_eq!(counts.transactions.exported, wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_object_of_each_link_is_there_and_its_sha_256_is_its_key() {
    let s3 = shared();
    let keys = Some((s3.access_key(), s3.secret_key()));
    let mut bench = Bench::of(&store("good-store", s3.endpoint(), s3.bucket(), keys));
    let links = bench.links(20).await;
    for link in &links {
        assert_eq!(link.status, PayloadStatus::Stored);
        let digest = link.digest.as_deref().unwrap();
        let url = link.url.as_deref().unwrap();
        assert_eq!(
            url,
            format!("http://{}/{}/{digest}", s3.endpoint(), s3.bucket())
        );
        let bytes = s3.get(digest).unwrap();
        let sum: String = Sha256::digest(&bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(sum, digest);
        assert_eq!(link.size, Some(bytes.len() as u64));
        check_document(&bytes);
        let anonymous = reqwest::get(url).await.unwrap();
        assert_eq!(anonymous.status(), 403, "{url}");
    }
    bench.stage.drain(Instant::now() + LONG).await;
    let p = bench.ledger.snapshot().payloads;
    assert_eq!((p.wanted, p.stored, p.in_flight), (20, 20, 0), "{p:?}");
    assert!(!log_of("").contains("SECRET-CANARY"));
    assert!(!log_of("").contains(s3.secret_key()));
}

/// Bodies are byte-exact, and the canary is nowhere.
fn check_document(bytes: &[u8]) {
    use base64::Engine;
    let document: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    let number = document["transaction_id"].as_str().unwrap();
    let number = usize::from_str_radix(number, 16).unwrap();
    for (side, content) in [
        ("request", content(number, 3_000)),
        ("response", content(number + 1, 200_000)),
    ] {
        let body = document[side]["body"].as_str().unwrap();
        let body = base64::engine::general_purpose::STANDARD
            .decode(body)
            .unwrap();
        assert!(body == content, "{side} body of {number}");
        assert_eq!(document[side]["body_size"], content.len());
    }
    assert_eq!(document["request"]["path"], format!("/order/{number}"));
    assert!(!String::from_utf8_lossy(bytes).contains("SECRET-CANARY"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_equal_document_is_a_dedupe_and_a_prefix_is_part_of_the_key() {
    let s3 = shared();
    let keys = Some((s3.access_key(), s3.secret_key()));
    let mut settings = store("prefix-store", s3.endpoint(), s3.bucket(), keys);
    settings.prefix = "team a/".to_owned();
    let mut bench = Bench::of(&settings);
    let same = capture(1);
    for _ in 0..2 {
        bench
            .stage
            .offer(same.clone(), bench.ledger.transaction_seen().shared());
        let link = bench.gone.recv().await.unwrap();
        assert_eq!(link.status, PayloadStatus::Stored);
        let digest = link.digest.unwrap();
        assert!(link.url.unwrap().ends_with(&format!("/team%20a/{digest}")));
        s3.get(&format!("team a/{digest}")).unwrap();
    }
    let p = bench.ledger.snapshot().payloads;
    assert_eq!((p.stored, p.deduplicated), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_wrong_secret_payloads_are_lost_by_name_and_the_log_says_why() {
    let s3 = shared();
    let keys = Some((s3.access_key(), "not-the-secret"));
    let mut bench = Bench::of(&store("denied-store", s3.endpoint(), s3.bucket(), keys));
    let links = bench.links(5).await;
    assert!(links.iter().all(|l| l.status == PayloadStatus::Lost));
    bench.all_lost(5).await;
    let log = log_of("denied-store");
    for part in [
        "WARN",
        "SignatureDoesNotMatch",
        "`secret_key`",
        &s3.endpoint(),
        s3.bucket(),
    ] {
        assert!(log.contains(part), "{part} is not in:\n{log}");
    }
    assert_eq!(log.lines().count(), 1, "one warning for the burst:\n{log}");
    assert!(!log_of("").contains("not-the-secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_is_said() {
    let s3 = shared();
    let keys = Some((s3.access_key(), s3.secret_key()));
    let mut bench = Bench::of(&store(
        "nowhere-store",
        s3.endpoint(),
        "no-such-bucket",
        keys,
    ));
    let links = bench.links(1).await;
    assert_eq!(links[0].status, PayloadStatus::Lost);
    bench.all_lost(1).await;
    let log = log_of("nowhere-store");
    assert!(
        log.contains("WARN") && log.contains("no-such-bucket"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_goes_down_loses_what_it_did_not_take_and_counts_it() {
    let mut s3 = SeaweedFs::start();
    let keys = Some((s3.access_key(), s3.secret_key()));
    let mut bench = Bench::of(&store("gone-store", s3.endpoint(), s3.bucket(), keys));
    assert_eq!(bench.links(1).await[0].status, PayloadStatus::Stored);
    s3.kill();
    let links = bench.links(5).await;
    assert!(links.iter().all(|l| l.status == PayloadStatus::Lost));
    bench.stage.drain(Instant::now() + LONG).await;
    let p = bench.ledger.snapshot().payloads;
    assert_eq!(
        (p.wanted, p.stored, p.lost.store_failed),
        (6, 1, 5),
        "{p:?}"
    );
    assert!(log_of("gone-store").contains("`endpoint`"));
}
