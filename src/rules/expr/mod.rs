//! The rule language: from the text of an expression to what a transaction makes of it.
//!
//! Enters: text, and the macros that it may call. Leaves: a [`Program`], or every [`Fault`] with its place in the text.
//! Holds: pure; bounded in depth and size, so that no text can make reading or evaluation run away; regular expressions
//! run in linear time; evaluation allocates nothing once its buffers have grown.
//!
//! The way: [`lexer`] (text → tokens) → [`parser`] (→ [`Expr`]) → [`check`] by the [`table`] of fields (→ [`Program`]) →
//! [`eval`] over [`Facts`]. [`explain`] says why, [`lint`] finds what is allowed and hardly meant.
//!
//! The language is that of Rulekit. Where Rulekit is known to be wrong, ours does what its documentation says: OR binds
//! looser than AND, and `not` negates.

mod ast;
mod check;
mod eval;
mod explain;
mod fields;
mod functions;
mod lexer;
pub mod lint;
mod literal;
mod macros;
mod number;
mod operand;
mod parser;
mod pattern;
mod program;
mod table;

pub use ast::{Comparison, Expr, ExprKind, Literal, Logic, Operand, OperandKind};
pub use check::MAX_TERMS;
pub use eval::{Buffers, Facts, Presence, Truths, Value};
pub use explain::{Part, Step};
pub use fields::{Field, FieldDef, FieldId, Kind, Known, Lookup, Type, lookup};
pub use literal::Net;
pub use macros::Macros;
pub use number::Number;
pub use parser::{MAX_DEPTH, MAX_TEXT, parse};
pub use program::Program;
pub use table::FIELDS;

/// A piece of an expression's text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    pub fn new(start: usize, end: usize) -> Self {
        Span { start, end }
    }

    /// From the beginning of the one to the end of the other.
    pub fn to(self, other: Span) -> Span {
        Span::new(self.start, other.end)
    }

    /// What it covers of `text`; empty where it does not fit.
    pub fn of(self, text: &str) -> &str {
        text.get(self.start..self.end).unwrap_or_default()
    }
}

/// Something wrong with an expression, or hardly meant so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where, in the text that was read.
    pub span: Span,
    /// The expression can be used all the same.
    pub warning: bool,
    pub message: String,
    /// What was probably meant.
    pub hint: Option<String>,
}

impl Fault {
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Fault {
            span,
            warning: false,
            message: message.into(),
            hint: None,
        }
    }

    pub fn warning(span: Span, message: impl Into<String>) -> Self {
        Fault {
            warning: true,
            ..Fault::error(span, message)
        }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Column of the fault's first character, from 1, in its line of `text`.
    pub fn column(&self, text: &str) -> usize {
        let before = text.get(..self.span.start).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        line.chars().count() + 1
    }

    /// The line of the expression with a caret under the fault, and what is wrong.
    pub fn render(&self, text: &str) -> String {
        let before = text.get(..self.span.start).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |i| i + 1);
        let line = text.get(start..).unwrap_or_default();
        let line = line.lines().next().unwrap_or_default();
        let width = self.span.of(text).lines().next().unwrap_or_default();
        let caret = "^".repeat(width.chars().count().max(1));
        let shown: String = line.chars().flat_map(visible).collect();
        let indent: usize = line
            .get(..self.span.start - start)
            .unwrap_or_default()
            .chars()
            .map(|c| visible(c).count())
            .sum();
        let hint = self.hint.as_deref().unwrap_or_default();
        let word = if self.warning { "warning" } else { "error" };
        let below = format!("{}{caret} {hint}", " ".repeat(indent));
        format!(
            "{word}: {}\n  {shown}\n  {}\n",
            self.message,
            below.trim_end()
        )
    }
}

/// A character fit for a terminal.
fn visible(c: char) -> impl Iterator<Item = char> {
    let safe = !c.is_control()
        && !matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let (plain, escaped) = match safe {
        true => (Some(c), None),
        false => (None, Some(c.escape_unicode())),
    };
    plain.into_iter().chain(escaped.into_iter().flatten())
}

/// Reads a time (nanoseconds) or a size (bytes) with its unit.
pub fn measure(text: &str) -> Option<i128> {
    match literal::measure(text)? {
        Ok(literal::Measure::Duration(value) | literal::Measure::Size(value)) => Some(value),
        Err(_) => None,
    }
}

/// Reads, checks and evaluates `text` on facts of which nothing is known, and on none: for fuzzing. Never panics.
pub fn exercise(text: &str) {
    let Ok(expr) = parse(text) else { return };
    let printed = expr.to_string();
    assert_eq!(
        parse(&printed).as_ref(),
        Ok(&expr),
        "{printed:?} reads differently"
    );
    let mut faults = Vec::new();
    if let Some(program) = Program::new(&expr, &Macros::default(), &mut faults) {
        let mut buffers = Buffers::default();
        for presence in [Presence::Missing, Presence::NotYet] {
            program.evaluate(&presence, &mut buffers);
        }
    }
}

#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod tests;
