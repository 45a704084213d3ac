use super::super::modes::Substitute;
use super::super::spans::Spans;
use super::super::{Hits, names};
use super::*;
use crate::config::{RedactMode, RedactPlace};
use std::sync::Arc;

const FIRST: MatcherId = names::BUILT_IN.len() as MatcherId;

fn rules(list: &[(NameMatch, RedactMode)]) -> Vec<Rule> {
    list.iter()
        .zip(FIRST..)
        .map(|((matcher, mode), id)| {
            let rule = RedactRule {
                name: "r".to_owned(),
                place: RedactPlace::Json,
                matcher: matcher.clone(),
                mode: *mode,
            };
            Rule::new(&rule, id, Action::of(*mode)).unwrap()
        })
        .collect()
}

fn exact(path: &str) -> NameMatch {
    NameMatch::Exact(path.to_owned())
}

fn masked(rules: &[Rule], text: &str) -> (String, End) {
    let mut found = Vec::new();
    let end = walk(rules, text.as_bytes(), 0, &mut found);
    found.sort_by_key(|s| s.id);
    let mut spans = Spans::default();
    found.into_iter().for_each(|s| spans.add(s));
    let mut hits = Hits::new(Arc::from([]));
    let out = spans.write(text.as_bytes(), &Substitute::default(), &mut hits);
    (String::from_utf8_lossy(&out).replace("REDACTED", "#"), end)
}

#[test]
fn members_are_found_by_name_and_path() {
    let mask = |m: NameMatch| rules(&[(m, RedactMode::Mask)]);
    for (matcher, before, after) in [
        (
            exact("mail"),
            r#"{"mail":"S","a":1}"#,
            r##"{"mail":"#","a":1}"##,
        ),
        (exact("MAIL"), r#"{"Mail" : "S" }"#, r##"{"Mail" : "#" }"##),
        (
            exact("mail"),
            r#"{"m\u0061il":"S"}"#,
            r##"{"m\u0061il":"#"}"##,
        ),
        (
            exact("mail"),
            r#"{"u":{"mail":"S"},"mails":"m"}"#,
            r##"{"u":{"mail":"#"},"mails":"m"}"##,
        ),
        (
            exact("$.mail"),
            r#"{"u":{"mail":"m"},"mail":"S"}"#,
            r##"{"u":{"mail":"m"},"mail":"#"}"##,
        ),
        (
            exact("$..mail"),
            r#"{"u":{"mail":"S"}}"#,
            r##"{"u":{"mail":"#"}}"##,
        ),
        (
            exact("u.mail"),
            r#"{"x":{"u":{"mail":"S"}},"mail":"m"}"#,
            r##"{"x":{"u":{"mail":"#"}},"mail":"m"}"##,
        ),
        (
            exact("$.list[*].id"),
            r#"{"list":[{"id":1},{"id":[2,{}]},[{"id":3}]]}"#,
            r##"{"list":[{"id":"#"},{"id":"#"},[{"id":"#"}]]}"##,
        ),
        (
            exact("a"),
            r#"[{"a":{"b":["S",{"c":"}"}]}}, {"a":null}]"#,
            r##"[{"a":"#"}, {"a":"#"}]"##,
        ),
        (
            exact("a"),
            "{\"a\":1}\n{\"a\":2}\n",
            "{\"a\":\"#\"}\n{\"a\":\"#\"}\n",
        ),
        (
            exact("a"),
            r#"{"s":"{\"a\":\"S\"}","t":"{\"b\":1}"}"#,
            r##"{"s":"#","t":"{\"b\":1}"}"##,
        ),
        (
            NameMatch::Glob("*pass*".into()),
            r#"{"u":{"dbPassword":"S"}}"#,
            r##"{"u":{"dbPassword":"#"}}"##,
        ),
        (
            NameMatch::Regex("^u\\.(a|b)$".into()),
            r#"{"u":{"a":1,"b":2,"c":3},"a":4}"#,
            r##"{"u":{"a":"#","b":"#","c":3},"a":4}"##,
        ),
    ] {
        assert_eq!(
            masked(&mask(matcher), before),
            (after.to_owned(), End::Whole),
            "{before}"
        );
    }
}

#[test]
fn a_dropped_member_goes_with_its_comma() {
    let rules = rules(&[
        (exact("k"), RedactMode::Drop),
        (exact("l"), RedactMode::Drop),
    ]);
    for (before, after) in [
        (r#"{"k":1}"#, "{}"),
        (r#"{"k":1,"a":2}"#, r#"{"a":2}"#),
        (r#"{"a":2 , "k":{"x":[1]}}"#, r#"{"a":2 }"#),
        (r#"{"a":1,"k":2,"l":3}"#, r#"{"a":1}"#),
        (r#"{"k":2,"a":1,"l":3}"#, r#"{"a":1}"#),
        (r#"[{"k":2},{"b":{"k":3},"c":4}]"#, r#"[{},{"b":{},"c":4}]"#),
    ] {
        assert_eq!(masked(&rules, before).0, after, "{before}");
        let kept: serde_json::Value = serde_json::from_str(after).unwrap();
        assert!(kept.is_object() || kept.is_array());
    }
}

#[test]
fn the_first_rule_decides_and_keep_holds_for_all_below() {
    let rules = rules(&[
        (exact("$.a.b"), RedactMode::Keep),
        (exact("b"), RedactMode::Mask),
    ]);
    let (out, _) = masked(&rules, r#"{"a":{"b":{"b":1}},"b":2}"#);
    assert_eq!(out, r##"{"a":{"b":{"b":1}},"b":"#"}"##);
}

#[test]
fn what_is_no_json_is_told_from_where_it_begins() {
    let rules = rules(&[(exact("k"), RedactMode::Mask)]);
    for (text, at) in [
        (r#"{"a":1}}"#, 7),
        (r#"{a:1}"#, 1),
        (r#"{"a" 1}"#, 5),
        (r#"{"a":<b>}"#, 5),
        (r#"{"k":<b>}"#, 5),
        ("<html>", 0),
    ] {
        assert_eq!(masked(&rules, text).1, End::Broken(at), "{text}");
    }
    let deep = "[".repeat(DEPTH_MAX + 1);
    assert_eq!(masked(&rules, &deep).1, End::Broken(DEPTH_MAX));
    assert_eq!(masked(&rules, "[1,2").1, End::Inside);
}

#[test]
fn a_text_cut_anywhere_leaves_nothing_of_what_is_masked() {
    let rules = rules(&[
        (exact("k"), RedactMode::Mask),
        (exact("gone"), RedactMode::Drop),
    ]);
    let text = r#"{"a":[1,{"k":"SECRET-1\n\"SECRET-2"}],"s":"{\"k\":\"SECRET-3\"}","k":["SECRET-4",{"x":"SECRET-5"}],"gone":"SECRET-6"} {"k":12345678}"#;
    for end in 0..=text.len() {
        let (out, how) = masked(&rules, &text[..end]);
        assert!(!matches!(how, End::Broken(_)), "{end}: {how:?}");
        for part in ["SEC", "1234"] {
            assert!(!out.contains(part), "cut at {end}: {out}");
        }
    }
}
