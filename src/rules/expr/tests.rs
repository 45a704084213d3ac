//! Expressions on fixed transactions, and expressions that must fail at a named column.

use super::*;
use crate::event::KernelTime;
use crate::rules::facts::TransactionFacts;
use crate::rules::sample::{self, Sample};
use crate::transaction::Headers;

fn outcome(text: &str, sample: &Sample) -> Truths {
    let (program, _) = compile(text).unwrap_or_else(|faults| panic!("{}", shown(text, &faults)));
    let facts = TransactionFacts {
        transaction: &sample.transaction,
        process: &sample.process,
    };
    program.evaluate(&facts, &mut Buffers::default())
}

fn shown(text: &str, faults: &[Fault]) -> String {
    faults.iter().map(|fault| fault.render(text)).collect()
}

fn macros() -> Macros {
    let mut macros = Macros::default();
    for (name, text) in [
        ("is_4xx", "http.res.status >= 400 and http.res.status < 500"),
        ("is_error", "is_4xx() or is_5xx()"),
        ("is_5xx", "http.res.status >= 500"),
        ("has_tenant", "http.req.headers.x-tenant == \"acme\""),
    ] {
        macros
            .add(name, text)
            .unwrap_or_else(|problem| panic!("{name}: {problem}"));
    }
    for name in ["is_4xx", "is_error", "is_5xx", "has_tenant"] {
        assert_eq!(macros.check(name), [], "{name}");
    }
    macros
}

fn compile(text: &str) -> Result<(Program, Vec<Fault>), Vec<Fault>> {
    Program::compile(text, &macros())
}

/// Lines of `table`: the outcome (`T`, `F`, `?`), then the expression. `#` begins a comment.
fn run(table: &str, sample: &Sample) -> usize {
    let mut wrong = String::new();
    let lines = table
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut count = 0;
    for line in lines {
        let (expected, text) = line.split_once(' ').unwrap_or_default();
        let expected = match expected {
            "T" => Truths::TRUE,
            "F" => Truths::FALSE,
            "?" => Truths::UNKNOWN,
            other => panic!("{other} is no outcome"),
        };
        let found = outcome(text, sample);
        if found != expected {
            wrong.push_str(&format!("{text}: {found:?}, not {expected:?}\n"));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    count
}

#[test]
fn expressions_mean_what_the_table_says() {
    let mut count = run(
        include_str!("../../../tests/rules/orders.txt"),
        &sample::orders(),
    );
    count += run(
        include_str!("../../../tests/rules/bare.txt"),
        &sample::bare(),
    );
    count += run(
        include_str!("../../../tests/rules/grpc.txt"),
        &sample::grpc(),
    );
    count += run(include_str!("../../../tests/rules/pod.txt"), &sample::pod());
    assert!(count >= 200, "only {count} expressions");
}

/// What each example of the reference makes of a client's POST that went well and whose container nobody knows, and of
/// a failed DELETE of a container of which all is known.
#[test]
fn the_examples_of_the_reference_mean_what_it_says() {
    const T: Truths = Truths::TRUE;
    const F: Truths = Truths::FALSE;
    const UNKNOWN: Truths = Truths::UNKNOWN;
    let (orders, pod) = (sample::orders(), sample::pod());
    #[rustfmt::skip]
    let examples = [
        ("http.req.host == \"httpbin.org\"", F, F),
        ("http.res.status >= 400 and http.res.status < 500", F, F),
        ("http.req.method in [\"POST\", \"PUT\", \"DELETE\"]", T, T),
        (r"http.req.path matches /^\/api\/v[0-9]+\//", T, T),
        ("src.container.name contains \"payments\"", UNKNOWN, T),
        ("src.pod.namespace == \"prod\" and (http.res.status >= 500 or http.req.method == \"DELETE\")", F, T),
        ("in_zone(http.req.host, \"example.com\")", T, T),
        ("src.process.binary matches |python[0-9.]*$|", T, T),
        ("dst.ip in 10.0.0.0/8", T, T),
        ("tags contains \"team:checkout\"", F, T),
        ("is_4xx()", F, F),
        ("not exists(http.req.headers.authorization) and http.duration > 2s", F, F),
    ];
    for (text, of_orders, of_pod) in examples {
        assert_eq!(outcome(text, &orders), of_orders, "{text} on orders");
        assert_eq!(outcome(text, &pod), of_pod, "{text} on pod");
    }
    // What neither makes true.
    let mut other = sample::orders();
    if let Some(response) = &mut other.transaction.response {
        response.status = 404;
    }
    if let Some(request) = &mut other.transaction.request {
        request.headers = Headers::default();
        request.headers.push(b"Host", b"httpbin.org");
    }
    other.transaction.timing.end = KernelTime(4_000_000_000);
    for (text, ..) in [examples[0], examples[1], examples[10], examples[11]] {
        assert_eq!(outcome(text, &other), T, "{text}");
    }
}

/// Lines: column, the beginning of what is said there, `|`, the expression.
#[test]
fn wrong_expressions_fail_at_their_column() {
    let table = include_str!("../../../tests/rules/wrong.txt");
    let mut failed = String::new();
    let mut count = 0;
    for line in table
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (expected, text) = line.split_once(" | ").unwrap_or_else(|| panic!("{line}"));
        let (column, message) = expected.split_once(' ').unwrap_or((expected, ""));
        let text = text.replace("\\n", "\n");
        let faults = match compile(&text) {
            Err(faults) => faults,
            Ok(_) => {
                failed.push_str(&format!("{text}: is accepted\n"));
                continue;
            }
        };
        let error = faults.iter().find(|fault| !fault.warning);
        let said = error.map(|fault| {
            let hint = fault.hint.as_deref().unwrap_or_default();
            (
                fault.column(&text).to_string(),
                format!("{} {hint}", fault.message),
            )
        });
        if !said
            .as_ref()
            .is_some_and(|(at, said)| at == column && said.contains(message))
        {
            failed.push_str(&format!("{text}: {said:?}, not {expected}\n"));
        }
        count += 1;
    }
    assert!(failed.is_empty(), "\n{failed}");
    assert!(count >= 40, "only {count} expressions");
}

#[test]
fn a_fault_is_shown_with_a_caret() {
    let text = "http.res.status >= 400 and http.req.mehtod == \"GET\"";
    let faults = compile(text).expect_err("misspelt");
    assert_eq!(
        shown(text, &faults),
        "error: there is no field `http.req.mehtod`\n  \
         http.res.status >= 400 and http.req.mehtod == \"GET\"\n  \
         \x20                          ^^^^^^^^^^^^^^^ did you mean `http.req.method`?\n"
    );
}

#[test]
fn what_has_two_readings_is_said_with_both() {
    let text = "http.res.status == 500 or http.res.status == 404 and http.req.method == \"GET\"";
    let expr = parse(text).expect("parsed");
    let faults = lint::of_text(text, &expr);
    let hint = faults
        .first()
        .and_then(|fault| fault.hint.clone())
        .unwrap_or_default();
    assert!(
        hint.contains(
            "`http.res.status == 500 or (http.res.status == 404 and http.req.method == \"GET\")`"
        ),
        "{hint}"
    );
    assert!(
        hint.contains(
            "`(http.res.status == 500 or http.res.status == 404) and http.req.method == \"GET\"`"
        ),
        "{hint}"
    );
    for text in [
        "http.res.status == 500 or (http.res.status == 404 and http.req.method == \"GET\")",
        "http.res.status == 500 and http.req.method == \"GET\" and tls.enabled",
    ] {
        assert_eq!(
            lint::of_text(text, &parse(text).expect("parsed")),
            [],
            "{text}"
        );
    }
}

#[test]
fn not_is_said_to_differ_where_qtap_could_read_it() {
    let warned = |text: &str| !lint::of_text(text, &parse(text).expect("parsed")).is_empty();
    assert!(warned("not http.res.status == 500"));
    assert!(warned("!tls.enabled"));
    assert!(!warned("not exists(http.req.headers.authorization)"));
    assert!(!warned("http.req.method not in [\"GET\"]"));
}

#[test]
fn what_no_transaction_makes_true_is_found() {
    for (text, whole, at) in [
        ("http.res.status < 100", true, "http.res.status < 100"),
        ("100 > http.res.status", true, "100 > http.res.status"),
        ("http.res.status == 1000", true, "http.res.status == 1000"),
        ("dst.port > 70000", true, "dst.port > 70000"),
        ("http.duration < 0", true, "http.duration < 0"),
        (
            "http.res.status == 404 and http.res.status == 500",
            true,
            "http.res.status == 500",
        ),
        (
            "http.res.status >= 500 and tls.enabled and http.res.status < 500",
            true,
            "http.res.status < 500",
        ),
        (
            "http.req.method == \"GET\" and http.req.method == \"POST\"",
            true,
            "http.req.method == \"POST\"",
        ),
        (
            "http.req.method == \"GET\" and http.req.method in [\"PUT\", \"POST\"]",
            true,
            "http.req.method in [\"PUT\", \"POST\"]",
        ),
        (
            "direction == \"outbound\"",
            true,
            "direction == \"outbound\"",
        ),
        (
            "http.req.scheme == \"HTTPS\"",
            true,
            "http.req.scheme == \"HTTPS\"",
        ),
        (
            "lower(http.req.path) == \"/A\"",
            true,
            "lower(http.req.path) == \"/A\"",
        ),
        ("false", true, "false"),
        ("1 > 2", true, "1 > 2"),
        (
            "tls.enabled or http.res.status < 100",
            false,
            "http.res.status < 100",
        ),
        (
            "is_4xx() and http.res.status == 200",
            true,
            "http.res.status == 200",
        ),
    ] {
        let (program, _) =
            compile(text).unwrap_or_else(|faults| panic!("{}", shown(text, &faults)));
        let found = program.never();
        let part = found
            .first()
            .map(|never| (never.whole, never.span.of(text)));
        assert_eq!(part, Some((whole, at)), "{text}");
    }
    for text in [
        "http.res.status >= 100",
        "http.res.status == 404 or http.res.status == 500",
        "http.req.headers.accept == \"a\" and http.req.headers.accept == \"b\"",
        "http.req.host == \"a\" and http.req.host == \"a:80\"",
        "http.version == \"1.0\" and http.version == 1",
        "http.req.method != \"GET\" and http.req.method != \"POST\"",
        "http.res.status <= 500 and http.res.status >= 500",
        "direction == \"egress\" and direction == \"egress-internal\"",
        "not http.res.status < 100",
        "true",
    ] {
        let (program, _) =
            compile(text).unwrap_or_else(|faults| panic!("{}", shown(text, &faults)));
        assert_eq!(program.never(), [], "{text}");
    }
}

#[test]
fn one_expression_is_known_to_imply_another() {
    let program = |text: &str| {
        compile(text)
            .unwrap_or_else(|faults| panic!("{}", shown(text, &faults)))
            .0
    };
    for (a, b, expected) in [
        ("http.res.status == 404", "http.res.status >= 400", true),
        ("http.res.status >= 400", "http.res.status == 404", false),
        ("http.res.status > 400", "http.res.status >= 400", true),
        ("http.res.status >= 400", "http.res.status > 400", false),
        ("is_4xx()", "is_error()", true),
        ("is_error()", "is_4xx()", false),
        ("is_4xx()", "http.res.status >= 400", true),
        (
            "http.req.method == \"GET\"",
            "http.req.method in [\"GET\", \"PUT\"]",
            true,
        ),
        (
            "http.req.method == \"GET\" and tls.enabled",
            "http.req.method == \"GET\"",
            true,
        ),
        (
            "http.req.method == \"GET\"",
            "http.req.method == \"GET\" or tls.enabled",
            true,
        ),
        ("http.res.status == 500", "http.res.status != 404", true),
        ("http.res.status != 404", "http.res.status == 500", false),
        ("http.res.status == 500", "true", true),
        (
            "http.req.headers.a == \"x\"",
            "http.req.headers.a in [\"x\", \"y\"]",
            true,
        ),
        (
            "http.req.headers.a == \"x\"",
            "http.req.headers.b == \"x\"",
            false,
        ),
        ("http.duration > 2s", "http.duration > 1s", true),
    ] {
        assert_eq!(program(a).implies(&program(b)), expected, "{a} ⟹ {b}");
    }
}

#[test]
fn macros_are_checked_where_they_stand() {
    let mut macros = Macros::default();
    for (name, text) in [
        ("a", "b()"),
        ("b", "tls.enabled or a()"),
        ("c", "http.res.stauts == 1"),
        ("d", "("),
    ] {
        macros
            .add(name, text)
            .unwrap_or_else(|problem| panic!("{problem}"));
    }
    let said = |name: &str| {
        macros
            .check(name)
            .first()
            .map(|f| f.message.clone())
            .unwrap_or_default()
    };
    assert!(
        said("b").contains("cannot be used") || said("b").contains("calls itself"),
        "{}",
        said("b")
    );
    assert!(said("c").contains("no field"), "{}", said("c"));
    assert!(said("d").contains("expected"), "{}", said("d"));
    for (name, problem) in [
        ("a", "a second macro"),
        ("lower", "name of a function"),
        ("and", "a word"),
        ("9", "letters"),
        ("a.b", "letters"),
    ] {
        let error = macros.clone().add(name, "true").expect_err(name);
        assert!(error.contains(problem), "{name}: {error}");
    }
}

#[test]
fn macros_that_grow_without_bound_are_refused() {
    let mut macros = Macros::default();
    macros
        .add("m0", &["tls.enabled"; 200].join(" or "))
        .expect("added");
    for i in 1..7 {
        macros
            .add(
                &format!("m{i}"),
                &[format!("m{}()", i - 1).as_str(); 50].join(" or "),
            )
            .expect("added");
    }
    let faults = Program::compile("m6()", &macros).expect_err("too large");
    assert!(
        faults
            .iter()
            .any(|fault| fault.message.contains("cannot be used")),
        "{faults:?}"
    );
}

#[test]
fn depth_and_length_are_bounded() {
    let deep = format!("{}true{}", "(".repeat(5000), ")".repeat(5000));
    assert!(parse(&deep).is_err_and(|fault| fault.message.contains("deep")));
    let nots = format!("{}true", "not ".repeat(5000));
    assert!(parse(&nots).is_err());
    let long = format!("tls.enabled{}", " or tls.enabled".repeat(2000));
    assert!(compile(&long).is_ok());
    assert!(parse(&" ".repeat(MAX_TEXT + 1)).is_err());
}

#[test]
fn the_part_that_decided_is_named() {
    let sample = sample::orders();
    let facts = TransactionFacts {
        transaction: &sample.transaction,
        process: &sample.process,
    };
    for (text, part, source) in [
        (
            "http.res.status == 404 or http.req.method == \"POST\"",
            "http.req.method == \"POST\"",
            None,
        ),
        (
            "tls.enabled and (http.res.status == 404 or http.req.method == \"GET\")",
            "(http.res.status == 404 or http.req.method == \"GET\")",
            None,
        ),
        (
            "is_error() and tls.enabled",
            "http.res.status >= 400",
            Some("is_4xx"),
        ),
    ] {
        let (program, _) =
            compile(text).unwrap_or_else(|faults| panic!("{}", shown(text, &faults)));
        let cause = program.cause(&facts);
        let known = macros();
        let text = cause
            .source
            .as_deref()
            .map_or(text, |name| known.text(name).unwrap_or_default());
        match source {
            None => assert_eq!((cause.span.of(text), cause.source), (part, None), "{text}"),
            Some(_) => assert!(cause.source.is_some(), "{text}"),
        }
    }
}

#[test]
fn a_pattern_that_begins_like_a_comment_is_printed_between_bars() {
    for text in [
        r"http.req.path matches |*a\|b/c|",
        "http.req.path matches |*|",
    ] {
        let expr = parse(text).expect("it can be read");
        assert_eq!(expr.to_string(), text);
        exercise(text);
    }
}
