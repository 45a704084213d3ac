//! `payload list`, `export` and `report`: many transactions.

use crate::server::S3;
use crate::stored::{LAYOUTS, Said, Stored, fails, get, lines, run, text, well};
use plainspan::event::Role;
use serde_json::Value;

fn some() -> Vec<Said> {
    let long = vec![b'z'; 5_000];
    let mut all: Vec<Said> = (0..30)
        .map(|n| {
            let said =
                get(&format!("/users/{n}?q=1")).header("X-User", ["ann", "bob", "eve"][n % 3]);
            let said = said.answered(if n % 10 == 0 { 503 } else { 200 }, "text/plain", &long);
            Said {
                at: n as u64,
                millis: n as u64 + 1,
                ..said
            }
        })
        .collect();
    all.push(Said {
        service: "cart",
        role: Role::Server,
        at: 100,
        status: None,
        ..get("/items")
    });
    all.push(Said {
        service: "cart",
        at: 101,
        ..get("/items").post("a=1").answered(404, "text/plain", "no")
    });
    all
}

/// The same captures in each layout, in a folder and in S3.
fn everywhere(s3: &[S3; 2], said: &[Said]) -> Vec<Stored> {
    let folders = LAYOUTS.map(|layout| Stored::in_a_folder(layout, said));
    let remote = LAYOUTS
        .iter()
        .zip(s3)
        .map(|(layout, s3)| Stored::at(&s3.settings(), layout, said));
    folders.into_iter().chain(remote).collect()
}

/// Runs a command over all of the store.
fn over(stored: &Stored, command: &str, options: &[&str]) -> Vec<u8> {
    let config = stored.config();
    well(&[&[command, "-c", text(&config)], options].concat()).stdout
}

fn paths(stored: &Stored, options: &[&str]) -> Vec<String> {
    let listed = lines(&over(stored, "list", &[&["--json"], options].concat()));
    let mut paths: Vec<_> = listed
        .iter()
        .map(|line| line["path"].as_str().expect("a path").to_owned())
        .collect();
    paths.sort();
    paths
}

#[test]
fn what_is_asked_for_is_listed_and_its_links_are_good() {
    let s3 = [S3::start(), S3::start()];
    let said = some();
    for stored in everywhere(&s3, &said) {
        let listed = lines(&over(&stored, "list", &["--json"]));
        let mut urls: Vec<_> = listed
            .iter()
            .map(|line| line["url"].as_str().expect("a link"))
            .collect();
        urls.sort_unstable();
        let mut want: Vec<_> = (0..said.len()).map(|n| stored.url(n)).collect();
        want.sort_unstable();
        assert_eq!(urls, want);
        for (options, want) in [
            (&["--service", "cart"][..], &["/items", "/items"][..]),
            (
                &["--status", "5xx"],
                &["/users/0", "/users/10", "/users/20"],
            ),
            (&["--status", "none,404"], &["/items", "/items"]),
            (&["--role", "server"], &["/items"]),
            (&["--method", "post"], &["/items"]),
            (
                &["--path", "/users/2*", "--min-duration", "28ms"],
                &["/users/27", "/users/28", "/users/29"],
            ),
            (&["--since", "2026-11-23T00:01:41Z"], &["/items"]),
            (
                &["--until", "2026-11-23T00:00:01Z"],
                &["/users/0", "/users/1"],
            ),
            (&["--host", "other.example"], &[]),
        ] {
            assert_eq!(paths(&stored, options), want, "{options:?}");
        }
        assert_eq!(paths(&stored, &["--limit", "7"]).len(), 7);
        let table = over(&stored, "list", &["--status", "404"]);
        let table = String::from_utf8(table).expect("text");
        assert!(
            table.starts_with("2026-11-23T00:01:41") && table.contains(" 404 POST "),
            "{table}"
        );
        assert!(table.trim_end().ends_with(stored.url(31)), "{table}");
    }
}

#[test]
fn of_a_segment_the_index_alone_is_read_and_of_objects_all_which_is_said() {
    let s3 = [S3::start(), S3::start()];
    let said = some();
    let [objects, segments] = [0, 1].map(|n| Stored::at(&s3[n].settings(), LAYOUTS[n], &said));
    let told = |stored: &Stored| {
        let config = stored.config();
        String::from_utf8(well(&["list", "-c", text(&config)]).stderr).expect("text")
    };
    s3[1].server.forget();
    assert!(told(&segments).contains("read the indices of 1 segments"));
    let asked = s3[1].server.reads();
    assert_eq!(asked.len(), 2, "a list and the segment's end: {asked:?}");
    let told = told(&objects);
    assert!(told.contains("layout object has no index"), "{told}");
    assert!(told.contains("32 objects whole"), "{told}");
}

#[test]
fn a_long_index_takes_a_second_read() {
    let s3 = S3::start();
    // Names that do not compress, so that the index is longer than the end that is read first.
    let mut seed = 1_u64;
    let said: Vec<_> = (0..3_000)
        .map(|_| {
            let name: String = (0..24)
                .map(|_| {
                    seed = seed
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    char::from(b'a' + ((seed >> 33) % 26) as u8)
                })
                .collect();
            get(&format!("/{name}"))
        })
        .collect();
    let stored = Stored::at(&s3.settings(), "segment", &said);
    s3.server.forget();
    assert_eq!(paths(&stored, &[]).len(), 3_000);
    let reads = s3
        .server
        .reads()
        .iter()
        .filter(|asked| asked.header("range").is_some())
        .count();
    assert_eq!(reads, 2);
}

#[test]
fn what_was_closed_long_before_is_not_looked_at() {
    let s3 = S3::start();
    let stored = Stored::at(&s3.settings(), "segment", &some());
    s3.put(
        "20200101T000000000Z-0000000000000000.ndjson.zst",
        b"old and damaged".to_vec(),
    );
    let config = stored.config();
    let all = run(&["list", "-c", text(&config)]);
    assert_eq!(all.status.code(), Some(1));
    assert_eq!(
        paths(&stored, &["--since", "2026-11-23T00:00:00Z"]).len(),
        32
    );
}

#[test]
fn exports_have_every_transaction_with_its_bodies() {
    let s3 = [S3::start(), S3::start()];
    let said = some();
    for stored in everywhere(&s3, &said) {
        let archive: Value =
            serde_json::from_slice(&over(&stored, "export", &["--har"])).expect("JSON");
        let entries = archive["log"]["entries"].as_array().expect("entries");
        assert_eq!(entries.len(), said.len());
        let long = "z".repeat(5_000);
        let texts = entries
            .iter()
            .filter(|e| e["response"]["content"]["text"] == *long)
            .count();
        assert_eq!(texts, 30);
        let documents = lines(&over(&stored, "export", &["--json", "--service", "shop"]));
        assert_eq!(documents.len(), 30);
        assert!(
            documents
                .iter()
                .all(|d| d["response"]["body"].is_string()
                    && d["response"].get("body_ref").is_none())
        );
        let none = over(&stored, "export", &["--har", "--host", "nowhere"]);
        let none: Value = serde_json::from_slice(&none).expect("JSON");
        assert_eq!(none["log"]["entries"], serde_json::json!([]));
    }
}

#[test]
fn an_export_reads_neighbours_together_and_a_shared_body_once() {
    let s3 = S3::start();
    let stored = Stored::at(&s3.settings(), "segment", &some());
    s3.server.forget();
    over(&stored, "export", &["--json"]);
    let asked = s3.server.reads();
    // A list, the index, the documents, the frame with the body that all have.
    assert_eq!(asked.len(), 4, "{asked:?}");
}

#[test]
fn reports_count_by_service_endpoint_and_header() {
    let s3 = [S3::start(), S3::start()];
    for stored in everywhere(&s3, &some()) {
        let rows = |by: &str| {
            let rows = lines(&over(&stored, "report", &["--by", by, "--json"]));
            rows.iter()
                .map(|row| {
                    (
                        row["value"].as_str().map(str::to_owned),
                        row["transactions"].as_u64().expect("a number"),
                    )
                })
                .collect::<Vec<_>>()
        };
        let some = |value: &str, count| (Some(value.to_owned()), count);
        assert_eq!(rows("service"), [some("shop", 30), some("cart", 2)]);
        assert_eq!(
            rows("x-user"),
            [some("ann", 10), some("bob", 10), some("eve", 10), (None, 2)]
        );
        assert_eq!(
            rows("response:content-type"),
            [some("text/plain", 31), (None, 1)]
        );
        assert_eq!(
            rows("status"),
            [some("200", 27), some("503", 3), (None, 1), some("404", 1)]
        );
        assert!(rows("endpoint").contains(&some("GET shop.example/users/7", 1)));
        let table = over(
            &stored,
            "report",
            &["--by", "x-user", "--top", "2", "--status", "5xx"],
        );
        let table = String::from_utf8(table).expect("text");
        assert!(
            table
                .lines()
                .next()
                .is_some_and(|line| line.ends_with("value")),
            "{table}"
        );
        assert!(table.contains("and 1 rows more"), "{table}");
    }
}

#[test]
fn what_is_damaged_is_said_and_the_rest_is_read() {
    let stored = Stored::in_a_folder("segment", &some());
    let segment = std::fs::read_dir(stored.folder())
        .expect("a folder")
        .next()
        .expect("a segment")
        .expect("read")
        .path();
    let bytes = std::fs::read(&segment).expect("read");
    let mut middle = bytes.clone();
    middle[bytes.len() / 3] ^= 0xff;
    let [a, b, c] = ["1", "2", "3"].map(|n| {
        stored
            .folder()
            .join(format!("2030010{n}T000000000Z-0.ndjson.zst"))
    });
    std::fs::write(&a, &bytes[..bytes.len() - 1]).expect("written");
    std::fs::write(&b, b"PSPNSEG1").expect("written");
    std::fs::write(&c, b"").expect("written");
    let url = stored.folder_url();
    let output = run(&["export", "--har", &url]);
    assert_eq!(output.status.code(), Some(1));
    let archive: Value = serde_json::from_slice(&output.stdout).expect("an archive all the same");
    assert_eq!(
        archive["log"]["entries"].as_array().expect("entries").len(),
        32
    );
    let told = String::from_utf8(output.stderr).expect("text");
    assert!(told.contains("3 could not be read"), "{told}");
    for path in [a, b, c] {
        assert!(told.contains(text(&path)), "{told}");
        std::fs::remove_file(path).expect("removed");
    }
    // A frame that is damaged takes the one transaction with it, or those that share its body.
    std::fs::write(&segment, middle).expect("written");
    let output = run(&["export", "--json", &url]);
    assert_eq!(output.status.code(), Some(1));
    let whole = lines(&output.stdout).len();
    assert!((1..32).contains(&whole), "{whole}");
}

#[test]
fn places_may_be_named_one_by_one() {
    let stored = Stored::in_a_folder("segment", &some());
    let segment = stored.url(0).split_once('#').expect("a range").0.to_owned();
    let count = |urls: &[&str]| lines(&well(&[&["list", "--json"], urls].concat()).stdout).len();
    assert_eq!(count(&[&segment]), 32);
    assert_eq!(count(&[&stored.folder_url()]), 32);
    assert_eq!(count(&[stored.url(3), stored.url(9)]), 2);
    let listed = lines(&well(&["list", "--json", stored.url(3)]).stdout);
    assert_eq!(listed[0]["url"], stored.url(3));
    let config = stored.config();
    fails(2, &["list", "-c", text(&config), "--store", "other"]);
    assert_eq!(
        lines(&well(&["list", "--json", "-c", text(&config), "--store", "payloads"]).stdout).len(),
        32
    );
}

#[test]
fn a_reader_that_stops_is_no_error() {
    let stored = Stored::in_a_folder("segment", &some());
    let line = format!(
        "{} payload list {} | head -1",
        env!("CARGO_BIN_EXE_plainspan"),
        stored.folder_url()
    );
    let script = format!("set -o pipefail; {line}");
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .output()
        .expect("bash");
    assert!(output.status.success(), "{output:?}");
}
