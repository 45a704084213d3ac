//! Routes by guess: segments that look like identifiers are parameters, and so are all segments of a place that has too
//! many different ones.
//!
//! What is learnt is bounded, whoever sends the paths.

use super::{bare, segments};
use std::collections::HashMap;
use std::sync::Arc;

/// Routes that are known at the most.
pub(super) const MAX_ROUTES: usize = 500;
/// Different segments of one place; with more, all of them are a parameter.
pub(super) const MAX_SEGMENTS: usize = 30;
/// Segments of a path that has a route at the most.
pub(super) const MAX_DEPTH: usize = 12;
/// Bytes of a segment that is no identifier, at the most.
const MAX_WORD: usize = 32;

/// What stands for a segment that varies.
const PARAMETER: &str = "{id}";

/// What became of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guess {
    Known(Arc<str>),
    Unknown,
    /// There is no room for another route.
    Full,
}

/// What has been learnt.
#[derive(Debug, Default)]
pub struct Guesses {
    root: Place,
    routes: usize,
}

#[derive(Debug, Default)]
struct Place {
    words: HashMap<Box<[u8]>, Place>,
    parameter: Option<Box<Place>>,
    /// There were too many words.
    open: bool,
    /// Of the path that ends here.
    template: Option<Arc<str>>,
}

impl Guesses {
    /// The route of a path. One that is not known becomes known where `learn` says so.
    pub fn find(&mut self, path: &[u8], learn: bool) -> Guess {
        if let Some(template) = self.known(path) {
            return Guess::Known(template);
        }
        if !learn || segments(path).count() > MAX_DEPTH {
            return Guess::Unknown;
        }
        if self.routes >= MAX_ROUTES {
            return Guess::Full;
        }
        Guess::Known(self.learn(path))
    }

    fn known(&self, path: &[u8]) -> Option<Arc<str>> {
        let mut place = &self.root;
        for segment in segments(path) {
            let segment = bare(segment);
            place = match place.open || varies(segment) {
                true => place.parameter.as_deref()?,
                false => place.words.get(segment)?,
            };
        }
        place.template.clone()
    }

    fn learn(&mut self, path: &[u8]) -> Arc<str> {
        let mut template = String::new();
        let mut place = &mut self.root;
        for segment in segments(path) {
            let segment = bare(segment);
            let full = place.words.len() >= MAX_SEGMENTS && !place.words.contains_key(segment);
            if full && !varies(segment) {
                place.open = true;
                let gone = std::mem::take(&mut place.words);
                self.routes -= gone.values().map(Place::routes).sum::<usize>();
            }
            template.push('/');
            place = if place.open || varies(segment) {
                template.push_str(PARAMETER);
                place.parameter.get_or_insert_default()
            } else {
                // It is no identifier: letters and the like.
                template.push_str(&String::from_utf8_lossy(segment));
                place.words.entry(segment.into()).or_default()
            };
        }
        if template.is_empty() {
            template.push('/');
        }
        let template: Arc<str> = template.into();
        if place.template.replace(template.clone()).is_none() {
            self.routes += 1;
        }
        template
    }

    #[cfg(test)]
    pub(super) fn routes(&self) -> (usize, usize) {
        (self.routes, self.root.routes())
    }
}

impl Place {
    /// Routes from here on. Bounded by [`MAX_DEPTH`].
    fn routes(&self) -> usize {
        let below = self.words.values().chain(self.parameter.as_deref());
        usize::from(self.template.is_some()) + below.map(Place::routes).sum::<usize>()
    }
}

/// Whether a segment looks like an identifier, or like anything that a person would not have named.
pub(super) fn varies(segment: &[u8]) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'~');
    if segment.is_empty() || segment.len() > MAX_WORD || !segment.iter().all(plain) {
        return true;
    }
    let digits = segment.iter().filter(|b| b.is_ascii_digit()).count();
    if digits == 0 {
        return hexadecimal(segment) || random(segment);
    }
    !version(segment) && !numbered(segment)
}

/// Letters that are digits of 16, too many for a word.
fn hexadecimal(segment: &[u8]) -> bool {
    segment.len() >= 8 && segment.iter().all(u8::is_ascii_hexdigit)
}

/// The case changes more often than in the names of things: `kJxWqZbT`.
fn random(segment: &[u8]) -> bool {
    let pairs = segment.windows(2);
    let up =
        |pair: &&[u8]| matches!(pair, [a, b] if a.is_ascii_uppercase() != b.is_ascii_uppercase());
    segment.len() >= 8 && pairs.filter(up).count() * 3 > segment.len() * 2
}

/// `v1`, `v2beta1`, `1.0` with a `v`.
fn version(segment: &[u8]) -> bool {
    let Some((b'v' | b'V', rest)) = segment.split_first() else {
        return false;
    };
    let usual = |b: &u8| b.is_ascii_alphanumeric() || *b == b'.';
    rest.first().is_some_and(u8::is_ascii_digit) && rest.len() <= 8 && rest.iter().all(usual)
}

/// A word and one or two digits: `oauth2`, `s3`, `ipv4`.
fn numbered(segment: &[u8]) -> bool {
    let word = segment.iter().take_while(|b| b.is_ascii_alphabetic());
    let letters = word.count();
    let digits = segment.get(letters..).unwrap_or_default();
    letters > 0
        && (1..=2).contains(&digits.len())
        && digits.iter().all(u8::is_ascii_digit)
        && !hexadecimal(segment)
}
