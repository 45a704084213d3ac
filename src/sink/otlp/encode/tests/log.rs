//! Log records.

use super::*;

#[test]
fn a_log_record_is_an_event_that_points_to_its_span() {
    let c = client();
    let observed = c.end + std::time::Duration::from_millis(1);
    let log = log_record(&c, None, observed, &EncodeOptions::default());
    assert_eq!(log.event_name, "plainspan.http.transaction");
    assert_eq!(log.time_unix_nano, unix_nanos(c.end));
    assert_eq!(log.observed_time_unix_nano, unix_nanos(observed));
    assert_eq!((log.severity_number, &log.severity_text[..]), (9, ""));
    assert_eq!((log.trace_id, log.span_id), (vec![0xab; 16], vec![0xcd; 8]));
    assert_eq!(log.flags, 1);
    assert_eq!(
        log.body.as_ref().map(plain),
        text("GET https://example.com/a/b?c=d 200 12.3 ms")
    );
    for (name, value) in [
        ("http.request.method", json!("GET")),
        ("url.full", json!("https://example.com/a/b?c=d")),
        ("http.response.status_code", json!(200)),
        ("http.response.header.content-type", json!(["text/plain"])),
        ("plainspan.capture.level", json!("headers")),
        ("plainspan.transaction.id", json!(c.id)),
    ] {
        assert_eq!(find(&log.attributes, name), Some(value), "{name}");
    }
}

#[test]
fn severity_is_by_outcome() {
    for (role, status, severity) in [
        (Role::Client, 200, 9),
        (Role::Client, 404, 13),
        (Role::Server, 404, 13),
        (Role::Client, 503, 17),
        (Role::Server, 500, 17),
    ] {
        let c = with(role, |c| response(c).status = status);
        let log = log_record(&c, None, c.end, &EncodeOptions::default());
        assert_eq!(log.severity_number, severity, "{role:?} {status}");
        let error_type = find(&log.attributes, "error.type");
        assert_eq!(error_type, attr(&c, "error.type"));
    }
    let broken = with(Role::Server, |c| {
        c.transaction.response = None;
        c.transaction.marks.set(Mark::ResponseMissing);
    });
    let log = log_record(&broken, None, broken.end, &EncodeOptions::default());
    assert_eq!(log.severity_number, 17);
    assert_eq!(
        log.body.as_ref().map(plain),
        text("GET https://example.com/a/b?c=d incomplete_response 12.3 ms")
    );
}

#[test]
fn half_a_transaction_is_still_a_span_and_a_log_record() {
    for role in [Role::Client, Role::Server] {
        let c = with(role, |c| {
            c.transaction.request = None;
            c.transaction.marks.set(Mark::RequestMissing);
        });
        assert_eq!(attr(&c, "http.request.method"), text("_OTHER"));
        assert_eq!(attr(&c, "http.response.status_code"), Some(json!(200)));
        let log = log_record(&c, None, c.end, &EncodeOptions::default());
        assert_eq!(
            log.body.as_ref().map(plain),
            text("(request not seen) 200 12.3 ms")
        );
    }
}
