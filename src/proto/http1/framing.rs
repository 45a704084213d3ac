//! How long a body is (RFC 9112 §6.3).

use crate::transaction::Asked;
use crate::transaction::{Content, Headers, Message, Protocol, Request, Response};

/// Where a message ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes of content; 0: with its head.
    Length(u64),
    Chunked,
    /// With its direction.
    UntilClose,
    /// It can't be told: lengths contradict each other or make no sense.
    Doubtful,
}

/// Framing of a message whose head was read. `asked` matters for responses.
pub fn of(content: &Content, protocol: Protocol, asked: Asked) -> Framing {
    match content {
        Content::Request(r) => request(r, protocol),
        Content::Response(r) => response(r, protocol, asked),
    }
}

fn request(request: &Request, protocol: Protocol) -> Framing {
    match lengths(&request.headers, protocol) {
        Lengths::None => Framing::Length(0),
        Lengths::Content(n) => Framing::Length(n),
        Lengths::Chunked => Framing::Chunked,
        Lengths::OtherCoding | Lengths::Doubtful => Framing::Doubtful,
    }
}

fn response(response: &Response, protocol: Protocol, asked: Asked) -> Framing {
    let bodiless = asked.head || matches!(response.status, 100..=199 | 204 | 304);
    let tunnel = asked.connect && matches!(response.status, 200..=299);
    if bodiless || tunnel {
        return Framing::Length(0);
    }
    match lengths(&response.headers, protocol) {
        Lengths::None | Lengths::OtherCoding => Framing::UntilClose,
        Lengths::Content(n) => Framing::Length(n),
        Lengths::Chunked => Framing::Chunked,
        Lengths::Doubtful => Framing::Doubtful,
    }
}

enum Lengths {
    None,
    Content(u64),
    Chunked,
    /// A transfer coding that does not end in `chunked`.
    OtherCoding,
    Doubtful,
}

fn lengths(headers: &Headers, protocol: Protocol) -> Lengths {
    let mut length = None;
    let mut coding = None;
    for (name, value) in headers.iter() {
        if name.eq_ignore_ascii_case(b"content-length") {
            for item in value.split(|b| *b == b',') {
                let Some(n) = decimal(item.trim_ascii()) else {
                    return Lengths::Doubtful;
                };
                if length.is_some_and(|before| before != n) {
                    return Lengths::Doubtful;
                }
                length = Some(n);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            for item in value.split(|b| *b == b',') {
                // Nothing may follow `chunked` (RFC 9112 §6.1).
                if coding == Some(true) {
                    return Lengths::Doubtful;
                }
                coding = Some(item.trim_ascii().eq_ignore_ascii_case(b"chunked"));
            }
        }
    }
    match (coding, length) {
        (None, None) => Lengths::None,
        (None, Some(n)) => Lengths::Content(n),
        // Both lengths, or a coding in HTTP/1.0, are what request smuggling looks like (RFC 9112 §6.1, §11.2).
        (Some(_), Some(_)) => Lengths::Doubtful,
        (Some(_), None) if protocol == Protocol::Http10 => Lengths::Doubtful,
        (Some(true), None) => Lengths::Chunked,
        (Some(false), None) => Lengths::OtherCoding,
    }
}

/// `1*DIGIT` that fits.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |n, d| {
        let d = d.is_ascii_digit().then(|| u64::from(d - b'0'))?;
        n.checked_mul(10)?.checked_add(d)
    })
}

/// What the response to a request has to know of it.
pub fn asked(request: &Request) -> Asked {
    let connect = request.method == b"CONNECT";
    Asked {
        known: true,
        head: request.method == b"HEAD",
        connect,
        switches: connect || request.headers.get(b"upgrade").is_some(),
        expects: request
            .headers
            .get_all(b"expect")
            .any(|v| v.trim_ascii().eq_ignore_ascii_case(b"100-continue")),
    }
}

/// The response switches to HTTP/2 without TLS (RFC 7540 §3.2).
pub fn switches_to_http2(response: &Message) -> bool {
    response.response().is_some_and(|response| {
        let mut upgrades = response.headers.get_all(b"upgrade");
        upgrades.any(|v| v.trim_ascii().eq_ignore_ascii_case(b"h2c"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields<'a> = &'a [(&'a str, &'a str)];

    fn headers(fields: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in fields {
            headers.push(name.as_bytes(), value.as_bytes());
        }
        headers
    }

    fn both(fields: &[(&str, &str)], status: u16) -> (Framing, Framing) {
        let q = Request {
            headers: headers(fields),
            ..Request::default()
        };
        let a = Response {
            status,
            headers: headers(fields),
            ..Response::default()
        };
        let protocol = Protocol::Http11;
        (
            request(&q, protocol),
            response(&a, protocol, Asked::default()),
        )
    }

    #[test]
    fn framing_follows_rfc_9112() {
        use Framing::{Chunked, Doubtful, Length, UntilClose};
        const CL: &str = "Content-Length";
        const TE: &str = "transfer-encoding";
        let cases: [(Fields<'_>, Framing, Framing); 15] = [
            (&[], Length(0), UntilClose),
            (&[(CL, "5")], Length(5), Length(5)),
            (&[(CL, "5"), (CL, "5")], Length(5), Length(5)),
            (&[(CL, "5, 5")], Length(5), Length(5)),
            (&[(CL, "5"), (CL, "6")], Doubtful, Doubtful),
            (&[(CL, "+5")], Doubtful, Doubtful),
            (&[(CL, "")], Doubtful, Doubtful),
            (&[(CL, "18446744073709551616")], Doubtful, Doubtful),
            (&[(TE, "Chunked")], Chunked, Chunked),
            (&[(TE, "gzip"), (TE, "chunked")], Chunked, Chunked),
            (&[(TE, "gzip")], Doubtful, UntilClose),
            (&[(TE, "chunked, gzip")], Doubtful, Doubtful),
            (&[(TE, "chunked, chunked")], Doubtful, Doubtful),
            (&[(TE, "chunked"), (CL, "5")], Doubtful, Doubtful),
            (&[(CL, "5"), (TE, "x")], Doubtful, Doubtful),
        ];
        for (fields, in_request, in_response) in cases {
            assert_eq!(both(fields, 200), (in_request, in_response), "{fields:?}");
        }
    }

    #[test]
    fn some_responses_have_no_content_whatever_they_say() {
        for status in [100, 101, 204, 304] {
            assert_eq!(
                both(&[("content-length", "5")], status).1,
                Framing::Length(0)
            );
        }
        let r = Response {
            status: 200,
            headers: headers(&[("content-length", "5")]),
            ..Response::default()
        };
        let head = Asked {
            head: true,
            ..Asked::default()
        };
        let connect = Asked {
            connect: true,
            ..Asked::default()
        };
        assert_eq!(response(&r, Protocol::Http11, head), Framing::Length(0));
        assert_eq!(response(&r, Protocol::Http11, connect), Framing::Length(0));
    }

    #[test]
    fn a_transfer_coding_in_http_10_is_doubtful() {
        let r = Request {
            headers: headers(&[("transfer-encoding", "chunked")]),
            ..Request::default()
        };
        assert_eq!(request(&r, Protocol::Http10), Framing::Doubtful);
    }
}
