//! Status of the span and `error.type` (1.3 of the table).

use super::*;

/// Status code of the span (0 unset, 2 error) and `error.type`.
fn ended(role: Role, status: Option<u16>, marks: &[Mark]) -> (i32, Option<Value>) {
    let c = with(role, |c| {
        match status {
            Some(status) => response(c).status = status,
            None => c.transaction.response = None,
        }
        marks.iter().for_each(|m| c.transaction.marks.set(*m));
    });
    let span = of(&c);
    let code = span.status.as_ref().map_or(0, |s| {
        assert_eq!(s.message, "");
        s.code
    });
    (code, find(&span.attributes, "error.type"))
}

const UNSET: (i32, Option<Value>) = (StatusCode::Unset as i32, None);

fn error(word: &str) -> (i32, Option<Value>) {
    (StatusCode::Error as i32, text(word))
}

#[test]
fn success_is_unset_on_both_sides() {
    for role in [Role::Client, Role::Server] {
        for status in [101, 200, 204, 301, 399] {
            assert_eq!(ended(role, Some(status), &[]), UNSET, "{role:?} {status}");
        }
    }
}

#[test]
fn a_4xx_is_an_error_of_the_client_and_not_of_the_server() {
    for status in [400, 404, 499] {
        assert_eq!(
            ended(Role::Client, Some(status), &[]),
            error(&status.to_string())
        );
        assert_eq!(ended(Role::Server, Some(status), &[]), UNSET);
    }
}

#[test]
fn a_5xx_or_a_code_out_of_range_is_an_error_on_both_sides() {
    for role in [Role::Client, Role::Server] {
        for status in [500, 503, 599, 600, 999, 0] {
            assert_eq!(
                ended(role, Some(status), &[]),
                error(&status.to_string()),
                "{role:?}"
            );
        }
    }
}

#[test]
fn a_transaction_that_broke_off_is_an_error_with_our_word() {
    use Mark::*;
    for role in [Role::Client, Role::Server] {
        for (status, marks, word) in [
            (None, &[ResponseMissing][..], "incomplete_response"),
            (None, &[ResponseMissing, Reset], "connection_reset"),
            (None, &[RequestCut], "incomplete_response"),
            (None, &[RequestCut, Reset], "connection_reset"),
            (Some(200), &[ResponseCut], "incomplete_response"),
            (Some(200), &[ResponseCut, Reset], "connection_reset"),
            (None, &[ResponseMissing, StreamReset], "stream_reset"),
            (Some(200), &[ResponseCut, StreamReset], "stream_reset"),
            (None, &[ResponseMalformed], "parse_error"),
            (None, &[RequestGap, ResponseMissing], "incomplete_response"),
        ] {
            assert_eq!(
                ended(role, status, marks),
                error(word),
                "{role:?} {marks:?}"
            );
        }
        let c = with(role, |c| c.transaction.marks.set(ResponseCut));
        assert_eq!(attr(&c, "http.response.status_code"), Some(json!(200)));
    }
}

#[test]
fn what_only_the_capture_lost_is_no_error() {
    use Mark::*;
    for role in [Role::Client, Role::Server] {
        for (status, marks) in [
            (Some(200), &[RequestGap][..]),
            (Some(200), &[ResponseGap]),
            (Some(200), &[RequestMissing]),
            (Some(200), &[RequestMalformed]),
            (Some(200), &[RequestCut]),
            (Some(200), &[Unfinished, ResponseCut]),
            (Some(0), &[HeadersUnknown]),
            (Some(200), &[Reset]),
            (None, &[Unfinished]),
            (None, &[Unfinished, ResponseMissing]),
            (None, &[ResponseGap, ResponseMissing]),
        ] {
            assert_eq!(ended(role, status, marks), UNSET, "{role:?} {marks:?}");
        }
    }
}
