//! Redaction of anything.

use super::sample::{headers, policy, redact, transaction};
use super::tests::{CANARY, all_bytes, leaks};
use super::*;
use crate::rules::Level;
use proptest::prelude::*;

/// A name that redaction knows, in any case.
fn any_case(names: &'static [&'static str]) -> impl Strategy<Value = String> {
    (prop::sample::select(names), any::<u64>()).prop_map(|(name, bits)| {
        let flip = |(i, c): (usize, char)| match bits >> (i % 64) & 1 {
            1 => c.to_ascii_uppercase(),
            _ => c,
        };
        name.chars().enumerate().map(flip).collect()
    })
}

fn header_name() -> impl Strategy<Value = String> {
    any_case(&[
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "x-api-key",
        "api-key",
        "x-auth-token",
        "x-amz-security-token",
        "my-token-2",
        "x-secret",
        "db-password",
        "xapikey",
        "x-session-id",
        "x-goog-iap-jwt-assertion",
        "authorization ",
        "\tcookie",
    ])
}

/// A query name, some of its characters percent-encoded, up to three times.
fn query_name() -> impl Strategy<Value = String> {
    let names = any_case(&[
        "sig",
        "signature",
        "token",
        "access_token",
        "id_token",
        "refresh_token",
        "code",
        "password",
        "passwd",
        "secret",
        "client_secret",
        "api_key",
        "apikey",
        "key",
        "session",
        "sid",
        "jwt",
        "auth",
        "awsaccesskeyid",
        "x-amz-signature",
        "x-amz-credential",
        "x-amz-security-token",
        "x-goog-signature",
        "x-goog-credential",
    ]);
    (names, any::<u64>(), 0..4usize).prop_map(|(mut name, bits, rounds)| {
        for round in 0..rounds {
            name = name
                .char_indices()
                .map(
                    |(i, c)| match bits >> ((i + round * 7) % 64) & 1 == 1 || c == '%' {
                        true => format!("%{:02x}", c as u32),
                        false => c.to_string(),
                    },
                )
                .collect();
        }
        name
    })
}

/// All but letters, digits and `-`, so that the canary can be found in what is encoded.
const ENCODED: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC.remove(b'-');

/// A URL with the canary where it must not stay.
fn url() -> impl Strategy<Value = String> {
    let noise = "[a-z0-9/]{0,6}(=[a-z0-9%+.]{0,5})?";
    let query = (noise, "[&;?#]", query_name(), "[&;]", noise)
        .prop_map(|(a, s, n, t, b)| format!("/p?{a}{s}{n}={CANARY}{t}{b}"));
    let fragment = query_name().prop_map(|n| format!("/p#{n}={CANARY}"));
    let segment = query_name().prop_map(|n| format!("/p;{n}={CANARY}/q"));
    let userinfo =
        "([a-z:/?#!.]{0,4}|@|@#|a@)".prop_map(|p| format!("https://user:{p}{CANARY}@host/p"));
    let nested = query_name().prop_map(|n| {
        let inner = format!("https://h/?{n}={CANARY}");
        format!(
            "/p?next={}",
            percent_encoding::utf8_percent_encode(&inner, ENCODED)
        )
    });
    prop_oneof![query, fragment, segment, userinfo, nested]
}

#[derive(Debug, Clone)]
struct Secrets {
    target: String,
    request: Vec<(String, String)>,
    response: Vec<(String, String)>,
    trailers: Vec<(String, String)>,
}

fn field() -> impl Strategy<Value = (String, String)> {
    let harmless = ("[A-Za-z-]{1,12}", "[ -~]{0,20}");
    let secret = (header_name(), "[ -~]{0,8}", "[ -~]{0,8}")
        .prop_map(|(n, a, b)| (n, format!("{a}{CANARY}{b}")));
    let names = &[
        "referer",
        "location",
        "content-location",
        ":path",
        "refresh",
    ];
    let location = (any_case(names), url());
    let link = url().prop_map(|url| ("Link".to_owned(), format!("<{url}>; rel=next")));
    prop_oneof![harmless, secret, location, link]
}

fn secrets() -> impl Strategy<Value = Secrets> {
    let fields = || prop::collection::vec(field(), 0..6);
    (url(), fields(), fields(), fields()).prop_map(|(target, request, response, trailers)| {
        Secrets {
            target,
            request,
            response,
            trailers,
        }
    })
}

fn pairs(fields: &[(String, String)]) -> Vec<(&str, &str)> {
    fields
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect()
}

/// How content carries a secret.
#[derive(Debug, Clone, Copy)]
enum Carrier {
    Json,
    NestedJson,
    Text,
    Form,
    Binary,
    Events,
}

const CARRIERS: [Carrier; 6] = [
    Carrier::Json,
    Carrier::NestedJson,
    Carrier::Text,
    Carrier::Form,
    Carrier::Binary,
    Carrier::Events,
];

impl Carrier {
    /// Content type, and content with `secret` between other things.
    fn content(self, secret: &str, noise: &str) -> (&'static str, String) {
        let json = serde_json::json!({"a": noise, "private": {"x": [secret]}, "n": [1, true]});
        match self {
            Carrier::Json => ("application/json", json.to_string()),
            Carrier::NestedJson => {
                let outer = serde_json::json!({"b": json.to_string(), "c": noise});
                ("application/problem+json", outer.to_string())
            }
            Carrier::Text => ("text/plain", format!("{noise} bearer {secret} {noise}")),
            Carrier::Form => {
                let value = format!("Bearer {secret}");
                let value = percent_encoding::utf8_percent_encode(&value, ENCODED);
                (
                    "application/x-www-form-urlencoded",
                    format!("a=1&b={value}&c=2"),
                )
            }
            Carrier::Binary => (
                "application/x-protobuf",
                format!("\u{1}{noise}\u{2}key={secret}\u{0}"),
            ),
            Carrier::Events => ("text/event-stream", format!("id: 1\ndata: {json}\n\n")),
        }
    }
}

/// Codings of content, and how to apply them.
fn coded(coding: usize, content: &[u8]) -> (Option<&'static str>, Vec<u8>) {
    use std::io::Write;
    let level = flate2::Compression::fast();
    let all = "a vector takes all";
    match coding {
        0 => (None, content.to_vec()),
        1 => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(content).expect(all);
            (Some("gzip"), encoder.finish().expect(all))
        }
        2 => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(content).expect(all);
            (Some("deflate"), encoder.finish().expect(all))
        }
        3 => {
            let mut out = Vec::new();
            let params = brotli::enc::BrotliEncoderParams::default();
            brotli::BrotliCompress(&mut &content[..], &mut out, &params).expect(all);
            (Some("br"), out)
        }
        4 => (Some("zstd"), zstd::bulk::compress(content, 1).expect(all)),
        _ => (Some("compress"), content.to_vec()),
    }
}

/// Rules for what the carriers hold, in this mode.
fn content_policy(mode: RedactMode) -> HttpCapture {
    use crate::config::{NameMatch, Secret};
    let exact = |name: &str| NameMatch::Exact(name.to_owned());
    let rule = |place, matcher| super::sample::rule("r", place, matcher, mode);
    let mut policy = policy();
    policy.hash_key = Some(HashKeySource::Text(Secret::new(
        "a key that is long enough",
    )));
    policy.body_as_sent = true;
    policy.redact = vec![
        rule(RedactPlace::Json, exact("private")),
        rule(
            RedactPlace::Body,
            NameMatch::Regex("key=([!-~]+)".to_owned()),
        ),
        rule(RedactPlace::Header, exact("x-private")),
    ];
    policy
}

/// Bytes of a payload, base64 undone.
fn payload(capture: &Redacted) -> Vec<u8> {
    use base64::Engine;
    fn texts(value: &serde_json::Value, out: &mut Vec<u8>) {
        match value {
            serde_json::Value::String(text) => {
                out.extend_from_slice(text.as_bytes());
                out.push(b'\n');
                if let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(text) {
                    out.extend(bytes);
                    out.push(b'\n');
                }
            }
            serde_json::Value::Array(items) => items.iter().for_each(|v| texts(v, out)),
            serde_json::Value::Object(items) => items.values().for_each(|v| texts(v, out)),
            _ => {}
        }
    }
    let document = crate::sink::payload::encode(capture);
    let mut out = Vec::new();
    texts(&serde_json::from_slice(&document).expect("JSON"), &mut out);
    out.extend(document);
    out
}

/// What no output may have: three characters of the secret are enough.
fn holds(bytes: &[u8], secret: &str) -> bool {
    let part = secret.get(..3).unwrap_or(secret);
    memchr::memmem::find(bytes, part.as_bytes()).is_some()
}

const LEVELS: [Level; 4] = [Level::None, Level::Summary, Level::Headers, Level::Full];
const MODES: [RedactMode; 3] = [RedactMode::Mask, RedactMode::Hash, RedactMode::Drop];

/// Nothing that is written otherwise in JSON, percent-encoding or base64, and nothing that stands elsewhere.
fn secret() -> impl Strategy<Value = String> {
    "ZQ[A-Z0-9]{14,30}"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_secret_in_content_is_nowhere_whatever_coding_level_and_cut(
        secret in secret(),
        noise in "[a-z ]{0,12}",
        carrier in prop::sample::select(CARRIERS.to_vec()),
        coding in 0..6usize,
        level in prop::sample::select(LEVELS.to_vec()),
        mode in prop::sample::select(MODES.to_vec()),
        marked in any::<bool>(),
        cut in 0.0..1.0f64,
    ) {
        let (content_type, content) = carrier.content(&secret, &noise);
        let (name, sent) = coded(coding, content.as_bytes());
        let mut fields = vec![("content-type", content_type), ("x-private", secret.as_str())];
        fields.extend(name.map(|name| ("content-encoding", name)));
        for end in [sent.len(), (sent.len() as f64 * cut) as usize] {
            let mut t = transaction("/", &fields, &fields);
            let body = || {
                let limits = crate::transaction::BodyLimits { capture: true, max_bytes: end };
                let mut body = crate::transaction::Body::default();
                body.push(if marked { &sent[..end] } else { &sent }, limits);
                body
            };
            t.request.as_mut().unwrap().body = body();
            t.response.as_mut().unwrap().body = body();
            if marked && end < sent.len() {
                t.marks.set(crate::transaction::Mark::RequestCut);
            }
            let (capture, hits) = redact(&content_policy(mode), t, level);
            let mut all = all_bytes(&capture, &hits);
            all.extend(payload(&capture));
            prop_assert!(
                !holds(&all, &secret),
                "{carrier:?} {name:?} {end} of {}: {}", sent.len(), String::from_utf8_lossy(&all)
            );
        }
    }

    #[test]
    fn a_secret_in_a_message_is_nowhere_whatever_its_framing(
        secret in secret(),
        coding in 0..2usize,
        outer in 0..5usize,
        form in 0..4usize,
        cut in any::<prop::sample::Index>(),
        mode in prop::sample::select(MODES.to_vec()),
    ) {
        use crate::transaction::grpc::{Grpc, Kind};
        use base64::Engine;
        let (kind, content_type) = [
            (Kind::Grpc, "application/grpc"),
            (Kind::Web, "application/grpc-web+json"),
            (Kind::WebText, "application/grpc-web-text"),
            (Kind::Connect, "application/connect+json"),
        ][form];
        let text = format!("{{\"private\":\"{secret}\",\"x\":\"key={secret}\"}}");
        let (name, message) = coded(coding, text.as_bytes());
        let mut content = vec![name.is_some() as u8];
        content.extend((message.len() as u32).to_be_bytes());
        content.extend(&message);
        let trailer = format!("x-private: {secret}\r\ngrpc-message: Bearer%20{secret}\r\n");
        if matches!(kind, Kind::Web | Kind::WebText) {
            content.push(0x80);
            content.extend((trailer.len() as u32).to_be_bytes());
            content.extend(trailer.as_bytes());
        }
        if kind == Kind::WebText {
            content = base64::engine::general_purpose::STANDARD.encode(&content).into_bytes();
        }
        let (outer, sent) = coded(outer, &content);
        let end = cut.index(sent.len() + 1);
        let coding = if kind == Kind::Connect { "connect-content-encoding" } else { "grpc-encoding" };
        let said = format!("key%3D{secret}");
        let mut fields = vec![("content-type", content_type), (coding, "gzip"), ("grpc-message", &said)];
        fields.extend(outer.map(|outer| ("content-encoding", outer)));
        let mut t = transaction("/a.B/C", &fields, &fields);
        t.response.as_mut().unwrap().body = super::sample::body(&sent[..end]);
        if end < sent.len() {
            t.marks.set(crate::transaction::Mark::ResponseCut);
        }
        t.grpc = Some(Grpc { kind, from_client: None, from_server: None, code: None, inferred: false });
        let (capture, hits) = redact(&content_policy(mode), t, Level::Full);
        let mut all = all_bytes(&capture, &hits);
        all.extend(payload(&capture));
        prop_assert!(!holds(&all, &secret), "{kind:?} {outer:?}: {}", String::from_utf8_lossy(&all));
    }

    #[test]
    fn any_content_is_data(
        content in prop::collection::vec(any::<u8>(), 0..200),
        content_type in prop::sample::select(vec!["application/json", "text/plain", "text/event-stream", "application/grpc", "application/x-www-form-urlencoded"]),
        coding in 0..6usize,
    ) {
        let (name, sent) = coded(coding, &content);
        let mut fields = vec![("content-type", content_type)];
        fields.extend(name.map(|name| ("content-encoding", name)));
        let mut t = transaction("/", &[], &fields);
        t.response.as_mut().unwrap().body = super::sample::body(&sent);
        let (capture, _) = redact(&content_policy(RedactMode::Mask), t, Level::Full);
        prop_assert!(!crate::sink::payload::encode(&capture).is_empty());
    }
}

#[test]
fn a_text_cut_at_every_byte_leaves_nothing_of_its_secrets() {
    let content = "Bearer ZQ1234567890; eyJZQaaaaaaa.ZQbbbbbb.ZQcccccc \
        -----BEGIN PRIVATE KEY-----\nZQdddddd\n-----END PRIVATE KEY----- key=ZQeeeeee";
    for end in 0..=content.len() {
        let fields = [("content-type", "text/plain")];
        let mut t = transaction("/", &[], &fields);
        t.response.as_mut().unwrap().body = super::sample::body(&content.as_bytes()[..end]);
        t.marks.set(crate::transaction::Mark::ResponseCut);
        let (capture, _) = redact(&content_policy(RedactMode::Mask), t, Level::Full);
        let out = payload(&capture);
        assert!(memchr::memmem::find(&out, b"ZQ").is_none(), "cut at {end}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_canary_in_any_sensitive_place_is_nowhere_afterwards(
        secrets in secrets(),
        level in prop::sample::select(vec![Level::None, Level::Summary, Level::Headers, Level::Full]),
    ) {
        let mut t = transaction(&secrets.target, &pairs(&secrets.request), &pairs(&secrets.response));
        t.response.as_mut().unwrap().trailers = headers(&pairs(&secrets.trailers));
        let (capture, hits) = redact(&policy(), t, level);
        prop_assert!(hits.total() > 0);
        prop_assert!(!leaks(&capture, &hits), "{:?}", String::from_utf8_lossy(&all_bytes(&capture, &hits)));
    }

    #[test]
    fn any_bytes_are_data_and_redaction_changes_nothing_twice(
        target in prop::collection::vec(any::<u8>(), 0..60),
        name in prop::collection::vec(any::<u8>(), 0..12),
        value in prop::collection::vec(any::<u8>(), 0..40),
        which in prop::sample::select(vec!["link", "referer", "cookie", "host"]),
    ) {
        let mut t = transaction("/", &[], &[]);
        let request = t.request.as_mut().unwrap();
        request.target = target;
        request.headers.push(&name, &value);
        request.headers.push(which.as_bytes(), &value);
        let (once, _) = redact(&policy(), t, Level::Full);
        let (twice, hits) = redact(&policy(), (*once.transaction).clone(), Level::Full);
        let fields = |r: &Redacted| -> Vec<(Vec<u8>, Vec<u8>)> {
            let headers = &r.transaction.request.as_ref().unwrap().headers;
            headers.iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect()
        };
        prop_assert_eq!(fields(&once), fields(&twice));
        prop_assert_eq!(
            &once.transaction.request.as_ref().unwrap().target,
            &twice.transaction.request.as_ref().unwrap().target,
            "{:?}", hits
        );
    }
}
