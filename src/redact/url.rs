//! Secrets in URLs: user info, and parameters of query, fragment and path segments.
//!
//! Names are compared after percent-decoding, as often as it takes; what stays is left as it was written. Nothing here
//! refuses a URL: what does not follow RFC 3986 is looked at as a lenient receiver would read it, and masked in doubt.

use super::MASK;
use super::hits::Hits;
use super::modes::Action;
use super::names::{self, MALFORMED, NESTED, QUERY, Rules, USERINFO, Verdict, with_lower};
use memchr::{memchr2, memrchr};
use percent_encoding::percent_decode;
use std::borrow::Cow;
use std::ops::Range;

/// How often a name or value is percent-decoded. What is still encoded then is masked.
const ROUNDS: usize = 4;

/// Where a URL stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Request target of a request line, or `:path`.
    Target,
    /// A header value that is one URL, or ends in one (`Refresh`).
    Url,
    /// `Link` (RFC 8288): URLs in angle brackets.
    Link,
    /// A host with an optional port.
    Host,
}

/// `text` with its secrets masked; None where it has none.
pub(super) fn scrub(rules: &Rules, form: Form, text: &[u8], hits: &mut Hits) -> Option<Vec<u8>> {
    let mut scrubber = Scrubber {
        rules,
        text,
        out: Vec::new(),
        done: 0,
        changed: false,
        hits,
    };
    match form {
        Form::Target => scrubber.target(),
        Form::Url => scrubber.url(0..text.len()),
        Form::Link => scrubber.link(),
        Form::Host => {
            scrubber.userinfo(0..text.len());
        }
    }
    scrubber.finish()
}

/// Copies `text` to `out`, with replacements made from left to right.
struct Scrubber<'a> {
    rules: &'a Rules,
    text: &'a [u8],
    out: Vec<u8>,
    /// Bytes of `text` that are dealt with.
    done: usize,
    changed: bool,
    hits: &'a mut Hits,
}

impl<'a> Scrubber<'a> {
    fn bytes(&self, range: Range<usize>) -> &'a [u8] {
        self.text.get(range).unwrap_or_default()
    }

    /// Puts `with` in place of `range`; nothing where that is empty or dealt with already.
    fn replace(&mut self, range: Range<usize>, with: &[u8], matcher: super::hits::MatcherId) {
        let start = range.start.max(self.done);
        if start >= range.end || self.bytes(range.clone()) == with {
            return;
        }
        let kept = self.bytes(self.done..start);
        self.out.extend_from_slice(kept);
        self.out.extend_from_slice(with);
        self.done = range.end;
        self.changed = true;
        self.hits.add(matcher);
    }

    fn finish(mut self) -> Option<Vec<u8>> {
        let rest = self.bytes(self.done..self.text.len());
        self.out
            .extend_from_slice(if self.changed { rest } else { b"" });
        self.changed.then_some(self.out)
    }

    fn target(&mut self) {
        let odd = self.text.iter().position(|b| *b <= b' ' || *b == 0x7f);
        let end = odd.unwrap_or(self.text.len());
        let rootless = !self.text.starts_with(b"/");
        let start = match rootless && !has_scheme(self.text) {
            true => self.userinfo(0..end),
            false => 0,
        };
        self.url(start..end);
        // A target has no white space: what follows some may be anything.
        self.replace(end..self.text.len(), MASK, MALFORMED);
    }

    fn link(&mut self) {
        let mut at = 0;
        while at < self.text.len() {
            let inside = self.text.get(at) == Some(&b'<');
            let rest = self.bytes(at + usize::from(inside)..self.text.len());
            let stop = if inside { b'>' } else { b'<' };
            let len = memchr::memchr(stop, rest).unwrap_or(rest.len());
            let start = at + usize::from(inside);
            self.url(start..start + len);
            at = (start + len).max(at + 1);
        }
    }

    fn mask_userinfo(&mut self, range: Range<usize>) {
        let with: &[u8] = match memchr::memchr(b':', self.bytes(range.clone())) {
            Some(_) => b"REDACTED:REDACTED",
            None => MASK,
        };
        self.replace(range, with, USERINFO);
    }

    /// Path, authorities, query and fragment, from left to right.
    fn url(&mut self, range: Range<usize>) {
        let mut path = range.start;
        // Each authority in front of the query: a path may hold a whole URL.
        while let Some(start) = self.authority(path..range.end) {
            self.parts(path..start);
            path = self.userinfo(start..range.end);
        }
        self.parts(path..range.end);
    }

    /// Where the first authority begins that stands in `range`, in front of a query or fragment.
    fn authority(&self, range: Range<usize>) -> Option<usize> {
        let text = self.bytes(range.clone());
        let end = memchr2(b'?', b'#', text).unwrap_or(text.len());
        let text = text.get(..end)?;
        let slash = |i: usize| matches!(self.text.get(i), Some(b'/' | b'\\'));
        let begins = |i: &usize| {
            // One slash after a colon is enough for browsers.
            match i.checked_sub(1).and_then(|i| self.text.get(i)) {
                Some(b':') => slash(*i),
                Some(b'/' | b'\\') => false,
                Some(b) if b.is_ascii_alphanumeric() => false,
                _ => slash(*i) && slash(*i + 1),
            }
        };
        let first = (range.start..range.start + end).find(begins)?;
        let skip = text.iter().skip(first - range.start);
        let slashes = skip.take_while(|b| matches!(b, b'/' | b'\\')).count();
        Some(first + slashes)
    }

    /// Masks the user info of the authority that begins at `range.start`. Returns where the host begins.
    fn userinfo(&mut self, range: Range<usize>) -> usize {
        let text = self.bytes(range.clone());
        let end = text
            .iter()
            .position(|b| {
                matches!(b, b'/' | b'\\' | b'?' | b'#' | b'<' | b'>' | b'"') || *b <= b' '
            })
            .unwrap_or(text.len());
        let authority = text.get(..end).unwrap_or_default();
        // An odd port, or no host: a password with a slash or such in it.
        let odd = odd_port(authority) || authority.ends_with(b"@");
        let at = match memrchr(b'@', authority) {
            found if !odd => found,
            found => memrchr(b'@', text).or(found),
        };
        match at {
            Some(at) => {
                self.mask_userinfo(range.start..range.start + at);
                range.start + at
            }
            None => range.start,
        }
    }

    /// Path, query and fragment: each piece between delimiters.
    fn parts(&mut self, range: Range<usize>) {
        let mut start = range.start;
        let mut in_path = true;
        let mut named = false;
        while start <= range.end {
            let rest = self.bytes(start..range.end);
            let len = rest
                .iter()
                .position(|b| match b {
                    b'?' | b'#' | b';' => true,
                    b'/' => in_path,
                    b'&' => !in_path,
                    _ => false,
                })
                .unwrap_or(rest.len());
            let stop = rest.get(len).copied();
            self.piece(start..start + len, named || !in_path);
            in_path &= !matches!(stop, Some(b'?' | b'#'));
            named = stop == Some(b';');
            start += len + 1;
        }
    }

    /// Takes a parameter out, with the delimiter behind or in front of it.
    fn drop_piece(&mut self, range: Range<usize>, matcher: super::hits::MatcherId) {
        let before = range.start.checked_sub(1).filter(|at| *at >= self.done);
        let range = match (self.text.get(range.end), before) {
            (Some(b'&'), _) => range.start..range.end + 1,
            (_, Some(at)) if matches!(self.text.get(at), Some(b'&' | b';' | b'?')) => at..range.end,
            _ => range,
        };
        self.replace(range, b"", matcher);
    }

    /// One piece: `name=value` where `named`, else a path segment.
    fn piece(&mut self, range: Range<usize>, named: bool) {
        let text = self.bytes(range.clone());
        let equals = memchr::memchr(b'=', text).filter(|_| named);
        let Some(equals) = equals else {
            if nested(self.rules, text) {
                self.replace(range, MASK, NESTED);
            }
            return;
        };
        let (name, value) = text.split_at(equals);
        let value_range = range.start + equals + 1..range.end;
        match decide(self.rules, name) {
            Verdict::Keep => {}
            Verdict::Hide(matcher, Action::Mask) => self.replace(value_range, MASK, matcher),
            Verdict::Hide(matcher, Action::Hash) => {
                let instead = self.rules.instead(Action::Hash, &meaning(value));
                self.replace(value_range, &instead, matcher);
            }
            Verdict::Hide(matcher, Action::Drop) => self.drop_piece(range, matcher),
            Verdict::Unknown if nested(self.rules, name) => self.replace(range, MASK, NESTED),
            Verdict::Unknown if nested(self.rules, value.get(1..).unwrap_or_default()) => {
                self.replace(value_range, MASK, NESTED);
            }
            Verdict::Unknown => {}
        }
    }
}

/// A parameter's value without its `=`, decoded as often as it takes.
fn meaning(value: &[u8]) -> Vec<u8> {
    let mut value = value.get(1..).unwrap_or_default().to_vec();
    for _ in 0..ROUNDS {
        match decode(&value) {
            Some(decoded) => value = decoded,
            None => break,
        }
    }
    value
}

/// What a parameter's name says, decoded as often as it takes.
fn decide(rules: &Rules, name: &[u8]) -> Verdict {
    let mut name = Cow::Borrowed(name);
    for _ in 0..ROUNDS {
        let verdict = match with_lower(&name, |lower| rules.decide(lower)) {
            Verdict::Unknown if names::built_in_query(&name) => Verdict::Hide(QUERY, Action::Mask),
            verdict => verdict,
        };
        if verdict != Verdict::Unknown {
            return verdict;
        }
        match decode(&name) {
            Some(decoded) => name = Cow::Owned(decoded),
            None => return Verdict::Unknown,
        }
    }
    Verdict::Hide(QUERY, Action::Mask)
}

/// Whether `text`, decoded as often as it takes, holds parameters or user info that would be masked by themselves:
/// `next=https%3A%2F%2Fhost%2F%3Ftoken%3D…`.
fn nested(rules: &Rules, text: &[u8]) -> bool {
    let mut text = Cow::Borrowed(text);
    for _ in 0..ROUNDS {
        if holds_secret(rules, &text) {
            return true;
        }
        match decode(&text) {
            Some(decoded) => text = Cow::Owned(decoded),
            None => return false,
        }
    }
    true
}

fn holds_secret(rules: &Rules, text: &[u8]) -> bool {
    let pair = memchr::memchr(b'=', text).is_some()
        && text
            .split(|b| *b <= b' ' || matches!(b, b'&' | b';' | b'?' | b'#' | b'/' | b',' | b'"'))
            .filter_map(|piece| piece.split_at_checked(memchr::memchr(b'=', piece)?))
            .filter(|(_, value)| !matches!(*value, b"=" | b"=REDACTED"))
            .any(
                |(name, _)| match with_lower(name, |lower| rules.decide(lower)) {
                    Verdict::Keep => false,
                    Verdict::Hide(..) => true,
                    Verdict::Unknown => names::built_in_query(name),
                },
            );
    pair || memchr::memmem::find_iter(text, b"//").any(|i| {
        let rest = text.get(i + 2..).unwrap_or_default();
        let end = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
        let authority = rest.get(..end).unwrap_or_default();
        memrchr(b'@', authority).is_some_and(|at| {
            !matches!(
                authority.get(..at),
                Some(b"REDACTED:REDACTED" | b"REDACTED")
            )
        })
    })
}

/// One round of percent-decoding, `+` as a space; None where there is nothing to decode.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    memchr2(b'%', b'+', text)?;
    let mut decoded: Vec<u8> = percent_decode(text).collect();
    // A `+` that was encoded is none, but taking it for a space can only match more.
    for byte in &mut decoded {
        if *byte == b'+' {
            *byte = b' ';
        }
    }
    (decoded != text).then_some(decoded)
}

/// Begins with a scheme and `:/`.
fn has_scheme(text: &[u8]) -> bool {
    let len = text
        .iter()
        .position(|b| !b.is_ascii_alphanumeric() && !matches!(b, b'+' | b'-' | b'.'));
    len.is_some_and(|len| len > 0 && matches!(text.get(len..len + 2), Some(b":/" | b":\\")))
}

/// What follows the host, behind any user info, is no port, or an empty one.
fn odd_port(authority: &[u8]) -> bool {
    let host = authority.rsplit(|b| *b == b'@').next().unwrap_or_default();
    if host.starts_with(b"[") {
        return false;
    }
    let colon = memchr::memchr(b':', host);
    let port = colon.and_then(|colon| host.get(colon + 1..));
    port.is_some_and(|port| port.is_empty() || !port.iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
#[path = "url_tests.rs"]
mod tests;
