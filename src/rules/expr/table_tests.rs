//! What the tables of expressions hold: each operator, function and type of the language often enough.

use super::lexer::Token;
use super::*;
use std::collections::BTreeMap;

/// Expressions that use each part of the language, at the least.
const LEAST: usize = 8;

/// Operators, functions, types of values and types of fields.
const PARTS: [&str; 45] = [
    "and",
    "or",
    "not",
    "==",
    "!=",
    ">",
    ">=",
    "<",
    "<=",
    "contains",
    "not contains",
    "matches",
    "not matches",
    "in",
    "not in",
    "truth of a field",
    "truth of a call",
    "starts_with",
    "ends_with",
    "lower",
    "zone",
    "in_zone",
    "exists",
    "a macro",
    "literal bool",
    "literal integer",
    "literal float",
    "literal time",
    "literal size",
    "literal text",
    "literal bytes",
    "literal address",
    "literal network",
    "literal regex",
    "literal list",
    "address in quotes",
    "field of texts",
    "field of numbers",
    "field of sizes",
    "field of times",
    "field of booleans",
    "field of addresses",
    "field with one value",
    "field with repeated values",
    "field that is a list",
];

/// Words and signs that stand for operators, each of which some expression uses.
const SPELLINGS: [&str; 22] = [
    "and", "or", "not", "eq", "ne", "gt", "ge", "lt", "le", "contains", "in", "matches", "&&",
    "||", "!", "==", "!=", ">", ">=", "<", "<=", "=~",
];

fn expressions() -> Vec<&'static str> {
    [
        include_str!("../../../tests/rules/orders.txt"),
        include_str!("../../../tests/rules/bare.txt"),
        include_str!("../../../tests/rules/grpc.txt"),
        include_str!("../../../tests/rules/pod.txt"),
    ]
    .iter()
    .flat_map(|table| table.lines())
    .filter(|line| !line.is_empty() && !line.starts_with('#'))
    .filter_map(|line| line.split_once(' '))
    .map(|(_, text)| text)
    .collect()
}

/// The parts that `expr` uses, each once.
fn parts(expr: &Expr) -> Vec<&'static str> {
    let mut found = Vec::new();
    of_conditions(expr, &mut found);
    expr.operands(&mut |operand| of_operand(operand, &mut found));
    found.sort_unstable();
    found.dedup();
    found
}

fn of_conditions(expr: &Expr, found: &mut Vec<&'static str>) {
    match &expr.kind {
        ExprKind::Logic(logic, conditions) => {
            found.push(logic.word());
            conditions
                .iter()
                .for_each(|condition| of_conditions(condition, found));
        }
        ExprKind::Not(inner) => {
            found.push("not");
            of_conditions(inner, found);
        }
        ExprKind::Compare { op, negated, .. } => found.push(match (op, negated) {
            (Comparison::Contains, true) => "not contains",
            (Comparison::Matches, true) => "not matches",
            (Comparison::In, true) => "not in",
            (op, _) => op.sign(),
        }),
        ExprKind::Truth(operand) => match operand.kind {
            OperandKind::Field(_) => found.push("truth of a field"),
            OperandKind::Call { .. } => found.push("truth of a call"),
            OperandKind::Literal(_) | OperandKind::List(_) => {}
        },
    }
}

fn of_operand(operand: &Operand, found: &mut Vec<&'static str>) {
    match &operand.kind {
        OperandKind::Field(name) => {
            let field = field(name);
            found.push(match field.ty {
                Type::Text => "field of texts",
                Type::Number => "field of numbers",
                Type::Size => "field of sizes",
                Type::Duration => "field of times",
                Type::Bool => "field of booleans",
                Type::Ip => "field of addresses",
            });
            found.push(match field.kind {
                Kind::One => "field with one value",
                Kind::Repeated => "field with repeated values",
                Kind::List => "field that is a list",
            });
        }
        OperandKind::Literal(literal) => of_literal(literal, found),
        OperandKind::List(_) => found.push("literal list"),
        OperandKind::Call { name, .. } => {
            let function = PARTS.iter().find(|part| *part == name);
            found.push(function.copied().unwrap_or("a macro"));
        }
    }
}

fn of_literal(literal: &Literal, found: &mut Vec<&'static str>) {
    found.push(match literal {
        Literal::Bool(_) => "literal bool",
        Literal::Number(Number::Int(_)) => "literal integer",
        Literal::Number(Number::Float(_)) => "literal float",
        Literal::Measure(literal::Measure::Duration(_)) => "literal time",
        Literal::Measure(literal::Measure::Size(_)) => "literal size",
        Literal::Text(_) => "literal text",
        Literal::Bytes(_) => "literal bytes",
        Literal::Net(net) if net.single().is_some() => "literal address",
        Literal::Net(_) => "literal network",
        Literal::Regex(_) => "literal regex",
    });
    if let Literal::Text(text) = literal
        && Net::parse(text).is_some()
    {
        found.push("address in quotes");
    }
}

fn field(name: &str) -> &'static FieldDef {
    match lookup(name) {
        Lookup::Found(field) | Lookup::Former(field, _) => field.def,
        Lookup::Unknown(_) | Lookup::NoKey(_) => panic!("{name} is no field"),
    }
}

#[test]
fn the_tables_use_every_part_of_the_language_often() {
    let mut counts: BTreeMap<&str, usize> = PARTS.iter().map(|part| (*part, 0)).collect();
    assert_eq!(counts.len(), PARTS.len(), "a part is named twice");
    for text in expressions() {
        let expr = parse(text).unwrap_or_else(|fault| panic!("{}", fault.render(text)));
        for part in parts(&expr) {
            *counts
                .get_mut(part)
                .unwrap_or_else(|| panic!("{part} of {text} is not in the list")) += 1;
        }
    }
    counts.retain(|_, count| *count < LEAST);
    assert!(counts.is_empty(), "too few expressions use {counts:?}");
}

#[test]
fn the_tables_use_every_spelling_of_an_operator() {
    let operator = |token: &Token| {
        matches!(
            token,
            Token::And | Token::Or | Token::Not | Token::Compare(_)
        )
    };
    let mut unused = SPELLINGS.to_vec();
    for text in expressions() {
        let tokens = lexer::tokens(text).unwrap_or_else(|fault| panic!("{}", fault.render(text)));
        for (_, span) in tokens.iter().filter(|(token, _)| operator(token)) {
            let spelling = span.of(text).to_ascii_lowercase();
            assert!(
                SPELLINGS.contains(&spelling.as_str()),
                "{spelling} of {text}"
            );
            unused.retain(|word| *word != spelling);
        }
    }
    assert!(unused.is_empty(), "no expression uses {unused:?}");
}

#[test]
fn the_tables_ask_for_every_field() {
    let mut unused: Vec<&str> = FIELDS.iter().map(|field| field.name).collect();
    for text in expressions() {
        let expr = parse(text).unwrap_or_else(|fault| panic!("{}", fault.render(text)));
        expr.operands(&mut |operand| {
            if let OperandKind::Field(name) = &operand.kind {
                let used = field(name).name;
                unused.retain(|name| *name != used);
            }
        });
    }
    assert!(unused.is_empty(), "no expression asks for {unused:?}");
}
