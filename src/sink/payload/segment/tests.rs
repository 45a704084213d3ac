//! What a segment gives back: each document by its bytes, all of them by the index, bodies that it has once.

use super::*;
use crate::redact::Redacted;
use crate::redact::sample::{body, policy, redact, transaction};
use crate::rules::Level;
use crate::sink::payload::document::encode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::io::Read;

/// A transaction with these bodies.
fn capture(path: &str, request: &[u8], response: &[u8]) -> Redacted {
    let mut t = transaction(path, &[("Host", "shop.example")], &[]);
    t.request.as_mut().expect("a request").body = body(request);
    t.response.as_mut().expect("a response").body = body(response);
    redact(&policy(), t, Level::Full).0
}

/// The object of these captures, and their places.
fn segment(captures: &[Redacted]) -> (Vec<u8>, Vec<Added>) {
    let mut segment = Segment::new().expect("a compressor");
    let places = captures
        .iter()
        .map(|capture| segment.add(capture, 1 << 20).expect("added"))
        .collect();
    (segment.finish().expect("finished"), places)
}

fn bytes(object: &[u8], first: u64, last: u64) -> Vec<u8> {
    let at = |n| usize::try_from(n).expect("within the object");
    object[at(first)..=at(last)].to_vec()
}

fn stored(object: &[u8], place: &Added) -> (Vec<u8>, Value) {
    let json = document(&bytes(object, place.first, place.last)).expect("a document");
    let value = serde_json::from_slice(&json).expect("JSON");
    (json, value)
}

fn parsed(capture: &Redacted) -> Value {
    serde_json::from_slice(&encode(capture)).expect("JSON")
}

fn whole(object: &[u8], place: &Added) -> (Value, usize) {
    let (json, _) = stored(object, place);
    let mut reads = 0;
    let json = resolve(json, |first, last| -> Result<_, ReadError> {
        reads += 1;
        Ok(bytes(object, first, last))
    })
    .expect("resolved");
    (serde_json::from_slice(&json).expect("JSON"), reads)
}

#[test]
fn each_document_is_in_its_own_bytes_and_is_that_of_an_object() {
    let captures: Vec<_> = (0..20)
        .map(|n| capture(&format!("/{n}"), b"question", &vec![b'a' + n; 5000]))
        .collect();
    let (object, places) = segment(&captures);
    let mut next = 0;
    for (capture, place) in captures.iter().zip(&places) {
        assert_eq!(place.first, next);
        next = place.last + 1;
        let (json, value) = stored(&object, place);
        assert_eq!(value, parsed(capture));
        assert_eq!((place.size, place.shared), (json.len(), 0));
        verify(
            &json,
            &format!("{}", crate::sink::payload::document::Hex(&place.digest)),
        )
        .expect("its digest");
        assert!(verify(&json[1..], &"0".repeat(64)).is_err());
    }
}

#[test]
fn any_zstd_reads_all_documents_as_lines_and_passes_over_the_index() {
    let captures = [capture("/1", b"", b"x"), capture("/2", b"", b"y")];
    let (object, _) = segment(&captures);
    let mut text = String::new();
    zstd::Decoder::new(&object[..])
        .expect("a decoder")
        .read_to_string(&mut text)
        .expect("text");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines, captures.each_ref().map(parsed));
}

#[test]
fn the_index_lists_all_transactions_and_is_found_from_the_end() {
    let captures = [capture("/1?a=1", b"", b"x"), capture("/2", b"", b"y")];
    let (object, places) = segment(&captures);
    let size = object.len() as u64;
    let index = listed(size, &object).expect("an index");
    assert_eq!(index.len(), places.len());
    for (entry, place) in index.iter().zip(&places) {
        assert_eq!(entry.bytes, format!("{}-{}", place.first, place.last));
    }
    let first = &index[0];
    let told = (
        &*first.method,
        &*first.authority,
        &*first.path,
        first.status,
    );
    assert_eq!(told, ("GET", "shop.example", "/1", Some(200)));
    // Too few bytes say where to go on.
    let short = &object[object.len() - FOOTER..];
    let Tail::From(start) = tail(size, short).expect("a place") else {
        panic!("the index is longer");
    };
    assert_eq!(start, places[1].last + 1);
    let from = usize::try_from(start).expect("small");
    let again = listed(size, &object[from..]).expect("an index");
    assert_eq!(again, index);
}

#[test]
fn equal_bodies_are_written_once_and_both_ways_share() {
    // No compressor makes this smaller than three quarters.
    let mut random = fastrand::Rng::with_seed(11);
    let long: Vec<u8> = (0..100_000).map(|_| random.alphanumeric() as u8).collect();
    let captures: Vec<_> = (0..1000)
        .map(|n| capture(&format!("/{n}"), b"", &long))
        .chain([capture("/put", &long, b"")])
        .collect();
    let (object, places) = segment(&captures);
    assert!(object.len() < 1001 * long.len() / 100, "{}", object.len());
    assert_eq!(places[0].shared, 0);
    let shared = |place: &Added| (place.shared, place.saved) == (1, 100_000);
    assert!(places.iter().skip(1).all(shared));
    assert_eq!(whole(&object, &places[0]), (parsed(&captures[0]), 0));
    for (capture, place) in captures.iter().zip(&places).skip(1) {
        assert_eq!(whole(&object, place), (parsed(capture), 1));
    }
    // Without following the reference there is no body.
    let (_, value) = stored(&object, &places[1]);
    assert!(value["response"].get("body").is_none());
}

#[test]
fn short_bodies_and_different_ones_are_never_shared() {
    let short = vec![b's'; SHARED_FROM - 1];
    let captures = [
        capture("/1", &short, &short),
        capture("/2", &short, &short),
        capture("/3", &[b'a'; SHARED_FROM], &[b'b'; SHARED_FROM]),
        capture("/4", &[b'c'; SHARED_FROM], &[b'a'; SHARED_FROM + 1]),
    ];
    let (object, places) = segment(&captures);
    for (capture, place) in captures.iter().zip(&places) {
        assert_eq!(place.shared, 0);
        assert_eq!(whole(&object, place), (parsed(capture), 0));
    }
}

#[test]
fn a_body_of_both_messages_is_found_in_the_request() {
    let long = vec![b'q'; 2000];
    let captures = [capture("/echo", &long, &long), capture("/", b"", &long)];
    let (object, places) = segment(&captures);
    // What is new in one document is written for each message.
    assert_eq!(places[0].shared, 0);
    let (_, value) = stored(&object, &places[1]);
    assert_eq!(value["response"]["body_ref"]["message"], "request");
    assert_eq!(whole(&object, &places[1]).0, parsed(&captures[1]));
}

#[test]
fn a_reference_that_leads_to_something_else_is_an_error_and_gives_no_body() {
    let long = vec![b'q'; 2000];
    let other = capture("/other", b"", &[b'o'; 2000]);
    let captures = [capture("/1", b"", &long), other, capture("/3", b"", &long)];
    let (object, places) = segment(&captures);
    let (_, stored) = stored(&object, &places[2]);
    let with = |key: &str, text: &str| {
        let mut value = stored.clone();
        value["response"]["body_ref"][key] = Value::from(text);
        let json = serde_json::to_vec(&value).expect("JSON");
        resolve(json, |first, last| -> Result<_, ReadError> {
            Ok(bytes(&object, first, last))
        })
        .expect_err("no body")
        .to_string()
    };
    let second = format!("{}-{}", places[1].first, places[1].last);
    assert!(with("bytes", &second).contains("another body"));
    assert!(with("bytes", "5-4").contains("nothing that can be read"));
    assert!(with("message", "request").contains("another body"));
    assert!(with("message", "metadata").contains("nothing that can be read"));
    let own = format!("{}-{}", places[2].first, places[2].last);
    assert!(with("bytes", &own).contains("no such body"));
}

#[test]
fn objects_that_are_no_segment_or_are_damaged_say_so() {
    let (object, places) = segment(&[capture("/1", b"", b"x")]);
    let size = object.len() as u64;
    assert!(matches!(tail(2, b"{}"), Err(ReadError::NoFooter)));
    assert!(matches!(tail(64, &[b'x'; 64]), Err(ReadError::NoFooter)));
    let frame = bytes(&object, places[0].first, places[0].last);
    for bad in [&frame[1..], &frame[..frame.len() - 1], b"", b"{}\n"] {
        assert!(matches!(document(bad), Err(ReadError::Frame(_))));
    }
    let two = [&frame[..], &frame[..]].concat();
    assert!(document(&two).is_err_and(|e| e.to_string().contains("follow the frame")));
    let sound = listed(size, &object).expect("an index");
    let start = usize::try_from(places[0].last + 1).expect("small");
    for at in start..object.len() {
        let mut damaged = object.clone();
        damaged[at] ^= 0x40;
        // A bit may mean nothing: then all is as it was.
        let read = listed(size, &damaged);
        assert!(read.is_err() || read.is_ok_and(|read| read == sound));
    }
}

#[test]
fn a_body_comes_back_byte_for_byte() {
    let odd: Vec<u8> = (0..=255).cycle().take(3000).collect();
    let (object, places) = segment(&[capture("/1", &odd, b""), capture("/2", b"", &odd)]);
    let (value, _) = whole(&object, &places[1]);
    let body = value["response"]["body"].as_str().expect("base64");
    assert_eq!(STANDARD.decode(body).expect("base64"), odd);
}

/// The end of an object whose index has this JSON.
fn with_index(json: &[u8]) -> Vec<u8> {
    let packed = zstd::bulk::compress(json, 3).expect("compressed");
    let length = u32::try_from(packed.len() + FOOTER).expect("short");
    let mut object = Vec::new();
    object.extend(SKIPPABLE.to_le_bytes());
    object.extend(length.to_le_bytes());
    object.extend(packed);
    object.extend(0u64.to_le_bytes());
    object.extend(MAGIC);
    object
}

#[test]
fn an_index_that_says_nothing_true_is_an_error() {
    let read = |json: &[u8]| {
        let object = with_index(json);
        listed(object.len() as u64, &object)
    };
    let said = |json: &[u8]| read(json).expect_err("an error").to_string();
    assert_eq!(
        read(br#"{"format":1,"new":[{}],"transactions":[]}"#).expect("empty"),
        []
    );
    assert!(said(br#"{"format":2,"transactions":{}}"#).contains("format 2"));
    assert!(said(br#"{"transactions":[]}"#).contains("`format` before"));
    assert!(said(br#"{"format":1}"#).contains("missing field"));
    assert!(said(br#"{"format":1,"transactions":[{"bytes":7}]}"#).contains("damaged"));
    assert!(said(br#"{"format":1,"transactions":[]} x"#).contains("damaged"));
    assert!(said(&b"[".repeat(100_000)).contains("damaged"));
}

#[test]
fn a_frame_that_unpacks_to_more_than_a_document_may_have_is_an_error() {
    let bomb = zstd::bulk::compress(&vec![0; (MAX_DOCUMENT + 1) as usize], 3).expect("packed");
    assert!(bomb.len() < 10_000);
    assert!(document(&bomb).is_err_and(|e| e.to_string().contains("more than")));
    // A frame that asks for a window of 2 GiB: RFC 8878 §3.1.1.1.2.
    let greedy = [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8][..], &[1, 0, 0]].concat();
    assert!(matches!(document(&greedy), Err(ReadError::Frame(_))));
}

#[test]
fn resolving_changes_nothing_but_the_reference() {
    let long = vec![b'q'; 2000];
    let captures = [capture("/1", b"", &long), capture("/3", &long, &long)];
    let (object, places) = segment(&captures);
    let (json, _) = stored(&object, &places[1]);
    let json = resolve(json, |first, last| -> Result<_, ReadError> {
        Ok(bytes(&object, first, last))
    });
    assert_eq!(json.expect("resolved"), encode(&captures[1]));
    let told = |json: &str| {
        resolve(json.into(), |_, _| -> Result<_, ReadError> {
            Ok(Vec::new())
        })
        .expect_err("no reference")
        .to_string()
    };
    assert!(told(r#"{"request":{"body_ref":7}}"#).contains("nothing that can be read"));
    assert!(told(r#"{"request":{"body_ref":{}"#).contains("not where it says"));
}

#[test]
fn bytes_of_an_entry_are_a_range_or_nothing() {
    let range = |bytes: &str| {
        let entry = Entry {
            bytes: bytes.to_owned(),
            ..Entry::default()
        };
        entry.range()
    };
    assert_eq!(range("3-9"), Some((3, 9)));
    for other in ["", "9-3", "a", "#bytes=1-2", "1-2 ", "1-2-3"] {
        assert_eq!(range(other), None, "{other}");
    }
}
