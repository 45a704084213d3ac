//! Patterns, the table, guesses.

use super::guess::{MAX_DEPTH, MAX_ROUTES, MAX_SEGMENTS, varies};
use super::*;
use crate::rules::sample;

fn table(patterns: &[&str]) -> Table {
    let parsed: Vec<Pattern> = patterns
        .iter()
        .map(|text| Pattern::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}")))
        .collect();
    Table::new(&parsed).expect("few overlaps")
}

fn find(table: &Table, path: &str) -> Option<String> {
    let found = table.find(path.as_bytes(), &mut Vec::new());
    found.map(|template| template.to_string())
}

fn transaction(role: Role, target: &str, status: u16) -> Transaction {
    let mut transaction = sample::orders().transaction;
    transaction.role = role;
    transaction.request.as_mut().expect("a request").target = target.into();
    transaction.response.as_mut().expect("a response").status = status;
    transaction
}

#[test]
fn a_parameter_is_one_segment_and_the_rest_is_all_of_them() {
    let table = table(&["/", "/users", "/users/{id}", "/files/{path...}"]);
    for (path, template) in [
        ("/", Some("/")),
        ("/users", Some("/users")),
        ("/users/", Some("/users")),
        ("/users/7", Some("/users/{id}")),
        ("/users/7/", Some("/users/{id}")),
        ("/users/a%2Fb", Some("/users/{id}")),
        ("/users;v=1/7;jsessionid=x", Some("/users/{id}")),
        ("/users//", None),
        ("/users/7/x", None),
        ("/Users/7", None),
        ("/u%73ers/7", Some("/users/{id}")),
        ("/files", Some("/files/{path...}")),
        ("/files/a/b/c", Some("/files/{path...}")),
        ("/none", None),
        ("*", None),
        ("", None),
    ] {
        assert_eq!(find(&table, path).as_deref(), template, "{path}");
    }
    assert_eq!(find(&Table::default(), "/"), None);
}

#[test]
fn the_first_literal_from_the_left_wins_and_nothing_is_tried_twice() {
    let table = table(&[
        "/{p}/b/d",
        "/a/{x}/c",
        "/a/{x...}",
        "/a/b/{y}",
        "/{p}/{q}",
        "/caf%C3%A9/{z}",
    ]);
    for (path, template) in [
        // The way through `/a/{x}` ends at `d`.
        ("/x/b/d", "/{p}/b/d"),
        ("/a/b/d", "/a/b/{y}"),
        ("/a/b/c", "/a/b/{y}"),
        ("/a/z/c", "/a/{x}/c"),
        ("/a/z/e", "/a/{x...}"),
        ("/a", "/a/{x...}"),
        ("/z/y", "/{p}/{q}"),
        ("/caf\u{e9}/1", "/caf%C3%A9/{z}"),
        ("/caf%c3%a9/1", "/caf%C3%A9/{z}"),
    ] {
        assert_eq!(find(&table, path).as_deref(), Some(template), "{path}");
    }
}

/// What the table has to find: the most preferred of all that apply.
fn by_hand(patterns: &[Pattern], path: &str) -> Option<String> {
    use super::pattern::Segment;
    let path: Vec<&[u8]> = segments(path.as_bytes()).collect();
    let applies = |pattern: &&Pattern| {
        let rest = pattern.segments.last() == Some(&Segment::Rest);
        let own = pattern.segments.len() - usize::from(rest);
        let long_enough = if rest {
            path.len() >= own
        } else {
            path.len() == own
        };
        long_enough
            && pattern
                .segments
                .iter()
                .zip(&path)
                .all(|(own, segment)| match own {
                    Segment::Literal(literal) => literal == segment,
                    Segment::One => !segment.is_empty(),
                    Segment::Rest => true,
                })
    };
    let mut all: Vec<&Pattern> = patterns.iter().filter(applies).collect();
    all.sort_by_key(|pattern| pattern.segments.clone());
    all.first().map(|pattern| pattern.text.clone())
}

#[test]
fn whatever_the_patterns_the_table_finds_what_a_look_at_each_of_them_finds() {
    use proptest::prelude::*;
    let segment = prop_oneof![Just("a"), Just("b"), Just("{x}"), Just("c")];
    let pattern = (proptest::collection::vec(segment, 0..5), any::<bool>());
    let patterns = proptest::collection::vec(pattern, 0..12);
    let words = prop_oneof![Just("a"), Just("b"), Just("c"), Just("d"), Just("")];
    let path = proptest::collection::vec(words, 0..6);
    proptest!(|(patterns in patterns, path in path)| {
        let parsed: Vec<Pattern> = patterns.iter().map(|(segments, rest)| {
            let numbered = segments.iter().enumerate().map(|(at, segment)| match *segment {
                "{x}" => format!("{{x{at}}}"),
                literal => literal.to_owned(),
            });
            let rest = rest.then(|| "{rest...}".to_owned());
            let text = format!("/{}", numbered.chain(rest).collect::<Vec<_>>().join("/"));
            Pattern::parse(&text).expect("a pattern")
        }).collect();
        let table = Table::new(&parsed).expect("few overlaps");
        let path = format!("/{}", path.join("/"));
        prop_assert_eq!(find(&table, &path), by_hand(&parsed, &path), "{}", path);
    });
}

#[test]
fn what_is_wrong_with_a_pattern_is_said_with_its_place() {
    for (text, place, message) in [
        ("users/{id}", 0..10, "begins with `/`"),
        ("", 0..0, "begins with `/`"),
        ("/users/{id", 7..10, "not one parameter"),
        ("/users/id}", 7..10, "not one parameter"),
        ("/a/{id}.json", 3..12, "not one parameter"),
        ("/a/{}", 3..5, "no name"),
        ("/a/{b c}", 5..6, "white space"),
        ("/a/{b/c}", 3..5, "not one parameter"),
        ("/a/{{b}}", 3..8, "not one parameter"),
        ("/a//b", 2..4, "is empty"),
        ("/a/{x...}/b", 10..11, "behind the rest"),
        ("/{x}/{x}", 5..8, "`x` is there twice"),
        ("/a/:id", 3..6, "as it is written"),
        ("/a/*", 3..4, "as it is written"),
        ("/a?b=c", 2..6, "a path alone"),
        (&format!("/{}", "a".repeat(256)), 0..257, "256 bytes"),
    ] {
        let fault = Pattern::parse(text).expect_err(text);
        assert_eq!(fault.place, place, "{text}: {fault:?}");
        assert!(fault.message.contains(message), "{text}: {fault:?}");
        assert!(!fault.hint.is_empty());
    }
}

#[test]
fn routes_that_overlap_in_every_way_are_refused_instead_of_filling_the_memory() {
    // Each set of the first letters is a place of its own.
    let pattern = |number: usize| {
        let segment = |bit: usize| match number == bit {
            true => "a".to_owned(),
            false => format!("{{p{bit}}}"),
        };
        let all: Vec<String> = (0..24).map(segment).collect();
        Pattern::parse(&format!("/{}", all.join("/"))).expect("a pattern")
    };
    let all: Vec<Pattern> = (0..24).map(pattern).collect();
    assert_eq!(Table::new(&all).expect_err("too many ways"), Overlap);
    assert!(Table::new(&all[..8]).is_ok());
}

#[test]
fn the_path_is_that_of_the_target_whatever_its_form() {
    let path_of = |method: &str, target: &str| {
        let request = Request {
            method: method.into(),
            target: target.into(),
            ..Request::default()
        };
        path(&request).map(|path| String::from_utf8_lossy(path).into_owned())
    };
    for (method, target, path) in [
        ("GET", "/a/b?c=/d", Some("/a/b")),
        ("GET", "/a#b", Some("/a")),
        ("GET", "http://h/a/b?c", Some("/a/b")),
        ("GET", "http://h", Some("/")),
        ("GET", "http://h?a=/b", Some("/")),
        ("GET", "/go/http://h/x", Some("/go/http://h/x")),
        ("OPTIONS", "*", None),
        ("CONNECT", "h:443", None),
        ("CONNECT", "/chat", Some("/chat")),
        ("GET", "", None),
        ("GET", "a?b://c/d", None),
    ] {
        assert_eq!(
            path_of(method, target).as_deref(),
            path,
            "{method} {target}"
        );
    }
}

#[test]
fn identifiers_are_told_from_words() {
    for word in [
        "users",
        "v1",
        "v2beta1",
        "oauth2",
        "s3",
        "getUserById",
        "batch-get",
        "favicon.ico",
        "index.html",
        "API",
        "XMLHttpRequest",
        "added",
        "well-known",
    ] {
        assert!(!varies(word.as_bytes()), "{word}");
    }
    for identifier in [
        "1",
        "2024-11-23",
        "a1b2c3d4",
        "deadbeef",
        "123e4567-e89b-12d3-a456-426614174000",
        "kJxWqZbTqR",
        "ann@example.com",
        "%41",
        "a b",
        "",
        "order-1234",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "\u{e9}t\u{e9}",
        "abc123",
        "deadbee7",
        "ann:batchGet",
    ] {
        assert!(varies(identifier.as_bytes()), "{identifier}");
    }
}

#[test]
fn a_guess_is_learnt_from_what_went_well_and_said_to_be_one() {
    let mut routes = Routes::new(table(&["/known/{x}"]), true);
    let guessed = |template: &str| {
        Found::Route(Route {
            template: template.into(),
            guessed: true,
        })
    };
    let scan = transaction(Role::Server, "/wp-admin/17", 404);
    assert_eq!(routes.of(&scan), Found::None);
    let ok = transaction(Role::Server, "/users/17/orders?x=y", 200);
    assert_eq!(routes.of(&ok), guessed("/users/{id}/orders"));
    // It is known now, however it ends; on the other side it is not.
    let failed = transaction(Role::Server, "/users/18/orders", 503);
    assert_eq!(routes.of(&failed), guessed("/users/{id}/orders"));
    let client = transaction(Role::Client, "/users/18/orders", 503);
    assert_eq!(routes.of(&client), Found::None);
    assert_eq!(
        routes.of(&transaction(Role::Server, "/", 200)),
        guessed("/")
    );
    // A pattern wins.
    let known = transaction(Role::Client, "/known/17", 404);
    let found = routes.of(&known).route().expect("a route");
    assert_eq!((&*found.template, found.guessed), ("/known/{x}", false));
    // Without being asked nothing is guessed.
    let mut routes = Routes::new(table(&["/known/{x}"]), false);
    assert_eq!(routes.of(&ok), Found::None);
}

#[test]
fn a_place_with_too_many_words_becomes_a_parameter() {
    let mut guesses = Guesses::default();
    let name = |number: usize| -> String {
        let letter = |n: usize| char::from(b'g' + u8::try_from(n).expect("few"));
        [letter(number / 10), letter(number % 10)].iter().collect()
    };
    for number in 0..MAX_SEGMENTS {
        let path = format!("/users/{}/mail", name(number));
        assert_eq!(
            guesses.find(path.as_bytes(), true),
            Guess::Known(path.into())
        );
    }
    assert_eq!(guesses.routes(), (MAX_SEGMENTS, MAX_SEGMENTS));
    let any = Guess::Known("/users/{id}/mail".into());
    for number in [MAX_SEGMENTS, 0, 7] {
        let path = format!("/users/{}/mail", name(number));
        assert_eq!(guesses.find(path.as_bytes(), true), any, "{path}");
    }
    assert_eq!(guesses.routes(), (1, 1));
}

#[test]
fn whoever_sends_the_paths_routes_are_bounded_and_those_that_find_no_room_are_told() {
    let mut guesses = Guesses::default();
    let mut random = fastrand::Rng::with_seed(7);
    let mut full = 0;
    // Words that are few at first, so that places fill up one after the other, and more and more.
    for round in 0..20_000 {
        let depth = random.usize(0..MAX_DEPTH + 3);
        let word = |random: &mut fastrand::Rng| -> String {
            let letters = if round < 10_000 { 1 } else { 3 };
            (0..letters).map(|_| random.lowercase()).collect()
        };
        let path: String = (0..depth)
            .map(|_| format!("/{}", word(&mut random)))
            .collect();
        match guesses.find(path.as_bytes(), true) {
            Guess::Known(template) => assert!(template.len() < 512),
            Guess::Unknown => assert!(depth > MAX_DEPTH),
            Guess::Full => full += 1,
        }
        assert!(guesses.routes().0 <= MAX_ROUTES);
    }
    let (counted, there) = guesses.routes();
    assert_eq!(counted, there);
    assert!(full > 0 && counted <= MAX_ROUTES);
}
