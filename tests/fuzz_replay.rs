//! The fuzz targets with the checked-in corpus, and the tools that make it.
//!
//! `fuzz/corpus/TARGET.inputs` holds the inputs of a target one after another, each with its length in front (`u16`,
//! little-endian). `scripts/fuzz.sh` unpacks them for libFuzzer, and packs what it found.

#[path = "../fuzz/targets/mod.rs"]
mod targets;

mod http_support;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http_support::{Cutting, Step, View, fixtures, record};
use plainspan::event::record::{Reader, Ring, Writer};
use plainspan::event::{Dir, Role};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Bytes of an input at the most.
const INPUT_MAX: usize = 4096;
/// Bytes of the inputs of a target that are checked in, at the most.
const ARCHIVE_MAX: usize = 160 << 10;

fn archive(target: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join(format!("fuzz/corpus/{target}.inputs"))
}

fn unpack(archive: &[u8]) -> Vec<&[u8]> {
    let mut inputs = Vec::new();
    let mut rest = archive;
    while let Some((len, after)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_le_bytes(*len));
        let (input, after) = after.split_at_checked(len).expect("a whole input");
        inputs.push(input);
        rest = after;
    }
    assert!(rest.is_empty(), "a damaged archive");
    inputs
}

fn pack(inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut archive = Vec::new();
    for input in inputs {
        let len = u16::try_from(input.len()).expect("a short input");
        archive.extend(len.to_le_bytes());
        archive.extend(input);
    }
    archive
}

#[test]
fn every_input_of_the_corpus_keeps_the_promises_of_its_target() {
    for (name, run) in targets::ALL {
        let path = archive(name);
        let archive = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let inputs = unpack(&archive);
        assert!(inputs.len() >= 20, "{name}: {} inputs", inputs.len());
        for (number, input) in inputs.into_iter().enumerate() {
            if std::panic::catch_unwind(|| run(input)).is_err() {
                panic!("{name}, input {number}: {}", input.escape_ascii());
            }
        }
    }
}

#[test]
fn every_seed_keeps_the_promises_of_its_target() {
    for (name, run) in targets::ALL {
        for seed in seeds(name) {
            assert!(
                seed.len() <= INPUT_MAX,
                "{name}: a seed of {} bytes",
                seed.len()
            );
            run(&seed);
        }
    }
}

/// The folder that `scripts/fuzz.sh` works in.
fn work(target: &str) -> PathBuf {
    let folder =
        std::env::var_os("PLAINSPAN_FUZZ_WORK").expect("PLAINSPAN_FUZZ_WORK names a folder");
    Path::new(&folder).join(target)
}

#[test]
#[ignore = "a tool: writes seeds and corpus as files for libFuzzer; run by scripts/fuzz.sh"]
fn unpack_the_corpus() {
    for (name, _) in targets::ALL {
        let folder = work(name);
        fs::create_dir_all(&folder).expect("a folder");
        let archive = fs::read(archive(name)).unwrap_or_default();
        let packed = unpack(&archive).into_iter().map(<[u8]>::to_vec);
        for (number, input) in packed.chain(seeds(name)).enumerate() {
            fs::write(folder.join(format!("{number:05}")), input).expect("written");
        }
    }
}

#[test]
#[ignore = "a tool: packs what libFuzzer left; run by scripts/fuzz.sh"]
fn pack_the_corpus() {
    for (name, _) in targets::ALL {
        let folder = work(name);
        if !folder.exists() {
            continue;
        }
        let entries = fs::read_dir(folder).expect("a folder");
        let files = entries.map(|e| fs::read(e.expect("an entry").path()).expect("read"));
        let mut inputs: Vec<Vec<u8>> = files.filter(|f| f.len() <= INPUT_MAX).collect();
        // The short ones first: they say most for their room.
        inputs.sort_by_key(|input| (input.len(), input.clone()));
        let mut room = ARCHIVE_MAX;
        inputs.retain(|input| {
            let fits = input.len() <= room;
            room -= if fits { input.len() } else { 0 };
            fits
        });
        fs::write(archive(name), pack(&inputs)).expect("written");
    }
}

/// What a target begins with: the fixtures of the other tests, in the target's own form.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let seeds = match target {
        "content" => contents(),
        "context" => contexts(),
        "events" => records(),
        "grpc" => messages(),
        "hpack" => blocks(),
        "http1" => connections(false),
        "http2" => connections(true),
        "redact" => redactions(),
        "replay" => replays(),
        "rules" => rules(),
        "websocket" => frames(),
        other => panic!("no seeds for {other}"),
    };
    seeds.into_iter().filter(|s| s.len() <= INPUT_MAX).collect()
}

const VIEW: View = View {
    role: Role::Client,
    tls: false,
};

fn connections(http2: bool) -> Vec<Vec<u8>> {
    let all = fixtures().into_iter();
    let mut seeds: Vec<Vec<u8>> = all
        .filter(|f| (f.name.starts_with("h2_") && f.name != "h2_upgrade") == http2)
        .map(|f| {
            targets::session::script(f.steps.iter().map(|step| match step {
                Step::Request(bytes) => (Dir::Write, &bytes[..]),
                Step::Response(bytes) => (Dir::Read, &bytes[..]),
            }))
        })
        .collect();
    if http2 {
        // Read as choices of a connection that is written by the target.
        seeds.extend((0..8u8).map(|n| [&[0x80, n * 30][..], &[n * 31; 90]].concat()));
    }
    seeds
}

fn records() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for fixture in fixtures().iter().take(3) {
        let recording = record(fixture, VIEW, &Cutting::none());
        let mut writer = Writer::new(vec![1]).expect("a vector takes all");
        let data = recording.data.iter().map(|(_, r)| r);
        for record in recording.before.iter().chain(data).chain(&recording.after) {
            seeds.push([&[0][..], record].concat());
            writer
                .write(Ring::Data, record)
                .expect("a vector takes all");
        }
        seeds.push(writer.finish().expect("flushed"));
    }
    for kind in 1..=8u8 {
        let mut record = vec![0, kind, 0, 1, 0];
        record.resize(300, 1);
        seeds.push(record);
    }
    seeds
}

fn replays() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/events");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the fixtures folder")
        .map(|e| e.expect("an entry").path())
        .filter(|p| p.extension().is_some_and(|e| e == "events"))
        .collect();
    paths.sort();
    let mut seeds: Vec<Vec<u8>> = paths.iter().map(|path| recorded(path)).collect();
    for fixture in fixtures().iter().filter(|f| f.name != "big_body") {
        for tls in [0u8, 2] {
            seeds.push(scripted(&fixture.steps, tls));
        }
    }
    seeds
}

/// A recorded file as raw records, as far as it is not too long.
fn recorded(path: &Path) -> Vec<u8> {
    let file = fs::read(path).expect("a recording");
    let mut reader = Reader::new(&file[..]).expect("an event file");
    let mut seed = vec![1];
    while let Some((_, record)) = reader.read().expect("an undamaged file") {
        if seed.len() + record.len() + 2 > INPUT_MAX {
            break;
        }
        seed.extend((record.len() as u16).to_le_bytes());
        seed.extend(record);
    }
    seed
}

/// A connection as choices: opened, used, closed. `tls`: the bit that says so.
fn scripted(steps: &[Step], tls: u8) -> Vec<u8> {
    let mut seed = vec![0, 64 | 8];
    for step in steps {
        let (dir, bytes) = match step {
            Step::Request(bytes) => (0, bytes),
            Step::Response(bytes) => (1, bytes),
        };
        for part in bytes.chunks(255) {
            seed.extend([dir | tls, part.len() as u8]);
            seed.extend(part);
        }
    }
    seed.extend([9, 10]);
    seed
}

/// The expressions of the other tests and of the documents, and some of words.
fn rules() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seeds = Vec::new();
    for file in ["orders", "bare", "grpc", "wrong"] {
        let path = root.join(format!("tests/rules/{file}.txt"));
        let text = fs::read_to_string(path).expect("a file of expressions");
        let lines = text.lines().filter(|l| !l.starts_with('#'));
        // In front stands what is expected.
        let texts = lines.map(|l| l.strip_prefix(['T', 'F', '?']).unwrap_or(l).trim());
        let texts = texts.filter(|t| !t.is_empty());
        seeds.extend(texts.map(|text| [&[0x7f, 1, b'x', 0, 0], text.as_bytes()].concat()));
    }
    let docs = fs::read_to_string(root.join("docs/rules.md")).expect("the document");
    for quoted in docs.split('`').skip(1).step_by(2) {
        seeds.push([&[0x5a, 0, 0, 0], quoted.as_bytes()].concat());
    }
    seeds.extend((0..=255u8).map(|n| vec![0xdf, 0, 0, 0, n, 6, n.wrapping_add(40), 0, 70, 7, n]));
    seeds
}

fn contexts() -> Vec<Vec<u8>> {
    let text = |bytes: &[u8]| [&[bytes.len() as u8][..], bytes].concat();
    let mut seeds: Vec<Vec<u8>> = (0..8u8)
        .map(|n| [&[0x80 | n][..], &[9; 25]].concat())
        .collect();
    seeds.push(vec![0, 0, 0, 2, 0, 3, 0, 4, 0, 5, 0]);
    seeds.extend((0..8u8).map(|n| vec![0, n, 2, 60, b'-', 2, 2, 5, b',']));
    let many = b"k=v,".repeat(33);
    seeds.push([&[0, 0, 0, 16 | 2][..], &text(&many)].concat());
    seeds
}

fn blocks() -> Vec<Vec<u8>> {
    // RFC 7541 C.4: three requests with Huffman codes; C.6: the first response.
    let requests = [
        "828684418cf1e3c2e5f23a6ba0ab90f4ff",
        "828684be5886a8eb10649cbf",
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
    ];
    let response = "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff\
        6e919d29ad171863c78f0b97c8e9ae82ae43d3";
    let hex = |text: &str| -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
        (0..text.len()).step_by(2).map(digit).collect()
    };
    let text = |bytes: &[u8]| [&[bytes.len() as u8][..], bytes].concat();
    let mut seeds = Vec::new();
    for begins in [0u8, 1, 2, 9] {
        let mut seed = vec![begins];
        for block in requests {
            seed.extend(text(&hex(block)));
        }
        seeds.push(seed);
        seeds.push(
            [
                vec![begins],
                text(&hex(response)),
                text(&[0x20, 0x3f, 0xe1, 0x1f, 0xbe]),
            ]
            .concat(),
        );
        let long = [vec![0x80, begins], text(b"x-name"), text(&[b'v'; 200])].concat();
        seeds.push([long.clone(), long[1..].to_vec(), vec![2, 1, b'a', 0]].concat());
    }
    seeds
}

fn messages() -> Vec<Vec<u8>> {
    let message = |flags: u8, bytes: &[u8]| {
        let len = (bytes.len() as u32).to_be_bytes();
        [&[flags][..], &len, bytes].concat()
    };
    let some = [message(0, b"hello"), message(1, &[7; 300]), message(0, b"")].concat();
    let web = [
        some.clone(),
        message(0x80, b"grpc-status: 0\r\ngrpc-message: a%20b\r\n"),
    ]
    .concat();
    let base64 = b"AAAAAAVoZWxsbw==gAAAABBncnBjLXN0YXR1czogMA0K";
    let text = |bytes: &[u8]| [&[bytes.len() as u8][..], bytes].concat();
    let heads = [
        vec![4, 0],
        text(b"application/grpc-web-text+proto; a=b"),
        text(b"/package.Service/Method?x"),
        text(b"14"),
        text(b"not%20there"),
        text(b"0"),
    ];
    vec![
        [&[0, 3][..], &some].concat(),
        [&[0, 1][..], &some[..20]].concat(),
        [&[1, 7][..], &web].concat(),
        [&[2, 5][..], base64].concat(),
        [&[8, 3][..], &text(&some[..100]), &[30], &text(&some[220..])].concat(),
        heads.concat(),
    ]
}

fn frames() -> Vec<Vec<u8>> {
    let client =
        b"\x81\x85\x01\x02\x03\x04ig\x6fhn\x89\x80\0\0\0\0\x88\x82\x01\x02\x03\x04\x02\xea";
    let server = b"\x01\x03abc\x8a\x00\x80\x02de\x88\x02\x03\xe8";
    let long = [&[0x82, 126, 1, 0][..], &[9; 256]].concat();
    let step = |tag: u8, bytes: &[u8]| {
        let tag = (((bytes.len() >> 8) as u8) << 4) | tag;
        [&[tag, bytes.len() as u8][..], bytes].concat()
    };
    let both = [step(0, client), step(1, server)].concat();
    let written = [&[8, 3, 3, 5][..], b"hello", &[14, 4], b"more", &[56, 0]].concat();
    vec![
        [&[0, 1][..], &both].concat(),
        [&[16, 3][..], &both[..20]].concat(),
        [&[2, 5][..], &step(0, &long), &step(1, &long)].concat(),
        [&[4, 2][..], &step(1, b"\xc1\x03abc\x41\x01a\x80\x01b")].concat(),
        [
            &[0, 2][..],
            &step(0, &long[..100]),
            &[14, 99],
            &step(0, &[9; 60]),
            &step(0, client),
        ]
        .concat(),
        [
            &[0, 2][..],
            &step(0, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            &[14, 200],
        ]
        .concat(),
        written,
    ]
}

fn contents() -> Vec<Vec<u8>> {
    let all = "a vector takes all";
    let text = "{\"name\": \"value\", \"list\": [1, 2, 3]} ".repeat(12);
    let text = text.as_bytes();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(text).expect(all);
    let gzip = gzip.finish().expect(all);
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    zlib.write_all(text).expect(all);
    let mut bare = DeflateEncoder::new(Vec::new(), Compression::none());
    bare.write_all(text).expect(all);
    let mut brotli = Vec::new();
    let quick = brotli::enc::BrotliEncoderParams {
        quality: 5,
        lgwin: 16,
        ..Default::default()
    };
    brotli::BrotliCompress(&mut &text[..], &mut brotli, &quick).expect(all);
    let zstd = zstd::bulk::compress(text, 3).expect(all);
    let named = [
        &b"\x1f\x8b\x08\x1e\0\0\0\0\0\xff\x02\0abname\0comment\0\0\0"[..],
        &gzip[10..],
    ];
    let seed = |choices: u8, bytes: &[u8]| [&[choices, 40][..], bytes].concat();
    vec![
        seed(0, &gzip),
        seed(0, &[&gzip[..], &gzip, &[0; 5]].concat()),
        seed(0, &named.concat()),
        seed(1, &zlib.finish().expect(all)),
        seed(1, &bare.finish().expect(all)),
        seed(2, &brotli),
        seed(3, &zstd),
        seed(3, &[&zstd[..], &zstd].concat()),
        seed(0x45, &gzip),
        seed(6, text),
        seed(0x80, text),
        seed(0x81, text),
        seed(0x82, text),
        seed(0x87, text),
        seed(4, b"text/plain; charset=utf-8"),
    ]
}

fn redactions() -> Vec<Vec<u8>> {
    let json = r#"{"a":[{"private":{"x":[1,"t"]}},2],"b":"{\"private\":1}","Private":null}"#;
    let mut seeds = vec![[&[0x80, 0, 0], json.as_bytes()].concat()];
    let around: [(&[u8], &[u8]); 4] = [
        (b"{\"hidden\":\"", b"\",\"b\":[true,null]}"),
        (b"a=1&b=Bearer+", b"&c=%7B%22x%22"),
        (b"data: {\"t\":\"", b"\"}\n\ndata: {\"hidden\": 1}\n\n"),
        (
            b"\n\x07text 4111 1111 1111 ",
            b" -----BEGIN PRIVATE KEY-----\n",
        ),
    ];
    for (i, (before, after)) in around.iter().enumerate() {
        for content_type in 0..8u8 {
            let mode = (content_type + i as u8) % 3;
            let how = (content_type * 7 + i as u8 * 5) & 31;
            let cut = [255, 128, 200, 90][usize::from(content_type) % 4];
            let head = [content_type | mode << 3, how, cut, before.len() as u8];
            seeds.push([&head[..], before, after].concat());
        }
    }
    seeds
}
