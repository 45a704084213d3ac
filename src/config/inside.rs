//! Places inside a scalar: from an offset in its text to line and column of the file.
//!
//! YAML changes nothing but white space between a scalar as written and its text, apart from doubled quotes and escapes:
//! the two are walked side by side.

use super::tree::Mark;
use crate::rules::expr::Span;
use std::ops::Range;

/// How a scalar is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Plain, or the lines of a block.
    Bare,
    Single,
    Double,
}

/// Where `span` of `text`, the value of the scalar at `scalar`, stands in `file`; the scalar itself where that cannot be
/// told.
pub(super) fn locate(file: &str, scalar: Mark, text: &str, span: Span) -> Mark {
    let range = span.start..span.end.max(span.start);
    walk(file, scalar, text, range).unwrap_or(scalar)
}

/// A walk over the characters of a file.
struct Raw {
    lines: Vec<Vec<char>>,
    line: usize,
    column: usize,
    style: Style,
}

impl Raw {
    /// The character here; a line's end is one.
    fn peek(&self) -> Option<char> {
        let line = self.lines.get(self.line)?;
        Some(line.get(self.column).copied().unwrap_or('\n'))
    }

    fn step(&mut self) {
        match self
            .lines
            .get(self.line)
            .is_some_and(|line| self.column < line.len())
        {
            true => self.column += 1,
            false => {
                self.line += 1;
                self.column = 0;
            }
        }
    }

    fn skip_blank(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.step();
        }
    }

    /// Steps over what stands for `c`. None: something else is there.
    fn pass(&mut self, c: char) -> Option<()> {
        let raw = self.peek()?;
        match (self.style, raw) {
            (Style::Single, '\'') => {
                self.step();
                self.step();
            }
            (Style::Double, '\\') => {
                self.step();
                let digits = match self.peek()? {
                    'x' => 2,
                    'u' => 4,
                    'U' => 8,
                    _ => 0,
                };
                (0..=digits).for_each(|_| self.step());
            }
            _ if raw == c => self.step(),
            _ => return None,
        }
        Some(())
    }
}

fn walk(file: &str, scalar: Mark, text: &str, range: Range<usize>) -> Option<Mark> {
    let mut raw = begin(file, scalar)?;
    let mut start = None;
    let mut last = None;
    for (at, c) in text.char_indices() {
        if c.is_whitespace() {
            let escaped = raw.style == Style::Double && raw.peek() == Some('\\');
            if at == range.start {
                start = Some((raw.line, raw.column));
            }
            if escaped || raw.peek() == Some(c) && c != '\n' {
                raw.pass(c)?;
            }
            continue;
        }
        raw.skip_blank();
        // A backslash at a line's end joins it to the next.
        while raw.style == Style::Double
            && raw.peek() == Some('\\')
            && raw.lines.get(raw.line)?.len() == raw.column + 1
        {
            raw.step();
            raw.skip_blank();
        }
        if at >= range.start && start.is_none() {
            start = Some((raw.line, raw.column));
        }
        if at >= range.end && at > range.start {
            break;
        }
        raw.pass(c)?;
        last = Some((raw.line, raw.column));
        if at >= range.end {
            break;
        }
    }
    // What is missing at the end stands behind the last character.
    let (line, column) = start.or(last)?;
    let width = match last {
        Some((end, to)) if end == line && to > column => to - column,
        _ => 1,
    };
    Some(Mark {
        line: line + 1,
        column: column + 1,
        width,
    })
}

/// At the first character of the scalar's text.
fn begin(file: &str, scalar: Mark) -> Option<Raw> {
    let mut raw = Raw {
        lines: file.lines().map(|line| line.chars().collect()).collect(),
        line: scalar.line.checked_sub(1)?,
        column: scalar.column.checked_sub(1)?,
        style: Style::Bare,
    };
    if in_block(&raw) {
        return Some(raw);
    }
    match raw.peek()? {
        '\'' => raw.style = Style::Single,
        '"' => raw.style = Style::Double,
        '|' | '>' => {
            raw.line += 1;
            raw.column = 0;
            return Some(raw);
        }
        _ => return Some(raw),
    }
    raw.step();
    Some(raw)
}

/// The scalar is a block: its text begins on a line of its own, below a line that ends with `|` or `>`.
fn in_block(raw: &Raw) -> bool {
    let blank = |line: &[char]| line.iter().all(|c| c.is_whitespace());
    let before = raw.lines.get(..raw.line).unwrap_or_default();
    let own_line = raw
        .lines
        .get(raw.line)
        .and_then(|line| line.get(..raw.column))
        .is_some_and(blank);
    let Some(header) = before
        .iter()
        .rev()
        .find(|line| !blank(line))
        .filter(|_| own_line)
    else {
        return false;
    };
    let header: String = header.iter().collect();
    let header = header.split(" #").next().unwrap_or_default().trim_end();
    let header = header.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+'));
    let indicator = header.strip_suffix(['|', '>']);
    indicator.is_some_and(|rest| rest.ends_with([' ', '\t']))
}

#[cfg(test)]
mod tests {
    use super::super::problem::Problems;
    use super::super::tree;
    use super::*;

    /// What of `yaml` is underlined for the first `word` of the value of `e`.
    fn underlined(yaml: &str, word: &str) -> String {
        let root = tree::read(yaml, &mut Problems::default()).expect("a tree");
        let value = &root.entry("e").expect("e").value;
        let text = value.text().expect("text");
        let at = text.find(word).expect("the word");
        let mark = locate(yaml, value.mark, text, Span::new(at, at + word.len()));
        let line = yaml.lines().nth(mark.line - 1).expect("the line");
        line.chars()
            .skip(mark.column - 1)
            .take(mark.width)
            .collect()
    }

    #[test]
    fn every_way_to_write_a_scalar_keeps_its_places() {
        for (yaml, word) in [
            ("e: http.res.status >= x40", "x40"),
            ("e: 'a == ''b'' or x40'", "x40"),
            ("e: \"a == \\\"b\\\" or x40\"", "x40"),
            ("e: \"a\\u0020b\\tor x40\"", "x40"),
            ("e: |\n  a == b\n    or x40\n", "x40"),
            ("e: >-\n  a == b or\n\n  c or x40\n", "x40"),
            ("e: | # why\n  a\n  -- or\n  x40 # no comment\n", "x40"),
            ("e: a\n  or b\n  or x40", "x40"),
            ("e: 'a\n  or b\n\n  or x40'", "x40"),
            ("e: \"a \\\n  or x40\"", "x40"),
            ("e: 'ü == x40'", "x40"),
            ("e: |\n  'q' == x40\n", "x40"),
            ("e: |\n\n  x40\n", "x40"),
            ("e: >2- # why\n  'q' == x40\n", "x40"),
            ("e:\n  'a == ''b'' or x40'", "x40"),
        ] {
            assert_eq!(underlined(yaml, word), word, "{yaml}");
        }
    }

    #[test]
    fn what_is_missing_at_the_end_stands_behind_it() {
        let yaml = "e: 'a =='";
        let root = tree::read(yaml, &mut Problems::default()).expect("a tree");
        let mark = locate(
            yaml,
            root.entry("e").expect("e").value.mark,
            "a ==",
            Span::new(4, 4),
        );
        assert_eq!(
            mark,
            Mark {
                line: 1,
                column: 9,
                width: 1
            }
        );
    }
}
