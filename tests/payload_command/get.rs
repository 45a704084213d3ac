//! `payload get`: one link.

use crate::server::S3;
use crate::stored::{LAYOUTS, Said, Stored, fails, get, lines, run, text, well};
use serde_json::Value;

/// Bytes of every value, different for each seed.
fn odd(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251 + seed) as u8).collect()
}

fn some() -> Vec<Said> {
    let answer = odd(9, 3_000);
    vec![
        get("/one?a=1").answered(200, "application/octet-stream", &answer),
        get("/two")
            .post(odd(1, 5_000))
            .answered(201, "text/plain", "made\n"),
        // The body of the first one again.
        get("/three").answered(200, "application/octet-stream", &answer),
        get("/four\x1b[2J").header("X-Odd", b"\x1b]0;x\x07\xff"),
    ]
}

#[test]
fn every_link_of_both_layouts_gives_its_document_with_its_bodies() {
    let s3 = S3::start();
    for layout in LAYOUTS {
        let said = some();
        for stored in [
            Stored::in_a_folder(layout, &said),
            Stored::at(&s3.settings(), layout, &said),
        ] {
            for (number, said) in said.iter().enumerate() {
                let document: Value =
                    serde_json::from_slice(&stored.get(number, &[])).expect("JSON");
                assert_eq!(document["transaction_id"], format!("{number:032x}"));
                assert!(document["response"].get("body_ref").is_none());
                assert_eq!(stored.get(number, &["--body", "request"]), said.body);
                assert_eq!(stored.get(number, &["--body", "response"]), said.answer);
                let digest = stored.links[number].digest.as_deref().expect("a digest");
                let json = stored.get(number, &["--json", "--digest", digest]);
                assert_eq!(lines(&json), [document]);
            }
        }
    }
}

#[test]
fn a_link_is_one_ranged_read_and_two_where_a_body_is_shared() {
    let s3 = S3::start();
    let stored = Stored::at(&s3.settings(), "segment", &some());
    for (number, reads) in [(0, 1), (1, 1), (2, 2)] {
        s3.server.forget();
        stored.get(number, &[]);
        let asked = s3.server.reads();
        assert_eq!(asked.len(), reads, "{asked:?}");
        let bytes = stored.url(number).split_once("#bytes=").expect("a range").1;
        let range = format!("bytes={bytes}").into_bytes();
        assert_eq!(asked[0].header("range"), Some(&*range));
        assert!(
            asked
                .iter()
                .all(|asked| asked.method == "GET" && asked.header("range").is_some())
        );
    }
}

#[test]
fn layout_object_is_one_read() {
    let s3 = S3::start();
    let stored = Stored::at(&s3.settings(), "object", &some());
    s3.server.forget();
    stored.get(2, &[]);
    assert_eq!(s3.server.reads().len(), 1);
}

#[test]
fn links_of_a_template_lead_to_the_object_and_are_never_asked_themselves() {
    let s3 = S3::start();
    let keys = format!(
        "{}, prefix: 'team a/', access_url: 'https://view.example/?object={{{{KEY}}}}'",
        s3.settings()
    );
    for layout in LAYOUTS {
        let stored = Stored::at(&keys, layout, &some());
        assert!(
            stored
                .url(0)
                .starts_with("https://view.example/?object=team%20a/")
        );
        let document: Value = serde_json::from_slice(&stored.get(0, &[])).expect("JSON");
        assert_eq!(document["request"]["path"], "/one");
        // The store's own URL does as well.
        let key = s3.keys().into_iter().find(|key| !key.ends_with(".zst"));
        if let Some(key) = key.filter(|_| layout == "object") {
            let url = format!(
                "http://{}/traffic/{}",
                s3.server.address,
                key.replace(' ', "%20")
            );
            well(&["get", "-c", text(&stored.config()), &url]);
        }
    }
}

#[test]
fn credentials_go_to_no_url_that_is_not_of_a_store() {
    let ours = S3::start();
    let theirs = S3::start();
    let stored = Stored::at(&ours.settings(), "object", &some());
    ours.server.forget();
    let config = stored.config();
    let config = text(&config);
    let foreign = format!("http://{}/traffic/key", theirs.server.address);
    let told = fails(2, &["get", "-c", config, &foreign]);
    assert!(
        told.contains("no object store") && told.contains("payloads"),
        "{told}"
    );
    let other = format!("http://{}/another-bucket/key", ours.server.address);
    fails(2, &["get", "-c", config, &other]);
    let told = fails(2, &["get", &foreign]);
    assert!(told.contains("-c"), "{told}");
    assert_eq!(
        (theirs.server.reads(), ours.server.reads()),
        (vec![], vec![])
    );
    // A key that would lead elsewhere is none.
    let up = format!("http://{}/traffic/..%2f..%2fetc", ours.server.address);
    fails(1, &["get", "-c", config, &up]);
    assert_eq!(ours.server.reads(), []);
}

#[test]
fn what_cannot_be_had_is_said_and_no_secret_is() {
    let s3 = S3::start();
    let stored = Stored::at(&s3.settings(), "segment", &some());
    let config = stored.config();
    let config = text(&config);
    let url = stored.url(0);
    let (object, _) = url.split_once('#').expect("a range");
    let said = |code, arguments: &[&str]| {
        let told = fails(code, &[&["get", "-c", config], arguments].concat());
        assert!(!told.contains("SECRET-OF-TESTS"), "{told}");
        told
    };
    let gone = format!("http://{}/traffic/gone", s3.server.address);
    assert!(said(1, &[&gone]).contains("not there"));
    assert!(said(1, &[url, "--digest", &"0".repeat(64)]).contains("digest"));
    assert!(said(1, &[&format!("{object}#bytes=0-9")]).contains("no document"));
    let size = s3.object(object.rsplit('/').next().expect("a key")).len();
    assert!(said(1, &[&format!("{object}#bytes=0-{size}")]).contains("ends before"));
    assert!(said(1, &[&format!("{object}#bytes=0-99999999999")]).contains("more bytes"));
    assert!(said(2, &[object]).contains("many transactions"));
    let denied =
        crate::stored::configuration(&s3.settings().replace("value: reader", "value: other"));
    let other = stored.path("denied.yaml");
    std::fs::write(&other, denied).expect("written");
    let told = fails(1, &["get", "-c", text(&other), url]);
    assert!(told.contains("credentials"), "{told}");
    fails(2, &["get", "-c", "/no/such/file", url]);
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for arguments in [
        &["get"][..],
        &["get", "file:///a#bytes=9-1"],
        &["get", "file:///a", "--digest", "abc"],
        &["get", "file:///a", "--har", "--curl"],
        &["list"],
        &["export", "file:///a"],
        &["list", "file:///a", "--status", "600x"],
        &["list", "file:///a", "--since", "yesterday"],
        &["report", "file:///a", "--by", "no header"],
    ] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    assert!(fails(2, &["get", "file://other-host/a"]).contains("file://"));
}

#[test]
fn a_document_that_is_not_what_its_name_says_is_not_shown() {
    let stored = Stored::in_a_folder("object", &some());
    let (_, path) = stored.url(0).split_once("file://").expect("a file");
    let mut bytes = std::fs::read(path).expect("read");
    let at = bytes.iter().position(|b| *b == b'1').expect("a digit");
    bytes[at] = b'2';
    std::fs::write(path, bytes).expect("written");
    assert!(fails(1, &["get", stored.url(0)]).contains("digest"));
}

#[test]
fn files_are_read_without_a_configuration_and_links_in_their_place_are_not_followed() {
    let stored = Stored::in_a_folder("segment", &some());
    let json = well(&["get", stored.url(1)]).stdout;
    assert_eq!(lines(&json)[0]["request"]["path"], "/two");
    let link = stored.path("link");
    std::os::unix::fs::symlink("/etc/passwd", &link).expect("a link");
    let told = fails(1, &["get", &format!("file://{}", link.display())]);
    assert!(told.contains("it is a link"), "{told}");
    assert!(fails(1, &["get", "file:///dev/zero"]).contains("no file"));
    assert!(fails(2, &["get", &stored.folder_url()]).contains("many"));
}

#[test]
fn headers_and_text_have_no_control_bytes_and_data_has_all() {
    let stored = Stored::in_a_folder("segment", &some());
    let heads = stored.get(3, &["--headers"]);
    let heads = String::from_utf8(heads).expect("text");
    assert!(heads.contains(r"X-Odd: \u{1b}]0;x\u{7}\xff"), "{heads}");
    assert!(!heads.contains('\x1b'), "{heads}");
    // `script` gives the command a terminal.
    let shown = |options: &str| {
        let line = format!(
            "{} payload get '{}' {options}",
            env!("CARGO_BIN_EXE_plainspan"),
            stored.url(3)
        );
        let output = std::process::Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .output()
            .expect("script");
        assert!(output.status.success(), "{output:?}");
        assert!(
            !output.stdout.contains(&0x1b),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
        String::from_utf8(output.stdout).expect("text")
    };
    assert!(shown("").contains("GET http://shop.example/four"));
    assert!(shown("--json").starts_with('{') && shown("--har").starts_with('{'));
    let line = format!(
        "{} payload get '{}' --body request",
        env!("CARGO_BIN_EXE_plainspan"),
        stored.url(1)
    );
    let output = std::process::Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .output();
    let output = output.expect("script");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("no text"));
}

#[test]
fn a_body_that_is_not_there_is_an_error_and_an_empty_one_is_empty() {
    let stored = Stored::in_a_folder(
        "segment",
        &[
            Said {
                level: plainspan::rules::Level::Headers,
                ..get("/h").answered(200, "text/plain", "gone")
            },
            Said {
                status: None,
                ..get("/none")
            },
        ],
    );
    let (with_headers, half) = (stored.url(0), stored.url(1));
    assert!(
        fails(1, &["get", with_headers, "--body", "response"]).contains("not kept at this level")
    );
    assert!(
        well(&["get", with_headers, "--body", "request"])
            .stdout
            .is_empty()
    );
    assert!(fails(1, &["get", half, "--body", "response"]).contains("not seen"));
}

#[test]
fn objects_that_are_hostile_in_size_are_errors_and_take_no_memory() {
    let stored = Stored::in_a_folder("segment", &some());
    let huge = |name: &str, end: &[u8]| {
        let path = stored.path(name);
        let file = std::fs::File::create(&path).expect("a file");
        // Sparse: it takes no room.
        let size = 1 << 40;
        file.set_len(size).expect("a length");
        std::os::unix::fs::FileExt::write_all_at(&file, end, size - end.len() as u64)
            .expect("written");
        format!("file://{}", path.display())
    };
    let limited = |arguments: &[&str]| {
        // 512 MiB of memory: a program that took what it is told would end otherwise.
        let line = "ulimit -v 524288 && exec \"$0\" payload \"$@\"";
        let output = std::process::Command::new("bash")
            .args(["-c", line, env!("CARGO_BIN_EXE_plainspan")])
            .args(arguments)
            .output()
            .expect("bash");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
        told
    };
    let document = huge(&"ab".repeat(32), b"");
    assert!(limited(&["get", &document]).contains("larger than a document"));
    let bytes = format!("{document}#bytes=0-1099511627775");
    assert!(limited(&["get", &bytes]).contains("more bytes"));
    // An index that begins at the first byte.
    let segment = huge("x.ndjson.zst", b"\0\0\0\0\0\0\0\0PSPNSEG1");
    assert!(limited(&["list", &segment]).contains("longer than one can be"));
    // A frame of zeros without end.
    let zeros = zstd::bulk::compress(&vec![b' '; 200 << 20], 1).expect("compressed");
    let bomb = stored.path("bomb.ndjson.zst");
    std::fs::write(&bomb, &zeros).expect("written");
    let bomb = format!("file://{}#bytes=0-{}", bomb.display(), zeros.len() - 1);
    assert!(limited(&["get", &bomb]).contains("more than"));
}
