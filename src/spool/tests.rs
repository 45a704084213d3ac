//! Spools in folders of their own.

use super::*;
use crate::sink::folder::FolderError;
use std::fs::File;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

const AGE: Duration = Duration::from_secs(60);

fn tally(items: u64) -> Tally {
    Tally {
        batches: 1,
        items,
        progress: 1,
    }
}

fn limits(max: u64) -> SpoolLimits {
    SpoolLimits {
        usage: Usage::new(max),
        max_age: AGE,
    }
}

fn open_with(folder: &Path, limits: SpoolLimits) -> (Spool, Scanned) {
    let lock = Lock::take(folder).expect("a lock").expect("nobody has it");
    Spool::open(lock, limits).expect("a spool")
}

fn open(folder: &Path) -> (Spool, Scanned) {
    open_with(folder, limits(1 << 30))
}

/// Content that does not compress.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..len).map(|_| random.u8(..)).collect()
}

/// Takes everything out; the first bytes of the requests.
fn drain(spool: &mut Spool, now: u64) -> (Vec<u8>, GivenUp) {
    let mut seen = Vec::new();
    let mut all = GivenUp::default();
    loop {
        let (oldest, given_up) = spool.oldest(now);
        all.expired += given_up.expired;
        all.corrupt += given_up.corrupt;
        let Some(oldest) = oldest else {
            return (seen, all);
        };
        seen.push(oldest.request[0]);
        spool.done(&oldest);
    }
}

/// A request that says its number first.
fn request(number: u8, len: usize) -> Vec<u8> {
    let mut request = noise(len, number.into());
    request[0] = number;
    request
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "spool"))
        .collect();
    files.sort();
    files
}

#[test]
fn batches_come_out_in_their_order_and_their_files_go() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut spool, scanned) = open(dir.path());
    assert_eq!(scanned, Scanned::default());
    for number in 0..100 {
        let request = request(number, 200_000);
        spool.append(&request, tally(3), 1000).expect("room");
    }
    assert!(files(dir.path()).len() > 3);
    let state = spool.state();
    assert_eq!((state.left.items, state.left.progress), (300, 100));
    assert!(state.bytes > 20_000_000);
    assert_eq!(state.oldest, Some(1000));
    // It stays until it is done.
    for _ in 0..2 {
        let (oldest, _) = spool.oldest(1000);
        assert_eq!(oldest.expect("a batch").request, request(0, 200_000));
    }
    let (seen, given_up) = drain(&mut spool, 1000);
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
    assert_eq!(given_up, GivenUp::default());
    assert_eq!(spool.state(), State::default());
    assert_eq!(files(dir.path()), [] as [PathBuf; 0]);
    assert_eq!(spool.limits.usage.bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn what_is_added_while_it_is_read_comes_behind() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut spool, _) = open(dir.path());
    for number in 0..3 {
        spool.append(&[number], tally(1), 0).expect("room");
    }
    let (first, _) = spool.oldest(0);
    for number in 3..6 {
        spool.append(&[number], tally(1), 0).expect("room");
    }
    spool.done(&first.expect("a batch"));
    assert_eq!(drain(&mut spool, 0).0, [1, 2, 3, 4, 5]);
    spool.append(&[6], tally(1), 0).expect("room");
    assert_eq!(drain(&mut spool, 0).0, [6]);
}

#[test]
fn a_spool_that_was_dropped_without_a_word_is_there_again_without_what_was_done() {
    let dir = tempfile::tempdir().expect("a folder");
    {
        let (mut spool, _) = open(dir.path());
        for number in 0..10 {
            spool.append(&[number], tally(2), 5).expect("room");
        }
        for _ in 0..4 {
            let (oldest, _) = spool.oldest(5);
            spool.done(&oldest.expect("a batch"));
        }
        // Taken, and not done: it is sent again.
        assert!(spool.oldest(5).0.is_some());
    }
    let (mut spool, scanned) = open(dir.path());
    assert_eq!((scanned.left.batches, scanned.left.items), (6, 12));
    assert_eq!(scanned.corrupt, Tally::default());
    spool.append(&[10], tally(2), 6).expect("room");
    assert_eq!(spool.state().oldest, Some(5));
    assert_eq!(drain(&mut spool, 6).0, [4, 5, 6, 7, 8, 9, 10]);
}

#[test]
fn all_spools_of_a_store_stay_within_its_bytes_and_what_is_sent_makes_room() {
    let dir = tempfile::tempdir().expect("a folder");
    let (one, two) = (dir.path().join("1"), dir.path().join("2"));
    std::fs::create_dir(&one).expect("a folder");
    std::fs::create_dir(&two).expect("a folder");
    let limits = limits(1 << 20);
    let (mut one, _) = open_with(&one, limits.clone());
    let (mut two, _) = open_with(&two, limits.clone());
    let mut taken = 0;
    for number in 0..100 {
        let spool = if number % 2 == 0 { &mut one } else { &mut two };
        match spool.append(&request(number, 50_000), tally(1), 0) {
            Ok(()) => taken += 1,
            Err(AppendError::Full) => {}
            Err(AppendError::Io(error)) => panic!("{error}"),
        }
    }
    assert_eq!(taken, 20);
    let on_disk = one.state().bytes + two.state().bytes;
    assert!(on_disk <= 1 << 20, "{on_disk}");
    let (oldest, _) = one.oldest(0);
    one.done(&oldest.expect("a batch"));
    two.append(&request(0, 50_000), tally(1), 0)
        .expect("room again");
    // What was there counts after a restart too.
    let folder = one.folder().to_owned();
    drop(one);
    let again = SpoolLimits {
        usage: Usage::new(1 << 20),
        max_age: AGE,
    };
    let (one, _) = open_with(&folder, again);
    let bytes = one.limits.usage.bytes.load(Ordering::Relaxed);
    assert_eq!(bytes, one.state().bytes);
    assert!(bytes > 400_000, "{bytes}");
}

#[test]
fn what_is_too_old_is_given_up_and_a_clock_that_goes_back_harms_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut spool, _) = open(dir.path());
    for (number, written) in [(0, 1_000), (1, 30_000), (2, 61_000), (3, 10_000_000)] {
        spool.append(&[number], tally(5), written).expect("room");
    }
    let (seen, given_up) = drain(&mut spool, 62_000);
    assert_eq!(seen, [1, 2, 3]);
    assert_eq!(given_up.expired, tally(5));
    assert_eq!(given_up.corrupt, Tally::default());
    assert_eq!(spool.state(), State::default());
}

#[test]
fn a_flipped_bit_anywhere_in_a_file_loses_one_batch_at_the_most_and_all_are_accounted_for() {
    let dir = tempfile::tempdir().expect("a folder");
    {
        let (mut spool, _) = open(dir.path());
        for number in 0..3 {
            spool
                .append(&request(number, 40), tally(7), 0)
                .expect("room");
        }
    }
    let file = files(dir.path()).remove(0);
    let good = std::fs::read(&file).expect("the file");
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        // Damaged while the agent is away; counted at the first start alone.
        std::fs::write(&file, &bad).expect("write it");
        let (spool, scanned) = open(dir.path());
        drop(spool);
        let (mut spool, again) = open(dir.path());
        assert_eq!(
            (again.left, again.corrupt),
            (scanned.left, Tally::default())
        );
        let (seen, given_up) = drain(&mut spool, 0);
        drop(spool);
        assert!(seen.len() >= 2 && seen.is_sorted(), "{at}: {seen:?}");
        assert_eq!(given_up, GivenUp::default(), "{at}");
        let known = seen.len() as u64 + scanned.corrupt.batches;
        assert!(known == 3 || scanned.unreadable > 0, "{at}: {scanned:?}");

        // Damaged while it runs: it knows what was there.
        std::fs::write(&file, &good).expect("write it");
        let (mut spool, scanned) = open(dir.path());
        assert_eq!(scanned.left.batches, 3);
        std::fs::write(&file, &bad).expect("write it");
        let (seen, given_up) = drain(&mut spool, 0);
        drop(spool);
        let batches = seen.len() as u64 + given_up.corrupt.batches;
        let items = seen.len() as u64 * 7 + given_up.corrupt.items;
        assert_eq!((batches, items), (3, 21), "{at}");
        assert!(!file.exists());
        std::fs::write(&file, &good).expect("write it");
    }
}

#[test]
fn another_file_in_the_place_of_one_gives_no_more_than_went_in() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut spool, _) = open(dir.path());
    spool.append(&[0], tally(3), 0).expect("room");
    let file = files(dir.path()).remove(0);
    let other = [1, 2, 3].map(|n| record::encode(&[n], tally(9), 0).expect("a record"));
    std::fs::write(&file, other.concat()).expect("write it");
    let (oldest, given_up) = spool.oldest(0);
    let oldest = oldest.expect("a batch");
    assert_eq!((oldest.tally, given_up), (tally(3), GivenUp::default()));
    spool.done(&oldest);
    assert_eq!(spool.state(), State::default());
    assert!(!file.exists());
}

#[test]
fn a_torn_end_is_cut_off_and_counted_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let lengths: Vec<u64> = {
        let (mut spool, _) = open(dir.path());
        let mut append = |number| {
            spool
                .append(&request(number, 100), tally(7), 0)
                .expect("room");
            spool.state().bytes
        };
        (0..3).map(&mut append).collect()
    };
    let file = files(dir.path()).remove(0);
    let good = std::fs::read(&file).expect("the file");
    for cut in lengths[1]..lengths[2] {
        std::fs::write(&file, &good[..cut as usize]).expect("write it");
        let (spool, scanned) = open(dir.path());
        assert_eq!(scanned.left.batches, 2, "cut at {cut}");
        let torn = cut - lengths[1];
        match torn {
            0 => assert_eq!((scanned.corrupt.batches, scanned.unreadable), (0, 0)),
            1..=43 => assert_eq!((scanned.corrupt.batches, scanned.unreadable), (0, torn)),
            _ => assert_eq!((scanned.corrupt, scanned.unreadable), (tally(7), 0)),
        }
        assert_eq!(file.metadata().expect("the file").len(), lengths[1]);
        drop(spool);
        let (mut spool, again) = open(dir.path());
        assert_eq!((again.corrupt.batches, again.unreadable), (0, 0));
        assert_eq!(drain(&mut spool, 0).0, [0, 1]);
    }
}

#[test]
fn a_file_that_is_taken_away_is_counted_and_the_others_go_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut spool, _) = open(dir.path());
    for number in 0..60 {
        let request = request(number, 200_000);
        spool.append(&request, tally(1), 0).expect("room");
    }
    let all = files(dir.path());
    std::fs::remove_file(&all[0]).expect("remove it");
    std::fs::write(&all[1], b"").expect("empty it");
    let (seen, given_up) = drain(&mut spool, 0);
    assert_eq!(seen.len() as u64 + given_up.corrupt.batches, 60);
    assert_eq!(*seen.last().expect("some"), 59);
    assert!(seen[0] > 30, "{seen:?}");
}

#[test]
fn what_cannot_be_written_leaves_nothing_behind_and_later_batches_are_whole() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut spool, _) = open(dir.path());
    spool.append(&[0], tally(1), 0).expect("room");
    let before = spool.state();
    // A file that only takes reads stands for a disk that takes nothing.
    let file = files(dir.path()).remove(0);
    let good = spool.writer.replace(File::open(&file).expect("the file"));
    let error = spool
        .append(&[1], tally(1), 0)
        .expect_err("no way to write");
    assert!(matches!(error, AppendError::Io(_)), "{error}");
    assert_eq!(spool.state(), before);
    assert_eq!(
        spool.limits.usage.bytes.load(Ordering::Relaxed),
        before.bytes
    );
    spool.writer = good;
    spool.append(&[2], tally(1), 0).expect("room");
    assert_eq!(drain(&mut spool, 0).0, [0, 2]);
}

#[test]
fn a_folder_has_one_user() {
    let dir = tempfile::tempdir().expect("a folder");
    let first = Lock::take(dir.path()).expect("a lock");
    assert!(first.is_some());
    assert!(Lock::take(dir.path()).expect("no error").is_none());
    drop(first);
    // As another process has it: by another description of the file.
    let file = File::open(dir.path().join(lock::NAME)).expect("the file");
    file.lock().expect("a lock");
    let error = Lock::take(dir.path()).expect_err("in use").to_string();
    let pid = std::process::id().to_string();
    assert!(
        error.contains("used by process") && error.contains(&pid),
        "{error}"
    );
    drop(file);
    assert!(Lock::take(dir.path()).expect("a lock").is_some());
}

#[test]
fn folders_and_files_are_for_their_owner_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let base = dir.path().join("var/spool");
    let folder = prepare(&base, "collector", "traces").expect("a folder");
    assert_eq!(folder, base.join("collector.traces"));
    let (mut spool, _) = open(&folder);
    spool.append(&[0], tally(1), 0).expect("room");
    let mode = |path: &Path| path.metadata().expect("it is there").mode() & 0o7777;
    assert_eq!((mode(&base), mode(&folder)), (0o700, 0o700));
    for entry in std::fs::read_dir(&folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    // An id is no way out.
    let odd = prepare(&base, "..", "logs").expect("a folder");
    assert_eq!(odd, base.join("...logs"));
    // One that is open to others is closed where only our files are in it.
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&folder, open.clone()).expect("open it");
    prepare(&base, "collector", "traces").expect("ours");
    assert_eq!(mode(&folder), 0o700);
    std::fs::set_permissions(&folder, open).expect("open it");
    std::fs::write(folder.join("notes.txt"), "").expect("a file");
    let error = prepare(&base, "collector", "traces").expect_err("not ours alone");
    assert!(error.to_string().contains("chmod 700"), "{error}");
}

#[test]
fn links_are_not_followed() {
    let dir = tempfile::tempdir().expect("a folder");
    let (real, base) = (dir.path().join("real"), dir.path().join("base"));
    std::fs::create_dir(&real).expect("a folder");
    symlink(&real, &base).expect("a link");
    let error = prepare(&base, "c", "traces").expect_err("a link");
    assert!(
        matches!(error, SpoolError::Folder(FolderError::Link { .. })),
        "{error}"
    );
    let victim = dir.path().join("victim");
    std::fs::write(&victim, "precious").expect("a file");
    symlink(&victim, segment::path(&real, 0)).expect("a link");
    let (mut spool, scanned) = open(&real);
    assert_eq!(scanned.unreadable_files, 1);
    spool.append(&[1], tally(1), 0).expect("another name");
    assert_eq!(drain(&mut spool, 0).0, [1]);
    drop(spool);
    std::fs::remove_file(real.join(lock::NAME)).expect("remove it");
    symlink(&victim, real.join(lock::NAME)).expect("a link");
    assert!(Lock::take(&real).is_err());
    assert_eq!(std::fs::read(&victim).expect("the file"), b"precious");
}
