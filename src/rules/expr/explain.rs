//! Why an expression is true or false: its conditions, with the values that they saw.

use super::Span;
use super::ast::Logic;
use super::eval::{Buffers, Context, Facts, Presence, Truths, Value, truths};
use super::fields::{Field, Kind};
use super::literal;
use super::program::{Node, NodeKind, Program};
use std::sync::Arc;

/// A condition of an expression, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Conditions that this is part of.
    pub depth: usize,
    pub part: Part,
    pub outcome: Truths,
    /// Each field that it asks for, with its values; empty for what is made of conditions.
    pub values: Vec<(String, String)>,
}

/// A part of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Where, in the expression's text or the macro's.
    pub span: Span,
    /// The macro in whose text the span is.
    pub source: Option<Arc<str>>,
}

impl Program {
    /// Every condition with its outcome, from the whole to its parts.
    pub fn steps(&self, facts: &dyn Facts) -> Vec<Step> {
        let mut steps = Vec::new();
        steps_of(&self.root, 0, facts, &mut steps);
        steps
    }

    /// The smallest part that made the expression true or false: the alternative that applies of an `or`, the condition
    /// that fails of an `and`.
    pub fn cause(&self, facts: &dyn Facts) -> Part {
        let mut buffers = Buffers::default();
        let mut node = &self.root;
        loop {
            let outcome = truths(
                node,
                &mut Context {
                    facts,
                    buffers: &mut buffers,
                },
            );
            let same = |part: &&Node, buffers: &mut Buffers| {
                truths(part, &mut Context { facts, buffers }) == outcome
            };
            let next = match &node.kind {
                NodeKind::Not(inner) | NodeKind::Macro(inner) => Some(&**inner),
                NodeKind::Logic(logic, parts) if outcome == logic.decisive() => {
                    parts.iter().find(|part| same(part, &mut buffers))
                }
                _ => None,
            };
            match next {
                Some(part) => node = part,
                None => {
                    return node.part();
                }
            }
        }
    }
}

impl Node {
    fn part(&self) -> Part {
        Part {
            span: self.span,
            source: self.source.clone(),
        }
    }
}

impl Logic {
    /// The outcome of one part that is that of the whole.
    fn decisive(self) -> Truths {
        match self {
            Logic::And => Truths::FALSE,
            Logic::Or => Truths::TRUE,
        }
    }
}

fn steps_of(node: &Node, depth: usize, facts: &dyn Facts, steps: &mut Vec<Step>) {
    let mut buffers = Buffers::default();
    let outcome = truths(
        node,
        &mut Context {
            facts,
            buffers: &mut buffers,
        },
    );
    let mut step = Step {
        depth,
        part: node.part(),
        outcome,
        values: Vec::new(),
    };
    match &node.kind {
        NodeKind::Logic(_, parts) => {
            steps.push(step);
            parts
                .iter()
                .for_each(|part| steps_of(part, depth + 1, facts, steps));
        }
        NodeKind::Not(inner) | NodeKind::Macro(inner) => {
            steps.push(step);
            steps_of(inner, depth + 1, facts, steps);
        }
        NodeKind::Compare(..) | NodeKind::Truth(_) | NodeKind::Exists(_) | NodeKind::Call(..) => {
            node.fields(&mut |field| step.values.push((field.name(), shown(field, facts))));
            steps.push(step);
        }
    }
}

/// The values of a field, as they would be written.
fn shown(field: &Field, facts: &dyn Facts) -> String {
    let mut values = Vec::new();
    let presence = facts.visit(field, &mut Vec::new(), &mut |value| {
        values.push(match value {
            Value::Text(text) => format!("\"{}\"", text.escape_ascii()),
            Value::Number(number) => number.to_string(),
            Value::Duration(ns) => literal::Measure::Duration(ns).to_string(),
            Value::Bool(value) => value.to_string(),
            Value::Ip(ip) => ip.to_string(),
        });
    });
    match presence {
        Presence::Missing => "missing".to_owned(),
        Presence::NotYet => "not known yet".to_owned(),
        Presence::Present if field.def.kind == Kind::One => values.concat(),
        Presence::Present => format!("[{}]", values.join(", ")),
    }
}
