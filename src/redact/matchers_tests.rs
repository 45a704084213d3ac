use super::super::modes::HashKey;
use super::super::names::BUILT_IN;
use super::super::sample::{body, policy, redact, rule, transaction};
use super::*;
use crate::config::{HashKeySource, HttpCapture, RedactMode, Secret};
use crate::redact::Redacted;
use crate::rules::Level;
use std::io::Write;
use std::sync::Mutex;

const FIRST: MatcherId = BUILT_IN.len() as MatcherId;
const KEY: &str = "sixteen bytes of key";

fn body_rules(list: &[RedactRule]) -> BodyRules {
    let names: Arc<[Box<str>]> = BUILT_IN.iter().map(|n| Box::from(*n)).collect();
    let key = Some(HashKey::new(KEY.as_bytes()));
    BodyRules::new(list, FIRST, &Arc::new(Substitute { key }), &names).unwrap()
}

fn exact(place: RedactPlace, key: &str, mode: RedactMode) -> RedactRule {
    rule("r", place, NameMatch::Exact(key.to_owned()), mode)
}

fn masked(
    rules: &BodyRules,
    text: &str,
    content_type: &str,
    cut: bool,
) -> (String, Option<Dropped>) {
    let mut hits = Hits::new(rules.names.clone());
    let masked = rules.mask(text.as_bytes(), Some(content_type), cut, &mut hits);
    (
        String::from_utf8_lossy(&masked.bytes).into_owned(),
        masked.dropped,
    )
}

#[test]
fn detectors_are_on_without_a_rule() {
    let rules = body_rules(&[]);
    for (content_type, before, after) in [
        ("text/plain", "Bearer abcdefgh1 end", "Bearer REDACTED end"),
        (
            "application/json",
            r#"{"n":"4111 1111 1111 1111"}"#,
            r#"{"n":"REDACTED"}"#,
        ),
        (
            "application/json",
            r#"{"a":"Bearer\u0020abcdefgh1"}"#,
            r#"{"a":"Bearer\u0020REDACTED"}"#,
        ),
        (
            "application/x-www-form-urlencoded",
            "a=Bearer+abcdefgh1&b=2",
            "a=Bearer+REDACTED&b=2",
        ),
        (
            "application/x-www-form-urlencoded",
            "a=Bearer%20abcd%2Befgh1&b=2",
            "a=Bearer%20REDACTED&b=2",
        ),
        (
            "application/x-www-form-urlencoded",
            "n=4111%201111%201111%201111",
            "n=REDACTED",
        ),
        (
            "application/octet-stream",
            "\u{1}\u{2}AKIAABCDEFGHIJKLMNOP\u{3}",
            "\u{1}\u{2}REDACTED\u{3}",
        ),
        ("text/plain", "nothing in here", "nothing in here"),
    ] {
        assert_eq!(
            masked(&rules, before, content_type, false),
            (after.to_owned(), None),
            "{before}"
        );
    }
}

#[test]
fn a_rule_changes_what_a_detector_does() {
    let keep = body_rules(&[exact(RedactPlace::Detector, "*", RedactMode::Keep)]);
    assert!(keep.is_empty());
    let rules = body_rules(&[
        exact(RedactPlace::Detector, "bearer-token", RedactMode::Keep),
        exact(RedactPlace::Detector, "card-number", RedactMode::Drop),
        exact(RedactPlace::Detector, "*", RedactMode::Hash),
    ]);
    let tag = HashKey::new(KEY.as_bytes()).tag(b"AKIAABCDEFGHIJKLMNOP");
    let text = "Bearer abcdefgh1, 4111111111111111, AKIAABCDEFGHIJKLMNOP";
    let (out, _) = masked(&rules, text, "text/plain", false);
    assert_eq!(out, format!("Bearer abcdefgh1, , {tag}"));
}

#[test]
fn patterns_match_exactly_by_glob_and_by_expression() {
    let rules = body_rules(&[
        exact(RedactPlace::Body, "open sesame", RedactMode::Mask),
        rule(
            "g",
            RedactPlace::Body,
            NameMatch::Glob("cust-*".into()),
            RedactMode::Hash,
        ),
        rule(
            "x",
            RedactPlace::Body,
            NameMatch::Regex("iban=(\\w+)".into()),
            RedactMode::Mask,
        ),
        rule(
            "k",
            RedactPlace::Body,
            NameMatch::Regex("cust-".into()),
            RedactMode::Drop,
        ),
    ]);
    let tag = HashKey::new(KEY.as_bytes()).tag(b"cust-1%2");
    let (out, _) = masked(
        &rules,
        "Open%20Sesame! cust-1%2 iban=DE12 iban",
        "text/plain",
        false,
    );
    assert_eq!(out, format!("REDACTED! {tag} iban=REDACTED iban"));
}

#[test]
fn the_same_secret_has_the_same_hash_wherever_it_stands() {
    let mut policy = policy();
    policy.hash_key = Some(HashKeySource::Text(Secret::new(KEY)));
    for place in [
        RedactPlace::Header,
        RedactPlace::Query,
        RedactPlace::Cookie,
        RedactPlace::Json,
    ] {
        policy.redact.push(exact(place, "user", RedactMode::Hash));
    }
    let mut t = transaction(
        "/?user=ann%2Dlee",
        &[("user", " ann-lee"), ("cookie", "user=ann-lee; a=b")],
        &[
            ("set-cookie", "user=ann-lee; Path=/"),
            ("content-type", "application/json"),
        ],
    );
    t.response.as_mut().unwrap().body = body(br#"{"user":"ann\u002dlee"}"#);
    let (capture, _) = redact(&policy, t, Level::Full);
    let tag = HashKey::new(KEY.as_bytes()).tag(b"ann-lee");
    let request = capture.transaction.request.as_ref().unwrap();
    let response = capture.transaction.response.as_ref().unwrap();
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap()).into_owned();
    assert_eq!(text(Some(&request.target)), format!("/?user={tag}"));
    assert_eq!(text(request.headers.get(b"user")), tag);
    assert_eq!(
        text(request.headers.get(b"cookie")),
        format!("user={tag}; a=REDACTED")
    );
    assert_eq!(
        text(response.headers.get(b"set-cookie")),
        format!("user={tag}; Path=/")
    );
    let content = capture.response_content().unwrap();
    assert_eq!(
        text(Some(content.bytes())),
        format!("{{\"user\":\"{tag}\"}}")
    );
}

#[test]
fn a_rule_that_hashes_needs_a_key() {
    let mut policy = policy();
    policy
        .redact
        .push(exact(RedactPlace::Json, "user", RedactMode::Hash));
    let error = crate::redact::Redactor::new(&policy).err().unwrap();
    assert!(error.to_string().contains("`r` hashes"), "{error}");
}

#[test]
fn dropped_fields_and_cookies_are_gone() {
    let mut policy = policy();
    for place in [RedactPlace::Header, RedactPlace::Cookie] {
        policy.redact.push(exact(place, "gone", RedactMode::Drop));
    }
    let t = transaction(
        "/",
        &[
            ("gone", "S"),
            ("a", "1"),
            ("Gone", "S"),
            ("cookie", "gone=S; b=2"),
        ],
        &[("set-cookie", "gone=S")],
    );
    let (capture, hits) = redact(&policy, t, Level::Full);
    let request = capture.transaction.request.as_ref().unwrap();
    let fields: Vec<_> = request.headers.iter().collect();
    assert_eq!(
        fields,
        [(&b"a"[..], &b"1"[..]), (b"cookie", b" b=REDACTED")]
    );
    assert!(
        capture
            .transaction
            .response
            .as_ref()
            .unwrap()
            .headers
            .is_empty()
    );
    assert_eq!(hits.total(), 5);
}

#[test]
fn what_must_be_looked_into_and_cannot_be_is_dropped() {
    let rules = body_rules(&[exact(RedactPlace::Json, "k", RedactMode::Mask)]);
    let json = "application/json";
    let (out, dropped) = masked(&rules, r#"{"k":1,"a":2} <b>S</b>"#, json, false);
    assert_eq!(
        (out.as_str(), dropped),
        (r#"{"k":"REDACTED","a":2} "#, Some(Dropped::Unparsable))
    );
    assert_eq!(
        masked(&rules, "k=S", json, false),
        ("k".to_owned(), Some(Dropped::Unparsable))
    );
    let (out, dropped) = masked(&rules, "S", "application/json; charset=utf-16le", false);
    assert_eq!((out.as_str(), dropped), ("", Some(Dropped::Charset)));
    // No JSON by its type, and it does not look like some.
    assert_eq!(
        masked(&rules, "k=S", "text/plain", false),
        ("k=S".to_owned(), None)
    );
    let (out, dropped) = masked(&rules, r#" {"k":"S"}"#, "text/plain", false);
    assert_eq!((out.as_str(), dropped), (r#" {"k":"REDACTED"}"#, None));
}

#[test]
fn events_are_looked_into_line_by_line() {
    let rules = body_rules(&[exact(RedactPlace::Json, "k", RedactMode::Mask)]);
    let text = "event: a\ndata: {\"k\":\"S\"}\n\ndata: word\n\ndata:{\"k\":\"S";
    let (out, dropped) = masked(&rules, text, "text/event-stream", true);
    assert_eq!(
        out,
        "event: a\ndata: {\"k\":\"REDACTED\"}\n\ndata: word\n\ndata:{\"k\":\"REDACTED\""
    );
    assert_eq!(dropped, None);
    let (out, dropped) = masked(
        &rules,
        "data: {\ndata: \"k\":\"S\"}\n",
        "text/event-stream",
        false,
    );
    assert_eq!((out.as_str(), dropped), ("", Some(Dropped::Unparsable)));
}

fn coded(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn answer(policy: &HttpCapture, fields: &[(&str, &str)], bytes: &[u8]) -> Redacted {
    let mut t = transaction("/", &[], fields);
    t.response.as_mut().unwrap().body = body(bytes);
    redact(policy, t, Level::Full).0
}

#[test]
fn coded_content_is_masked_and_not_shown_as_sent_where_something_was() {
    let mut policy = policy();
    policy.body_as_sent = true;
    let fields = [("content-type", "text/plain"), ("content-encoding", "gzip")];
    let capture = answer(&policy, &fields, &coded(b"Bearer SECRET-CANARY"));
    let content = capture.response_content().unwrap();
    assert_eq!(content.text(), Some(&b"Bearer REDACTED"[..]));
    assert!(content.redacted() && content.as_sent().is_none());

    let harmless = coded(b"harmless");
    let capture = answer(&policy, &fields, &harmless);
    let content = capture.response_content().unwrap();
    assert_eq!(content.as_sent(), Some(&harmless[..]));

    let capture = answer(&policy, &fields, &harmless[..harmless.len() - 1]);
    let content = capture.response_content().unwrap();
    assert!(content.as_sent().is_none(), "its end was not seen");
}

#[test]
fn an_unknown_coding_is_dropped_unless_nothing_is_looked_for() {
    let fields = [
        ("content-type", "text/plain"),
        ("content-encoding", "compress"),
    ];
    let capture = answer(&policy(), &fields, b"S");
    let content = capture.response_content().unwrap();
    assert_eq!(
        (content.bytes(), content.dropped()),
        (&b""[..], Some(Dropped::Coded))
    );
    let mut open = policy();
    open.redact
        .push(exact(RedactPlace::Detector, "*", RedactMode::Keep));
    let capture = answer(&open, &fields, b"S");
    let content = capture.response_content().unwrap();
    assert_eq!((content.bytes(), content.dropped()), (&b"S"[..], None));
}

#[test]
fn text_that_only_claims_to_be_coded_is_looked_into() {
    let fields = [("content-type", "text/plain"), ("content-encoding", "gzip")];
    let capture = answer(&policy(), &fields, b"no gzip: Bearer SECRET-CANARY");
    let content = capture.response_content().unwrap();
    assert_eq!(
        (content.bytes(), content.dropped()),
        (&b"no gzip: REDACTED"[..], None)
    );
    let capture = answer(
        &policy(),
        &fields,
        b"\x1e\x8b\x08 damaged Bearer SECRET-CANARY",
    );
    assert_eq!(
        capture.response_content().unwrap().dropped(),
        Some(Dropped::Coded)
    );
}

#[test]
fn content_whose_coding_is_hidden_is_not_shown() {
    for mode in [RedactMode::Mask, RedactMode::Drop] {
        let mut policy = policy();
        let place = RedactPlace::Header;
        policy.redact = vec![exact(place, "content-encoding", mode)];
        let fields = [("content-encoding", "gzip")];
        let capture = answer(&policy, &fields, &coded(b"Bearer SECRET-CANARY"));
        let content = capture.response_content().unwrap();
        assert_eq!(
            (content.bytes(), content.dropped()),
            (&b""[..], Some(Dropped::Coded))
        );
    }
}

#[test]
fn what_is_touched_is_reported_once_however_often_it_is_asked_for() {
    let counts = Arc::new(Mutex::new(Vec::new()));
    let seen = counts.clone();
    let report: Report =
        Arc::new(move |name: &str, n| seen.lock().unwrap().push((name.to_owned(), n)));
    let redactor = crate::redact::Redactor::new(&policy())
        .unwrap()
        .reporting(report);
    let mut t = transaction("/", &[], &[("content-type", "text/plain")]);
    t.response.as_mut().unwrap().body = body(b"4111111111111111 and 5500000000000004");
    let about = super::super::sample::about(Level::Full);
    let (capture, _) = redactor.redact(crate::redact::Raw::new(Box::new(t)), about);
    for _ in 0..3 {
        assert!(capture.response_content().unwrap().redacted());
    }
    assert_eq!(
        *counts.lock().unwrap(),
        [("body/card-number".to_owned(), 2)]
    );
}
