//! Expressions as they were written, and how they are written.

use super::Span;
use super::literal::{Measure, Net};
use super::number::Number;
use std::fmt::{self, Display, Formatter};

/// An expression. Two are equal when they say the same, wherever they stand.
#[derive(Debug, Clone)]
pub struct Expr {
    pub kind: ExprKind,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// Two or more.
    Logic(Logic, Vec<Expr>),
    Not(Box<Expr>),
    Compare {
        op: Comparison,
        /// `not in`, `not contains`, `not matches`.
        negated: bool,
        left: Operand,
        right: Operand,
    },
    /// A field, call or boolean alone.
    Truth(Operand),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logic {
    And,
    Or,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
    Contains,
    Matches,
    In,
}

#[derive(Debug, Clone)]
pub struct Operand {
    pub kind: OperandKind,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub enum OperandKind {
    Field(String),
    Literal(Literal),
    List(Vec<Operand>),
    /// A function or macro.
    Call {
        name: String,
        args: Vec<Operand>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    Bool(bool),
    Number(Number),
    Measure(Measure),
    Text(String),
    Bytes(Vec<u8>),
    Net(Net),
    /// The pattern as RE2 would get it, without its delimiters.
    Regex(String),
}

impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl PartialEq for Operand {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Expr {
    /// Calls `visit` with every operand, those inside lists and calls included.
    pub fn operands<'a>(&'a self, visit: &mut dyn FnMut(&'a Operand)) {
        match &self.kind {
            ExprKind::Logic(_, parts) => parts.iter().for_each(|part| part.operands(visit)),
            ExprKind::Not(inner) => inner.operands(visit),
            ExprKind::Compare { left, right, .. } => {
                left.operands(visit);
                right.operands(visit);
            }
            ExprKind::Truth(operand) => operand.operands(visit),
        }
    }

    /// Places of `not` and `!` in front of an expression.
    pub fn negations(&self, visit: &mut dyn FnMut(Span)) {
        match &self.kind {
            ExprKind::Logic(_, parts) => parts.iter().for_each(|part| part.negations(visit)),
            ExprKind::Not(inner) => {
                visit(Span::new(self.span.start, inner.span.start));
                inner.negations(visit);
            }
            ExprKind::Compare { .. } | ExprKind::Truth(_) => {}
        }
    }
}

impl Operand {
    fn operands<'a>(&'a self, visit: &mut dyn FnMut(&'a Operand)) {
        visit(self);
        match &self.kind {
            OperandKind::List(parts) | OperandKind::Call { args: parts, .. } => {
                parts.iter().for_each(|part| part.operands(visit));
            }
            OperandKind::Field(_) | OperandKind::Literal(_) => {}
        }
    }
}

impl Logic {
    pub fn word(self) -> &'static str {
        match self {
            Logic::And => "and",
            Logic::Or => "or",
        }
    }
}

impl Comparison {
    pub fn sign(self) -> &'static str {
        match self {
            Comparison::Eq => "==",
            Comparison::Ne => "!=",
            Comparison::Gt => ">",
            Comparison::Ge => ">=",
            Comparison::Lt => "<",
            Comparison::Le => "<=",
            Comparison::Contains => "contains",
            Comparison::Matches => "matches",
            Comparison::In => "in",
        }
    }

    /// `>`, `>=`, `<`, `<=`.
    pub fn orders(self) -> bool {
        matches!(
            self,
            Comparison::Gt | Comparison::Ge | Comparison::Lt | Comparison::Le
        )
    }
}

/// Reads back as an equal expression. What mixes `and` and `or` has parentheses.
impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Logic(logic, parts) => {
                for (i, part) in parts.iter().enumerate() {
                    if i > 0 {
                        write!(f, " {} ", logic.word())?;
                    }
                    match part.kind {
                        ExprKind::Logic(..) => write!(f, "({part})")?,
                        _ => write!(f, "{part}")?,
                    }
                }
                Ok(())
            }
            ExprKind::Not(inner) => match inner.kind {
                ExprKind::Logic(..) => write!(f, "not ({inner})"),
                _ => write!(f, "not {inner}"),
            },
            ExprKind::Compare {
                op,
                negated,
                left,
                right,
            } => {
                let not = if *negated { "not " } else { "" };
                write!(f, "{left} {not}{} {right}", op.sign())
            }
            ExprKind::Truth(operand) => write!(f, "{operand}"),
        }
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            OperandKind::Field(name) => f.write_str(name),
            OperandKind::Literal(literal) => write!(f, "{literal}"),
            OperandKind::List(items) => {
                f.write_str("[")?;
                list(f, items)?;
                f.write_str("]")
            }
            OperandKind::Call { name, args } => {
                write!(f, "{name}(")?;
                list(f, args)?;
                f.write_str(")")
            }
        }
    }
}

fn list(f: &mut Formatter<'_>, items: &[Operand]) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        let comma = if i > 0 { ", " } else { "" };
        write!(f, "{comma}{item}")?;
    }
    Ok(())
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Bool(value) => write!(f, "{value}"),
            Literal::Number(number) => write!(f, "{number}"),
            Literal::Measure(measure) => write!(f, "{measure}"),
            Literal::Text(text) => quoted(f, text),
            Literal::Bytes(bytes) => {
                for (i, byte) in bytes.iter().enumerate() {
                    let colon = if i > 0 { ":" } else { "" };
                    write!(f, "{colon}{byte:02x}")?;
                }
                Ok(())
            }
            Literal::Net(net) => write!(f, "{net}"),
            Literal::Regex(pattern) => delimited(f, pattern),
        }
    }
}

fn quoted(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            '\r' => f.write_str("\\r")?,
            '"' | '\\' => write!(f, "\\{c}")?,
            c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

/// Between slashes, with a backslash in front of each slash in it.
fn delimited(f: &mut Formatter<'_>, pattern: &str) -> fmt::Result {
    if pattern.starts_with('*') {
        // `/*` begins a comment, so it was written between bars, and every bar in it has its backslash.
        return write!(f, "|{pattern}|");
    }
    f.write_str("/")?;
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '/' => f.write_str("\\/")?,
            '\\' => {
                f.write_str("\\")?;
                if let Some(next) = chars.next() {
                    write!(f, "{next}")?;
                }
            }
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("/")
}
