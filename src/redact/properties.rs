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
        let (twice, hits) = redact(&policy(), once.transaction.clone(), Level::Full);
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
