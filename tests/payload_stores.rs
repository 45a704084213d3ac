//! The payload stage against stores that others made: moto's S3 and Azurite.

#[path = "support/bare.rs"]
mod bare;
#[path = "support/emulators.rs"]
mod emulators;

use emulators::{Emulator, installed};
use plainspan::config::{
    AzureStore, Encryption, HttpCapture, Layout, ObjectStore, ObjectStoreKind, S3Store, Secret,
};
use plainspan::event::KernelTime;
use plainspan::redact::{About, Raw, Redacted, Redactor};
use plainspan::rules::Level;
use plainspan::sink::payload::{Next, PayloadOptions, PayloadStage, reader, segment};
use plainspan::sink::{PayloadLink, PayloadStatus};
use plainspan::telemetry::Ledger;
use plainspan::telemetry::ledger::SharedTicket;
use plainspan::transaction::{Request, Response, Timing, Transaction};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const LONG: Duration = Duration::from_secs(60);
const SEGMENT: Layout = Layout::Segment {
    bytes: 1 << 20,
    time: Duration::from_millis(300),
};
/// Account and key of Azurite, as its documentation has them.
const AZURITE: (&str, &str) = (
    "devstoreaccount1",
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
);

fn store(kind: ObjectStoreKind, layout: Layout) -> ObjectStore {
    ObjectStore {
        id: "payloads".to_owned(),
        access_url: None,
        prefix: "team a/{date}".to_owned() + "/",
        layout,
        spool: None,
        kind,
    }
}

/// One transaction with bodies of all byte values.
fn capture(number: usize) -> Arc<Redacted> {
    let request = Request {
        method: b"POST".to_vec(),
        target: format!("/order/{number}").into_bytes(),
        body: bare::body(&content(number)),
        ..Request::default()
    };
    let response = Response {
        status: 200,
        body: bare::body(&content(number + 7)),
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
    let about = About {
        id: format!("{number:032x}"),
        start: SystemTime::now(),
        end: SystemTime::now(),
        ..bare::about()
    };
    let policy = HttpCapture {
        level: Level::Full,
        ..HttpCapture::default()
    };
    let redactor = Redactor::new(&policy).expect("a good policy");
    Arc::new(redactor.redact(Raw::new(Box::new(transaction)), about).0)
}

/// Bytes of every value, different for each number.
fn content(number: usize) -> Vec<u8> {
    (0..3000)
        .map(|i| (i * 7 + i / 251 + number) as u8)
        .collect()
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
        let handle = Handle::current();
        let stage = PayloadStage::start(store, options, ledger.clone(), &handle, next).unwrap();
        Bench {
            stage,
            ledger,
            gone,
        }
    }

    async fn link_of(&mut self, capture: Arc<Redacted>) -> PayloadLink {
        self.stage
            .offer(capture, self.ledger.transaction_seen().shared());
        let link = tokio::time::timeout(LONG, self.gone.recv()).await;
        link.expect("telemetry goes on").unwrap()
    }

    /// What the store is said to fail with, once it is.
    async fn failure(&self) -> String {
        let began = Instant::now();
        loop {
            let fills = self.ledger.queues().fills();
            let shown = serde_json::to_value(&fills["payloads/payloads"]).unwrap();
            if let Some(error) = shown["store"]["error"].as_str() {
                return error.to_owned();
            }
            assert!(began.elapsed() < LONG, "{shown}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Stores in both layouts, reads each link back, and gives the keys of the objects.
async fn round_trip(kind: &ObjectStoreKind, base: &str) -> Vec<String> {
    let mut keys = Vec::new();
    for layout in [Layout::Object, SEGMENT] {
        let settings = store(kind.clone(), layout);
        let mut bench = Bench::of(&settings);
        let client = reader(&settings).unwrap().expect("a store of the network");
        for number in 0..5 {
            let link = bench.link_of(capture(number)).await;
            assert_eq!(link.status, PayloadStatus::Stored, "{link:?}");
            let url = link.url.unwrap();
            let (url, range) = match url.split_once("#bytes=") {
                Some((url, range)) => (url, Some(range)),
                None => (&*url, None),
            };
            let key = url.strip_prefix(base).unwrap_or_else(|| panic!("{url}"));
            let key = key.replace("%20", " ");
            assert!(key.starts_with("team a/20"), "{key}");
            let path = object_store::path::Path::parse(&key).unwrap();
            let object = object_store::ObjectStoreExt::get(&*client, &path).await;
            let object = object.unwrap().bytes().await.unwrap();
            let json = match range {
                None => object.to_vec(),
                Some(range) => {
                    let (first, last) = range.split_once('-').unwrap();
                    let range = first.parse().unwrap()..=last.parse().unwrap();
                    segment::document(&object[range]).unwrap()
                }
            };
            let digest: String = Sha256::digest(&json)
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            assert_eq!(link.digest, Some(digest));
            let document: Value = serde_json::from_slice(&json).unwrap();
            assert_eq!(document["request"]["path"], format!("/order/{number}"));
            keys.push(key);
        }
        bench.stage.drain(Instant::now() + LONG).await;
        let p = bench.ledger.snapshot().payloads;
        assert_eq!((p.wanted, p.stored, p.in_flight), (5, 5, 0), "{p:?}");
    }
    keys
}

/// Runs Python of the tests' environment, and reads the JSON that it prints.
fn python(program: &str, arguments: &[&str]) -> Value {
    let python = installed("PLAINSPAN_TEST_VENV", "test-venv", "bin/python");
    let output = Command::new(python)
        .arg("-c")
        .arg(program)
        .args(arguments)
        .output();
    let output = output.expect("run python");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

fn moto(endpoint: &str, bucket: &str) -> S3Store {
    S3Store {
        endpoint: endpoint.to_owned(),
        bucket: bucket.to_owned(),
        region: "us-east-1".to_owned(),
        insecure: true,
        credentials: Some((Secret::new("key"), Secret::new("secret"))),
        ..S3Store::default()
    }
}

const S3: &str = r#"
import boto3, json, sys
s3 = boto3.client("s3", endpoint_url="http://" + sys.argv[1], region_name="us-east-1",
                  aws_access_key_id="key", aws_secret_access_key="secret")
if len(sys.argv) == 2:
    s3.create_bucket(Bucket="traffic")
    print("null")
else:
    key = sys.argv[2]
    head = s3.head_object(Bucket="traffic", Key=key)
    tags = s3.get_object_tagging(Bucket="traffic", Key=key)["TagSet"]
    print(json.dumps({"type": head["ContentType"], "encryption": head.get("ServerSideEncryption"),
                      "key": head.get("SSEKMSKeyId"), "tags": {t["Key"]: t["Value"] for t in tags}}))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_s3_keeps_objects_with_their_tags_and_encryption() {
    let server = Emulator::moto();
    let endpoint = server.endpoint();
    python(S3, &[&endpoint]);
    let key = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let kind = ObjectStoreKind::S3(S3Store {
        encryption: Some(Encryption::Kms(Some(key.to_owned()))),
        object_tags: BTreeMap::from([
            ("cost center".to_owned(), "7/a".to_owned()),
            ("team".to_owned(), "shop".to_owned()),
        ]),
        ..moto(&endpoint, "traffic")
    });
    let keys = round_trip(&kind, &format!("http://{endpoint}/traffic/")).await;
    for (place, content_type) in [(0, "application/json"), (9, "application/zstd")] {
        let kept = python(S3, &[&endpoint, &keys[place]]);
        assert_eq!(kept["type"], content_type);
        assert_eq!(kept["encryption"], "aws:kms", "{kept}");
        assert_eq!(kept["key"], key);
        assert_eq!(kept["tags"]["cost center"], "7/a");
        assert_eq!(kept["tags"]["team"], "shop");
    }

    let missing = ObjectStoreKind::S3(moto(&endpoint, "not-there"));
    let mut bench = Bench::of(&store(missing, Layout::Object));
    let link = bench.link_of(capture(1)).await;
    assert_eq!(link.status, PayloadStatus::Lost);
    let failure = bench.failure().await;
    assert!(failure.contains("there is no such bucket"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn azurite_keeps_blobs_with_their_tags_and_says_what_is_wrong() {
    let server = Emulator::azure();
    let endpoint = server.endpoint();
    let (account, key) = AZURITE;
    let azure = AzureStore {
        endpoint: endpoint.clone(),
        account: account.to_owned(),
        container: "traffic".to_owned(),
        insecure: true,
        access_key: Some(Secret::new(key)),
        object_tags: BTreeMap::from([("team".to_owned(), "shop".to_owned())]),
    };
    let base = format!("http://{endpoint}/{account}/traffic");

    // Before the container is there.
    let kind = ObjectStoreKind::Azure(azure.clone());
    let mut bench = Bench::of(&store(kind.clone(), Layout::Object));
    let link = bench.link_of(capture(1)).await;
    assert_eq!(link.status, PayloadStatus::Lost);
    let failure = bench.failure().await;
    assert!(failure.contains("there is no such container"), "{failure}");

    let made = azure_asks(
        "PUT",
        &endpoint,
        &format!("/{account}/traffic"),
        "restype=container",
    );
    assert_eq!(made.0, 201, "{}", made.1);
    let keys = round_trip(&kind, &format!("{base}/")).await;
    let path = format!("/{account}/traffic/{}", keys[0].replace(' ', "%20"));
    let (status, tags) = azure_asks("GET", &endpoint, &path, "comp=tags");
    assert_eq!(status, 200, "{tags}");
    assert!(
        tags.contains("<Key>team</Key><Value>shop</Value>"),
        "{tags}"
    );

    let wrong = AzureStore {
        access_key: Some(Secret::new("d3Jvbmc=")),
        ..azure
    };
    let mut bench = Bench::of(&store(ObjectStoreKind::Azure(wrong), Layout::Object));
    let link = bench.link_of(capture(1)).await;
    assert_eq!(link.status, PayloadStatus::Lost);
    let failure = bench.failure().await;
    assert!(
        failure.contains("check `account` and `access_key`"),
        "{failure}"
    );
    assert!(!failure.contains("d3Jvbmc="), "{failure}");
}

/// Asks Azurite with the account's key: status and text.
fn azure_asks(method: &str, endpoint: &str, path: &str, query: &str) -> (u64, String) {
    let answer = python(
        AZURE,
        &[AZURITE.0, AZURITE.1, method, endpoint, path, query],
    );
    let text = answer[1].as_str().expect("a text").to_owned();
    (answer[0].as_u64().expect("a status"), text)
}

/// Authorization with a shared key, as Azure's documentation has it.
const AZURE: &str = r#"
import base64, email.utils, hashlib, hmac, http.client, json, sys
account, key, method, endpoint, path, query = sys.argv[1:]
headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2023-11-03"}
ours = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
text = method + "\n" * 12 + ours + f"/{account}{path}\n" + query.replace("=", ":")
digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
headers["Authorization"] = f"SharedKey {account}:" + base64.b64encode(digest).decode()
connection = http.client.HTTPConnection(endpoint)
connection.request(method, f"{path}?{query}", headers=headers)
answer = connection.getresponse()
print(json.dumps([answer.status, answer.read().decode()]))
"#;
