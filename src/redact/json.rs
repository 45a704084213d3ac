//! Members of JSON (RFC 8259) by path.
//!
//! Enters: text that is, or begins like, one or more JSON values. Leaves: ranges of members that rules decide on, and
//! where the text stops to be JSON.
//! Holds: one pass, no recursion; a text that ends anywhere gives what it would have given up to there, a value that is
//! cut included.

use super::RedactorError;
use super::hits::MatcherId;
use super::modes::Action;
use super::names::UNREADABLE;
use super::names::glob_regex;
use super::spans::Span;
use super::view::View;
use crate::config::{NameMatch, RedactRule};
use regex::bytes::{Regex, RegexBuilder};
use std::ops::Range;

/// Values nest no deeper; what does is not looked into.
const DEPTH_MAX: usize = 256;

/// A rule for members.
pub(super) struct Rule {
    pub id: MatcherId,
    /// None: the member stays.
    pub action: Option<Action>,
    path: Path,
}

enum Path {
    /// In lower case; `anchored`: from the root, else anywhere.
    Names { names: Vec<u8>, anchored: bool },
    /// Of the whole path, or of the last name.
    Pattern(Regex),
}

impl Rule {
    /// # Errors
    /// When a pattern is not valid.
    pub fn new(
        rule: &RedactRule,
        id: MatcherId,
        action: Option<Action>,
    ) -> Result<Rule, RedactorError> {
        let bad = |pattern: &str, reason: String| RedactorError::Pattern {
            what: format!("rule `{}`", rule.name),
            pattern: pattern.to_owned(),
            reason,
        };
        let path = match &rule.matcher {
            NameMatch::Exact(path) => {
                let names = path
                    .replace("[*]", "")
                    .replace("[]", "")
                    .to_ascii_lowercase();
                let (names, anchored) = match names.strip_prefix("$.") {
                    Some(rest) => match rest.strip_prefix('.') {
                        Some(anywhere) => (anywhere, false),
                        None => (rest, true),
                    },
                    None => (&*names, false),
                };
                Path::Names {
                    names: names.as_bytes().to_vec(),
                    anchored,
                }
            }
            NameMatch::Glob(glob) => Path::Pattern(glob_regex(glob).map_err(|e| bad(glob, e))?),
            NameMatch::Regex(regex) => Path::Pattern(
                RegexBuilder::new(regex)
                    .unicode(false)
                    .case_insensitive(true)
                    .build()
                    .map_err(|e| bad(regex, e.to_string()))?,
            ),
        };
        Ok(Rule { id, action, path })
    }

    fn matches(&self, path: &[u8], last: &[u8]) -> bool {
        match &self.path {
            Path::Pattern(regex) => regex.is_match(last) || regex.is_match(path),
            Path::Names { names, anchored } => match path.strip_suffix(&names[..]) {
                Some(before) => before.is_empty() || !anchored && before.ends_with(b"."),
                None => false,
            },
        }
    }
}

/// How far a text could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// To its end, between values.
    Whole,
    /// To its end, inside a value.
    Inside,
    /// From here on it is no JSON.
    Broken(usize),
}

/// Reads `text`, which begins at `offset` of what the spans count in.
pub(super) fn walk(rules: &[Rule], text: &[u8], offset: usize, found: &mut Vec<Span>) -> End {
    let mut walker = Walker {
        rules,
        text,
        offset,
        at: 0,
        found,
        path: Vec::new(),
        stack: Vec::new(),
    };
    walker.run()
}

/// An object or array that is open.
struct Open {
    is_object: bool,
    /// Length of the path outside of it.
    path: usize,
    /// The comma in front of the member that comes, where it stays.
    comma: Option<usize>,
}

struct Walker<'a, 'f> {
    rules: &'a [Rule],
    text: &'a [u8],
    offset: usize,
    at: usize,
    found: &'f mut Vec<Span>,
    /// Names from the root, in lower case, with `.` between them.
    path: Vec<u8>,
    stack: Vec<Open>,
}

/// Stops reading.
type Step = Result<(), End>;

impl<'a> Walker<'a, '_> {
    fn run(&mut self) -> End {
        let bom = self.text.starts_with(b"\xef\xbb\xbf");
        self.at = if bom { 3 } else { 0 };
        loop {
            match self.step() {
                Ok(()) => {}
                Err(end) => return end,
            }
        }
    }

    fn broken<T>(&self) -> Result<T, End> {
        Err(End::Broken(self.offset + self.at))
    }

    /// The next byte that is no white space. Record separators (RFC 7464) are some.
    fn next(&mut self) -> Result<u8, End> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let space = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n' | 0x1e);
        match rest.iter().position(|b| !space(b)) {
            Some(skip) => {
                self.at += skip;
                Ok(rest.get(skip).copied().unwrap_or_default())
            }
            None if self.stack.is_empty() => Err(End::Whole),
            None => Err(End::Inside),
        }
    }

    /// One value at the top, or one member, element or end of what is open.
    fn step(&mut self) -> Step {
        let byte = self.next()?;
        let Some(open) = self.stack.last_mut() else {
            return self.value(byte);
        };
        match (byte, open.is_object) {
            (b'}', true) | (b']', false) => {
                self.at += 1;
                self.path.truncate(open.path);
                self.stack.pop();
                self.after_value();
                Ok(())
            }
            (b',', _) => {
                open.comma = Some(self.at);
                self.at += 1;
                Ok(())
            }
            (b'"', true) => self.member(),
            (_, false) => self.value(byte),
            _ => self.broken(),
        }
    }

    /// Leaves the member whose value has ended.
    fn after_value(&mut self) {
        if let Some(open) = self.stack.last().filter(|open| open.is_object) {
            let outside = open.path;
            self.path.truncate(outside);
        }
    }

    fn member(&mut self) -> Step {
        let start = self.at;
        let name = self.string()?;
        if self.next()? != b':' {
            return self.broken();
        }
        self.at += 1;
        let outside = self.path.len();
        if outside > 0 {
            self.path.push(b'.');
        }
        let last = self.path.len();
        self.path.extend(name.iter().map(u8::to_ascii_lowercase));
        if let Some(open) = self.stack.last_mut() {
            open.path = outside;
        }
        let decided = {
            let (path, name) = (&self.path[..], self.path.get(last..).unwrap_or_default());
            self.rules.iter().find(|rule| rule.matches(path, name))
        };
        let byte = self.next()?;
        let Some(rule) = decided else {
            return self.value(byte);
        };
        let from = self.at;
        let ended = self.skip_value();
        let value = from..self.at;
        let secret = self.meaning(value.clone());
        let range = match rule.action {
            Some(Action::Drop) => self.member_with_comma(start..self.at),
            _ => value,
        };
        self.decide(rule, range, secret);
        self.after_value();
        ended
    }

    fn decide(&mut self, rule: &Rule, range: Range<usize>, secret: Vec<u8>) {
        self.found.push(Span {
            range: self.offset + range.start..self.offset + range.end,
            id: rule.id,
            action: rule.action,
            quoted: true,
            secret,
        });
    }

    /// What a value stands for: the text of a string, anything else as it is written.
    fn meaning(&self, value: Range<usize>) -> Vec<u8> {
        let value = self.text.get(value).unwrap_or_default();
        match value.strip_prefix(b"\"") {
            Some(inner) => unescape(inner.strip_suffix(b"\"").unwrap_or(inner)),
            None => value.to_vec(),
        }
    }

    /// A member with the comma that goes with it.
    fn member_with_comma(&mut self, member: Range<usize>) -> Range<usize> {
        let rest = self.text.get(member.end..).unwrap_or_default();
        let skip = rest.iter().position(|b| !b.is_ascii_whitespace());
        let follows = skip.filter(|i| rest.get(*i) == Some(&b','));
        if let Some(i) = follows {
            self.at = member.end + i + 1;
            return member.start..self.at;
        }
        let comma = self.stack.last_mut().and_then(|open| open.comma.take());
        comma.unwrap_or(member.start)..member.end
    }

    fn value(&mut self, byte: u8) -> Step {
        match byte {
            b'{' | b'[' => {
                if self.stack.len() >= DEPTH_MAX {
                    return self.broken();
                }
                self.at += 1;
                self.stack.push(Open {
                    is_object: byte == b'{',
                    path: self.path.len(),
                    comma: None,
                });
                Ok(())
            }
            b'"' => {
                let from = self.at;
                let ended = self.skip_string();
                let text = self.meaning(from..self.at);
                self.inside_text(from, &text);
                self.after_value();
                ended
            }
            _ => {
                let len = self.scalar();
                if len == 0 {
                    return self.broken();
                }
                self.at += len;
                self.after_value();
                Ok(())
            }
        }
    }

    /// JSON in a string of JSON: where a rule hides something in it, the whole string goes, and where it cannot be
    /// read, too.
    fn inside_text(&mut self, from: usize, text: &[u8]) {
        if !looks_like_json(text) {
            return;
        }
        let mut inner = Vec::new();
        let end = walk(self.rules, text, 0, &mut inner);
        let hides = inner.iter().find(|span| span.action.is_some());
        let broken = matches!(end, End::Broken(_)) && begins_like_members(text);
        let id = hides.map(|span| (span.id, span.action));
        let Some((id, action)) = id.or(broken.then_some((UNREADABLE, None))) else {
            return;
        };
        let hashed = action.filter(|action| *action == Action::Hash);
        self.found.push(Span {
            range: self.offset + from..self.offset + self.at,
            id,
            action: hashed.or(Some(Action::Mask)),
            quoted: true,
            secret: text.to_vec(),
        });
    }

    /// A string that begins here, unescaped; its end is passed.
    fn string(&mut self) -> Result<Vec<u8>, End> {
        let start = self.at + 1;
        self.skip_string()?;
        let inner = self.text.get(start..self.at - 1).unwrap_or_default();
        Ok(unescape(inner))
    }

    fn skip_string(&mut self) -> Step {
        let mut at = self.at + 1;
        loop {
            let rest = self.text.get(at..).unwrap_or_default();
            match memchr::memchr2(b'"', b'\\', rest) {
                None => {
                    self.at = self.text.len();
                    return Err(End::Inside);
                }
                Some(i) if rest.get(i) == Some(&b'"') => {
                    self.at = at + i + 1;
                    return Ok(());
                }
                Some(i) => at += i + 2,
            }
        }
    }

    fn scalar(&self) -> usize {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.');
        rest.iter().position(|b| !part(b)).unwrap_or(rest.len())
    }

    /// Passes a value without a look at what is in it.
    fn skip_value(&mut self) -> Step {
        let mut depth = 0usize;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let Some(byte) = rest.first() else {
                return Err(End::Inside);
            };
            match byte {
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                _ if depth == 0 => {
                    let len = self.scalar();
                    if len == 0 {
                        return self.broken();
                    }
                    self.at += len;
                }
                _ => {
                    let mark = |b: &u8| matches!(b, b'"' | b'{' | b'[' | b'}' | b']');
                    self.at += rest.iter().position(mark).unwrap_or(rest.len());
                }
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

/// `{"` or `[{`: what only means to be JSON begins otherwise.
fn begins_like_members(text: &[u8]) -> bool {
    let mut marks = text.iter().filter(|b| !b.is_ascii_whitespace());
    matches!(
        (marks.next(), marks.next()),
        (Some(b'{'), Some(b'"')) | (Some(b'['), Some(b'{'))
    )
}

/// Its first byte is that of an object or array.
pub(super) fn looks_like_json(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let first = text
        .iter()
        .find(|b| !b.is_ascii_whitespace() && **b != 0x1e);
    matches!(first, Some(b'{' | b'['))
}

fn unescape(text: &[u8]) -> Vec<u8> {
    match memchr::memchr(b'\\', text) {
        None => text.to_vec(),
        Some(_) => View::unescape_json(text),
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
