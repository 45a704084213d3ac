//! Random expressions on random facts. `PLAINSPAN_CASES` says how many.

use super::Level;
use super::expr::*;
use super::facts::{Early, TransactionFacts, UpTo};
use super::ruleset::{Rule, Ruleset};
use super::sample;
use proptest::prelude::*;
use proptest::test_runner::Config as Runs;

fn cases() -> Runs {
    let cases = std::env::var("PLAINSPAN_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(512);
    Runs {
        cases,
        ..Runs::default()
    }
}

/// Names of fields, families with a key of the samples or none of theirs.
fn field() -> impl Strategy<Value = String> {
    const KEYS: [&str; 6] = ["x-tenant", "x-tag", "x-count", "page", "sid", "none"];
    (0..FIELDS.len(), prop::sample::select(&KEYS[..])).prop_map(|(i, key)| {
        match FIELDS[i].keyed() {
            true => format!("{}{key}", FIELDS[i].name),
            false => FIELDS[i].name.to_owned(),
        }
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "GET",
            "POST",
            "acme",
            "red",
            "42",
            "api.example.com",
            "egress",
            "10.0.0.0/8",
            "h2",
            ""
        ])
        .prop_map(str::to_owned),
        "[ -~é\n\t]{0,6}",
    ]
}

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        text().prop_map(|text| {
            let escaped = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n")
                .replace('\t', "\\t");
            format!("\"{escaped}\"")
        }),
        (-10i64..1000).prop_map(|n| n.to_string()),
        (
            0u32..3000,
            prop::sample::select(vec!["ms", "s", "B", "KiB", "MB", "h"])
        )
            .prop_map(|(n, u)| format!("{n}{u}")),
        prop::sample::select(vec![
            "true",
            "false",
            "10.0.0.0/8",
            "10.9.8.7",
            "fd00::/8",
            "0.5",
            "47:45:54",
            "/^a.*\\/b$/",
            "|x\\|y|"
        ])
        .prop_map(str::to_owned),
    ]
}

fn operand() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![4 => field(), 3 => literal()];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4)
                .prop_map(|items| format!("[{}]", items.join(", "))),
            inner.clone().prop_map(|arg| format!("lower({arg})")),
            inner.clone().prop_map(|arg| format!("zone({arg})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("starts_with({a}, {b})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("in_zone({a}, {b})")),
        ]
    })
}

/// Comparisons that fit their types more often than not.
fn comparison() -> impl Strategy<Value = String> {
    let fitting = (
        0..FIELDS.len(),
        prop::sample::select(vec!["==", "!=", ">", ">=", "<", "<="]),
        0u32..1000,
        text(),
    )
        .prop_map(|(i, op, n, text)| {
            let def = &FIELDS[i];
            let name = format!("{}{}", def.name, if def.keyed() { "x-count" } else { "" });
            let text = text.replace(|c: char| !c.is_ascii_alphanumeric(), "");
            match def.ty {
                Type::Number => format!("{name} {op} {n}"),
                Type::Size => format!("{name} {op} {n}KiB"),
                Type::Duration => format!("{name} {op} {n}ms"),
                Type::Bool => format!("{name} == true"),
                Type::Ip => format!("{name} in [10.0.0.0/8, {}.0.0.0/8]", n % 256),
                Type::Text if n % 3 == 0 => format!("{name} matches /{text}/"),
                Type::Text if n % 3 == 1 => format!("{name} contains \"{text}\""),
                Type::Text => format!("{name} {} \"{text}\"", if op == "!=" { "!=" } else { "==" }),
            }
        });
    let any = (
        operand(),
        prop::sample::select(vec![
            "==",
            "!=",
            ">",
            "<=",
            "contains",
            "in",
            "matches",
            "not in",
            "not contains",
        ]),
        operand(),
    )
        .prop_map(|(a, op, b)| format!("{a} {op} {b}"));
    prop_oneof![6 => fitting, 2 => any, 1 => field(), 1 => field().prop_map(|f| format!("exists({f})"))]
}

fn expression() -> impl Strategy<Value = String> {
    comparison().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| parts.join(" and ")),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| parts.join(" or ")),
            inner.clone().prop_map(|part| format!("not {part}")),
            inner.prop_map(|part| format!("({part})")),
        ]
    })
}

fn samples() -> [sample::Sample; 3] {
    [sample::orders(), sample::bare(), sample::grpc()]
}

const MOMENTS: [Known; 5] = [
    Known::Process,
    Known::Connection,
    Known::Request,
    Known::Response,
    Known::End,
];

fn contains(set: Truths, one: Truths) -> bool {
    (one == Truths::TRUE && set.may_be_true())
        || (one == Truths::FALSE && set.may_be_false())
        || (one == Truths::UNKNOWN && set.may_be_unknown())
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn what_is_printed_reads_back_as_the_same(text in expression()) {
        if let Ok(expr) = parse(&text) {
            let printed = expr.to_string();
            prop_assert_eq!(parse(&printed), Ok(expr), "{}", printed);
        }
    }

    #[test]
    fn no_text_makes_reading_or_evaluation_panic(text in "[a-z0-9_.:/|\"'()\\[\\], ><=!&\\\\é-]{0,60}") {
        exercise(&text);
    }

    #[test]
    fn what_may_still_come_holds_what_comes(text in expression()) {
        let Ok((program, _)) = Program::compile(&text, &Macros::default()) else { return Ok(()) };
        let mut buffers = Buffers::default();
        for sample in samples() {
            let facts = TransactionFacts { transaction: &sample.transaction, process: &sample.process };
            let last = program.evaluate(&facts, &mut buffers);
            prop_assert!([Truths::TRUE, Truths::FALSE, Truths::UNKNOWN].contains(&last), "{}", text);
            for known in MOMENTS {
                let now = program.evaluate(&UpTo { facts: &facts, known }, &mut buffers);
                prop_assert!(contains(now, last), "{}: {:?} at {:?}, then {:?}", text, now, known, last);
            }
            if program.is_always() {
                prop_assert_eq!(last, Truths::TRUE, "{}", text);
            }
            if program.never().iter().any(|never| never.whole) {
                prop_assert!(last != Truths::TRUE, "{}", text);
            }
        }
    }

    #[test]
    fn no_level_is_above_its_bound(texts in prop::collection::vec((expression(), 0usize..4), 1..6), default in 0usize..4) {
        let levels = [Level::None, Level::Summary, Level::Headers, Level::Full];
        let rules: Vec<Rule> = texts
            .iter()
            .enumerate()
            .filter_map(|(i, (text, level))| Rule::new(i, None, text, levels[*level], &Macros::default()).ok())
            .collect();
        let ruleset = Ruleset::new(levels[default], rules);
        let mut buffers = Buffers::default();
        for sample in samples() {
            let facts = TransactionFacts { transaction: &sample.transaction, process: &sample.process };
            let level = ruleset.decide(&facts, &mut buffers).level;
            let mut bound = ruleset.highest();
            let connection = &sample.transaction.connection;
            let side = (sample.transaction.role, connection.local, connection.remote);
            for connection in [None, Some((side.0, None, None)), Some((side.0, side.1, None)), Some(side)] {
                let early = ruleset.upper_bound(&Early { process: &sample.process, connection }, &mut buffers);
                prop_assert!(level <= early && early <= bound, "{:?}", texts);
                bound = early;
            }
            for known in MOMENTS {
                let now = ruleset.upper_bound(&UpTo { facts: &facts, known }, &mut buffers);
                prop_assert!(level <= now, "{:?} at {:?}: {:?} above {:?}", texts, known, level, now);
                let least = ruleset.lower_bound(&UpTo { facts: &facts, known }, &mut buffers);
                prop_assert!(least <= level, "{:?} at {:?}: {:?} below {:?}", texts, known, level, least);
            }
            let last = ruleset.upper_bound(&UpTo { facts: &facts, known: Known::End }, &mut buffers);
            prop_assert_eq!(last, ruleset_level(&ruleset, &facts));
        }
    }

    #[test]
    fn implication_holds_for_every_sample(a in expression(), b in expression()) {
        let compile = |text: &str| Program::compile(text, &Macros::default()).ok().map(|(program, _)| program);
        let both = format!("({a}) and ({b})");
        let programs: Vec<Program> = [&a, &b, &both].into_iter().filter_map(|text| compile(text)).collect();
        let mut buffers = Buffers::default();
        for x in &programs {
            for y in programs.iter().filter(|y| x.implies(y)) {
                for sample in samples() {
                    let facts = TransactionFacts { transaction: &sample.transaction, process: &sample.process };
                    let holds = !x.evaluate(&facts, &mut buffers).is_true() || y.evaluate(&facts, &mut buffers).is_true();
                    prop_assert!(holds, "{} and {}", a, b);
                }
            }
        }
    }
}

/// With everything known the bound is the level, but for rules before the one that applies: none of these can.
fn ruleset_level(ruleset: &Ruleset, facts: &dyn Facts) -> Level {
    ruleset.decide(facts, &mut Buffers::default()).level
}

/// A share of the random expressions passes the checks: the properties are about something.
#[test]
fn random_expressions_are_often_right() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let right = (0..300)
        .filter(|_| {
            let text = expression()
                .new_tree(&mut runner)
                .expect("a tree")
                .current();
            Program::compile(&text, &Macros::default()).is_ok()
        })
        .count();
    assert!(right > 60, "{right} of 300");
}

#[test]
fn the_first_rule_that_applies_decides_and_unknown_ones_do_not() {
    let rule = |name: &str, text: &str, level| {
        Rule::new(0, Some(name), text, level, &Macros::default())
            .unwrap_or_else(|faults| panic!("{faults:?}"))
    };
    let ruleset = Ruleset::new(
        Level::Summary,
        vec![
            rule("pods", "src.pod.name == \"x\"", Level::None),
            rule("errors", "http.res.status >= 400", Level::Full),
            rule("posts", "http.req.method == \"POST\"", Level::Headers),
            rule("all", "true", Level::None),
        ],
    );
    let sample = sample::orders();
    let facts = TransactionFacts {
        transaction: &sample.transaction,
        process: &sample.process,
    };
    let mut buffers = Buffers::default();
    let decision = ruleset.decide(&facts, &mut buffers);
    assert_eq!(
        (decision.level, decision.rule.as_deref()),
        (Level::Headers, Some("posts"))
    );
    assert_eq!(ruleset.highest(), Level::Full);
    let request = UpTo {
        facts: &facts,
        known: Known::Request,
    };
    assert_eq!(ruleset.upper_bound(&request, &mut buffers), Level::Full);
    let response = UpTo {
        facts: &facts,
        known: Known::Response,
    };
    assert_eq!(ruleset.upper_bound(&response, &mut buffers), Level::Headers);
    let bare = sample::bare();
    let facts = TransactionFacts {
        transaction: &bare.transaction,
        process: &bare.process,
    };
    let decision = ruleset.decide(&facts, &mut buffers);
    assert_eq!(
        (decision.level, decision.rule.as_deref()),
        (Level::None, Some("all"))
    );
}

#[test]
fn a_process_that_no_rule_wants_has_bound_none() {
    let rule = Rule::new(
        0,
        None,
        "src.process.binary == \"nginx\" and http.res.status >= 500",
        Level::Full,
        &Macros::default(),
    );
    let ruleset = Ruleset::new(Level::None, vec![rule.expect("compiles")]);
    let mut process = sample::process();
    let mut buffers = Buffers::default();
    let bound = |process: &crate::enrich::Process, buffers: &mut Buffers| {
        ruleset.upper_bound(
            &Early {
                process,
                connection: None,
            },
            buffers,
        )
    };
    assert_eq!(bound(&process, &mut buffers), Level::None);
    process.name = "nginx".into();
    assert_eq!(bound(&process, &mut buffers), Level::Full);
}
