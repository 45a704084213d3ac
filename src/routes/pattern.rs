//! A pattern as it is written: `/users/{id}`, `/files/{path...}`.

use percent_encoding::percent_decode;
use std::collections::HashSet;
use std::ops::Range;

/// Patterns of one configuration at the most.
pub const MAX_PATTERNS: usize = 2000;
/// Bytes of a pattern at the most: it stands in names of spans.
const MAX_LENGTH: usize = 256;

/// One segment of a pattern. The order is that of preference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// Without percent-encoding.
    Literal(Vec<u8>),
    /// Any one segment that is not empty.
    One,
    /// All that follows, or nothing.
    Rest,
}

/// A pattern that has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// As written.
    pub text: String,
    pub segments: Vec<Segment>,
}

/// What is wrong with a pattern, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// Bytes of the text.
    pub place: Range<usize>,
    pub message: String,
    pub hint: String,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(text: &str) -> Result<Pattern, Fault> {
        let fault = |place, message: &str, hint: &str| {
            Err(Fault {
                place,
                message: message.to_owned(),
                hint: hint.to_owned(),
            })
        };
        if !text.starts_with('/') {
            let hint = "without scheme and host, as `/users/{id}`";
            return fault(0..text.len(), "a route begins with `/`", hint);
        }
        if text.len() > MAX_LENGTH {
            let message = format!("a route has {MAX_LENGTH} bytes at the most");
            return fault(0..text.len(), &message, "shorten it");
        }
        if let Some(at) = text.find(|c: char| c.is_control() || c.is_whitespace()) {
            return fault(at..at + 1, "white space is in no path", "write `%20`");
        }
        if let Some(at) = text.find(['?', '#', ';']) {
            let message = "a route is a path alone";
            return fault(at..text.len(), message, "leave out query and fragment");
        }
        Ok(Pattern {
            segments: segments(text)?,
            text: text.to_owned(),
        })
    }
}

fn segments(text: &str) -> Result<Vec<Segment>, Fault> {
    let mut names = HashSet::new();
    let mut list: Vec<Segment> = Vec::new();
    let end = text.len() - usize::from(text.len() > 1 && text.ends_with('/'));
    let mut at = 1;
    while at < end {
        let rest = text.get(at..end).unwrap_or_default();
        let len = rest.find('/').unwrap_or(rest.len());
        let place = at..at + len;
        let written = rest.get(..len).unwrap_or_default();
        let fault = |message: String, hint: &str| Fault {
            place: place.clone(),
            message,
            hint: hint.to_owned(),
        };
        if list.last() == Some(&Segment::Rest) {
            let hint = "`{name...}` takes all that follows";
            return Err(fault("nothing can stand behind the rest".into(), hint));
        }
        if written.is_empty() {
            return Err(Fault {
                place: at - 1..at + 1,
                message: "a segment is empty".into(),
                hint: "remove one of the slashes".into(),
            });
        }
        let (segment, name) = match parameter(written) {
            Ok(found) => found,
            Err((message, hint)) => return Err(fault(message, hint)),
        };
        if let Some(name) = name
            && !names.insert(name)
        {
            let message = format!("`{name}` is there twice");
            return Err(fault(message, "give each parameter a name of its own"));
        }
        list.push(segment);
        at += len + 1;
    }
    Ok(list)
}

/// A segment, and its name where it is a parameter.
fn parameter(written: &str) -> Result<(Segment, Option<&str>), (String, &'static str)> {
    const WHOLE: &str = "a parameter is a whole segment, as in `/users/{id}`";
    let Some(inside) = written
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
    else {
        return match written.contains(['{', '}']) {
            true => Err((format!("`{written}` is not one parameter"), WHOLE)),
            false if written.starts_with(':') || written.contains('*') => Err((
                format!("`{written}` would be taken as it is written"),
                "a parameter is written `{id}`, all that follows `{rest...}`",
            )),
            false => {
                let literal = percent_decode(written.as_bytes()).collect();
                Ok((Segment::Literal(literal), None))
            }
        };
    };
    let (name, segment) = match inside.strip_suffix("...") {
        Some(name) => (name, Segment::Rest),
        None => (inside, Segment::One),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.contains(['{', '}']) {
        return Err((format!("`{written}` is not one parameter"), WHOLE));
    }
    if name.is_empty() || !name.chars().all(fits) {
        let message = format!("`{name}` is no name of a parameter");
        return Err((message, "letters, digits, `_`, `-` and `.`"));
    }
    Ok((segment, Some(name)))
}
