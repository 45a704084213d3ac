//! Patterns as a tree over segments in which nothing is tried twice: each step leaves behind all patterns that no longer
//! apply, so that the way of a path through it is as long as the path has segments.

use super::pattern::{Pattern, Segment};
use super::{bare, segments};
use percent_encoding::percent_decode;
use std::collections::HashMap;
use std::sync::Arc;

/// Places of the tree at the most. Patterns that overlap (`/{a}/x`, `/b/{c}`) share places only in part.
const MAX_PLACES: usize = 1 << 14;

/// Patterns that overlap in too many ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the routes overlap in too many ways")]
pub struct Overlap;

/// Patterns, compiled. Of two that apply, the one is found that has, from the left, the first literal where the other has
/// a parameter.
#[derive(Debug, Default)]
pub struct Table {
    /// The most preferred first.
    templates: Vec<Arc<str>>,
    places: Vec<Place>,
}

/// Where a path may have come to.
#[derive(Debug, Default)]
struct Place {
    literals: HashMap<Box<[u8]>, u32>,
    /// Behind a segment that is none of the literals.
    other: Option<u32>,
    /// The template of a path that ends here.
    end: Option<u32>,
    /// The template of a path that goes on in any way.
    rest: Option<u32>,
}

impl Table {
    /// Compiles patterns; one that is there twice counts once.
    ///
    /// # Errors
    /// When they overlap in too many ways.
    pub fn new(patterns: &[Pattern]) -> Result<Table, Overlap> {
        let mut sorted: Vec<&Pattern> = patterns.iter().collect();
        sorted.sort_by(|a, b| a.segments.cmp(&b.segments));
        sorted.dedup_by(|a, b| a.segments == b.segments);
        let mut builder = Builder {
            patterns: &sorted,
            known: HashMap::new(),
            places: Vec::new(),
        };
        let all: Vec<u32> = (0..).take(sorted.len()).collect();
        if !all.is_empty() {
            builder.place(0, all)?;
        }
        Ok(Table {
            templates: sorted.iter().map(|p| Arc::from(p.text.as_str())).collect(),
            places: builder.places,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.templates.is_empty()
    }

    /// The template of a path; `buffer`: for what is percent-encoded.
    pub fn find(&self, path: &[u8], buffer: &mut Vec<u8>) -> Option<&Arc<str>> {
        if !path.starts_with(b"/") {
            return None;
        }
        let mut place = self.places.first()?;
        let mut best = place.rest;
        let mut through = true;
        for segment in segments(path) {
            let segment = decoded(bare(segment), buffer);
            let other = place.other.filter(|_| !segment.is_empty());
            let next = place.literals.get(segment).copied().or(other);
            let Some(next) = next.and_then(|at| self.places.get(at as usize)) else {
                through = false;
                break;
            };
            place = next;
            best = preferred(best, place.rest);
        }
        if through {
            best = preferred(best, place.end);
        }
        self.templates.get(best? as usize)
    }
}

fn preferred(a: Option<u32>, b: Option<u32>) -> Option<u32> {
    a.into_iter().chain(b).min()
}

fn decoded<'a>(segment: &'a [u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
    if memchr::memchr(b'%', segment).is_none() {
        return segment;
    }
    buffer.clear();
    buffer.extend(percent_decode(segment));
    buffer
}

/// Makes a place for each set of patterns that may still apply at a depth.
struct Builder<'a> {
    patterns: &'a [&'a Pattern],
    known: HashMap<(usize, Vec<u32>), u32>,
    places: Vec<Place>,
}

impl Builder<'_> {
    fn segment(&self, pattern: u32, depth: usize) -> Option<&Segment> {
        self.patterns.get(pattern as usize)?.segments.get(depth)
    }

    /// The place of these patterns, which are in order, before the segment at `depth`.
    fn place(&mut self, depth: usize, live: Vec<u32>) -> Result<u32, Overlap> {
        let key = (depth, live);
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        if self.places.len() >= MAX_PLACES {
            return Err(Overlap);
        }
        let number = u32::try_from(self.places.len()).map_err(|_| Overlap)?;
        self.places.push(Place::default());
        let (_, live) = &key;
        let mut place = Place::default();
        let mut literals: Vec<Vec<u8>> = Vec::new();
        let mut others = Vec::new();
        for pattern in live {
            match self.segment(*pattern, depth) {
                None => place.end = preferred(place.end, Some(*pattern)),
                Some(Segment::Rest) => place.rest = preferred(place.rest, Some(*pattern)),
                Some(Segment::One) => others.push(*pattern),
                Some(Segment::Literal(literal)) => {
                    if !literals.contains(literal) {
                        literals.push(literal.clone());
                    }
                }
            }
        }
        for literal in literals {
            let applies = |pattern: &&u32| match self.segment(**pattern, depth) {
                Some(Segment::Literal(own)) => *own == literal,
                other => other == Some(&Segment::One),
            };
            let next = live.iter().filter(applies).copied().collect();
            let next = self.place(depth + 1, next)?;
            place.literals.insert(literal.into(), next);
        }
        if !others.is_empty() {
            place.other = Some(self.place(depth + 1, others)?);
        }
        if let Some(made) = self.places.get_mut(number as usize) {
            *made = place;
        }
        self.known.insert(key, number);
        Ok(number)
    }
}
