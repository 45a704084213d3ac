//! HAR archives, read by others.

use crate::har::{replay, validate};
use crate::stored::{LAYOUTS, Said, Stored, get, well};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use plainspan::rules::Level;
use serde_json::json;
use std::io::Write;

const PAGE: &str = "<!doctype html><title>shop</title><p>h\u{e9}llo";

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).expect("compressed");
    encoder.finish().expect("compressed")
}

fn every_byte() -> Vec<u8> {
    (0..=255).cycle().take(3_000).collect()
}

fn session() -> Vec<Said> {
    let json = "application/json";
    let mut gzipped =
        get("/gzip.json").answered(200, json, gzip("{\"a\": [1, 2, 3, 4, 5, 6, 7, 8]}"));
    gzipped
        .response
        .push(("Content-Encoding", b"gzip".to_vec()));
    let mut redirect = get("/old").answered(302, "text/plain", "");
    redirect.response.push(("Location", b"/".to_vec()));
    let mut cookies = get("/cookies").header("Cookie", "a=1; b=2");
    cookies.response.push((
        "Set-Cookie",
        b"sid=1; Path=/; Expires=Wed, 21-Oct-2015 07:28:00 GMT; HttpOnly".to_vec(),
    ));
    cookies
        .response
        .push(("Set-Cookie", b"t=2; SameSite=Lax".to_vec()));
    vec![
        get("/").answered(200, "text/html; charset=utf-8", PAGE),
        get("/data.json?x=%C3%A9&x=a+b").answered(200, json, "{\"ok\":true}"),
        gzipped,
        get("/form")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .post("a=1&b=%20")
            .answered(201, json, "{}"),
        get("/binary")
            .header("Content-Type", "application/octet-stream")
            .post(every_byte())
            .answered(200, "application/octet-stream", every_byte()),
        get("/missing").answered(404, "text/plain", "no such thing"),
        redirect,
        cookies,
        Said {
            method: "DELETE",
            status: None,
            ..get("/gone")
        },
        Said {
            level: Level::Headers,
            ..get("/headers").answered(200, "text/plain", "not kept")
        },
        Said {
            level: Level::Summary,
            ..get("/summary").answered(200, "text/plain", "not kept")
        },
        get("/odd|path^{}\u{e9} \u{1}")
            .header("X-Odd", b"\xff\x01\"")
            .answered(200, "", "x"),
        Said {
            method: "OPTIONS",
            ..get("*")
        },
        Said {
            method: "CONNECT",
            ..get("shop.example:443")
        },
    ]
}

#[test]
fn archives_follow_the_schema() {
    for layout in LAYOUTS {
        let said = session();
        let stored = Stored::in_a_folder(layout, &said);
        let archive = stored.path("all.har");
        std::fs::write(
            &archive,
            well(&["export", "--har", &stored.folder_url()]).stdout,
        )
        .expect("written");
        validate(&archive);
        for number in 0..said.len() {
            std::fs::write(&archive, stored.get(number, &["--har"])).expect("written");
            validate(&archive);
        }
    }
}

#[test]
fn chromium_gets_from_an_archive_what_the_server_had_said() {
    let stored = Stored::in_a_folder("segment", &session());
    let archive = stored.path("all.har");
    std::fs::write(
        &archive,
        well(&["export", "--har", &stored.folder_url()]).stdout,
    )
    .expect("written");
    let url = |path: &str| format!("http://shop.example{path}");
    let binary = json!({"Content-Type": "application/octet-stream"});
    let form = json!({"Content-Type": "application/x-www-form-urlencoded"});
    let calls = json!([
        {"url": url("/")},
        {"url": url("/data.json?x=%C3%A9&x=a+b")},
        {"url": url("/gzip.json")},
        {"url": url("/form"), "method": "POST", "body": STANDARD.encode("a=1&b=%20"), "headers": form},
        {"url": url("/binary"), "method": "POST", "body": STANDARD.encode(every_byte()), "headers": binary},
        {"url": url("/missing")},
    ]);
    let got = replay(&archive, &calls);
    let want: [(u16, &[u8]); 6] = [
        (200, PAGE.as_bytes()),
        (200, b"{\"ok\":true}"),
        (200, b"{\"a\": [1, 2, 3, 4, 5, 6, 7, 8]}"),
        (201, b"{}"),
        (200, &every_byte()),
        (404, b"no such thing"),
    ];
    for ((got, (status, body)), call) in got.iter().zip(want).zip(calls.as_array().expect("calls"))
    {
        assert_eq!(got["status"], status, "{call}");
        let shown = STANDARD
            .decode(got["body"].as_str().expect("base64"))
            .expect("base64");
        assert!(
            shown == body,
            "{call}: {:?}",
            String::from_utf8_lossy(&shown)
        );
    }
    assert_eq!(got.len(), want.len());
}
