use super::*;
use std::os::unix::fs::symlink;

const DAY: Duration = Duration::from_secs(86_400);
const DOCUMENT: &[u8] = br#"{"metadata":{}}"#;

/// A folder with payloads.
struct Bench {
    dir: tempfile::TempDir,
    ledger: Ledger,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            dir: tempfile::tempdir().unwrap(),
            ledger: Ledger::new(),
        }
    }

    /// A file that is so old.
    fn file(&self, path: &str, content: &[u8], age: Duration) -> PathBuf {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
        path
    }

    fn payload(&self, number: u32, age: Duration) -> PathBuf {
        self.file(&format!("{number:064x}"), DOCUMENT, age)
    }

    fn room(&self, bytes: u64, age: Duration) -> Arc<Room> {
        let disk = DiskStore {
            max_bytes: bytes,
            max_age: age,
            ..DiskStore::at(self.dir.path())
        };
        Room::of(self.dir.path().to_owned(), 0, &disk, &self.ledger)
    }

    fn counts(&self) -> (u64, u64) {
        let removed = self.ledger.snapshot().payloads.removed;
        (removed.max_bytes, removed.max_age)
    }
}

fn swept(root: &Path, depth: usize, age: Duration, goal: u64) -> Swept {
    let mut sweep = Sweep::new(root, depth, SystemTime::now());
    sweep.run(age, goal).unwrap();
    sweep.swept
}

#[tokio::test]
async fn the_oldest_make_room_right_after_a_restart_too_and_no_more_than_a_tenth_goes() {
    let bench = Bench::new();
    let files: Vec<_> = (0..100)
        .map(|n| bench.payload(n, Duration::from_secs(1000 - u64::from(n))))
        .collect();
    let room = bench.room(100 * 4096, DAY);
    // Nothing is known yet, as after a start.
    drop(room.walk(100 * 4096, None).await.unwrap());
    assert_eq!(bench.counts(), (0, 0));
    room.take(100).await.unwrap().stored();
    let left: Vec<_> = files.iter().map(|file| file.exists()).collect();
    assert!(left[..11].iter().all(|there| !there), "{left:?}");
    assert!(left[11..].iter().all(|there| *there), "{left:?}");
    assert_eq!(bench.counts(), (11, 0));
    let bytes = bench.ledger.snapshot().payloads.removed_bytes;
    assert_eq!(bytes, 11 * 4096);
    // The next ones need no walk.
    for _ in 0..9 {
        room.take(4096).await.unwrap().stored();
    }
    assert_eq!(bench.counts(), (11, 0));
}

#[tokio::test]
async fn what_is_given_back_is_room_again() {
    let bench = Bench::new();
    let file = bench.payload(1, Duration::from_secs(9));
    let room = bench.room(2 * 4096, DAY);
    drop(room.walk(u64::MAX, None).await.unwrap());
    for _ in 0..5 {
        drop(room.take(10).await.unwrap());
    }
    assert!(file.exists());
    let first = room.take(10).await.unwrap();
    assert!(file.exists());
    let _second = room.take(10).await.unwrap();
    drop(first);
    assert!(!file.exists());
}

#[tokio::test]
async fn an_object_that_is_larger_than_the_room_is_unfit_and_removes_nothing() {
    let bench = Bench::new();
    let file = bench.payload(1, Duration::from_secs(9));
    let room = bench.room(2 * 4096, DAY);
    let error = room.take(3 * 4096).await.err().unwrap();
    assert_eq!(error.failure(), Failure::Unfit);
    assert!(error.to_string().contains("raise `max_bytes`"), "{error}");
    assert!(file.exists());
}

#[tokio::test]
async fn what_is_too_old_goes_by_itself() {
    let bench = Bench::new();
    let old = bench.payload(1, Duration::from_secs(61));
    let soon = bench.payload(2, Duration::from_secs(59));
    let room = bench.room(1 << 20, Duration::from_secs(60));
    let keeping = tokio::spawn(room.clone().look_after());
    let began = std::time::Instant::now();
    while soon.exists() {
        assert!(began.elapsed() < Duration::from_secs(20), "it stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!old.exists());
    keeping.abort();
    assert_eq!(bench.counts(), (0, 2));
}

#[test]
fn nothing_is_removed_that_is_not_ours() {
    let bench = Bench::new();
    let name = "ab".repeat(32);
    let old = 400 * DAY;
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join(&name);
    std::fs::write(&target, DOCUMENT).unwrap();
    symlink(&target, bench.dir.path().join("cd".repeat(32))).unwrap();
    symlink(outside.path(), bench.dir.path().join("linked")).unwrap();
    let keep = [
        bench.file("notes.txt", DOCUMENT, old),
        bench.file("backup.ndjson.zst", &segment::ZSTD, old),
        bench.file(&"12".repeat(32), b"a file of somebody", old),
        bench.file(&format!("below/{name}"), DOCUMENT, old),
        target,
    ];
    let ours = [
        bench.file(&name, DOCUMENT, old),
        bench.file(
            "20261123T034512123Z-9f3c52d1a07be446.ndjson.zst",
            &segment::ZSTD,
            old,
        ),
        bench.file(&format!("{name}#1"), b"half", old),
    ];
    let result = swept(bench.dir.path(), 0, DAY, 0);
    assert_eq!(result.aged, (2, 2 * 4096));
    assert!(keep.iter().all(|file| file.exists()));
    assert!(ours.iter().all(|file| !file.exists()));
}

#[test]
fn folders_of_a_prefix_go_with_their_last_payload() {
    let bench = Bench::new();
    let name = "ab".repeat(32);
    bench.file(&format!("2026-11-22/04/{name}"), DOCUMENT, 2 * DAY);
    bench.file(&format!("2026-11-22/05/{name}"), DOCUMENT, 2 * DAY);
    let today = bench.file(&format!("2026-11-23/04/{name}"), DOCUMENT, DAY / 2);
    let result = swept(bench.dir.path(), 2, DAY, u64::MAX);
    assert_eq!((result.aged.0, result.left), (2, 4096));
    assert!(!bench.dir.path().join("2026-11-22").exists());
    assert!(today.exists());
}

#[test]
fn what_is_being_written_is_left_alone_until_it_is_old() {
    let bench = Bench::new();
    let name = "ab".repeat(32);
    let young = bench.file(&format!("{name}#1"), b"half", Duration::from_secs(60));
    let old = bench.file(&format!("{name}#2"), b"half", 2 * ABANDONED);
    let result = swept(bench.dir.path(), 0, DAY, u64::MAX);
    assert!(young.exists() && !old.exists());
    assert_eq!((result.left, result.aged), (0, (0, 0)));
}

#[test]
fn a_folder_that_is_not_there_has_all_its_room() {
    let bench = Bench::new();
    let result = swept(&bench.dir.path().join("none"), 0, DAY, 0);
    assert_eq!(result, Swept::default());
}
