//! What is evaluated: an expression with its macros taken in, types checked, patterns compiled.

use super::Span;
use super::ast::Logic;
use super::fields::{Field, FieldId, Known};
use super::literal::Net;
use super::number::Number;
use super::pattern::Pattern;
use std::sync::Arc;

/// A checked expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    pub(super) root: Node,
}

/// One condition.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub kind: NodeKind,
    pub span: Span,
    /// The macro in whose text the span is; None: the expression itself.
    pub source: Option<Arc<str>>,
}

/// Equal when they ask the same, wherever they stand.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum NodeKind {
    Logic(Logic, Box<[Node]>),
    Not(Box<Node>),
    Compare(Test, Term, Term),
    /// A term alone.
    Truth(Term),
    Exists(Field),
    /// A function of texts that is true or false.
    Call(Predicate, Term, Term),
    /// A macro's expression.
    Macro(Box<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    Eq,
    Gt,
    Ge,
    Lt,
    Le,
    /// Of texts: one inside the other.
    Within,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Predicate {
    StartsWith,
    EndsWith,
    InZone,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Term {
    Field(Field),
    Constant(Constant),
    List(Box<[Term]>),
    Lower(Box<Term>),
    Zone(Box<Term>),
    /// A condition as a value.
    Condition(Box<Node>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Constant {
    Bool(bool),
    Number(Number),
    /// Nanoseconds.
    Duration(i128),
    /// What it is as an address or network, where it is one.
    Text(Box<[u8]>, Option<Net>),
    Net(Net),
    Pattern(Pattern),
}

impl Node {
    /// Calls `visit` with every field.
    pub fn fields<'a>(&'a self, visit: &mut dyn FnMut(&'a Field)) {
        match &self.kind {
            NodeKind::Logic(_, parts) => parts.iter().for_each(|part| part.fields(visit)),
            NodeKind::Not(inner) | NodeKind::Macro(inner) => inner.fields(visit),
            NodeKind::Compare(_, a, b) | NodeKind::Call(_, a, b) => {
                a.fields(visit);
                b.fields(visit);
            }
            NodeKind::Truth(term) => term.fields(visit),
            NodeKind::Exists(field) => visit(field),
        }
    }
}

impl Term {
    fn fields<'a>(&'a self, visit: &mut dyn FnMut(&'a Field)) {
        match self {
            Term::Field(field) => visit(field),
            Term::Constant(_) => {}
            Term::List(items) => items.iter().for_each(|item| item.fields(visit)),
            Term::Lower(inner) | Term::Zone(inner) => inner.fields(visit),
            Term::Condition(node) => node.fields(visit),
        }
    }
}

impl Program {
    /// When everything that it asks for is known, at the latest.
    pub fn known(&self) -> Known {
        let mut latest = Known::Process;
        self.root.fields(&mut |field| {
            if field.def.known != Known::Never {
                latest = latest.max(field.def.known);
            }
        });
        latest
    }

    /// It asks for a field that this version never knows.
    pub fn asks_for_unknown(&self) -> bool {
        let mut found = false;
        self.root
            .fields(&mut |field| found |= field.def.known == Known::Never);
        found
    }

    /// Names of the environment's variables that it asks for.
    pub fn variables(&self) -> Vec<String> {
        let mut names = Vec::new();
        self.root.fields(&mut |field| {
            if field.def.id == FieldId::ProcessEnv {
                names.push(field.key.to_string());
            }
        });
        names
    }

    /// It asks for this field.
    pub fn uses(&self, id: FieldId) -> bool {
        let mut found = false;
        self.root.fields(&mut |field| found |= field.def.id == id);
        found
    }
}
