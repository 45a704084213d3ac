//! What a store makes of what the stage gives it: prefixes, and a folder with bounds.

use super::*;
use crate::enrich::{Process, ResourceValue};
use crate::redact::sample::about;
use crate::redact::{Raw, Redactor};

/// A bench with a prefix, on a store in memory.
fn prefixed(store: Arc<dyn Objects>, layout: Layout, prefix: &str) -> Bench {
    let (telemetry, gone, events) = sink();
    let ledger = Ledger::new();
    let link = LinkTemplate::new(&ObjectStore {
        prefix: prefix.to_owned(),
        ..s3("store.example")
    });
    let handle = Handle::current();
    let opened = (Store::remote(store), link, layout);
    let about = (ledger.clone(), telemetry);
    let stage = PayloadStage::run(opened, true, patient(), about, None, &handle);
    Bench {
        stage,
        ledger,
        gone,
        events,
    }
}

fn offer_of(bench: &Bench, service: &str, number: usize) {
    let mut about = about(Level::Full);
    let name = ResourceValue::Str(service.to_owned());
    about.process = Arc::new(Process {
        resource: vec![("service.name".to_owned(), name)],
        ..crate::redact::sample::process()
    });
    let transaction = transaction(&format!("/{service}/{number}"), &[], &[]);
    let redactor = Redactor::new(&policy()).unwrap();
    let (capture, _) = redactor.redact(Raw::new(Box::new(transaction)), about);
    bench
        .stage
        .offer(Arc::new(capture), bench.ledger.transaction_seen().shared());
}

/// All keys of a store, folders followed.
async fn keys(memory: &InMemory) -> Vec<String> {
    let mut folders: Vec<Option<Key>> = vec![None];
    let mut keys = Vec::new();
    while let Some(folder) = folders.pop() {
        let listed = memory.list_with_delimiter(folder.as_ref()).await.unwrap();
        folders.extend(listed.common_prefixes.into_iter().map(Some));
        keys.extend(listed.objects.into_iter().map(|o| o.location.to_string()));
    }
    keys.sort();
    keys
}

const PREFIX: &str = "t/{service}/{date}/{hour}";

#[tokio::test]
async fn objects_lie_under_the_service_and_the_hour_in_which_they_began() {
    let memory = Arc::new(InMemory::new());
    let mut bench = prefixed(memory.clone(), Layout::Object, PREFIX);
    for service in ["shop", "a/b"] {
        offer_of(&bench, service, 1);
        let link = bench.link().await;
        let digest = link.digest.unwrap();
        // The transactions of these tests are of 2026-01-01T00:00:00Z.
        let service = service.replace('/', "_");
        let key = format!("t/{service}/2026-01-01/00/{digest}");
        assert!(keys(&memory).await.contains(&key), "{key}");
        assert!(link.url.unwrap().ends_with(&key));
    }
}

#[tokio::test]
async fn each_service_has_segments_of_its_own_where_the_prefix_names_it() {
    let memory = Arc::new(InMemory::new());
    let layout = Layout::Segment {
        bytes: 1 << 20,
        time: Duration::from_secs(3600),
    };
    let bench = prefixed(memory.clone(), layout, PREFIX);
    for number in 0..30 {
        offer_of(&bench, ["shop", "cart", "mail"][number % 3], number);
    }
    bench.drain(Duration::from_secs(20)).await;
    let keys = keys(&memory).await;
    assert_eq!(keys.len(), 3, "{keys:?}");
    for (key, service) in keys.iter().zip(["cart", "mail", "shop"]) {
        assert!(key.starts_with(&format!("t/{service}/20")), "{key}");
        let object = memory.get(&Key::from(key.as_str())).await.unwrap();
        let object = object.bytes().await.unwrap();
        let entries = entries_of(&object);
        assert_eq!(entries.len(), 10);
        assert!(entries.iter().all(|entry| entry.service_name == service));
    }
    bench.balanced();
}

fn entries_of(object: &[u8]) -> Vec<segment::Entry> {
    let segment::Tail::Index(packed) = segment::tail(object.len() as u64, object).unwrap() else {
        panic!("the index is not in the whole object");
    };
    let mut entries = Vec::new();
    segment::entries(packed, &mut |entry| entries.push(entry)).unwrap();
    entries
}

#[tokio::test]
async fn more_services_than_segments_may_be_open_close_the_oldest() {
    let memory = Arc::new(InMemory::new());
    let layout = Layout::Segment {
        bytes: 1 << 20,
        time: Duration::from_secs(3600),
    };
    let mut bench = prefixed(memory.clone(), layout, "{service}");
    for number in 0..40 {
        offer_of(&bench, &format!("s{number}"), number);
    }
    // The first ones are stored, though nothing else closes them.
    for _ in 0..8 {
        assert_eq!(bench.link().await.status, PayloadStatus::Stored);
    }
    bench.drain(Duration::from_secs(20)).await;
    assert_eq!(keys(&memory).await.len(), 40);
    bench.balanced();
}

/// Payloads of a folder, those below its folders too, and their room.
fn found(path: &Path) -> Vec<(std::path::PathBuf, u64)> {
    let mut files = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            match meta.is_dir() {
                true => folders.push(entry.path()),
                false => files.push((entry.path(), meta.blocks() * 512)),
            }
        }
    }
    files
}

#[tokio::test]
async fn a_folder_stays_within_its_bytes_and_age_in_both_layouts() {
    let segments = Layout::Segment {
        bytes: 16 << 10,
        time: Duration::from_secs(3600),
    };
    for layout in [Layout::Object, segments] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        let disk = DiskStore {
            max_bytes: 256 << 10,
            ..DiskStore::at(&path)
        };
        let store = ObjectStore {
            layout,
            prefix: "{date}/".to_owned(),
            ..bucket(ObjectStoreKind::Disk(disk))
        };
        // Two agents one after another: the second one finds what the first left.
        let mut written = 0;
        for agent in 0..2 {
            let bench = Bench::of(&store, patient());
            for number in 0..2000 {
                offer_of(&bench, "shop", agent * 2000 + number);
            }
            bench.drain(LONG).await;
            bench.balanced();
            let room: u64 = found(&path).iter().map(|(_, room)| room).sum();
            assert!(room <= 256 << 10, "{layout:?}: {room}");
            assert!(room > 128 << 10, "{layout:?}: {room}");
            let payloads = bench.payloads();
            assert_eq!(payloads.stored, 2000, "{payloads:?}");
            assert!(payloads.removed.max_bytes > 0, "{payloads:?}");
            assert!(payloads.removed_bytes > 0, "{payloads:?}");
            written += 2000;
        }
        assert!(found(&path).len() < written);
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_yet_is_no_reason_not_to_start() {
    use crate::telemetry::queues::StoreState;
    let dir = tempfile::tempdir().unwrap();
    let blocked = dir.path().join("file");
    std::fs::write(&blocked, "").unwrap();
    // Below a file nothing can be made, not even by root.
    let path = blocked.join("p");
    let store = bucket(ObjectStoreKind::Disk(DiskStore::at(&path)));
    let mut bench = Bench::of(&store, patient());
    bench.offer(1);
    assert_eq!(bench.link().await.status, PayloadStatus::Lost);
    assert_eq!(bench.payloads().lost.store_refused, 1);
    let state = bench.stage.shared.store.state();
    assert_eq!(state.state, StoreState::Fails);
    assert!(state.error.is_some());

    std::fs::remove_file(&blocked).unwrap();
    bench.offer(2);
    assert_eq!(bench.link().await.status, PayloadStatus::Stored);
    bench.drain(LONG).await;
    bench.balanced();
}

#[tokio::test]
async fn how_the_store_is_stands_beside_its_queue() {
    let nobody = s3("127.0.0.1:1");
    let bench = Bench::of(&nobody, PayloadOptions::default());
    let began = Instant::now();
    loop {
        let fills = bench.ledger.queues().fills();
        let shown = serde_json::to_value(&fills["payloads/payloads"]).unwrap();
        let store = &shown["store"];
        if store["state"] == "fails" {
            let error = store["error"].as_str().unwrap();
            assert!(error.contains("`endpoint`"), "{error}");
            assert!(store["since"].as_str().unwrap().ends_with('Z'));
            break;
        }
        assert_eq!(store["state"], "unknown");
        assert!(began.elapsed() < LONG, "{shown}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
