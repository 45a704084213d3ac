//! Heads: start line and header fields.

use super::super::detect::Kind;
use super::{FIELDS_MAX, HEAD_MAX};
use crate::transaction::{Content, Headers, Protocol, Request, Response};
use std::mem::MaybeUninit;

/// A head as it was read.
pub struct Head {
    pub content: Content,
    pub protocol: Protocol,
    /// Some of it could not be parsed, and is left out.
    pub malformed: bool,
}

/// Length of the head that `bytes` begins with, with its empty line; None where it does not end in `bytes`.
/// `searched` bytes were searched before without finding an end. Lines may end in a bare LF (RFC 9112 §2.2).
pub fn end(bytes: &[u8], searched: usize) -> Option<usize> {
    // An end may begin up to two bytes before what is new.
    let from = searched.saturating_sub(3);
    memchr::memchr_iter(b'\n', bytes.get(from..)?).find_map(|at| {
        let next = from + at + 1;
        match (bytes.get(next), bytes.get(next + 1)) {
            (Some(b'\n'), _) => Some(next + 1),
            (Some(b'\r'), Some(b'\n')) => Some(next + 2),
            _ => None,
        }
    })
}

/// Parses a whole head. What can't be parsed leaves a malformed head with what its start line says.
pub fn parse(kind: Kind, bytes: &[u8]) -> Head {
    if let Some(head) = strict(kind, bytes) {
        return head;
    }
    let mut unfolded = bytes.to_vec();
    if unfold(&mut unfolded)
        && let Some(head) = strict(kind, &unfolded)
    {
        return head;
    }
    let line_end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
    Head {
        malformed: true,
        ..start_line(kind, &bytes[..line_end])
    }
}

/// Parses a head that breaks off in `bytes`: its whole lines. None where not even the start line is whole.
pub fn partial(kind: Kind, bytes: &[u8]) -> Option<Head> {
    let whole = memchr::memrchr(b'\n', bytes)? + 1;
    let mut lines = bytes[..whole].to_vec();
    lines.extend_from_slice(b"\r\n");
    Some(parse(kind, &lines))
}

/// Joins folded lines (obs-fold, RFC 9112 §5.2) in place. False where there are none.
fn unfold(bytes: &mut [u8]) -> bool {
    let mut found = false;
    for at in 1..bytes.len() {
        if bytes[at - 1] == b'\n' && matches!(bytes[at], b' ' | b'\t') {
            found = true;
            bytes[at - 1] = b' ';
            if at >= 2 && bytes[at - 2] == b'\r' {
                bytes[at - 2] = b' ';
            }
        }
    }
    found
}

fn strict(kind: Kind, bytes: &[u8]) -> Option<Head> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut config = httparse::ParserConfig::default();
    config
        .allow_multiple_spaces_in_request_line_delimiters(true)
        .allow_multiple_spaces_in_response_status_delimiters(true)
        .allow_obsolete_multiline_headers_in_responses(true);
    match kind {
        Kind::Request => {
            let mut r = httparse::Request::new(&mut []);
            let status = config.parse_request_with_uninit_headers(&mut r, bytes, &mut fields);
            matches!(status, Ok(httparse::Status::Complete(_))).then_some(())?;
            Some(Head {
                protocol: protocol(r.version?),
                content: Content::Request(Request {
                    method: r.method?.as_bytes().to_vec(),
                    target: r.path?.as_bytes().to_vec(),
                    headers: copy(r.headers, bytes.len()),
                    ..Request::default()
                }),
                malformed: false,
            })
        }
        Kind::Response => {
            let mut r = httparse::Response::new(&mut []);
            let status = config.parse_response_with_uninit_headers(&mut r, bytes, &mut fields);
            matches!(status, Ok(httparse::Status::Complete(_))).then_some(())?;
            Some(Head {
                protocol: protocol(r.version?),
                content: Content::Response(Response {
                    status: r.code?,
                    reason: reason(bytes).to_vec(),
                    headers: copy(r.headers, bytes.len()),
                    ..Response::default()
                }),
                malformed: false,
            })
        }
    }
}

fn protocol(minor: u8) -> Protocol {
    match minor {
        0 => Protocol::Http10,
        _ => Protocol::Http11,
    }
}

fn copy(fields: &[httparse::Header<'_>], bytes: usize) -> Headers {
    let mut headers = Headers::with_capacity(fields.len(), bytes);
    for field in fields {
        headers.push(field.name.as_bytes(), field.value);
    }
    headers
}

/// The reason phrase of a status line; `httparse` leaves out one that is not ASCII.
fn reason(bytes: &[u8]) -> &[u8] {
    let line = bytes
        .split(|b| *b == b'\n')
        .next()
        .unwrap_or(&[])
        .trim_ascii();
    let mut words = line.splitn(2, |b| *b == b' ');
    let after_version = words.nth(1).unwrap_or(&[]).trim_ascii_start();
    after_version.get(3..).unwrap_or(&[]).trim_ascii()
}

/// Three digits; 0 where they are none.
fn status(word: &[u8]) -> u16 {
    let digits = word.get(..3).and_then(|w| std::str::from_utf8(w).ok());
    digits.and_then(|d| d.parse().ok()).unwrap_or(0)
}

/// What a start line that [`super::super::detect`] took says, without fields.
fn start_line(kind: Kind, line: &[u8]) -> Head {
    let line = line.trim_ascii();
    let protocol = match kind {
        Kind::Request if line.ends_with(b"HTTP/1.0") => Protocol::Http10,
        Kind::Response if line.starts_with(b"HTTP/1.0") => Protocol::Http10,
        _ => Protocol::Http11,
    };
    let mut words = line.split(|b| *b == b' ').filter(|w| !w.is_empty());
    let (first, second) = (words.next().unwrap_or(&[]), words.next().unwrap_or(&[]));
    let content = match kind {
        Kind::Request => Content::Request(Request {
            method: first.to_vec(),
            target: second.to_vec(),
            ..Request::default()
        }),
        Kind::Response => Content::Response(Response {
            status: status(second),
            reason: reason(line).to_vec(),
            ..Response::default()
        }),
    };
    Head {
        content,
        protocol,
        malformed: false,
    }
}

/// Parses a trailer section with its empty line (RFC 9112 §7.1.2). None where it breaks the grammar.
pub fn trailers(bytes: &[u8]) -> Option<Headers> {
    debug_assert!(bytes.len() <= HEAD_MAX);
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    match httparse::parse_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete((_, fields))) => Some(copy(fields, bytes.len())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(bytes: &[u8]) -> (Request, bool) {
        let head = parse(Kind::Request, bytes);
        match head.content {
            Content::Request(r) => (r, head.malformed),
            Content::Response(_) => panic!("a response"),
        }
    }

    fn response(bytes: &[u8]) -> (Response, bool) {
        let head = parse(Kind::Response, bytes);
        match head.content {
            Content::Response(r) => (r, head.malformed),
            Content::Request(_) => panic!("a request"),
        }
    }

    #[test]
    fn the_end_is_found_whatever_was_searched_before() {
        for bytes in [
            &b"A\r\nB\r\n\r\nrest"[..],
            b"A\nB\n\nrest",
            b"A\r\nB\n\r\nrest",
        ] {
            let want = bytes.len() - 4;
            for cut in 0..=bytes.len() {
                let early = end(&bytes[..cut], 0);
                assert_eq!(early, (cut >= want).then_some(want), "{cut}");
                if early.is_none() {
                    assert_eq!(end(bytes, cut), Some(want), "{cut}");
                }
            }
        }
    }

    #[test]
    fn fields_keep_order_case_and_repetition() {
        let (r, malformed) =
            request(b"PURGE /a?b HTTP/1.1\r\nX-B: 1\r\nx-a:  2 \r\nX-B: 3\r\n\r\n");
        let fields: Vec<_> = r.headers.iter().collect();
        let want: [(&[u8], &[u8]); 3] = [(b"X-B", b"1"), (b"x-a", b"2"), (b"X-B", b"3")];
        assert_eq!(
            (&r.method[..], &r.target[..], malformed),
            (&b"PURGE"[..], &b"/a?b"[..], false)
        );
        assert_eq!(fields, want);
    }

    #[test]
    fn folded_lines_are_joined() {
        let (r, malformed) = request(b"GET / HTTP/1.1\r\nA: 1\r\n  2\r\n\r\n");
        assert_eq!(
            (r.headers.get(b"a"), malformed),
            (Some(&b"1    2"[..]), false)
        );
        let (r, malformed) = response(b"HTTP/1.1 200 OK\r\nA: 1\r\n\t2\r\n\r\n");
        assert!(!malformed && r.headers.get(b"a").is_some_and(|v| v.ends_with(b"2")));
    }

    #[test]
    fn a_reason_is_kept_as_sent() {
        for (line, want) in [
            (&b"HTTP/1.1 404 Not Found\r\n\r\n"[..], &b"Not Found"[..]),
            (b"HTTP/1.1 200\r\n\r\n", b""),
            (b"HTTP/1.1 200 \r\n\r\n", b""),
            (b"HTTP/1.1 500 F\xfcr\r\n\r\n", b"F\xfcr"),
        ] {
            assert_eq!(response(line).0.reason, want);
        }
    }

    #[test]
    fn a_head_that_breaks_the_grammar_keeps_its_start_line() {
        let (r, malformed) = request(b"GET /x HTTP/1.1\r\nA B: 1\r\n\r\n");
        assert_eq!(
            (&r.method[..], &r.target[..], malformed),
            (&b"GET"[..], &b"/x"[..], true)
        );
        let (r, malformed) = response(b"HTTP/1.1 503 No\r\n: 1\r\n\r\n");
        assert_eq!((r.status, malformed), (503, true));
        let mut many = b"GET / HTTP/1.1\r\n".to_vec();
        (0..=FIELDS_MAX).for_each(|_| many.extend_from_slice(b"a: b\r\n"));
        many.extend_from_slice(b"\r\n");
        assert!(request(&many).1);
    }

    #[test]
    fn a_head_broken_off_gives_its_whole_lines() {
        let head =
            partial(Kind::Request, b"GET /x HTTP/1.1\r\nA: 1\r\nB: 2").expect("a start line");
        let Content::Request(r) = head.content else {
            panic!("a response")
        };
        assert_eq!((r.headers.len(), head.malformed), (1, false));
        assert!(partial(Kind::Request, b"GET /x HT").is_none());
    }
}
