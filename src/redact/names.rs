//! Matchers of names: of headers, query parameters and cookies.
//!
//! Rules of the configuration come first, in their order, and the first that matches decides. The built-in matchers
//! come after them.

use super::RedactorError;
use super::hits::MatcherId;
use super::modes::{Action, Substitute};
use crate::config::{NameMatch, RedactPlace, RedactRule};
use regex::bytes::{Regex, RegexBuilder};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Names longer than this are compared on the heap.
const STACK: usize = 64;

/// What is done with a value because of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A rule says that it stays.
    Keep,
    /// The matcher with this number hides it.
    Hide(MatcherId, Action),
    /// No matcher knows the name.
    Unknown,
}

/// One rule of the configuration, compiled.
struct Rule {
    id: MatcherId,
    matcher: Matcher,
    /// None: the value stays.
    action: Option<Action>,
}

enum Matcher {
    /// In lower case.
    Exact(Vec<u8>),
    Pattern(Regex),
}

impl Matcher {
    fn new(rule: &RedactRule) -> Result<Matcher, RedactorError> {
        Ok(match &rule.matcher {
            NameMatch::Exact(name) => Matcher::Exact(name.to_ascii_lowercase().into_bytes()),
            NameMatch::Glob(glob) => {
                Matcher::Pattern(glob_regex(glob).map_err(|reason| RedactorError::Pattern {
                    what: format!("rule `{}`", rule.name),
                    pattern: glob.clone(),
                    reason,
                })?)
            }
            NameMatch::Regex(regex) => Matcher::Pattern(
                RegexBuilder::new(regex)
                    .unicode(false)
                    .case_insensitive(true)
                    .build()
                    .map_err(|e| RedactorError::Pattern {
                        what: format!("rule `{}`", rule.name),
                        pattern: regex.clone(),
                        reason: e.to_string(),
                    })?,
            ),
        })
    }

    fn matches(&self, lower: &[u8]) -> bool {
        match self {
            Matcher::Exact(name) => name == lower,
            Matcher::Pattern(regex) => regex.is_match(lower),
        }
    }
}

/// A glob as a regular expression over bytes, ignoring case; `*` matches everything, `/` too.
pub(super) fn glob_regex(glob: &str) -> Result<Regex, String> {
    let glob = globset::GlobBuilder::new(glob)
        .case_insensitive(true)
        .literal_separator(false)
        .build()
        .map_err(|e| e.to_string())?;
    RegexBuilder::new(glob.regex())
        .unicode(false)
        .case_insensitive(true)
        .dot_matches_new_line(true)
        .build()
        .map_err(|e| e.to_string())
}

/// The rules of the configuration for one place.
pub(super) struct Rules {
    list: Vec<Rule>,
    with: Arc<Substitute>,
}

impl Rules {
    /// The rules for `place`. The matcher number of the rule at index `i` of the configuration is `first + i`.
    pub fn new(
        rules: &[RedactRule],
        place: RedactPlace,
        first: MatcherId,
        with: &Arc<Substitute>,
    ) -> Result<Rules, RedactorError> {
        let list = rules
            .iter()
            .zip(first..)
            .filter(|(rule, _)| rule.place == place)
            .map(|(rule, id)| {
                Ok(Rule {
                    id,
                    matcher: Matcher::new(rule)?,
                    action: Action::of(rule.mode),
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Rules {
            list,
            with: with.clone(),
        })
    }

    /// What stands where `secret` was.
    pub fn instead(&self, action: Action, secret: &[u8]) -> Vec<u8> {
        self.with.of(action, secret)
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What the first rule that matches says. `lower` is in lower case.
    pub fn decide(&self, lower: &[u8]) -> Verdict {
        match self.list.iter().find(|r| r.matcher.matches(lower)) {
            Some(rule) => match rule.action {
                None => Verdict::Keep,
                Some(action) => Verdict::Hide(rule.id, action),
            },
            None => Verdict::Unknown,
        }
    }
}

/// Calls `f` with `name` in lower case, without white space and control bytes around it.
pub(super) fn with_lower<R>(name: &[u8], f: impl FnOnce(&[u8]) -> R) -> R {
    let name = trim(name);
    let mut stack = [0u8; STACK];
    match stack.get_mut(..name.len()) {
        Some(lower) => {
            lower.copy_from_slice(name);
            lower.make_ascii_lowercase();
            f(lower)
        }
        None => f(&name.to_ascii_lowercase()),
    }
}

/// Names of header fields that were found to mean nothing to any matcher: those of one program are the same each time.
#[derive(Default)]
pub(super) struct Ordinary(Mutex<Seen>);

/// Each name has one place, which the next of the same place takes over.
pub(super) struct Seen(Box<[Name; PLACES]>);

/// Names that are kept.
const PLACES: usize = 128;
/// Bytes of a name that is kept at the most.
const LONGEST: usize = 31;

#[derive(Clone, Copy)]
struct Name {
    len: u8,
    bytes: [u8; LONGEST],
}

impl Ordinary {
    pub fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Seen {
    fn default() -> Self {
        let none = Name {
            len: 0,
            bytes: [0; LONGEST],
        };
        Seen(Box::new([none; PLACES]))
    }
}

impl Seen {
    /// The name is one of them, in the case in which it was found.
    pub fn has(&self, name: &[u8]) -> bool {
        let kept = &self.0[place(name)];
        usize::from(kept.len) == name.len()
            && !name.is_empty()
            && kept.bytes.get(..name.len()) == Some(name)
    }

    pub fn add(&mut self, name: &[u8]) {
        let kept = &mut self.0[place(name)];
        if let Some(bytes) = kept.bytes.get_mut(..name.len()) {
            bytes.copy_from_slice(name);
            kept.len = name.len() as u8;
        }
    }
}

fn place(name: &[u8]) -> usize {
    let at = |index: usize| name.get(index).map_or(0, |b| usize::from(*b));
    let (len, middle) = (name.len(), name.len() / 2);
    let sum = len + at(0) * 3 + at(middle) * 7 + at(len.wrapping_sub(1)) * 31 + at(len / 3) * 61;
    sum % PLACES
}

/// `bytes` without white space and control bytes around it.
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    let odd = |b: &u8| *b <= b' ' || *b == 0x7f;
    let start = bytes.iter().position(|b| !odd(b)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|b| !odd(b)).map_or(start, |i| i + 1);
    bytes.get(start..end).unwrap_or_default()
}

/// Built-in matchers, in the order of their numbers. The first ones are those of headers.
pub(super) const BUILT_IN: [&str; 26] = [
    "header/authorization",
    "header/proxy-authorization",
    "header/cookie",
    "header/set-cookie",
    "header/x-api-key",
    "header/api-key",
    "header/x-auth-token",
    "header/x-amz-security-token",
    "header/*token*",
    "header/*secret*",
    "header/*password*",
    "header/*api-key*",
    "header/*apikey*",
    "header/*session*",
    "header/*-jwt-assertion",
    "cookie",
    "query",
    "nested",
    "userinfo",
    "malformed",
    "body/bearer-token",
    "body/jwt",
    "body/private-key",
    "body/cloud-key",
    "body/card-number",
    "body/unreadable",
];

/// Pairs of a `cookie` header, where rules look at each one.
pub(super) const COOKIE: MatcherId = 15;
/// Parameters of a query, a fragment or a path segment.
pub(super) const QUERY: MatcherId = 16;
/// A value that holds, percent-encoded, what would have been masked by itself.
pub(super) const NESTED: MatcherId = 17;
pub(super) const USERINFO: MatcherId = 18;
/// What could be a secret in a head that breaks the grammar.
pub(super) const MALFORMED: MatcherId = 19;
/// The first detector; the others follow in their order.
pub(super) const DETECTOR: MatcherId = 20;
/// Content that could not be looked into where it had to be.
pub(super) const UNREADABLE: MatcherId = 25;

/// The built-in matcher of a header name in lower case. `_` counts as `-`.
pub(super) fn built_in_header(lower: &[u8]) -> Option<MatcherId> {
    let exact = match lower {
        b"authorization" => Some(0),
        b"proxy-authorization" => Some(1),
        b"cookie" | b"cookie2" => Some(2),
        b"set-cookie" | b"set-cookie2" => Some(3),
        b"x-api-key" => Some(4),
        b"api-key" => Some(5),
        b"x-auth-token" => Some(6),
        b"x-amz-security-token" => Some(7),
        _ => None,
    };
    exact.or_else(|| built_in_glob(lower))
}

/// The built-in globs, in one pass over the name.
fn built_in_glob(lower: &[u8]) -> Option<MatcherId> {
    for (i, byte) in lower.iter().enumerate() {
        let Some(rest) = lower.get(i..) else { break };
        let found = match byte {
            b't' if rest.starts_with(b"token") => Some(8),
            b's' if rest.starts_with(b"secret") => Some(9),
            b'p' if rest.starts_with(b"password") => Some(10),
            b'a' if rest.starts_with(b"api-key") || rest.starts_with(b"api_key") => Some(11),
            b'a' if rest.starts_with(b"apikey") => Some(12),
            b's' if rest.starts_with(b"session") => Some(13),
            b'-' | b'_' if matches!(rest.get(1..), Some(b"jwt-assertion" | b"jwt_assertion")) => {
                Some(14)
            }
            // CGI spelling of the exact names.
            b'_' if i == 5 && lower == b"proxy_authorization" => Some(1),
            b'_' if i == 3 && lower == b"set_cookie" => Some(3),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Whether the built-in matchers know a query parameter. `key` is decoded; case, `-` and `_` do not count,
/// and of `a[b][c]` each part is looked at.
pub(super) fn built_in_query(key: &[u8]) -> bool {
    key.split(|b| matches!(b, b'[' | b']')).any(query_word)
}

fn query_word(key: &[u8]) -> bool {
    // As long as the longest name, so that what does not fit is none of them.
    let mut word = [0u8; 20];
    let mut len = 0;
    for byte in key
        .iter()
        .filter(|b| **b > b' ' && !matches!(b, b'-' | b'_' | 0x7f))
    {
        let Some(slot) = word.get_mut(len) else {
            return false;
        };
        *slot = byte.to_ascii_lowercase();
        len += 1;
    }
    let word = word.get(..len).unwrap_or_default();
    let signed = word
        .strip_prefix(b"xamz")
        .or_else(|| word.strip_prefix(b"xgoog"));
    match signed {
        Some(rest) => matches!(rest, b"signature" | b"credential" | b"securitytoken"),
        None => matches!(
            word,
            b"sig"
                | b"signature"
                | b"token"
                | b"accesstoken"
                | b"idtoken"
                | b"refreshtoken"
                | b"code"
                | b"password"
                | b"passwd"
                | b"secret"
                | b"clientsecret"
                | b"apikey"
                | b"key"
                | b"session"
                | b"sid"
                | b"jwt"
                | b"auth"
                | b"awsaccesskeyid"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str) -> Option<&'static str> {
        with_lower(name.as_bytes(), built_in_header).map(|i| BUILT_IN[usize::from(i)])
    }

    #[test]
    fn built_in_header_names_match_without_case_and_space() {
        for (name, matcher) in [
            ("Authorization", "header/authorization"),
            ("PROXY-AUTHORIZATION", "header/proxy-authorization"),
            ("Cookie", "header/cookie"),
            ("set-cookie", "header/set-cookie"),
            ("X-API-Key", "header/x-api-key"),
            ("Api-Key", "header/api-key"),
            ("X-Auth-Token", "header/x-auth-token"),
            ("X-Amz-Security-Token", "header/x-amz-security-token"),
            ("X-CSRF-Token", "header/*token*"),
            ("Tokens", "header/*token*"),
            ("X-Client-Secret", "header/*secret*"),
            ("x-password-old", "header/*password*"),
            ("My-Api-Key-2", "header/*api-key*"),
            ("HTTP_API_KEY", "header/*api-key*"),
            ("XApiKey", "header/*apikey*"),
            ("X-SessionId", "header/*session*"),
            ("X-Goog-Iap-Jwt-Assertion", "header/*-jwt-assertion"),
            (" authorization\t", "header/authorization"),
            ("proxy_authorization", "header/proxy-authorization"),
        ] {
            assert_eq!(header(name), Some(matcher), "{name}");
        }
        for name in [
            "host",
            "x-tok",
            "accept",
            "etag",
            "x-jwt-assertion-id",
            "",
            "authorizations",
        ] {
            assert_eq!(header(name), None, "{name}");
        }
    }

    #[test]
    fn every_built_in_number_has_its_name() {
        let names = [COOKIE, QUERY, NESTED, USERINFO, MALFORMED].map(|i| BUILT_IN[usize::from(i)]);
        assert_eq!(
            names,
            ["cookie", "query", "nested", "userinfo", "malformed"]
        );
        for (name, id) in super::super::DETECTORS.iter().zip(DETECTOR..) {
            assert_eq!(BUILT_IN[usize::from(id)], format!("body/{name}"));
        }
        assert_eq!(BUILT_IN[usize::from(UNREADABLE)], "body/unreadable");
    }

    #[test]
    fn built_in_query_names_match_without_case_and_separators() {
        for key in [
            "sig",
            "Signature",
            "TOKEN",
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
            "AWSAccessKeyId",
            "X-Amz-Signature",
            "X-Amz-Credential",
            "X-Amz-Security-Token",
            "X-Goog-Signature",
            "X-Goog-Credential",
            "accessToken",
            "user[password]",
            "token[]",
            " token",
        ] {
            assert!(built_in_query(key.as_bytes()), "{key}");
        }
        for key in [
            "q",
            "page",
            "X-Amz-Date",
            "X-Goog-Expires",
            "keyword",
            "author",
            "",
        ] {
            assert!(!built_in_query(key.as_bytes()), "{key}");
        }
    }

    #[test]
    fn a_name_is_ordinary_as_it_was_found_and_no_other() {
        let ordinary = Ordinary::default();
        let mut seen = ordinary.lock();
        let long = "x".repeat(40);
        assert!(!seen.has(b""));
        for name in ["accept", "Accept", "x-request-id", &long, ""] {
            assert!(!seen.has(name.as_bytes()), "{name}");
            seen.add(name.as_bytes());
            let kept = !name.is_empty() && name.len() <= LONGEST;
            assert_eq!(seen.has(name.as_bytes()), kept, "{name}");
        }
        assert!(!seen.has(b"ACCEPT"));
        // Whatever comes into the same place: what is said to be known is known.
        for number in 0..1000 {
            let name = format!("h-{number}");
            seen.add(name.as_bytes());
            assert!(seen.has(name.as_bytes()));
            assert!(!seen.has(format!("h-{}", number + 1).as_bytes()));
        }
    }

    #[test]
    fn a_long_name_is_compared_too() {
        let name = format!("x-{}-Token", "a".repeat(500));
        assert_eq!(header(&name), Some("header/*token*"));
    }

    #[test]
    fn globs_match_all_bytes_and_ignore_case() {
        let glob = glob_regex("x-*-Id").unwrap();
        assert!(glob.is_match(b"X-USER-ID"));
        assert!(glob.is_match(b"x-a/b\xff-id"));
        assert!(!glob.is_match(b"y-x-a-id"));
        assert!(glob_regex("[").is_err());
    }
}
