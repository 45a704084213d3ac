use super::sample::{about, headers, policy, redact, rule, transaction};
use super::*;
use crate::config::{NameMatch, RedactMode};
use crate::rules::Level;
use crate::transaction::{Headers, Mark, TraceContext, TraceContextSource};

pub(super) const CANARY: &str = "SECRET-CANARY";

fn get(headers: &Headers, name: &str) -> String {
    let value = headers.get(name.as_bytes()).unwrap_or(b"(absent)");
    String::from_utf8_lossy(value).into_owned()
}

/// Every byte that a capture holds, unused parts of buffers included.
pub(super) fn all_bytes(capture: &Redacted, hits: &Hits) -> Vec<u8> {
    let mut all = format!(
        "{capture:?} {:?} {:?} {:?} {:?} {hits:?} {:?} {:?}",
        capture.facts,
        capture.ids,
        capture.process,
        capture.decision,
        capture.id,
        capture.transaction.context,
    )
    .into_bytes();
    if let Some(r) = &capture.transaction.request {
        for part in [
            &r.method[..],
            &r.target,
            r.headers.buffer(),
            r.trailers.buffer(),
        ] {
            all.extend_from_slice(part);
        }
    }
    if let Some(r) = &capture.transaction.response {
        for part in [&r.reason[..], r.headers.buffer(), r.trailers.buffer()] {
            all.extend_from_slice(part);
        }
    }
    all
}

pub(super) fn leaks(capture: &Redacted, hits: &Hits) -> bool {
    memchr::memmem::find(&all_bytes(capture, hits), CANARY.as_bytes()).is_some()
        || memchr::memmem::find(&crate::sink::payload::encode(capture), CANARY.as_bytes()).is_some()
}

#[test]
fn credentials_are_masked_and_counted_by_matcher() {
    let t = transaction(
        "/a?b=1&token=SECRET-CANARY",
        &[
            ("Host", "u:SECRET-CANARY@shop.example"),
            ("Authorization", "Bearer SECRET-CANARY"),
            ("Cookie", "a=SECRET-CANARY; theme=dark"),
            ("X-My-Token", "SECRET-CANARY"),
            ("Referer", "https://u:SECRET-CANARY@h/?code=SECRET-CANARY"),
            ("Accept", "*/*"),
        ],
        &[
            ("Set-Cookie", "sid=SECRET-CANARY; Path=/"),
            ("set-cookie", "b=SECRET-CANARY"),
            ("Location", "/cb#access_token=SECRET-CANARY"),
        ],
    );
    let (capture, hits) = redact(&policy(), t, Level::Full);
    assert!(!leaks(&capture, &hits));
    let request = capture.transaction.request.as_ref().unwrap();
    assert_eq!(request.target, b"/a?b=1&token=REDACTED");
    assert_eq!(get(&request.headers, "cookie"), "REDACTED");
    assert_eq!(get(&request.headers, "accept"), "*/*");
    assert_eq!(
        get(&request.headers, "host"),
        "REDACTED:REDACTED@shop.example"
    );
    let mut counts: Vec<_> = hits.iter().collect();
    counts.sort();
    assert_eq!(
        counts,
        [
            ("header/*token*", 1),
            ("header/authorization", 1),
            ("header/cookie", 1),
            ("header/set-cookie", 2),
            ("query", 3),
            ("userinfo", 2),
        ]
    );
}

#[test]
fn what_holds_no_secret_stays_as_it_was() {
    let t = transaction(
        "/a/b;v=1?q=x+y%20z&page=2#top",
        &[
            ("Host", "shop.example"),
            ("referer", "https://h/?q=1"),
            ("x", "a?b=c"),
        ],
        &[("link", "</n>; rel=next"), ("ETag", "\"1\"")],
    );
    let before = t.clone();
    let (capture, hits) = redact(&policy(), t, Level::Full);
    assert!(capture.transaction == Box::new(before));
    assert_eq!(hits.total(), 0);
}

#[test]
fn the_first_rule_that_matches_decides_and_keep_undoes_a_default() {
    let mut policy = policy();
    policy.redact = vec![
        rule(
            "k",
            RedactPlace::Header,
            NameMatch::Exact("X-Session-Kind".into()),
            RedactMode::Keep,
        ),
        rule(
            "users",
            RedactPlace::Header,
            NameMatch::Glob("x-user*".into()),
            RedactMode::Mask,
        ),
        rule(
            "late",
            RedactPlace::Header,
            NameMatch::Glob("x-user-kind".into()),
            RedactMode::Keep,
        ),
        rule(
            "nums",
            RedactPlace::Header,
            NameMatch::Regex("^n[0-9]+$".into()),
            RedactMode::Mask,
        ),
        rule(
            "codes",
            RedactPlace::Query,
            NameMatch::Exact("code".into()),
            RedactMode::Keep,
        ),
    ];
    let t = transaction(
        "/?code=1&key=2",
        &[
            ("x-session-kind", "v"),
            ("X-USER-KIND", "v"),
            ("N12", "v"),
            ("n", "v"),
        ],
        &[],
    );
    let (capture, hits) = redact(&policy, t, Level::Full);
    let request = capture.transaction.request.as_ref().unwrap();
    let got = ["x-session-kind", "x-user-kind", "n12", "n"].map(|n| get(&request.headers, n));
    assert_eq!(got, ["v", "REDACTED", "REDACTED", "v"]);
    assert_eq!(request.target, b"/?code=1&key=REDACTED");
    assert_eq!(hits.iter().collect::<Vec<_>>().len(), 3);
    assert!(hits.iter().any(|hit| hit == ("users", 1)));
}

#[test]
fn a_kept_cookie_stays_and_all_others_are_masked() {
    let mut policy = policy();
    policy.redact = vec![rule(
        "theme",
        RedactPlace::Cookie,
        NameMatch::Exact("theme".into()),
        RedactMode::Keep,
    )];
    let t = transaction(
        "/",
        &[(
            "cookie",
            "a=SECRET-CANARY; Theme=dark;SECRET-CANARY; b=\"x;SECRET-CANARY\"",
        )],
        &[
            ("set-cookie", "theme=light; Path=/"),
            ("set-cookie", "sid=SECRET-CANARY"),
        ],
    );
    let (capture, hits) = redact(&policy, t, Level::Full);
    assert!(!leaks(&capture, &hits));
    let t = &capture.transaction;
    assert_eq!(
        get(&t.request.as_ref().unwrap().headers, "cookie"),
        "a=REDACTED; Theme=dark;REDACTED; b=REDACTED;REDACTED"
    );
    let set: Vec<_> = t
        .response
        .as_ref()
        .unwrap()
        .headers
        .get_all(b"set-cookie")
        .collect();
    assert_eq!(set, [&b"theme=light; Path=/"[..], b"REDACTED"]);
}

#[test]
fn a_bad_pattern_is_an_error_that_names_the_rule() {
    let mut bad = policy();
    bad.redact = vec![rule(
        "r1",
        RedactPlace::Header,
        NameMatch::Regex("(".into()),
        RedactMode::Mask,
    )];
    let error = Redactor::new(&bad).err().unwrap().to_string();
    assert!(error.contains("r1") && error.contains("`(`"), "{error}");
    let mut bad = policy();
    bad.headers_exclude = vec!["[".to_owned()];
    assert!(Redactor::new(&bad).is_err());
}

#[test]
fn summary_keeps_facts_and_sizes_alone() {
    let t = transaction(
        "/a?q=1",
        &[
            ("Host", "shop.example:8443"),
            ("User-Agent", "curl/8"),
            ("X-Forwarded-For", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("Content-Type", "text/plain"),
            ("X-Forwarded-Proto", "https"),
        ],
        &[
            ("content-type", "application/json"),
            ("content-encoding", "gzip"),
        ],
    );
    let (capture, _) = redact(&policy(), t, Level::Summary);
    let request = capture.transaction.request.as_ref().unwrap();
    let response = capture.transaction.response.as_ref().unwrap();
    assert!(request.headers.buffer().is_empty() && response.headers.buffer().is_empty());
    assert_eq!((request.body.bytes().len(), request.body.size()), (0, 8));
    assert!(response.reason.is_empty());
    let f = &capture.facts;
    assert_eq!(f.host.as_deref(), Some("shop.example:8443"));
    assert_eq!(f.user_agent.as_deref(), Some("curl/8"));
    assert_eq!(f.x_forwarded_for.as_deref(), Some("1.1.1.1, 2.2.2.2"));
    assert_eq!(f.x_forwarded_proto.as_deref(), Some("https"));
    assert_eq!(f.request_content_type.as_deref(), Some("text/plain"));
    assert_eq!(f.response_content_type.as_deref(), Some("application/json"));
    assert_eq!(f.response_content_encoding.as_deref(), Some("gzip"));
}

#[test]
fn headers_keeps_headers_without_bodies_and_narrows_them() {
    let mut policy = policy();
    policy.headers_include = vec!["x-*".to_owned(), "host".to_owned()];
    policy.headers_exclude = vec!["X-Internal*".to_owned()];
    let fields = [
        ("Host", "h"),
        ("X-A", "1"),
        ("X-Internal-B", "2"),
        ("Accept", "3"),
    ];
    let (capture, _) = redact(&policy, transaction("/", &fields, &[]), Level::Headers);
    let request = capture.transaction.request.as_ref().unwrap();
    let names: Vec<_> = request.headers.iter().map(|(n, _)| n).collect();
    assert_eq!(names, [&b"Host"[..], b"X-A"]);
    assert_eq!(request.body.bytes().len(), 0);
    assert_eq!(
        capture
            .transaction
            .response
            .as_ref()
            .unwrap()
            .body
            .bytes()
            .len(),
        0
    );

    let (full, _) = redact(&policy, transaction("/", &fields, &[]), Level::Full);
    let request = full.transaction.request.as_ref().unwrap();
    assert_eq!(
        (request.headers.len(), request.body.bytes()),
        (4, &b"question"[..])
    );
}

#[test]
fn heads_that_break_the_grammar_are_masked_where_a_secret_could_be() {
    let mut t = transaction(
        "SECRET-CANARY junk",
        &[
            ("Authorization ", "SECRET-CANARY"),
            ("Bearer SECRET-CANARY", "x"),
            (" SECRET-CANARY", "x"),
            ("x-folded", "a\r\n authorization: SECRET-CANARY"),
        ],
        &[],
    );
    t.marks.set(Mark::RequestMalformed);
    t.marks.set(Mark::ResponseMalformed);
    t.request.as_mut().unwrap().method = b"SECRET-CANARY".to_vec();
    t.response.as_mut().unwrap().reason = b"OK SECRET-CANARY".to_vec();
    t.request.as_mut().unwrap().trailers = headers(&[("x-token", "SECRET-CANARY")]);
    for level in [Level::Summary, Level::Headers, Level::Full] {
        let (capture, hits) = redact(&policy(), t.clone(), level);
        assert!(!leaks(&capture, &hits), "{level:?}");
        assert_eq!(capture.transaction.request.as_ref().unwrap().method, MASK);
    }
}

#[test]
fn a_masked_tracestate_is_masked_in_the_contexts_too() {
    let mut policy = policy();
    policy.redact = vec![rule(
        "ts",
        RedactPlace::Header,
        NameMatch::Exact("tracestate".into()),
        RedactMode::Mask,
    )];
    let context = TraceContext {
        trace_id: [1; 16],
        span_id: [1; 8],
        flags: 1,
        tracestate: "v=SECRET-CANARY".to_owned(),
        source: TraceContextSource::W3c,
    };
    let mut t = transaction("/", &[("tracestate", "v=SECRET-CANARY")], &[]);
    t.context = Some(context.clone());
    let (mut about, redactor) = (about(Level::Headers), Redactor::new(&policy).unwrap());
    about.ids.tracestate = context.tracestate.clone();
    about.ids.link = Some(context);
    let (capture, hits) = redactor.redact(Raw::new(Box::new(t)), about);
    assert!(!leaks(&capture, &hits));
}

#[test]
fn a_report_holds_no_header_no_content_and_no_secret() {
    let fields = [("Authorization", CANARY), ("X-Plain", CANARY)];
    let mut sent = transaction(&format!("/a?token={CANARY}"), &fields, &fields);
    let body = super::sample::body(CANARY.as_bytes());
    sent.response.as_mut().expect("a response").body = body;
    let redactor = Redactor::new(&policy()).expect("a policy");
    let raw = Raw::new(Progress::at(sent, crate::event::KernelTime(9)));
    let told = redactor.redact_progress(raw, about(Level::Full));
    assert_eq!(told.decision.level, Level::Full);
    let request = told.transaction.request.as_ref().expect("a request");
    let response = told.transaction.response.as_ref().expect("a response");
    assert_eq!(request.target, b"/a?token=REDACTED");
    assert!(request.headers.is_empty() && response.headers.is_empty());
    let size = response.body.size();
    assert_eq!(
        (response.body.bytes(), size),
        (&b""[..], CANARY.len() as u64)
    );
    let capture = Redacted::for_test(Capture::clone(&told));
    let all = all_bytes(&capture, &Hits::new(redactor.names.clone()));
    assert_eq!(memchr::memmem::find(&all, CANARY.as_bytes()), None);
}
