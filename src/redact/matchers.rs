//! Matchers of content: rules of the places `json` and `body`, and the built-in detectors.
//!
//! Enters: content without codings, all of it or its head. Leaves: the same without what the matchers hide, or nothing
//! where it cannot be looked into.
//! Holds: linear in the content; what was cut is hidden as far as it could belong to something that has to be; with no
//! matcher at all, content goes by untouched.

use super::RedactorError;
use super::detect::{DETECTORS, detector};
use super::hits::{Hits, MatcherId};
use super::json::{self, End};
use super::modes::{Action, Substitute};
use super::names::{DETECTOR, UNREADABLE};
use super::pattern::Pattern;
use super::spans::{Span, Spans};
use super::view::View;
use crate::config::{NameMatch, RedactPlace, RedactRule};
use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// Tells the ledger how many values a matcher touched.
pub type Report = Arc<dyn Fn(&str, u64) + Send + Sync>;

/// Values of metadata whose names end in `-bin`, padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A pattern that is looked for in all content.
struct Matcher {
    id: MatcherId,
    /// None: what matches stays.
    action: Option<Action>,
    pattern: Pattern,
}

/// All matchers of content, compiled.
pub(super) struct BodyRules {
    /// Rules in the order of the configuration, then the detectors that no rule names.
    patterns: Vec<Matcher>,
    json: Vec<json::Rule>,
    with: Arc<Substitute>,
    pub names: Arc<[Box<str>]>,
    pub report: Option<Report>,
}

/// Why content is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// A coding is left that could not be undone.
    Coded,
    /// Its character encoding is none that is looked into.
    Charset,
    /// From some place on it is not what its type says.
    Unparsable,
    /// Its messages are shown, and some are not as they were sent.
    Messages,
    /// It was cut, and a pattern is too large to tell whether something begins at the cut.
    Cut,
}

impl Dropped {
    /// The name that payloads carry.
    pub fn name(self) -> &'static str {
        match self {
            Dropped::Coded => "coded",
            Dropped::Charset => "charset",
            Dropped::Unparsable => "unparsable",
            Dropped::Messages => "messages",
            Dropped::Cut => "cut",
        }
    }
}

/// Content as it may be shown.
pub(super) struct Masked<'a> {
    pub bytes: Cow<'a, [u8]>,
    /// Some of it is not what was sent.
    pub changed: bool,
    /// Some or all of it was left out because it could not be looked into.
    pub dropped: Option<Dropped>,
}

impl Masked<'_> {
    pub fn nothing(dropped: Dropped) -> Self {
        Masked {
            bytes: Cow::Borrowed(b""),
            changed: true,
            dropped: Some(dropped),
        }
    }
}

impl BodyRules {
    /// # Errors
    /// When a pattern is not valid.
    pub fn new(
        rules: &[RedactRule],
        first: MatcherId,
        with: &Arc<Substitute>,
        names: &Arc<[Box<str>]>,
    ) -> Result<BodyRules, RedactorError> {
        let mut patterns = Vec::new();
        let mut json = Vec::new();
        let mut named = [false; DETECTORS.len()];
        for (rule, id) in rules.iter().zip(first..) {
            let action = Action::of(rule.mode);
            let bad = |pattern: &str, reason| RedactorError::Pattern {
                what: format!("rule `{}`", rule.name),
                pattern: pattern.to_owned(),
                reason,
            };
            match (rule.place, &rule.matcher) {
                (RedactPlace::Json, _) => json.push(json::Rule::new(rule, id, action)?),
                (RedactPlace::Detector, NameMatch::Exact(name)) => {
                    let all = name == "*";
                    for (number, named) in named.iter_mut().enumerate() {
                        let meant = all || DETECTORS.get(number) == Some(&name.as_str());
                        if !meant || std::mem::replace(named, true) || action.is_none() {
                            continue;
                        }
                        let pattern = detector(number).map_err(|e| bad(name, e))?;
                        patterns.push(Matcher {
                            id,
                            action,
                            pattern,
                        });
                    }
                }
                (RedactPlace::Body, matcher) => {
                    let pattern = match matcher {
                        NameMatch::Exact(text) => Pattern::regex(&regex::escape(text)),
                        NameMatch::Glob(glob) => Pattern::glob(glob),
                        NameMatch::Regex(regex) => Pattern::regex(regex),
                    };
                    let text = match matcher {
                        NameMatch::Exact(t) | NameMatch::Glob(t) | NameMatch::Regex(t) => t,
                    };
                    patterns.push(Matcher {
                        id,
                        action,
                        pattern: pattern.map_err(|e| bad(text, e))?,
                    });
                }
                _ => {}
            }
        }
        for (number, id) in (0..DETECTORS.len()).zip(DETECTOR..) {
            if named.get(number) == Some(&false) {
                let name = DETECTORS.get(number).copied().unwrap_or_default();
                patterns.push(Matcher {
                    id,
                    action: Some(Action::Mask),
                    pattern: detector(number).map_err(|e| bad_detector(name, e))?,
                });
            }
        }
        Ok(BodyRules {
            patterns,
            json,
            with: with.clone(),
            names: names.clone(),
            report: None,
        })
    }

    /// Nothing is looked for.
    pub fn is_empty(&self) -> bool {
        self.json.is_empty() && self.patterns.iter().all(|m| m.action.is_none())
    }

    /// `text` of this type without what the matchers hide. `cut`: it is the head of something longer, or may be.
    pub fn mask<'a>(
        &self,
        text: &'a [u8],
        content_type: Option<&str>,
        cut: bool,
        hits: &mut Hits,
    ) -> Masked<'a> {
        if self.is_empty() || text.is_empty() {
            return Masked {
                bytes: Cow::Borrowed(text),
                changed: false,
                dropped: None,
            };
        }
        let kind = Kind::of(content_type);
        if kind.wide || is_wide(text) {
            hits.add(UNREADABLE);
            return Masked::nothing(Dropped::Charset);
        }
        let mut found = Vec::new();
        let mut dropped = None;
        if !self.json.is_empty()
            && let Some(from) = self.members(text, &kind, &mut found)
        {
            dropped = Some(Dropped::Unparsable);
            found.push(rest(from..text.len()));
        }
        if !self.patterns(text, kind.form, cut, &mut found) {
            hits.add(UNREADABLE);
            return Masked::nothing(Dropped::Cut);
        }
        // Rules decide in their order, before all that is built in.
        let built_in = usize::from(UNREADABLE);
        found.sort_by_key(|span| (usize::from(span.id) <= built_in, span.id));
        let mut spans = Spans::default();
        found.into_iter().for_each(|span| spans.add(span));
        let changed = !spans.is_empty();
        Masked {
            bytes: spans.write(text, &self.with, hits),
            changed,
            dropped,
        }
    }

    /// A header value that is text, percent-encoded or not; None where it stays.
    pub fn mask_field(&self, value: &[u8], hits: &mut Hits) -> Option<Vec<u8>> {
        let masked = self.mask(value, None, false, hits);
        masked.changed.then(|| masked.bytes.into_owned())
    }

    /// A matcher knows something in what `value` is the base64 of.
    pub fn touches_base64(&self, value: &[u8], hits: &mut Hits) -> bool {
        // Fields of one name may be joined (gRPC over HTTP/2, custom metadata).
        value
            .split(|b| *b == b',')
            .any(|item| match BASE64.decode(item.trim_ascii()) {
                Ok(bytes) => self.mask(&bytes, None, false, hits).changed,
                Err(_) => false,
            })
    }

    /// Members of JSON. Some: from here on nothing can be said.
    fn members(&self, text: &[u8], kind: &Kind, found: &mut Vec<Span>) -> Option<usize> {
        if kind.events {
            return self.events(text, found);
        }
        if !kind.json && !json::looks_like_json(text) {
            return None;
        }
        match json::walk(&self.json, text, 0, found) {
            End::Broken(at) => Some(at),
            End::Whole | End::Inside => None,
        }
    }

    /// JSON in the data lines of an event stream (HTML, server-sent events).
    fn events(&self, text: &[u8], found: &mut Vec<Span>) -> Option<usize> {
        let mut at = 0;
        for line in text.split_inclusive(|b| matches!(b, b'\n' | b'\r')) {
            let start = at;
            at += line.len();
            let Some(data) = line
                .strip_prefix(b"data:")
                .filter(|d| json::looks_like_json(d))
            else {
                continue;
            };
            let ends = line.ends_with(b"\n") || line.ends_with(b"\r");
            match json::walk(&self.json, data, start + b"data:".len(), found) {
                End::Broken(_) => return Some(start),
                // Goes on in the next line.
                End::Inside if ends => return Some(start),
                End::Inside | End::Whole => {}
            }
        }
        None
    }

    /// Patterns in every reading of the text. False: nothing can be said of a cut.
    fn patterns(&self, text: &[u8], form: bool, cut: bool, found: &mut Vec<Span>) -> bool {
        for view in View::all(text, form, cut) {
            for matcher in &self.patterns {
                let cut = cut && matcher.action.is_some();
                let judged = matcher.pattern.find(&view.bytes, cut, |range| {
                    if range.is_empty() {
                        return;
                    }
                    let hashed = matcher.action == Some(Action::Hash);
                    let secret = view.bytes.get(range.clone()).filter(|_| hashed);
                    found.push(Span {
                        range: view.source(&range),
                        id: matcher.id,
                        action: matcher.action,
                        quoted: false,
                        secret: secret.unwrap_or_default().to_vec(),
                    });
                });
                if !judged {
                    return false;
                }
            }
        }
        true
    }
}

fn bad_detector(name: &str, reason: String) -> RedactorError {
    RedactorError::Pattern {
        what: "built-in detector".to_owned(),
        pattern: name.to_owned(),
        reason,
    }
}

/// What could not be read.
fn rest(range: Range<usize>) -> Span {
    Span {
        range,
        id: UNREADABLE,
        action: Some(Action::Drop),
        quoted: false,
        secret: Vec::new(),
    }
}

/// What the content type says that matters here.
struct Kind {
    json: bool,
    events: bool,
    /// `+` is a space.
    form: bool,
    /// Characters of two or four bytes.
    wide: bool,
}

impl Kind {
    fn of(content_type: Option<&str>) -> Kind {
        let lower = content_type.unwrap_or_default().to_ascii_lowercase();
        let media = lower.split(';').next().unwrap_or_default().trim();
        Kind {
            json: media.ends_with("json")
                || media.ends_with("jsonl")
                || media.ends_with("json-seq"),
            events: media == "text/event-stream",
            form: media == "application/x-www-form-urlencoded" || content_type.is_none(),
            wide: ["utf-16", "utf-32", "ucs-2", "ucs-4", "utf-7"]
                .iter()
                .any(|name| lower.split("charset").skip(1).any(|c| c.contains(name))),
        }
    }
}

/// Begins with a byte order mark of UTF-16 or UTF-32.
fn is_wide(text: &[u8]) -> bool {
    text.starts_with(b"\xff\xfe")
        || text.starts_with(b"\xfe\xff")
        || text.starts_with(b"\0\0\xfe\xff")
}

#[cfg(test)]
#[path = "matchers_tests.rs"]
mod tests;
