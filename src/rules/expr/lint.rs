//! What is allowed and hardly meant: two readings, conditions that are never true, conditions that others make idle.
//!
//! Holds: what is said here is true of every transaction; what is not said may be true as well.

use super::ast::{Expr, Logic, OperandKind};
use super::eval::{Buffers, Presence};
use super::fields::{Field, Kind, Lookup, lookup};
use super::number::Number;
use super::parser::readings;
use super::program::{Constant, Node, NodeKind, Program, Term, Test};
use super::{Fault, Span};
use std::cmp::Ordering;
use std::sync::Arc;

/// Steps that [`Program::implies`] takes before it gives up.
const FUEL: usize = 20_000;

/// Warnings about the text of an expression: where Rulekit understands it differently.
pub fn of_text(text: &str, expr: &Expr) -> Vec<Fault> {
    let mut faults = Vec::new();
    if let Some((ours, theirs)) = readings(text) {
        let message = "`and` and `or` without parentheses have two readings";
        let hint = format!("read here as `{ours}`; QTap's current Rulekit reads `{theirs}`");
        faults.push(Fault::warning(expr.span, message).hint(hint));
    }
    if !is_ours(expr) {
        let mut first = None;
        expr.negations(&mut |span| first = first.or(Some(span)));
        if let Some(span) = first {
            let message = "`not` negates here; QTap's current Rulekit passes over it";
            faults.push(
                Fault::warning(span, message)
                    .hint("`!=`, `not in` and `not contains` have one reading"),
            );
        }
    }
    faults
}

/// It uses what Rulekit does not have, so it was written for us.
fn is_ours(expr: &Expr) -> bool {
    let mut ours = false;
    expr.operands(&mut |operand| {
        ours |= match &operand.kind {
            OperandKind::Field(name) => {
                matches!(lookup(name), Lookup::Found(field) if field.def.ours)
            }
            OperandKind::Call { name, .. } => {
                matches!(name.as_str(), "exists" | "ends_with" | "lower")
            }
            OperandKind::Literal(super::Literal::Measure(_)) => true,
            _ => false,
        }
    });
    ours
}

/// A part that no transaction makes true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Never {
    pub span: Span,
    /// The macro in whose text the span is.
    pub source: Option<Arc<str>>,
    pub reason: String,
    /// The whole expression is never true because of it.
    pub whole: bool,
}

impl Program {
    /// True of every transaction, whatever is known of it.
    pub fn is_always(&self) -> bool {
        self.evaluate(&Presence::NotYet, &mut Buffers::default())
            .is_true()
    }

    /// Parts that are never true, though they would have to be for something to apply.
    pub fn never(&self) -> Vec<Never> {
        let mut found = Vec::new();
        let whole = never(&self.root, &mut found);
        found.iter_mut().for_each(|part| part.whole = whole);
        found
    }

    /// Whenever this is true, `other` is. False: not known.
    pub fn implies(&self, other: &Program) -> bool {
        implies(&self.root, &other.root, &mut { FUEL })
    }
}

fn never(node: &Node, found: &mut Vec<Never>) -> bool {
    let report = |found: &mut Vec<Never>, node: &Node, reason: String| {
        let (span, source) = (node.span, node.source.clone());
        found.push(Never {
            span,
            source,
            reason,
            whole: false,
        });
        true
    };
    match &node.kind {
        NodeKind::Macro(inner) => never(inner, found),
        NodeKind::Logic(Logic::Or, parts) => never_parts(parts, found) == parts.len(),
        NodeKind::Logic(Logic::And, parts) => {
            if never_parts(parts, found) > 0 {
                return true;
            }
            let mut conditions = Vec::new();
            conjuncts(node, &mut conditions);
            let clash = conditions.iter().enumerate().find_map(|(i, (later, set))| {
                let earlier = conditions
                    .get(..i)?
                    .iter()
                    .find(|(_, other)| set.clashes(other))?;
                Some((*later, earlier.0))
            });
            match clash {
                Some((later, earlier)) => {
                    let reason =
                        "this and a condition before it are never true together".to_owned();
                    report(found, later, clash_reason(later, earlier).unwrap_or(reason))
                }
                None => false,
            }
        }
        NodeKind::Not(_)
        | NodeKind::Compare(..)
        | NodeKind::Truth(_)
        | NodeKind::Exists(_)
        | NodeKind::Call(..) => {
            if let Some(reason) = Condition::of(node).and_then(|condition| condition.impossible()) {
                return report(found, node, reason);
            }
            if let NodeKind::Compare(
                Test::Eq,
                Term::Lower(_),
                Term::Constant(Constant::Text(text, _)),
            ) = &node.kind
                && text.iter().any(u8::is_ascii_uppercase)
            {
                return report(
                    found,
                    node,
                    "`lower` gives no upper-case letters".to_owned(),
                );
            }
            let program = Program { root: node.clone() };
            match program
                .evaluate(&Presence::NotYet, &mut Buffers::default())
                .may_be_true()
            {
                true => false,
                false => report(found, node, "this is never true".to_owned()),
            }
        }
    }
}

/// How many of the parts are never true. All are looked at.
fn never_parts(parts: &[Node], found: &mut Vec<Never>) -> usize {
    parts.iter().filter(|part| never(part, found)).count()
}

fn clash_reason(later: &Node, earlier: &Node) -> Option<String> {
    let field = Condition::of(later)?.field.name();
    let place = match (&earlier.source, later.source == earlier.source) {
        (_, true) => "in front of it".to_owned(),
        (Some(name), false) => format!("in the macro `{name}`"),
        (None, false) => "outside the macro".to_owned(),
    };
    Some(format!(
        "`{field}` has one value: this and the condition {place} are never true together"
    ))
}

/// The conditions that all have to be true.
fn conjuncts<'a>(node: &'a Node, found: &mut Vec<(&'a Node, Condition<'a>)>) {
    match &node.kind {
        NodeKind::Logic(Logic::And, parts) => parts.iter().for_each(|part| conjuncts(part, found)),
        NodeKind::Macro(inner) => conjuncts(inner, found),
        _ => found.extend(Condition::of(node).map(|condition| (node, condition))),
    }
}

/// What one comparison with constants says of one field.
#[derive(Debug, Clone, PartialEq)]
struct Condition<'a> {
    field: &'a Field,
    set: Set<'a>,
}

/// Values, of which one at least must be there.
#[derive(Debug, Clone, PartialEq)]
enum Set<'a> {
    Texts(Vec<&'a [u8]>),
    /// Least and greatest, each with whether it belongs to the set; durations in nanoseconds.
    Numbers(Option<(Number, bool)>, Option<(Number, bool)>),
}

impl<'a> Condition<'a> {
    fn of(node: &'a Node) -> Option<Condition<'a>> {
        match &node.kind {
            NodeKind::Compare(test, Term::Field(field), constants) => Some(Condition {
                field,
                set: Set::of(*test, constants)?,
            }),
            NodeKind::Compare(test, constants, Term::Field(field)) => Some(Condition {
                field,
                set: Set::of(turned(*test)?, constants)?,
            }),
            _ => None,
        }
    }

    /// Why no value of the field is in the set.
    fn impossible(&self) -> Option<String> {
        let def = self.field.def;
        match &self.set {
            Set::Texts(texts) if !def.values.is_empty() => {
                // A version such as `1.0` compares as a number with numbers only: here are texts.
                let known = |text: &&[u8]| def.values.iter().any(|value| value.as_bytes() == *text);
                (!texts.iter().any(known)).then(|| {
                    format!(
                        "never true: `{}` is one of {}",
                        self.field.name(),
                        def.values.join(", ")
                    )
                })
            }
            Set::Texts(_) => None,
            set @ Set::Numbers(..) => {
                let (least, most) = def.range;
                let range = Set::Numbers(
                    Some((Number::Int(least), true)),
                    (most < i128::MAX).then_some((Number::Int(most), true)),
                );
                set.disjoint(&range).then(|| match most {
                    i128::MAX => format!(
                        "never true: `{}` is not less than {least}",
                        self.field.name()
                    ),
                    _ => format!(
                        "never true: `{}` is from {least} to {most}",
                        self.field.name()
                    ),
                })
            }
        }
    }

    /// Both are never true of one transaction.
    fn clashes(&self, other: &Condition<'_>) -> bool {
        self.field == other.field
            && self.field.def.kind == Kind::One
            && self.set.disjoint(&other.set)
    }
}

/// The test with its sides exchanged.
fn turned(test: Test) -> Option<Test> {
    Some(match test {
        Test::Eq => Test::Eq,
        Test::Gt => Test::Lt,
        Test::Ge => Test::Le,
        Test::Lt => Test::Gt,
        Test::Le => Test::Ge,
        Test::Within => return None,
    })
}

impl<'a> Set<'a> {
    fn of(test: Test, constants: &'a Term) -> Option<Set<'a>> {
        match (test, constants) {
            (Test::Eq, Term::List(items)) => {
                let texts = items.iter().map(|item| match item {
                    Term::Constant(Constant::Text(text, None)) => plain(text),
                    _ => None,
                });
                texts.collect::<Option<_>>().map(Set::Texts)
            }
            (Test::Eq, Term::Constant(Constant::Text(text, None))) => {
                Some(Set::Texts(vec![plain(text)?]))
            }
            (test, Term::Constant(Constant::Number(number))) => Set::numbers(test, *number),
            (test, Term::Constant(Constant::Duration(ns))) => Set::numbers(test, Number::Int(*ns)),
            _ => None,
        }
    }

    fn numbers(test: Test, number: Number) -> Option<Set<'a>> {
        let (with, without) = (Some((number, true)), Some((number, false)));
        Some(match test {
            Test::Eq => Set::Numbers(with, with),
            Test::Gt => Set::Numbers(without, None),
            Test::Ge => Set::Numbers(with, None),
            Test::Lt => Set::Numbers(None, without),
            Test::Le => Set::Numbers(None, with),
            Test::Within => return None,
        })
    }

    fn disjoint(&self, other: &Set<'_>) -> bool {
        match (self, other) {
            (Set::Texts(a), Set::Texts(b)) => !a.iter().any(|text| b.contains(text)),
            (Set::Numbers(least, most), Set::Numbers(other_least, other_most)) => {
                apart(*most, *other_least) || apart(*other_most, *least)
            }
            _ => false,
        }
    }

    /// All of this is in `other`.
    fn inside(&self, other: &Set<'_>) -> bool {
        match (self, other) {
            (Set::Texts(a), Set::Texts(b)) => a.iter().all(|text| b.contains(text)),
            (Set::Numbers(least, most), Set::Numbers(other_least, other_most)) => {
                bounds(*least, *other_least, Ordering::Greater)
                    && bounds(*most, *other_most, Ordering::Less)
            }
            _ => false,
        }
    }
}

/// A text that compares as text alone: one that is a number compares as a number with numbers.
fn plain(text: &[u8]) -> Option<&[u8]> {
    Number::parse(text).is_none().then_some(text)
}

/// What ends at `most` and what begins at `least` have nothing in common.
fn apart(most: Option<(Number, bool)>, least: Option<(Number, bool)>) -> bool {
    let (Some((most, with)), Some((least, also))) = (most, least) else {
        return false;
    };
    match most.partial_cmp(&least) {
        Some(Ordering::Less) => true,
        Some(Ordering::Equal) => !(with && also),
        _ => false,
    }
}

/// `own` is at least as narrow as `other`, on the side where narrow is `order`.
fn bounds(own: Option<(Number, bool)>, other: Option<(Number, bool)>, order: Ordering) -> bool {
    let Some((other, also)) = other else {
        return true;
    };
    let Some((own, with)) = own else { return false };
    match own.partial_cmp(&other) {
        Some(Ordering::Equal) => also || !with,
        found => found == Some(order),
    }
}

fn implies(a: &Node, b: &Node, fuel: &mut usize) -> bool {
    if *fuel == 0 {
        return false;
    }
    *fuel -= 1;
    if a == b {
        return true;
    }
    match (&a.kind, &b.kind) {
        (NodeKind::Macro(a), _) => implies(a, b, fuel),
        (_, NodeKind::Macro(b)) => implies(a, b, fuel),
        (NodeKind::Logic(Logic::Or, parts), _) => parts.iter().all(|part| implies(part, b, fuel)),
        (_, NodeKind::Logic(Logic::And, parts)) => parts.iter().all(|part| implies(a, part, fuel)),
        (_, NodeKind::Logic(Logic::Or, parts))
            if parts.iter().any(|part| implies(a, part, fuel)) =>
        {
            true
        }
        (NodeKind::Logic(Logic::And, parts), _) => parts.iter().any(|part| implies(part, b, fuel)),
        (_, NodeKind::Truth(Term::Constant(Constant::Bool(true)))) => true,
        (NodeKind::Not(a), NodeKind::Not(b)) => related(b, a, |b, a| b.set.inside(&a.set)),
        (_, NodeKind::Not(b)) => related(a, b, |a, b| a.clashes(b)),
        _ => related(a, b, |a, b| a.set.inside(&b.set)),
    }
}

/// Both are conditions of the same field, and stand in this relation.
fn related(a: &Node, b: &Node, relation: impl Fn(&Condition<'_>, &Condition<'_>) -> bool) -> bool {
    match (Condition::of(a), Condition::of(b)) {
        (Some(a), Some(b)) => a.field == b.field && relation(&a, &b),
        _ => false,
    }
}
