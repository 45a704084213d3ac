//! Ranges of a text that are decided on, and the text that comes of them.

use super::hits::{Hits, MatcherId};
use super::modes::{Action, Substitute};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// What one matcher says of a range.
pub(super) struct Span {
    pub range: Range<usize>,
    pub id: MatcherId,
    /// None: it stays.
    pub action: Option<Action>,
    /// It is a value of JSON: what takes its place is a string.
    pub quoted: bool,
    /// What is hashed, without escapes.
    pub secret: Vec<u8>,
}

/// Ranges that do not overlap. Whoever comes first decides: what it keeps nobody hides, and what it hides stays hidden.
#[derive(Default)]
pub(super) struct Spans {
    kept: BTreeMap<usize, usize>,
    hidden: BTreeMap<usize, Span>,
}

impl Spans {
    pub fn add(&mut self, span: Span) {
        if span.range.is_empty() {
            return;
        }
        match span.action {
            None => {
                for free in self.outside_hidden(span.range) {
                    self.keep(free);
                }
            }
            Some(_) => {
                let pieces = self.outside_kept(span.range.clone());
                for piece in pieces {
                    self.hide(Span {
                        range: piece,
                        secret: span.secret.clone(),
                        ..span
                    });
                }
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.hidden.is_empty()
    }

    fn keep(&mut self, mut range: Range<usize>) {
        let before = self.kept.range(..=range.start).next_back();
        if let Some((start, end)) = before.filter(|(_, end)| **end >= range.start) {
            range = *start..range.end.max(*end);
        }
        while let Some((start, end)) = self.kept.range(range.start..range.end).next() {
            let (start, end) = (*start, *end);
            range.end = range.end.max(end);
            self.kept.remove(&start);
        }
        self.kept.insert(range.start, range.end);
    }

    /// Where hidden ranges meet, the one that was there first speaks for all.
    fn hide(&mut self, mut span: Span) {
        let before = self.hidden.range(..=span.range.start).next_back();
        let overlaps = before.filter(|(_, s)| s.range.end > span.range.start);
        let first = match overlaps.map(|(start, _)| *start) {
            Some(start) => Some(start),
            None => self
                .hidden
                .range(span.range.clone())
                .next()
                .map(|(s, _)| *s),
        };
        if let Some(old) = first.and_then(|start| self.hidden.remove(&start)) {
            let range = old.range.start.min(span.range.start)..old.range.end.max(span.range.end);
            span = Span { range, ..old };
        }
        while let Some(start) = self
            .hidden
            .range(span.range.clone())
            .next()
            .map(|(s, _)| *s)
        {
            if let Some(other) = self.hidden.remove(&start) {
                span.range.end = span.range.end.max(other.range.end);
            }
        }
        self.hidden.insert(span.range.start, span);
    }

    fn outside_hidden(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let near = self.hidden.range(..range.end).rev();
        let taken = near
            .map(|(_, s)| s.range.clone())
            .take_while(|r| r.end > range.start);
        outside(&range, taken)
    }

    fn outside_kept(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let near = self.kept.range(..range.end).rev();
        let taken = near
            .map(|(start, end)| *start..*end)
            .take_while(|r| r.end > range.start);
        outside(&range, taken)
    }

    /// `text` without what is hidden, counted.
    pub fn write<'a>(self, text: &'a [u8], with: &Substitute, hits: &mut Hits) -> Cow<'a, [u8]> {
        if self.hidden.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = Vec::with_capacity(text.len());
        let mut done = 0;
        for span in self.hidden.into_values() {
            out.extend_from_slice(text.get(done..span.range.start).unwrap_or_default());
            let action = span.action.unwrap_or(Action::Mask);
            let instead = with.of(action, &span.secret);
            let quoted = span.quoted && action != Action::Drop;
            out.extend_from_slice(if quoted { b"\"" } else { b"" });
            out.extend_from_slice(&instead);
            out.extend_from_slice(if quoted { b"\"" } else { b"" });
            done = span.range.end;
            hits.add(span.id);
        }
        out.extend_from_slice(text.get(done..).unwrap_or_default());
        Cow::Owned(out)
    }
}

/// The parts of `range` that are in none of `taken`, which come from the last to the first.
fn outside(range: &Range<usize>, taken: impl Iterator<Item = Range<usize>>) -> Vec<Range<usize>> {
    let mut free = Vec::new();
    let mut end = range.end;
    for other in taken {
        if other.end < end {
            free.push(other.end.max(range.start)..end);
        }
        end = end.min(other.start);
    }
    if end > range.start {
        free.push(range.start..end);
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn written(text: &str, spans: &[(Range<usize>, Option<Action>)]) -> String {
        let mut all = Spans::default();
        for (range, action) in spans {
            all.add(Span {
                range: range.clone(),
                id: 0,
                action: *action,
                quoted: false,
                secret: Vec::new(),
            });
        }
        let mut hits = Hits::new(Arc::from([Box::from("m")]));
        let out = all.write(text.as_bytes(), &Substitute::default(), &mut hits);
        String::from_utf8_lossy(&out).replace("REDACTED", "#")
    }

    #[test]
    fn who_comes_first_decides_and_what_meets_becomes_one() {
        let (hide, drop, keep) = (Some(Action::Mask), Some(Action::Drop), None);
        for (spans, want) in [
            (vec![], "abcdefgh"),
            (vec![(2..4, hide)], "ab#efgh"),
            (vec![(2..4, hide), (3..6, hide)], "ab#gh"),
            (vec![(3..6, hide), (1..4, drop)], "a#gh"),
            (vec![(1..2, hide), (4..5, hide), (0..8, hide)], "#"),
            (vec![(1..2, hide), (2..3, hide)], "a##defgh"),
            (vec![(2..4, keep), (1..6, hide)], "a#cd#gh"),
            (vec![(2..4, keep), (2..4, hide)], "abcdefgh"),
            (vec![(1..6, hide), (2..4, keep)], "a#gh"),
            (
                vec![(1..3, keep), (3..4, keep), (5..6, keep), (0..8, hide)],
                "#bcd#f#",
            ),
            (vec![(2..6, drop)], "abgh"),
        ] {
            assert_eq!(written("abcdefgh", &spans), want, "{spans:?}");
        }
    }
}
