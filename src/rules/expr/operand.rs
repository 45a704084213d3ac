//! What operands are, and which can be compared with each other.

use super::ast::{Literal, Operand, OperandKind};
use super::fields::{Kind, Lookup, Type, lookup};
use super::literal::{Measure, Net};
use super::number::Number;
use super::program::{Constant, Term};

/// What values of an operand are.
#[derive(Clone, Copy)]
pub(super) enum Class<'a> {
    Type(Type),
    /// Text as written, and what it is as an address.
    Written(&'a str, Option<Net>),
    Number(Number),
    Pattern,
}

/// The elements of a list; else the operand itself.
pub(super) fn elements<'a>(operand: &'a Operand, term: &'a Term) -> Vec<(&'a Operand, &'a Term)> {
    match (&operand.kind, term) {
        (OperandKind::List(operands), Term::List(terms)) => operands.iter().zip(terms).collect(),
        _ => vec![(operand, term)],
    }
}

/// `contains` and `in` look at its elements.
pub(super) fn is_list(term: &Term) -> bool {
    match term {
        Term::List(_) => true,
        Term::Field(field) => field.def.kind == Kind::List,
        _ => false,
    }
}

pub(super) fn is_text(class: Class<'_>) -> bool {
    matches!(class, Class::Type(Type::Text) | Class::Written(..))
}

pub(super) fn class<'a>(operand: &'a Operand, term: &Term) -> Class<'a> {
    match (term, &operand.kind) {
        (Term::Field(field), _) => Class::Type(field.def.ty),
        (Term::Lower(_) | Term::Zone(_), _) => Class::Type(Type::Text),
        (Term::Condition(_) | Term::Constant(Constant::Bool(_)), _) => Class::Type(Type::Bool),
        (Term::Constant(Constant::Text(_, net)), OperandKind::Literal(Literal::Text(text))) => {
            Class::Written(text, *net)
        }
        (Term::Constant(Constant::Text(..)), _) => Class::Type(Type::Text),
        (Term::Constant(Constant::Number(_)), OperandKind::Literal(Literal::Measure(_))) => {
            Class::Type(Type::Size)
        }
        (Term::Constant(Constant::Number(number)), _) => Class::Number(*number),
        (Term::Constant(Constant::Duration(_)), _) => Class::Type(Type::Duration),
        (Term::Constant(Constant::Net(_)), _) => Class::Type(Type::Ip),
        (Term::Constant(Constant::Pattern(_)), _) => Class::Pattern,
        // Its elements are looked at one by one.
        (Term::List(_), _) => Class::Type(Type::Text),
    }
}

/// Some: `b` cannot be compared with `a`, with what was probably meant. `written`: `b` is a literal.
pub(super) fn misfit(a: Class<'_>, b: Class<'_>, written: bool) -> Option<Option<String>> {
    use Type::{Bool, Duration, Ip, Number as Num, Size, Text};
    let because = |hint: &str| Some(Some(hint.to_owned()));
    let unquoted =
        |text: &str, fits: bool| Some(fits.then(|| format!("write it without quotes: {text}")));
    let measured = |text: &str| super::literal::measure(text).is_some_and(|m| m.is_ok());
    match (a, b) {
        (Class::Type(Num | Size), Class::Written(text, _))
            if Number::parse(text.as_bytes()).is_none() =>
        {
            unquoted(text, matches!(a, Class::Type(Size)) && measured(text))
        }
        (Class::Type(Duration), Class::Written(text, _)) => unquoted(text, measured(text)),
        (Class::Type(Bool), Class::Written(text, _)) => unquoted(
            text,
            text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false"),
        ),
        (Class::Type(Ip), Class::Written(_, None)) => {
            because("an address or a network: `10.0.0.1`, `10.0.0.0/8`")
        }
        (Class::Type(Duration), Class::Number(number)) if !number.is_zero() => {
            because(&format!("a time has a unit: `{number}ms`, `{number}s`"))
        }
        (Class::Type(Duration), Class::Type(Text)) => {
            because("a text that is a number has no unit of time")
        }
        (Class::Type(Num), Class::Type(Size)) if written => because("write a number without unit"),
        (Class::Type(Bool), Class::Type(Text)) => because("as a text: `\"true\"`"),
        (Class::Type(Duration | Ip | Bool), Class::Type(Num | Size))
        | (Class::Type(Ip | Bool), Class::Type(Duration) | Class::Number(_))
        | (Class::Type(Ip), Class::Type(Bool))
        | (Class::Written(..), Class::Number(_)) => match (a, b) {
            (Class::Written(text, _), _) if Number::parse(text.as_bytes()).is_some() => None,
            _ => Some(None),
        },
        (Class::Pattern, other) if !is_text(other) => Some(None),
        _ => None,
    }
}

/// A literal, not a field.
pub(super) fn is_written(operand: &Operand) -> bool {
    matches!(operand.kind, OperandKind::Literal(_))
}

/// Where values of `of` are lower-case, so must be the texts that they are compared with.
pub(super) fn fold(of: &Term, other: &mut Term) {
    match (of, other) {
        (Term::Field(field), Term::Constant(Constant::Text(text, _))) if field.def.folds => {
            text.make_ascii_lowercase();
        }
        (of, Term::List(items)) => items.iter_mut().for_each(|item| fold(of, item)),
        (Term::List(items), other) => items.iter().for_each(|item| fold(item, other)),
        _ => {}
    }
}

/// How a message calls an operand.
pub(super) fn what(operand: &Operand) -> String {
    match &operand.kind {
        OperandKind::Field(name) => match lookup(name) {
            Lookup::Found(field) | Lookup::Former(field, _) => {
                let kind = match field.def.kind {
                    Kind::List => "a list of texts",
                    Kind::One | Kind::Repeated => field.def.ty.describe(),
                };
                format!("`{name}` ({kind})")
            }
            _ => format!("`{name}`"),
        },
        OperandKind::Literal(Literal::Text(text)) => {
            let short: String = text.chars().take(40).collect();
            format!("the text {short:?}")
        }
        OperandKind::Literal(literal) => {
            let kind = match literal {
                Literal::Bool(_) => return format!("`{literal}`"),
                Literal::Number(_) => "the number",
                Literal::Measure(Measure::Duration(_)) => "the time",
                Literal::Measure(Measure::Size(_)) => "the size",
                Literal::Bytes(_) | Literal::Text(_) => "the bytes",
                Literal::Net(net) if net.single().is_some() => "the address",
                Literal::Net(_) => "the network",
                Literal::Regex(_) => "the regular expression",
            };
            let short: String = literal.to_string().chars().take(40).collect();
            format!("{kind} `{short}`")
        }
        OperandKind::List(_) => "a list".to_owned(),
        OperandKind::Call { name, .. } => format!("`{name}(…)`"),
    }
}
