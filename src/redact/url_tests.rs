use super::super::modes::{HashKey, Substitute};
use super::*;
use crate::config::{NameMatch, RedactMode, RedactPlace, RedactRule};
use std::sync::Arc;

fn rules(list: &[(&str, RedactMode)]) -> Rules {
    let list: Vec<_> = list
        .iter()
        .map(|(name, mode)| RedactRule {
            name: (*name).to_owned(),
            place: RedactPlace::Query,
            matcher: NameMatch::Exact((*name).to_owned()),
            mode: *mode,
        })
        .collect();
    Rules::new(&list, RedactPlace::Query, 0, &substitute()).unwrap()
}

fn substitute() -> Arc<Substitute> {
    let key = Some(HashKey::new(b"a key of tests"));
    Arc::new(Substitute { key })
}

fn hits() -> Hits {
    Hits::new(Arc::from(names::BUILT_IN.map(Box::from)))
}

fn scrubbed(form: Form, text: &str) -> String {
    let out = scrub(&rules(&[]), form, text.as_bytes(), &mut hits());
    String::from_utf8(out.unwrap_or_else(|| text.as_bytes().to_vec())).unwrap()
}

#[test]
fn parameters_are_masked_by_their_decoded_name() {
    for (before, after) in [
        ("/a?token=S&b=1", "/a?token=REDACTED&b=1"),
        ("/a?b=1;sid=S;c=2", "/a?b=1;sid=REDACTED;c=2"),
        ("/a?si%67=S", "/a?si%67=REDACTED"),
        ("/a?si%2567=S", "/a?si%2567=REDACTED"),
        ("/a?%41PI_key=S", "/a?%41PI_key=REDACTED"),
        ("/a?+token=S", "/a?+token=REDACTED"),
        ("/a?token+=S", "/a?token+=REDACTED"),
        ("/a?access%5Ftoken=S", "/a?access%5Ftoken=REDACTED"),
        ("/a?user%5Bpassword%5D=S", "/a?user%5Bpassword%5D=REDACTED"),
        ("/cb#access_token=S&x=1", "/cb#access_token=REDACTED&x=1"),
        ("/a?x=1?token=S", "/a?x=1?token=REDACTED"),
        ("/a;sid=S/b", "/a;sid=REDACTED/b"),
        ("/a?token=S=T", "/a?token=REDACTED"),
        (
            "/a?X-Amz-Signature=S&X-Amz-Date=1",
            "/a?X-Amz-Signature=REDACTED&X-Amz-Date=1",
        ),
        ("/a?token=", "/a?token="),
        ("/a?token=REDACTED", "/a?token=REDACTED"),
        ("/a?q=1", "/a?q=1"),
        ("/token=S", "/REDACTED"),
        ("*", "*"),
    ] {
        assert_eq!(scrubbed(Form::Target, before), after, "{before}");
    }
}

#[test]
fn what_hides_in_a_value_is_masked_with_it() {
    for (before, after) in [
        ("/a?next=https%3A%2F%2Fh%2F%3Ftoken%3DS", "/a?next=REDACTED"),
        (
            "/a?next=https%253A%252F%252Fh%252F%253Ftoken%253DS",
            "/a?next=REDACTED",
        ),
        (
            "/a?next=https%3A%2F%2Fu%3AS%40h%2F&b=1",
            "/a?next=REDACTED&b=1",
        ),
        ("/a?x%26sig%3DS", "/a?REDACTED"),
        ("/a?x%26sig%3DS=1", "/a?REDACTED"),
        ("/a%3Ftoken%3DS/b", "/REDACTED/b"),
        (
            "/a?next=https%3A%2F%2Fh%2F%3Fpage%3D2",
            "/a?next=https%3A%2F%2Fh%2F%3Fpage%3D2",
        ),
    ] {
        assert_eq!(scrubbed(Form::Target, before), after, "{before}");
    }
}

#[test]
fn endless_encoding_is_masked() {
    let deep = "%25".to_owned() + &"25".repeat(8) + "41";
    assert_eq!(
        scrubbed(Form::Target, &format!("/a?x={deep}")),
        "/a?x=REDACTED"
    );
}

#[test]
fn user_info_is_masked_in_every_form_of_target() {
    for (before, after) in [
        ("http://u:S@h/p", "http://REDACTED:REDACTED@h/p"),
        ("http://S@h/p?token=S", "http://REDACTED@h/p?token=REDACTED"),
        ("u:S@h:443", "REDACTED:REDACTED@h:443"),
        ("u:S/T@h:443", "REDACTED:REDACTED@h:443"),
        ("//u:S@h/p", "//REDACTED:REDACTED@h/p"),
        ("http:/u:S@h/p", "http:/REDACTED:REDACTED@h/p"),
        (
            "/a;sid=S/http://u:S@h/p;sid=S",
            "/a;sid=REDACTED/http://REDACTED:REDACTED@h/p;sid=REDACTED",
        ),
        ("http:\\\\u:S@h/p", "http:\\\\REDACTED:REDACTED@h/p"),
        ("http://u:S/T@h/p", "http://REDACTED:REDACTED@h/p"),
        ("http://u:S?T@h/p", "http://REDACTED:REDACTED@h/p"),
        (
            "/proxy/http://u:S@h/p",
            "/proxy/http://REDACTED:REDACTED@h/p",
        ),
        ("/a//b@c/d", "/a//b@c/d"),
        ("/mail/me@h", "/mail/me@h"),
        ("h:443", "h:443"),
        ("http://h:80/p@q", "http://h:80/p@q"),
    ] {
        assert_eq!(scrubbed(Form::Target, before), after, "{before}");
    }
}

#[test]
fn a_target_with_white_space_is_masked_from_there() {
    assert_eq!(scrubbed(Form::Target, "/a b S"), "/aREDACTED");
    assert_eq!(
        scrubbed(Form::Target, "/a?token=S\r\nx: S"),
        "/a?token=REDACTEDREDACTED"
    );
}

#[test]
fn urls_in_headers_are_scrubbed() {
    for (form, before, after) in [
        (
            Form::Url,
            "https://u:S@h/?code=S",
            "https://REDACTED:REDACTED@h/?code=REDACTED",
        ),
        (
            Form::Url,
            "5; url=https://h/?token=S",
            "5; url=https://h/?token=REDACTED",
        ),
        (Form::Url, "/login?code=S T", "/login?code=REDACTED"),
        (
            Form::Link,
            "<https://h/?token=S>; rel=next, </b?sid=S>; rel=\"prev\"",
            "<https://h/?token=REDACTED>; rel=next, </b?sid=REDACTED>; rel=\"prev\"",
        ),
        (
            Form::Link,
            "<https://u:S@h/>",
            "<https://REDACTED:REDACTED@h/>",
        ),
        (
            Form::Link,
            "https://h/?token=S",
            "https://h/?token=REDACTED",
        ),
        (Form::Link, "</a>; rel=next", "</a>; rel=next"),
        (Form::Host, "u:S@h:80", "REDACTED:REDACTED@h:80"),
        (Form::Host, "h:80", "h:80"),
    ] {
        assert_eq!(scrubbed(form, before), after, "{before}");
    }
}

#[test]
fn rules_come_before_the_built_in_names() {
    let rules = rules(&[("code", RedactMode::Keep), ("user", RedactMode::Mask)]);
    let mut hits = hits();
    let out = scrub(&rules, Form::Target, b"/a?code=1&us%65r=S&sig=S", &mut hits).unwrap();
    assert_eq!(out, b"/a?code=1&us%65r=REDACTED&sig=REDACTED");
    assert_eq!(hits.total(), 2);
}

#[test]
fn a_parameter_is_hashed_as_it_was_meant_or_taken_out() {
    let rules = rules(&[("user", RedactMode::Hash), ("gone", RedactMode::Drop)]);
    let scrubbed = |text: &str| {
        let out = scrub(&rules, Form::Target, text.as_bytes(), &mut hits());
        String::from_utf8(out.unwrap_or_else(|| text.as_bytes().to_vec())).unwrap()
    };
    let tag = substitute().key.as_ref().unwrap().tag(b"ann lee");
    for (before, after) in [
        ("/a?user=ann%20lee&b=1", format!("/a?user={tag}&b=1")),
        ("/a?user=ann+lee", format!("/a?user={tag}")),
        ("/a?us%65r=ann%2520lee", format!("/a?us%65r={tag}")),
        ("/a?gone=S&b=1", "/a?b=1".to_owned()),
        ("/a?b=1&gone=S", "/a?b=1".to_owned()),
        ("/a?b=1&gone=S&gone=S&c=2", "/a?b=1&c=2".to_owned()),
        ("/a?gone=S", "/a".to_owned()),
        ("/a;gone=S/b", "/a/b".to_owned()),
        ("/a?next=%3Fgone%3DS", "/a?next=REDACTED".to_owned()),
    ] {
        assert_eq!(scrubbed(before), after, "{before}");
    }
}
