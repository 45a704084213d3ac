//! Patterns in text: rules of place `body`, and the built-in detectors.
//!
//! Enters: bytes, perhaps only the head of what they were. Leaves: ranges that match.
//! Holds: linear time; of content that was cut, what stands at its end and could be the beginning of a match counts as
//! one, so that a secret does not leak because its end is missing.

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, HirKind, Look, Repetition};
use std::ops::Range;

/// Memory that a compiled pattern may take, in bytes.
const SIZE_MAX: usize = 4 << 20;

/// Whether a regular expression can be a pattern in bodies.
///
/// # Errors
/// What is wrong with it.
pub fn check_pattern(pattern: &str) -> Result<(), String> {
    match Pattern::regex(pattern) {
        Ok(_) => Ok(()),
        Err(error) => Err(error
            .lines()
            .last()
            .unwrap_or_default()
            .trim_start_matches("error: ")
            .to_owned()),
    }
}

/// Something to look for.
#[derive(Clone)]
pub(super) enum Pattern {
    Text {
        whole: Regex,
        /// Matches, at the end of the text, what a match can begin with. None: too large a pattern to say.
        tail: Option<Regex>,
    },
    /// Numbers of payment cards.
    Card,
}

impl Pattern {
    /// Compiles a regular expression over bytes that ignores case.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn regex(pattern: &str) -> Result<Pattern, String> {
        Pattern::build(pattern, true)
    }

    /// The same, with case.
    pub fn exact_case(pattern: &str) -> Result<Pattern, String> {
        Pattern::build(pattern, false)
    }

    fn build(pattern: &str, ignore_case: bool) -> Result<Pattern, String> {
        let whole = compile(pattern, ignore_case)?;
        let hir = ParserBuilder::new()
            .utf8(false)
            .unicode(false)
            .case_insensitive(ignore_case)
            .build()
            .parse(pattern)
            .map_err(|e| e.to_string())?;
        let tail = Hir::concat(vec![beginnings(&hir), Hir::look(Look::End)]);
        Ok(Pattern::Text {
            whole,
            tail: compile(&tail.to_string(), false).ok(),
        })
    }

    /// A text in which `*` stands for any run, and `?` for one, of bytes that are neither white space nor quotes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn glob(glob: &str) -> Result<Pattern, String> {
        let mut pattern = String::new();
        let mut buffer = [0; 4];
        for c in glob.chars() {
            match c {
                '*' => pattern.push_str("[^\\s\"'<>]*"),
                '?' => pattern.push_str("[^\\s\"'<>]"),
                c => pattern.push_str(&regex::escape(c.encode_utf8(&mut buffer))),
            }
        }
        Pattern::regex(&pattern)
    }

    /// Calls `found` with each match; of a pattern with groups, with its first group. False: `text` is cut, and what
    /// stands at its end cannot be judged.
    pub fn find(&self, text: &[u8], cut: bool, mut found: impl FnMut(Range<usize>)) -> bool {
        match self {
            Pattern::Card => {
                super::card::find(text, cut, found);
            }
            Pattern::Text { whole, tail } => {
                if whole.captures_len() > 1 {
                    for groups in whole.captures_iter(text) {
                        let all = groups.get(0);
                        if let Some(m) = groups.get(1).filter(|m| !m.is_empty()).or(all) {
                            found(m.range());
                        }
                    }
                } else {
                    whole.find_iter(text).for_each(|m| found(m.range()));
                }
                match tail {
                    _ if !cut => {}
                    Some(tail) => {
                        if let Some(m) = tail.find(text) {
                            found(m.range());
                        }
                    }
                    None => return false,
                }
            }
        }
        true
    }
}

fn compile(pattern: &str, ignore_case: bool) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .unicode(false)
        .case_insensitive(ignore_case)
        .size_limit(SIZE_MAX)
        .nest_limit(2000)
        .build()
        .map_err(|e| e.to_string())
}

/// Whatever a match of `hir` can begin with, nothing and the whole match included. Assertions at its end hold: what
/// follows is not known.
fn beginnings(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Hir::empty(),
        HirKind::Literal(literal) => {
            let step =
                |rest: Hir, byte: &u8| optional(Hir::concat(vec![Hir::literal([*byte]), rest]));
            literal.0.iter().rev().fold(Hir::empty(), step)
        }
        HirKind::Class(_) => optional(hir.clone()),
        HirKind::Capture(capture) => beginnings(&capture.sub),
        HirKind::Alternation(subs) => Hir::alternation(subs.iter().map(beginnings).collect()),
        HirKind::Concat(subs) => subs.iter().rev().fold(Hir::empty(), |rest, sub| {
            Hir::alternation(vec![Hir::concat(vec![sub.clone(), rest]), beginnings(sub)])
        }),
        HirKind::Repetition(repetition) => {
            if repetition.max == Some(0) {
                return Hir::empty();
            }
            let whole = Hir::repetition(Repetition {
                min: 0,
                max: repetition.max.map(|max| max - 1),
                greedy: true,
                sub: repetition.sub.clone(),
            });
            Hir::concat(vec![whole, beginnings(&repetition.sub)])
        }
    }
}

fn optional(sub: Hir) -> Hir {
    Hir::repetition(Repetition {
        min: 0,
        max: Some(1),
        greedy: true,
        sub: Box::new(sub),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &Pattern, text: impl AsRef<[u8]>, cut: bool) -> Vec<Range<usize>> {
        let mut all = Vec::new();
        assert!(pattern.find(text.as_ref(), cut, |r| if !r.is_empty() {
            all.push(r)
        }));
        all
    }

    /// Whatever the cut, no byte of the match is outside of what is found.
    fn holds_at_every_cut(pattern: &str, text: &str) {
        let pattern = Pattern::regex(pattern).unwrap();
        let whole = found(&pattern, text, false);
        assert!(!whole.is_empty(), "{text}");
        for end in 0..=text.len() {
            let part = found(&pattern, &text.as_bytes()[..end], true);
            for secret in &whole {
                for at in secret.start..secret.end.min(end) {
                    let hidden = part.iter().any(|r| r.contains(&at));
                    assert!(hidden, "byte {at} of {text:?} cut at {end}: {part:?}");
                }
            }
        }
    }

    #[test]
    fn a_match_that_is_cut_is_found_whatever_the_cut() {
        holds_at_every_cut("SECRET-CANARY", "a SECRET-CANARY b");
        holds_at_every_cut(
            r"\bs(?:ecret|ession)=\w{4,}\b",
            "x secret=abcdef; session=ghij",
        );
        holds_at_every_cut(r"(?s)BEGIN.*?END", "..BEGIN a\nb END..");
        holds_at_every_cut(r"(ab){2,3}c|x[0-9]{3}$", "zabababc x123");
        holds_at_every_cut(r"^\d{3}-\d\d-\d{4}", "123-45-6789 tail");
        holds_at_every_cut("grüße", "viele grüße!");
    }

    #[test]
    fn what_is_not_cut_is_found_as_the_pattern_says() {
        let pattern = Pattern::regex("id=([0-9]+)").unwrap();
        assert_eq!(found(&pattern, "ID=12 id=3", false), [3..5, 9..10]);
        let glob = Pattern::glob("cust-*-?").unwrap();
        assert_eq!(
            found(&glob, "a \"cust-1.2-3\" cust-9-9", false),
            [3..13, 15..23]
        );
        assert!(Pattern::regex("(").is_err());
    }
}
