use super::*;
use crate::probe::elf;

const LIBSSL: &str = "/usr/lib/x86_64-linux-gnu/libssl.so.3";
const LONG: Duration = Duration::from_secs(1);

struct Scene {
    dir: tempfile::TempDir,
    cache: Cache,
}

impl Scene {
    fn new() -> Scene {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let cache = Cache::open(&dir.path().join("scans")).expect("opened");
        std::fs::copy(LIBSSL, dir.path().join("lib")).expect("Debian's libssl3 is installed");
        Scene { dir, cache }
    }

    fn file(&self) -> File {
        File::open(self.dir.path().join("lib")).expect("opened")
    }

    /// Keeps the scan of the file; answers it and its key.
    fn kept(&self) -> (Scan, Key) {
        let file = self.file();
        let scan = elf::scan_file(&file).expect("scanned");
        let key = key(&file);
        self.cache.put(&key, &file, &scan, LONG).expect("kept");
        (scan, key)
    }

    fn entry(&self, key: &Key) -> PathBuf {
        self.dir.path().join("scans").join(&key.name)
    }
}

fn key(file: &File) -> Key {
    Key::new(&Identity::of(file).expect("an ELF file"), file).expect("a key")
}

/// Changes bytes of a file in its place.
fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("read");
    change(&mut bytes);
    std::fs::write(path, bytes).expect("written");
}

#[test]
fn what_was_kept_comes_back_as_it_was() {
    let scene = Scene::new();
    let (scan, key) = scene.kept();
    assert!(scan.places().next().is_some());
    let back = scene.cache.get(&key, &scene.file()).expect("believed");
    assert_eq!(back, Some(scan));
    let mode = std::fs::metadata(scene.entry(&key)).expect("there").mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn another_copy_of_the_file_has_the_same_entry_by_its_build_id() {
    let scene = Scene::new();
    let (scan, _) = scene.kept();
    let copy = scene.dir.path().join("copy");
    std::fs::copy(LIBSSL, &copy).expect("copied");
    let copy = File::open(copy).expect("opened");
    let back = scene.cache.get(&key(&copy), &copy).expect("believed");
    assert_eq!(back, Some(scan));
}

#[test]
fn a_file_without_a_build_id_is_known_by_its_place_and_times() {
    let scene = Scene::new();
    let file = scene.file();
    let mut identity = Identity::of(&file).expect("an ELF file");
    identity.build_id = None;
    let first = Key::new(&identity, &file).expect("a key");
    assert_eq!(Key::new(&identity, &scene.file()).expect("a key"), first);
    let copy = scene.dir.path().join("copy");
    std::fs::copy(LIBSSL, &copy).expect("copied");
    let copy = File::open(copy).expect("opened");
    assert_ne!(Key::new(&identity, &copy).expect("a key"), first);
}

#[test]
fn a_scan_that_was_quick_is_not_kept() {
    let scene = Scene::new();
    let file = scene.file();
    let key = key(&file);
    let quick = Duration::from_millis(1);
    scene
        .cache
        .put(&key, &file, &Scan::default(), quick)
        .expect("left out");
    assert!(!scene.entry(&key).exists());
}

#[test]
fn a_file_with_the_same_headers_and_other_code_at_a_place_is_scanned_anew() {
    let scene = Scene::new();
    let (scan, kept) = scene.kept();
    let (target, placement) = scan.places().next().expect("a place");
    let at = usize::try_from(target.file_offset).expect("an offset");
    for at in [
        at,
        at + 20,
        at - usize::try_from(placement.offset).expect("an offset"),
    ] {
        change(&scene.dir.path().join("lib"), |bytes| bytes[at] ^= 0x55);
        let file = scene.file();
        assert_eq!(key(&file), kept, "the key does not see it");
        let got = scene
            .cache
            .get(&kept, &file)
            .expect("no fault of the entry");
        assert_eq!(got, None);
        change(&scene.dir.path().join("lib"), |bytes| bytes[at] ^= 0x55);
    }
    let back = scene.cache.get(&kept, &scene.file()).expect("believed");
    assert!(back.is_some());
}

#[test]
fn a_file_whose_headers_changed_has_another_key() {
    let scene = Scene::new();
    let (_, kept) = scene.kept();
    // A program header's flags, as a tool changes them that edits files; the build id stays.
    change(&scene.dir.path().join("lib"), |bytes| bytes[64 + 4] ^= 1);
    assert_ne!(key(&scene.file()), kept);
}

#[test]
fn a_damaged_entry_is_not_believed_wherever_the_damage_is() {
    let scene = Scene::new();
    let (_, key) = scene.kept();
    let path = scene.entry(&key);
    let whole = std::fs::read(&path).expect("read");
    for at in (0..whole.len()).step_by(7) {
        change(&path, |bytes| bytes[at] ^= 1);
        assert!(scene.cache.get(&key, &scene.file()).is_err(), "{at}");
        std::fs::write(&path, &whole).expect("written");
    }
    for len in [0, 1, 40, whole.len() / 2, whole.len() - 1] {
        change(&path, |bytes| bytes.truncate(len));
        assert!(scene.cache.get(&key, &scene.file()).is_err(), "{len}");
        std::fs::write(&path, &whole).expect("written");
    }
    assert!(
        scene
            .cache
            .get(&key, &scene.file())
            .expect("whole")
            .is_some()
    );
}

#[test]
fn an_entry_of_another_scanner_another_file_or_another_user_is_not_believed() {
    let scene = Scene::new();
    let (_, key) = scene.kept();
    let path = scene.entry(&key);
    let whole = std::fs::read(&path).expect("read");
    change(&path, |bytes| {
        let scanner = bytes.iter().position(|b| *b == b'1').expect("a version") + 2;
        bytes[scanner] = if bytes[scanner] == b'0' { b'1' } else { b'0' };
    });
    let refused = scene.cache.get(&key, &scene.file());
    assert!(
        matches!(refused, Err(CacheError::Foreign(_))),
        "{refused:?}"
    );

    let other = Key {
        name: "0".repeat(64),
    };
    std::fs::write(&path, &whole).expect("written");
    std::fs::copy(&path, scene.entry(&other)).expect("copied");
    let refused = scene.cache.get(&other, &scene.file());
    assert!(
        matches!(refused, Err(CacheError::Damaged(_))),
        "{refused:?}"
    );

    std::fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("set");
    let refused = scene.cache.get(&key, &scene.file());
    assert!(
        matches!(refused, Err(CacheError::Foreign(_))),
        "{refused:?}"
    );

    std::fs::remove_file(&path).expect("removed");
    std::os::unix::fs::symlink(scene.entry(&other), &path).expect("linked");
    assert!(scene.cache.get(&key, &scene.file()).is_err());
}

#[test]
fn a_folder_that_others_may_write_to_is_not_used() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("scans");
    drop(Cache::open(&path).expect("made"));
    assert_eq!(
        std::fs::metadata(&path).expect("there").mode() & 0o777,
        0o700
    );
    std::fs::set_permissions(&path, Permissions::from_mode(0o722)).expect("set");
    let refused = Cache::open(&path);
    assert!(
        matches!(refused, Err(CacheError::Foreign(_))),
        "{refused:?}"
    );
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).expect("linked");
    assert!(Cache::open(&link).is_err());
}

#[test]
fn the_entries_used_longest_ago_make_room() {
    let scene = Scene::new();
    let folder = scene.dir.path().join("scans");
    for n in 0..MAX_ENTRIES {
        let path = folder.join(format!("{n:064}"));
        std::fs::write(&path, "").expect("written");
        let used = SystemTime::now() - Duration::from_secs(10_000 - n as u64);
        let file = OpenOptions::new().write(true).open(&path).expect("opened");
        file.set_modified(used).expect("set");
    }
    let (_, key) = scene.kept();
    let count = std::fs::read_dir(&folder).expect("listed").count();
    assert_eq!(count, MAX_ENTRIES * 7 / 8 + 1);
    assert!(scene.entry(&key).exists());
    assert!(!folder.join(format!("{:064}", 0)).exists());
    assert!(folder.join(format!("{:064}", MAX_ENTRIES - 1)).exists());
}
