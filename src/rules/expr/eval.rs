//! Evaluation: what a transaction makes of a [`Program`].
//!
//! Three-valued (Kleene) over facts that are there or missing. Facts that are not known yet make a fourth state: what
//! depends on them is the set of all outcomes that may still come. Whatever they turn out to be, the final outcome is
//! one of the set.

use super::ast::Logic;
use super::fields::Field;
use super::functions;
use super::literal::{self, Net};
use super::number::Number;
use super::pattern::Pattern;
use super::program::{Constant, Node, NodeKind, Predicate, Program, Term, Test};
use std::net::IpAddr;

/// A set of outcomes: true, false, unknown. One of them where all facts are known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Truths(u8);

impl Truths {
    pub const TRUE: Truths = Truths(1);
    pub const FALSE: Truths = Truths(2);
    /// A fact is missing.
    pub const UNKNOWN: Truths = Truths(4);
    /// All that a condition can be.
    pub const ANY: Truths = Truths(7);
    /// All that a condition can be that is never unknown.
    pub const EITHER: Truths = Truths(3);

    fn of(value: bool) -> Truths {
        if value { Truths::TRUE } else { Truths::FALSE }
    }

    /// True, and nothing else.
    pub fn is_true(self) -> bool {
        self == Truths::TRUE
    }

    pub fn may_be_true(self) -> bool {
        self.0 & 1 != 0
    }

    pub fn may_be_false(self) -> bool {
        self.0 & 2 != 0
    }

    pub fn may_be_unknown(self) -> bool {
        self.0 & 4 != 0
    }

    fn not(self) -> Truths {
        Truths(self.0 & 4 | (self.0 & 1) << 1 | (self.0 & 2) >> 1)
    }

    /// True if both are, false if one is.
    fn and(self, other: Truths) -> Truths {
        let both = self.0 | other.0;
        let mut out = self.0 & other.0 & 1;
        // False comes of a false on either side, whatever the other is.
        out |= both & 2;
        // Unknown comes of an unknown beside an unknown or a true.
        let unknown =
            self.may_be_unknown() && other.0 & 5 != 0 || other.may_be_unknown() && self.0 & 5 != 0;
        Truths(out | if unknown { 4 } else { 0 })
    }

    fn or(self, other: Truths) -> Truths {
        self.not().and(other.not()).not()
    }

    /// In words.
    pub fn describe(self) -> &'static str {
        match self {
            Truths::TRUE => "true",
            Truths::FALSE => "false",
            Truths::UNKNOWN => "unknown",
            _ => "not decided yet",
        }
    }
}

impl std::fmt::Debug for Truths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = [(1, "true"), (2, "false"), (4, "unknown")];
        f.debug_set()
            .entries(
                names
                    .iter()
                    .filter(|(bit, _)| self.0 & bit != 0)
                    .map(|(_, name)| name),
            )
            .finish()
    }
}

/// One value of a field.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    Text(&'a [u8]),
    Number(Number),
    /// Nanoseconds.
    Duration(i128),
    Bool(bool),
    Ip(IpAddr),
}

/// Whether a field has values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Present,
    Missing,
    /// May come later.
    NotYet,
}

impl Presence {
    /// Of two that are looked at together. What may come later can decide, whatever is missing beside it.
    fn with(self, other: Presence) -> Presence {
        match (self, other) {
            (Presence::NotYet, _) | (_, Presence::NotYet) => Presence::NotYet,
            (Presence::Missing, _) | (_, Presence::Missing) => Presence::Missing,
            _ => Presence::Present,
        }
    }
}

/// What is known of a transaction.
pub trait Facts {
    /// Calls `take` with each value of `field`, in order. `buffer` is empty, for values that have to be put together.
    fn visit(
        &self,
        field: &Field,
        buffer: &mut Vec<u8>,
        take: &mut dyn FnMut(Value<'_>),
    ) -> Presence;
}

/// Facts of which this is all that can be said.
impl Facts for Presence {
    fn visit(&self, _: &Field, _: &mut Vec<u8>, _: &mut dyn FnMut(Value<'_>)) -> Presence {
        *self
    }
}

/// Memory for values that have to be put together. Kept between evaluations, it grows to what the longest needs.
#[derive(Default)]
pub struct Buffers(Vec<Vec<u8>>);

impl Buffers {
    fn get(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_default()
    }

    /// Gives a buffer back. Its bytes may be secrets: they do not stay.
    fn put(&mut self, mut buffer: Vec<u8>) {
        buffer.fill(0);
        buffer.clear();
        self.0.push(buffer);
    }
}

/// A value of a term: one of a field, or a constant.
#[derive(Clone, Copy)]
enum Item<'a> {
    Value(Value<'a>),
    /// With what it is as an address.
    Text(&'a [u8], &'a Net),
    Net(&'a Net),
    Pattern(&'a Pattern),
}

impl Program {
    /// The outcome for these facts.
    pub fn evaluate(&self, facts: &dyn Facts, buffers: &mut Buffers) -> Truths {
        truths(&self.root, &mut Context { facts, buffers })
    }
}

pub(super) struct Context<'a> {
    pub facts: &'a dyn Facts,
    pub buffers: &'a mut Buffers,
}

pub(super) fn truths(node: &Node, context: &mut Context<'_>) -> Truths {
    match &node.kind {
        NodeKind::Logic(logic, parts) => {
            let (mut all, end) = match logic {
                Logic::And => (Truths::TRUE, Truths::FALSE),
                Logic::Or => (Truths::FALSE, Truths::TRUE),
            };
            for part in parts {
                let next = truths(part, context);
                all = match logic {
                    Logic::And => all.and(next),
                    Logic::Or => all.or(next),
                };
                if all == end {
                    break;
                }
            }
            all
        }
        NodeKind::Not(inner) => truths(inner, context).not(),
        NodeKind::Macro(inner) => truths(inner, context),
        NodeKind::Compare(test, left, right) => compare(*test, left, right, context),
        NodeKind::Truth(term) => truth(term, context),
        NodeKind::Exists(field) => {
            let mut buffer = context.buffers.get();
            let presence = context.facts.visit(field, &mut buffer, &mut |_| {});
            context.buffers.put(buffer);
            match presence {
                Presence::Present => Truths::TRUE,
                Presence::Missing => Truths::FALSE,
                Presence::NotYet => Truths::EITHER,
            }
        }
        NodeKind::Call(predicate, text, other) => call(*predicate, text, other, context),
    }
}

/// True if any pair of values passes; where none does, what is missing makes it unknown.
fn outcome(any: bool, presence: Presence) -> Truths {
    match (any, presence) {
        (true, _) => Truths::TRUE,
        (false, Presence::Present) => Truths::FALSE,
        (false, Presence::Missing) => Truths::UNKNOWN,
        (false, Presence::NotYet) => Truths::ANY,
    }
}

fn compare(test: Test, left: &Term, right: &Term, context: &mut Context<'_>) -> Truths {
    pairs(left, right, context, &mut |a, b| passes(test, a, b))
}

fn call(predicate: Predicate, text: &Term, other: &Term, context: &mut Context<'_>) -> Truths {
    pairs(
        text,
        other,
        context,
        &mut |a, b| match (text_of(a), text_of(b)) {
            (Some(a), Some(b)) => predicate.holds(a, b),
            _ => false,
        },
    )
}

fn pairs(
    left: &Term,
    right: &Term,
    context: &mut Context<'_>,
    passes: &mut dyn FnMut(Item<'_>, Item<'_>) -> bool,
) -> Truths {
    let mut any = false;
    let mut inner = None;
    let outer = each(left, context, &mut |a, context| {
        if any {
            return;
        }
        let presence = each(right, context, &mut |b, _| any = any || passes(a, b));
        inner = Some(presence);
    });
    // Where the left side has no value, the right one may still be missing.
    let inner = match inner {
        Some(presence) => presence,
        None => each(right, context, &mut |_, _| {}),
    };
    outcome(any, outer.with(inner))
}

/// A bare term: true unless it is false, 0, empty or missing.
fn truth(term: &Term, context: &mut Context<'_>) -> Truths {
    if let Term::Condition(node) = term {
        return truths(node, context);
    }
    let mut any = false;
    let presence = each(term, context, &mut |item, _| {
        any |= match item {
            Item::Value(Value::Bool(value)) => value,
            Item::Value(Value::Number(number)) => !number.is_zero(),
            Item::Value(Value::Duration(ns)) => ns != 0,
            Item::Value(Value::Text(text)) | Item::Text(text, _) => !text.is_empty(),
            Item::Value(Value::Ip(_)) | Item::Net(_) | Item::Pattern(_) => true,
        }
    });
    match presence {
        Presence::NotYet if !any => Truths::EITHER,
        _ => Truths::of(any),
    }
}

/// Calls `take` with each value of a term.
fn each(
    term: &Term,
    context: &mut Context<'_>,
    take: &mut dyn FnMut(Item<'_>, &mut Context<'_>),
) -> Presence {
    match term {
        Term::Constant(constant) => {
            take(constant.item(), context);
            Presence::Present
        }
        Term::Field(field) => {
            let mut buffer = context.buffers.get();
            let facts = context.facts;
            let presence = facts.visit(field, &mut buffer, &mut |value| {
                take(Item::Value(value), &mut *context)
            });
            context.buffers.put(buffer);
            presence
        }
        Term::List(items) => {
            let mut all = Presence::Present;
            for item in items {
                all = all.with(each(item, context, take));
            }
            all
        }
        Term::Lower(inner) => each(inner, context, &mut |item, context| {
            let Some(text) = text_of(item) else { return };
            let mut buffer = context.buffers.get();
            lower(text, &mut buffer);
            take(Item::Value(Value::Text(&buffer)), context);
            context.buffers.put(buffer);
        }),
        Term::Zone(inner) => {
            let mut found = false;
            let presence = each(inner, context, &mut |item, context| {
                let Some(zone) = text_of(item).and_then(functions::zone) else {
                    return;
                };
                found = true;
                let mut buffer = context.buffers.get();
                lower(zone, &mut buffer);
                take(Item::Value(Value::Text(&buffer)), context);
                context.buffers.put(buffer);
            });
            match presence {
                // What has no registrable domain has no zone.
                Presence::Present if !found => Presence::Missing,
                presence => presence,
            }
        }
        Term::Condition(node) => match truths(node, context) {
            Truths::TRUE => {
                take(Item::Value(Value::Bool(true)), context);
                Presence::Present
            }
            Truths::FALSE => {
                take(Item::Value(Value::Bool(false)), context);
                Presence::Present
            }
            Truths::UNKNOWN => Presence::Missing,
            _ => Presence::NotYet,
        },
    }
}

impl Constant {
    fn item(&self) -> Item<'_> {
        match self {
            Constant::Bool(value) => Item::Value(Value::Bool(*value)),
            Constant::Number(number) => Item::Value(Value::Number(*number)),
            Constant::Duration(ns) => Item::Value(Value::Duration(*ns)),
            Constant::Text(text, None) => Item::Value(Value::Text(text)),
            Constant::Text(text, Some(net)) => Item::Text(text, net),
            Constant::Net(net) => Item::Net(net),
            Constant::Pattern(pattern) => Item::Pattern(pattern),
        }
    }
}

fn text_of(item: Item<'_>) -> Option<&[u8]> {
    match item {
        Item::Value(Value::Text(text)) | Item::Text(text, _) => Some(text),
        _ => None,
    }
}

fn lower(text: &[u8], buffer: &mut Vec<u8>) {
    match std::str::from_utf8(text) {
        Ok(text) if !text.is_ascii() => {
            for c in text.chars().flat_map(char::to_lowercase) {
                buffer.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        _ => buffer.extend(text.iter().map(u8::to_ascii_lowercase)),
    }
}

fn passes(test: Test, a: Item<'_>, b: Item<'_>) -> bool {
    match test {
        Test::Eq => equal(a, b),
        Test::Within => match (text_of(a), text_of(b)) {
            (Some(text), Some(part)) => memchr::memmem::find(text, part).is_some(),
            _ => false,
        },
        Test::Gt | Test::Ge | Test::Lt | Test::Le => {
            let Some(order) = order(a, b) else {
                return false;
            };
            match test {
                Test::Gt => order.is_gt(),
                Test::Ge => order.is_ge(),
                Test::Lt => order.is_lt(),
                _ => order.is_le(),
            }
        }
    }
}

/// Numbers, and texts that are wholly numbers; durations.
fn order(a: Item<'_>, b: Item<'_>) -> Option<std::cmp::Ordering> {
    match (duration_of(a), duration_of(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => number_of(a)?.partial_cmp(&number_of(b)?),
    }
}

fn number_of(item: Item<'_>) -> Option<Number> {
    match item {
        Item::Value(Value::Number(number)) => Some(number),
        Item::Value(Value::Text(text)) => Number::parse(text),
        _ => None,
    }
}

/// Zero needs no unit.
fn duration_of(item: Item<'_>) -> Option<i128> {
    match item {
        Item::Value(Value::Duration(ns)) => Some(ns),
        Item::Value(Value::Number(number)) if number.is_zero() => Some(0),
        _ => None,
    }
}

fn equal(a: Item<'_>, b: Item<'_>) -> bool {
    use Item::{Net as Network, Pattern as Regex, Text as Addressed, Value as Plain};
    match (a, b) {
        (Regex(pattern), other) | (other, Regex(pattern)) => {
            text_of(other).is_some_and(|text| pattern.matches(text))
        }
        (Network(net), Plain(Value::Ip(ip))) | (Plain(Value::Ip(ip)), Network(net)) => {
            net.contains(ip)
        }
        (Addressed(_, net), Plain(Value::Ip(ip))) | (Plain(Value::Ip(ip)), Addressed(_, net)) => {
            net.contains(ip)
        }
        (Network(net), Plain(Value::Text(text))) | (Plain(Value::Text(text)), Network(net)) => {
            literal::address(text).is_some_and(|ip| net.contains(ip))
        }
        (Addressed(written, net), Plain(Value::Text(text)))
        | (Plain(Value::Text(text)), Addressed(written, net)) => {
            written == text || literal::address(text).is_some_and(|ip| net.contains(ip))
        }
        (Network(a) | Addressed(_, a), Network(b) | Addressed(_, b)) => a.covers(b) || b.covers(a),
        (Plain(Value::Ip(ip)), Plain(Value::Text(text)))
        | (Plain(Value::Text(text)), Plain(Value::Ip(ip))) => {
            literal::address(text).is_some_and(|other| other == ip.to_canonical())
        }
        (Plain(a), Plain(b)) => equal_values(a, b),
        // Text that is an address is no number, and no boolean.
        (Network(_) | Addressed(..), Plain(_)) | (Plain(_), Network(_) | Addressed(..)) => false,
    }
}

fn equal_values(a: Value<'_>, b: Value<'_>) -> bool {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => a == b,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Ip(a), Value::Ip(b)) => a.to_canonical() == b.to_canonical(),
        _ => order(Item::Value(a), Item::Value(b)).is_some_and(std::cmp::Ordering::is_eq),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINGLE: [Truths; 3] = [Truths::TRUE, Truths::FALSE, Truths::UNKNOWN];

    #[test]
    fn one_false_makes_and_false_and_one_true_makes_or_true() {
        let [t, f, u] = SINGLE;
        for (a, b, and, or) in [
            (t, t, t, t),
            (t, f, f, t),
            (f, f, f, f),
            (t, u, u, t),
            (f, u, f, u),
            (u, u, u, u),
        ] {
            assert_eq!(
                (a.and(b), b.and(a), a.or(b), b.or(a)),
                (and, and, or, or),
                "{a:?} {b:?}"
            );
        }
        assert_eq!((t.not(), f.not(), u.not()), (f, t, u));
    }

    #[test]
    fn sets_hold_just_what_their_members_make() {
        let members = |set: Truths| SINGLE.into_iter().filter(move |one| one.0 & set.0 != 0);
        for a in (1..8).map(Truths) {
            for b in (1..8).map(Truths) {
                let all = |op: fn(Truths, Truths) -> Truths| {
                    let pairs = members(a).flat_map(|x| members(b).map(move |y| (x, y)));
                    Truths(pairs.fold(0, |set, (x, y)| set | op(x, y).0))
                };
                assert_eq!(a.and(b), all(Truths::and), "{a:?} and {b:?}");
                assert_eq!(a.or(b), all(Truths::or), "{a:?} or {b:?}");
            }
        }
    }
}
