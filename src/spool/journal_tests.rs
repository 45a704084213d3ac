use super::*;
use crate::spool::Usage;
use std::path::Path;
use std::time::Duration;

fn limits(max: u64) -> SpoolLimits {
    SpoolLimits {
        usage: Usage::new(max),
        max_age: Duration::from_secs(60),
    }
}

fn open_with(folder: &Path, limits: SpoolLimits) -> (Arc<Journals>, Scanned) {
    let lock = Lock::take(folder).expect("a lock").expect("nobody has it");
    Journals::open(lock, limits).expect("journals")
}

fn open(folder: &Path) -> (Arc<Journals>, Scanned) {
    open_with(folder, limits(1 << 30))
}

fn contents(texts: &[&str]) -> Vec<(Vec<u8>, u64)> {
    texts.iter().map(|t| (t.as_bytes().to_vec(), 1)).collect()
}

fn files(folder: &Path) -> usize {
    segment::numbers(folder).expect("a folder").len()
}

/// What waits in the first journal, and how many items are damaged.
fn first(journals: &Journals) -> (Vec<String>, u64) {
    let number = journals.first().expect("one waits");
    let mut opened = journals.read(number).expect("a file");
    let (mut texts, mut damaged) = (Vec::new(), 0);
    while let Some(entry) = opened.next_entry() {
        match entry {
            Entry::Content { content, .. } => texts.push(String::from_utf8(content).expect("text")),
            Entry::Damaged { items } => damaged += items,
        }
    }
    (texts, damaged)
}

#[test]
fn a_journal_whose_items_are_done_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journals, _) = open(dir.path());
    let journal = journals.begin(1).expect("a file");
    let places = journal.append(&contents(&["a", "b"]), 1).expect("room");
    let claims: Vec<Claim> = places
        .iter()
        .map(|at| journal.claim(vec![*at], 1))
        .collect();
    journal.seal();
    assert_eq!(files(dir.path()), 1);
    claims.into_iter().for_each(Claim::done);
    assert_eq!((files(dir.path()), journals.first()), (0, None));
    assert_eq!(journals.state(), State::default());
}

#[test]
fn what_is_not_done_waits_and_only_that() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journals, _) = open(dir.path());
    let journal = journals.begin(7).expect("a file");
    let places = journal
        .append(&contents(&["a", "b", "c"]), 7)
        .expect("room");
    let mut claims = places.iter().map(|at| journal.claim(vec![*at], 1));
    let (a, b, c) = (
        claims.next().expect("a"),
        claims.next().expect("b"),
        claims.next().expect("c"),
    );
    a.wait();
    assert_eq!(journals.first(), None, "others work on it");
    b.done();
    drop(c);
    assert_eq!(journals.first(), None, "more may be added");
    journal.seal();
    assert_eq!(first(&journals), (vec!["a".to_owned(), "c".to_owned()], 0));
    let state = journals.state();
    assert_eq!((state.left.items, state.oldest), (2, Some(7)));
    let number = journals.first().expect("one");
    assert!(!journals.expired(number, 60_007));
    assert!(journals.expired(number, 60_008));
    journals.done(number, 1);
    assert_eq!(journals.remove(number), 1);
    assert_eq!(files(dir.path()), 0);
}

#[test]
fn after_a_kill_all_that_was_written_waits_oldest_first_and_a_torn_end_is_passed_over() {
    let dir = tempfile::tempdir().expect("a folder");
    {
        let (journals, _) = open(dir.path());
        for texts in [["a", "b"], ["c", "d"]] {
            let journal = journals.begin(1).expect("a file");
            let places = journal.append(&contents(&texts), 1).expect("room");
            let claim = journal.claim(vec![places[0]], 1);
            if texts[0] == "a" {
                claim.done();
            }
            // Nothing is sealed or given back, as after SIGKILL.
            std::mem::forget(journal);
        }
    }
    let path = segment::path(dir.path(), 1);
    let len = path.metadata().expect("a file").len();
    let file = File::options().write(true).open(&path).expect("a file");
    file.set_len(len - 1).expect("cut");
    // The forgotten journals hold their folder's lock, as another process would not.
    let folder = tempfile::tempdir().expect("a folder");
    for number in 0..2 {
        let name = segment::path(dir.path(), number);
        std::fs::copy(name, segment::path(folder.path(), number)).expect("a copy");
    }
    let (journals, scanned) = open(folder.path());
    assert_eq!((scanned.left.items, scanned.corrupt.items), (2, 1));
    assert_eq!(first(&journals).0, ["b"]);
    assert_eq!(journals.remove(0), 1);
    assert_eq!(first(&journals).0, ["c"]);
    // New ones come behind them.
    let journal = journals.begin(2).expect("a file");
    assert_eq!(journal.number, 2);
}

#[test]
fn a_full_spool_takes_nothing_and_keeps_what_it_has() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journals, _) = open_with(dir.path(), limits(200));
    let journal = journals.begin(1).expect("a file");
    journal.append(&contents(&["a", "b"]), 1).expect("room");
    let more = contents(&["c", "d", "e"]);
    assert!(matches!(journal.append(&more, 1), Err(AppendError::Full)));
    assert!(journals.fill() > 0.4 && journals.fill() < 1.0);
    journal.seal();
    assert_eq!(first(&journals).0, ["a", "b"]);
}

#[test]
fn a_flipped_bit_costs_its_own_record() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journals, _) = open(dir.path());
    let journal = journals.begin(1).expect("a file");
    let places = journal.append(&contents(&["a", "b"]), 1).expect("room");
    let at = places[0] + record::HEADER as u64;
    journal.file.write_all_at(&[0xff; 2], at).expect("room");
    journal.seal();
    assert_eq!(first(&journals), (vec!["b".to_owned()], 1));
}
