//! Recorded event files give the transactions that stand beside them.
//!
//! `UPDATE_GOLDEN=1 cargo test --test golden` writes the recordings of the scripted connections and the expectations
//! anew; look at the difference before committing it.

mod http_support;

use http_support::{Cutting, Fixture, Seen, View, dump, fixtures, limits, record};
use plainspan::conn::Table;
use plainspan::event::record::{Reader, Ring, Writer};
use plainspan::event::{KernelTime, Role, decode};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/events")
}

fn updating() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

fn write_recording(fixture: &Fixture, view: View) {
    let cutting = Cutting {
        operations: vec![4096],
        events: vec![1000],
    };
    let recording = record(fixture, view, &cutting);
    let mut writer = Writer::new(Vec::new()).expect("a vector takes all");
    let mut put = |ring, record: &[u8]| writer.write(ring, record).expect("a vector takes all");
    put(Ring::Control, &recording.before[0]);
    recording.before[1..]
        .iter()
        .for_each(|r| put(Ring::Data, r));
    recording.data.iter().for_each(|(_, r)| put(Ring::Data, r));
    recording.after.iter().for_each(|r| put(Ring::Control, r));
    let file = writer.finish().expect("flushed");
    let path = folder().join(format!("{}.events", fixture.name));
    fs::write(path, file).expect("the fixtures folder can be written");
}

/// Everything that a recording gives.
fn replay(path: &Path) -> Value {
    let file = fs::File::open(path).expect("a recording");
    let mut reader = Reader::new(std::io::BufReader::new(file)).expect("an event file");
    let mut table = Table::new(limits());
    let mut seen = Seen::default();
    let mut end = KernelTime(0);
    while let Some((_, record)) = reader.read().expect("an undamaged file") {
        let event = decode(record).expect("an event");
        table.handle(&event, &mut seen);
        end.0 += 1;
    }
    table.finish(end, &mut seen);
    json!({
        "transactions": seen.transactions.iter().map(|t| dump(t, true)).collect::<Vec<_>>(),
        "lost": seen.lost.iter().map(|l| format!("{l:?}")).collect::<Vec<_>>(),
        "connections": seen.fates.iter().map(|f| format!("{f:?}")).collect::<Vec<_>>(),
    })
}

fn recordings() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).expect("the fixtures folder");
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "events"));
    paths.sort();
    paths
}

#[test]
fn recorded_events_give_the_expected_transactions() {
    if updating() {
        // The big body would only make the files big.
        for (i, fixture) in fixtures()
            .iter()
            .enumerate()
            .filter(|(_, f)| f.name != "big_body")
        {
            let role = if i % 2 == 0 {
                Role::Client
            } else {
                Role::Server
            };
            write_recording(
                fixture,
                View {
                    role,
                    tls: i % 3 != 0,
                },
            );
        }
    }
    let paths = recordings();
    assert!(
        paths.len() >= 12,
        "recordings are missing from {}",
        folder().display()
    );
    for path in paths {
        let got = replay(&path);
        let expected = path.with_extension("json");
        if updating() {
            let text = serde_json::to_string_pretty(&got).expect("JSON");
            fs::write(&expected, text + "\n").expect("the fixtures folder can be written");
        }
        let want = fs::read_to_string(&expected).expect("an expectation beside each recording");
        let want: Value = serde_json::from_str(&want).expect("JSON");
        assert_eq!(got, want, "{}", path.display());
    }
}
