//! Names, arity and types of an expression; from there a [`Program`].

use super::ast::{Comparison, Expr, ExprKind, Literal, Operand, OperandKind};
use super::fields::{Field, Kind, Known, Lookup, Type, lookup};
use super::literal::{Measure, Net};
use super::macros::Macros;
use super::number::Number;
use super::operand::{Class, class, elements, fold, is_list, is_text, is_written, misfit, what};
use super::parser::parse;
use super::pattern::Pattern;
use super::program::{Constant, Node, NodeKind, Predicate, Program, Term, Test};
use super::{Fault, Span};
use crate::config::nearest;
use std::sync::Arc;

/// Conditions and values of an expression at most, macros taken in.
pub const MAX_TERMS: usize = 20_000;
/// Macros inside each other at most.
const MAX_MACROS: usize = 8;

pub(super) const FUNCTIONS: [(&str, usize, &str); 6] = [
    ("starts_with", 2, "starts_with(text, prefix)"),
    ("ends_with", 2, "ends_with(text, suffix)"),
    ("in_zone", 2, "in_zone(domain, zone)"),
    ("lower", 1, "lower(text)"),
    ("zone", 1, "zone(domain)"),
    ("exists", 1, "exists(field)"),
];

impl Program {
    /// Checks and compiles. None: one of the faults is an error, or a macro that it calls has one.
    pub fn new(expr: &Expr, macros: &Macros, faults: &mut Vec<Fault>) -> Option<Program> {
        let mut checker = Checker::new(macros, faults);
        let root = checker.node(expr)?;
        Some(Program { root })
    }

    /// Reads, checks and compiles.
    ///
    /// # Errors
    /// All faults, where one of them is an error or a macro has one.
    pub fn compile(text: &str, macros: &Macros) -> Result<(Program, Vec<Fault>), Vec<Fault>> {
        let expr = parse(text).map_err(|fault| vec![fault])?;
        let mut faults = Vec::new();
        match Program::new(&expr, macros, &mut faults) {
            Some(program) => Ok((program, faults)),
            None => Err(faults),
        }
    }
}

pub(super) struct Checker<'a> {
    macros: &'a Macros,
    faults: &'a mut Vec<Fault>,
    /// Macros that are being taken in, the outermost first.
    pub inside: Vec<Arc<str>>,
    /// Of the macro whose text is read; None: the expression's own.
    source: Option<Arc<str>>,
    terms: usize,
}

/// Looks at both sides of a comparison; false: they do not fit, and that has been said.
type PairCheck<'c, C> =
    dyn FnMut(&mut C, (&Operand, Class<'_>), (&Operand, Class<'_>)) -> bool + 'c;

impl<'a> Checker<'a> {
    pub fn new(macros: &'a Macros, faults: &'a mut Vec<Fault>) -> Self {
        Checker {
            macros,
            faults,
            inside: Vec::new(),
            source: None,
            terms: 0,
        }
    }

    fn fail<T>(&mut self, fault: Fault) -> Option<T> {
        self.faults.push(fault);
        None
    }

    /// Counts one more; None where there are too many.
    fn count(&mut self, span: Span) -> Option<()> {
        self.terms += 1;
        match self.terms {
            n if n <= MAX_TERMS => Some(()),
            n if n == MAX_TERMS + 1 => {
                let message =
                    format!("with its macros the expression has more than {MAX_TERMS} parts");
                self.fail(Fault::error(span, message))
            }
            _ => None,
        }
    }

    pub fn node(&mut self, expr: &Expr) -> Option<Node> {
        self.count(expr.span)?;
        let kind = match &expr.kind {
            ExprKind::Logic(logic, parts) => {
                // All parts, so that all faults are found.
                let nodes: Vec<Option<Node>> = parts.iter().map(|part| self.node(part)).collect();
                NodeKind::Logic(*logic, nodes.into_iter().collect::<Option<_>>()?)
            }
            ExprKind::Not(inner) => NodeKind::Not(Box::new(self.node(inner)?)),
            ExprKind::Compare {
                op,
                negated,
                left,
                right,
            } => {
                let plain = self.compare(*op, left, right)?;
                if *negated || *op == Comparison::Ne {
                    NodeKind::Not(Box::new(self.at(expr.span, plain)))
                } else {
                    plain
                }
            }
            ExprKind::Truth(operand) => self.truth(operand)?,
        };
        Some(self.at(expr.span, kind))
    }

    fn at(&self, span: Span, kind: NodeKind) -> Node {
        Node {
            kind,
            span,
            source: self.source.clone(),
        }
    }

    fn truth(&mut self, operand: &Operand) -> Option<NodeKind> {
        match &operand.kind {
            OperandKind::Field(_) | OperandKind::Literal(Literal::Bool(_)) => {
                Some(NodeKind::Truth(self.term(operand)?))
            }
            OperandKind::Call { name, args } => {
                self.call(operand.span, name, args)
                    .map(|called| match called {
                        Called::Condition(kind) => kind,
                        Called::Text(term) => NodeKind::Truth(term),
                    })
            }
            OperandKind::Literal(_) | OperandKind::List(_) => {
                let message = format!("{} is compared with nothing", what(operand));
                self.fail(
                    Fault::error(operand.span, message)
                        .hint("write a comparison, a field or a call"),
                )
            }
        }
    }

    fn compare(&mut self, op: Comparison, left: &Operand, right: &Operand) -> Option<NodeKind> {
        let (a, b) = (self.term(left), self.term(right));
        let (mut a, mut b) = (a?, b?);
        let fits = match op {
            Comparison::Contains => self.contains(left, &a, right, &b),
            Comparison::Matches => self.matches(left, &a, right),
            Comparison::In => self.is_in(left, &a, right, &b),
            op if op.orders() => {
                self.each_pair(left, &a, right, &b, &mut |s, l, r| s.orders(op, l, r))
            }
            op => self.each_pair(left, &a, right, &b, &mut |s, l, r| s.equals(op, l, r)),
        };
        if !fits {
            return None;
        }
        fold(&a, &mut b);
        fold(&b, &mut a);
        let test = match op {
            Comparison::Gt => Test::Gt,
            Comparison::Ge => Test::Ge,
            Comparison::Lt => Test::Lt,
            Comparison::Le => Test::Le,
            Comparison::Contains if !is_list(&a) => Test::Within,
            _ => Test::Eq,
        };
        Some(NodeKind::Compare(test, a, b))
    }

    /// Checks every element of the one side with every one of the other.
    fn each_pair(
        &mut self,
        left: &Operand,
        a: &Term,
        right: &Operand,
        b: &Term,
        check: &mut PairCheck<'_, Self>,
    ) -> bool {
        let mut fits = true;
        for (left, a) in elements(left, a) {
            for (right, b) in elements(right, b) {
                fits = fits && check(self, (left, class(left, a)), (right, class(right, b)));
            }
        }
        fits
    }

    /// `==`, `!=`, and each element of `in`.
    fn equals(
        &mut self,
        op: Comparison,
        l: (&Operand, Class<'_>),
        r: (&Operand, Class<'_>),
    ) -> bool {
        let ((left, a), (right, b)) = (l, r);
        let Some(hint) = misfit(a, b, is_written(right)).or_else(|| misfit(b, a, is_written(left)))
        else {
            return true;
        };
        // The literal is wrong rather than the field.
        let at = if is_written(left) && !is_written(right) {
            left
        } else {
            right
        };
        let message = format!(
            "`{}` cannot compare {} with {}",
            op.sign(),
            what(left),
            what(right)
        );
        let fault = Fault::error(at.span, message);
        self.faults.push(match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        });
        false
    }

    /// `<` and its like.
    fn orders(
        &mut self,
        op: Comparison,
        l: (&Operand, Class<'_>),
        r: (&Operand, Class<'_>),
    ) -> bool {
        for (operand, class) in [l, r] {
            let reason = match class {
                Class::Type(Type::Bool | Type::Ip) | Class::Pattern => true,
                Class::Written(text, _) => Number::parse(text.as_bytes()).is_none(),
                _ => false,
            };
            if reason {
                let message = format!(
                    "`{}` compares numbers, sizes and times, not {}",
                    op.sign(),
                    what(operand)
                );
                let fault = Fault::error(operand.span, message);
                self.faults.push(match class {
                    Class::Written(text, _)
                        if super::literal::measure(text).is_some_and(|m| m.is_ok()) =>
                    {
                        fault.hint(format!("write it without quotes: {text}"))
                    }
                    Class::Type(Type::Ip) => {
                        fault.hint("use `in` and a network: `dst.ip in 10.0.0.0/8`")
                    }
                    _ => fault,
                });
                return false;
            }
        }
        self.equals(op, l, r)
    }

    fn contains(&mut self, left: &Operand, a: &Term, right: &Operand, b: &Term) -> bool {
        if is_list(b) {
            let fault = Fault::error(right.span, "`contains` looks for one value, not for a list");
            self.faults
                .push(fault.hint("turn it round with `in`, or join two `contains` with `or`"));
            return false;
        }
        if is_list(a) {
            return self.each_pair(left, a, right, b, &mut |s, l, r| {
                s.equals(Comparison::Contains, l, r)
            });
        }
        for operand in [(left, a), (right, b)] {
            if !is_text(class(operand.0, operand.1)) {
                let message = format!(
                    "`contains` looks into texts and lists, not into {}",
                    what(operand.0)
                );
                let message = match std::ptr::eq(operand.0, left) {
                    true => message,
                    false => format!("`contains` looks for a text, not for {}", what(right)),
                };
                let fault = Fault::error(operand.0.span, message);
                self.faults.push(match operand.0.kind {
                    OperandKind::Literal(Literal::Regex(_)) => fault.hint("use `matches`"),
                    OperandKind::Literal(_) => fault.hint("a text needs quotes"),
                    _ => fault,
                });
                return false;
            }
        }
        true
    }

    fn matches(&mut self, left: &Operand, a: &Term, right: &Operand) -> bool {
        if !matches!(right.kind, OperandKind::Literal(Literal::Regex(_))) {
            let message = format!("`matches` needs a regular expression, not {}", what(right));
            self.faults
                .push(Fault::error(right.span, message).hint("write it between slashes: `/^a/`"));
            return false;
        }
        for (left, a) in elements(left, a) {
            if !is_text(class(left, a)) {
                let message = format!("`matches` looks at texts, not at {}", what(left));
                self.faults.push(Fault::error(left.span, message));
                return false;
            }
        }
        true
    }

    fn is_in(&mut self, left: &Operand, a: &Term, right: &Operand, b: &Term) -> bool {
        let repeated = matches!(b, Term::Field(field) if field.def.kind != Kind::One);
        let holds_many = is_list(b)
            || repeated
            || matches!(
                b,
                Term::Constant(Constant::Net(_) | Constant::Text(_, Some(_)))
            );
        if !holds_many {
            let message = format!("`in` needs a list or a network, not {}", what(right));
            self.faults.push(
                Fault::error(right.span, message).hint("write `[…]`, or use `==` or `contains`"),
            );
            return false;
        }
        self.each_pair(left, a, right, b, &mut |s, l, r| {
            s.equals(Comparison::In, l, r)
        })
    }

    fn term(&mut self, operand: &Operand) -> Option<Term> {
        self.count(operand.span)?;
        match &operand.kind {
            OperandKind::Field(name) => self.field(operand.span, name).map(Term::Field),
            OperandKind::Literal(literal) => {
                self.constant(operand.span, literal).map(Term::Constant)
            }
            OperandKind::List(items) => {
                if let Some(inner) = items
                    .iter()
                    .find(|item| matches!(item.kind, OperandKind::List(_)))
                {
                    return self.fail(Fault::error(inner.span, "a list holds no lists"));
                }
                let terms: Vec<Option<Term>> = items.iter().map(|item| self.term(item)).collect();
                Some(Term::List(terms.into_iter().collect::<Option<_>>()?))
            }
            OperandKind::Call { name, args } => {
                Some(match self.call(operand.span, name, args)? {
                    Called::Text(term) => term,
                    Called::Condition(kind) => {
                        Term::Condition(Box::new(self.at(operand.span, kind)))
                    }
                })
            }
        }
    }

    fn constant(&mut self, span: Span, literal: &Literal) -> Option<Constant> {
        Some(match literal {
            Literal::Bool(value) => Constant::Bool(*value),
            Literal::Number(number) => Constant::Number(*number),
            Literal::Measure(Measure::Duration(ns)) => Constant::Duration(*ns),
            Literal::Measure(Measure::Size(bytes)) => Constant::Number(Number::Int(*bytes)),
            Literal::Text(text) => Constant::Text(text.as_bytes().into(), Net::parse(text)),
            Literal::Bytes(bytes) => Constant::Text(bytes.as_slice().into(), None),
            Literal::Net(net) => Constant::Net(*net),
            Literal::Regex(pattern) => match Pattern::new(pattern) {
                Ok(pattern) => Constant::Pattern(pattern),
                Err(reason) => {
                    return self.fail(Fault::error(
                        span,
                        format!("not a regular expression: {reason}"),
                    ));
                }
            },
        })
    }

    fn field(&mut self, span: Span, name: &str) -> Option<Field> {
        let field = match lookup(name) {
            Lookup::Found(field) => field,
            Lookup::Former(field, now) => {
                let warning = Fault::warning(span, format!("`{name}` is a former name"));
                self.faults.push(warning.hint(format!("write `{now}`")));
                field
            }
            Lookup::NoKey(def) => {
                let fault = Fault::error(span, format!("`{name}` needs a name behind it"));
                return self.fail(fault.hint(format!("write `{}NAME`", def.name)));
            }
            Lookup::Unknown(meant) => {
                let fault = Fault::error(span, format!("there is no field `{name}`"));
                return self.fail(match meant {
                    Some(meant) => fault.hint(format!("did you mean `{meant}`?")),
                    None if self.knows_call(name) => {
                        fault.hint(format!("a call has parentheses: `{name}()`"))
                    }
                    None => fault.hint("a text needs quotes"),
                });
            }
        };
        if field.def.known == Known::Never {
            let message = format!(
                "`{}` is not known to this version: what asks for it is never true",
                field.name()
            );
            self.faults.push(Fault::warning(span, message));
        }
        if !field.key.is_empty() && name.strip_suffix(&*field.key).is_none() {
            let warning = Fault::warning(span, "names of headers are lower-case in expressions");
            self.faults
                .push(warning.hint(format!("write `{}`", field.name())));
        }
        Some(field)
    }

    fn knows_call(&self, name: &str) -> bool {
        self.macros.get(name).is_some() || FUNCTIONS.iter().any(|(function, ..)| *function == name)
    }

    fn call(&mut self, span: Span, name: &str, args: &[Operand]) -> Option<Called> {
        if let Some((_, arity, usage)) = FUNCTIONS.iter().find(|(function, ..)| *function == name) {
            if args.len() != *arity {
                let s = if *arity == 1 { "" } else { "s" };
                let message = format!("`{name}` takes {arity} argument{s}, not {}", args.len());
                return self.fail(Fault::error(span, message).hint(format!("write `{usage}`")));
            }
            return self.function(name, args);
        }
        if self.macros.get(name).is_some() {
            if let Some(first) = args.first() {
                return self.fail(Fault::error(
                    first.span,
                    format!("the macro `{name}` takes no arguments"),
                ));
            }
            return self.expand(span, name).map(Called::Condition);
        }
        let macros = self.macros;
        let known = FUNCTIONS
            .iter()
            .map(|(function, ..)| *function)
            .chain(macros.names());
        let fault = Fault::error(span, format!("there is no function and no macro `{name}`"));
        let hint = match nearest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "macros stand in rulekit.macros".to_owned(),
        };
        self.fail(fault.hint(hint))
    }

    fn function(&mut self, name: &str, args: &[Operand]) -> Option<Called> {
        let first = args.first()?;
        if name == "exists" {
            let OperandKind::Field(field) = &first.kind else {
                let message = format!("`exists` asks for a field, not for {}", what(first));
                return self.fail(Fault::error(first.span, message));
            };
            return self
                .field(first.span, field)
                .map(|field| Called::Condition(NodeKind::Exists(field)));
        }
        let terms: Vec<Option<Term>> = args.iter().map(|arg| self.text(name, arg)).collect();
        let mut terms = terms.into_iter().collect::<Option<Vec<_>>>()?.into_iter();
        let mut text = terms.next()?;
        let predicate = match name {
            "lower" => return Some(Called::Text(Term::Lower(Box::new(text)))),
            "zone" => return Some(Called::Text(Term::Zone(Box::new(text)))),
            "starts_with" => Predicate::StartsWith,
            "ends_with" => Predicate::EndsWith,
            _ => Predicate::InZone,
        };
        let mut other = terms.next()?;
        fold(&text, &mut other);
        fold(&other, &mut text);
        Some(Called::Condition(NodeKind::Call(predicate, text, other)))
    }

    /// An argument that must be a text.
    fn text(&mut self, function: &str, operand: &Operand) -> Option<Term> {
        let term = self.term(operand)?;
        if matches!(term, Term::List(_)) || !is_text(class(operand, &term)) {
            let message = format!("`{function}` takes texts, not {}", what(operand));
            return self.fail(Fault::error(operand.span, message));
        }
        Some(term)
    }

    /// Takes the expression of a macro in. Its faults are its own: they are not reported here.
    fn expand(&mut self, span: Span, name: &str) -> Option<NodeKind> {
        let found = self.macros.get(name)?;
        if self.inside.contains(&found.name) {
            return self.fail(Fault::error(
                span,
                format!("the macro `{name}` calls itself"),
            ));
        }
        if self.inside.len() >= MAX_MACROS {
            return self.fail(Fault::error(
                span,
                format!("macros call each other more than {MAX_MACROS} deep"),
            ));
        }
        let mut own = Vec::new();
        let mut inside = self.inside.clone();
        inside.push(found.name.clone());
        let mut inner = Checker {
            macros: self.macros,
            faults: &mut own,
            inside,
            source: Some(found.name.clone()),
            terms: self.terms,
        };
        let node = found.expr.as_ref().and_then(|expr| inner.node(expr));
        self.terms = inner.terms;
        match node {
            Some(node) => Some(NodeKind::Macro(Box::new(node))),
            None => self.fail(Fault::error(
                span,
                format!("the macro `{name}` cannot be used"),
            )),
        }
    }
}

/// What a call is.
enum Called {
    Text(Term),
    Condition(NodeKind),
}
