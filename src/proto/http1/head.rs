//! Heads: start line and header fields.

use super::super::detect::{self, Kind};
use super::{FIELDS_MAX, HEAD_MAX};
use crate::transaction::{Content, Headers, Protocol, Request, Response};
use std::borrow::Cow;
use std::mem::MaybeUninit;

/// A head as it was read.
pub struct Head {
    pub content: Content,
    pub protocol: Protocol,
    /// Some of it could not be parsed, and is left out.
    pub malformed: bool,
    /// It is larger than is read; malformed too, since where its message ends can't be told.
    pub cut: bool,
}

/// Fields as they were read.
pub struct Fields {
    pub headers: Headers,
    /// Some are wrong, and left out.
    pub malformed: bool,
    /// There are more than are read.
    pub cut: bool,
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

/// Parses a whole head. What can't be parsed is left out, and the head is malformed.
pub fn parse(kind: Kind, bytes: &[u8]) -> Head {
    strict(kind, bytes).unwrap_or_else(|| lenient(kind, bytes))
}

/// Parses a head that breaks off in `bytes`: its whole lines. None where not even the start line is whole.
pub fn partial(kind: Kind, bytes: &[u8]) -> Option<Head> {
    let whole = memchr::memrchr(b'\n', bytes)? + 1;
    let mut lines = bytes[..whole].to_vec();
    lines.extend_from_slice(b"\r\n");
    Some(parse(kind, &lines))
}

/// Takes what is old, or from a version to come, and not wrong: folded lines, control characters in values, other minor
/// versions. Of what is wrong, the lines that are right.
fn lenient(kind: Kind, bytes: &[u8]) -> Head {
    let line_end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
    let (line, rest) = bytes.split_at(line_end);
    let Fields {
        mut headers,
        mut malformed,
        cut,
    } = fields(rest);
    let head = strict(kind, &alone(kind, line)).unwrap_or_else(|| {
        malformed = true;
        start_line(kind, line)
    });
    let mut content = head.content;
    let own = match &mut content {
        Content::Request(r) => &mut r.headers,
        Content::Response(r) => &mut r.headers,
    };
    std::mem::swap(own, &mut headers);
    Head {
        content,
        protocol: head.protocol,
        malformed,
        cut,
    }
}

/// The start line as a head of its own, in a version that is known: a higher minor version means the highest that the
/// reader knows (RFC 9110 §2.5).
fn alone(kind: Kind, line: &[u8]) -> Vec<u8> {
    let mut out = line.trim_ascii_end().to_vec();
    let minor = match kind {
        Kind::Request => out.len().checked_sub(1),
        Kind::Response => Some(b"HTTP/1.".len()),
    };
    if let Some(digit) = minor.and_then(|at| out.get_mut(at))
        && matches!(digit, b'2'..=b'9')
    {
        *digit = b'1';
    }
    out.extend_from_slice(b"\r\n\r\n");
    out
}

/// Reads field lines leniently. An obsolete fold becomes one space, with the white
/// space around it (RFC 9112 §5.2).
fn fields(bytes: &[u8]) -> Fields {
    let mut headers = Headers::with_capacity(0, bytes.len());
    let (mut malformed, mut cut) = (false, false);
    let mut lines = bytes
        .split(|b| *b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .take_while(|line| !line.is_empty())
        .peekable();
    while let Some(line) = lines.next() {
        // White space that continues nothing is no field.
        let mut whole = Cow::Borrowed(line);
        while let Some(next) = lines.next_if(|next| matches!(next.first(), Some(b' ' | b'\t'))) {
            let joined = whole.to_mut();
            joined.truncate(joined.trim_ascii_end().len());
            joined.push(b' ');
            joined.extend_from_slice(next.trim_ascii());
        }
        match field(&whole) {
            Some((name, value)) if headers.len() < FIELDS_MAX => headers.push(name, value),
            Some(_) => cut = true,
            None => malformed = true,
        }
    }
    Fields {
        headers,
        malformed: malformed || cut,
        cut,
    }
}

/// Name and value of a line. Control characters in a value are kept, but for those that end a line or a string
/// somewhere (RFC 9110 §5.5).
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let right = !name.is_empty()
        && name.iter().all(|b| detect::is_token(*b))
        && memchr::memchr2(b'\r', 0, value).is_none();
    right.then_some((name, value))
}

fn strict(kind: Kind, bytes: &[u8]) -> Option<Head> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut config = httparse::ParserConfig::default();
    config
        .allow_multiple_spaces_in_request_line_delimiters(true)
        .allow_multiple_spaces_in_response_status_delimiters(true);
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
                cut: false,
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
                cut: false,
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
        cut: false,
    }
}

/// Parses a trailer section with its empty line (RFC 9112 §7.1.2).
pub fn trailers(bytes: &[u8]) -> Fields {
    debug_assert!(bytes.len() <= HEAD_MAX);
    fields(bytes)
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
    fn folded_lines_are_joined_with_one_space() {
        for fold in ["1\r\n  2", "1 \t\r\n\t2", "1\n 2", "\r\n 1\r\n 2 "] {
            let (r, malformed) =
                request(format!("GET / HTTP/1.1\r\nA: {fold}\r\nB: 3\r\n\r\n").as_bytes());
            assert_eq!(
                (r.headers.get(b"a"), r.headers.get(b"b"), malformed),
                (Some(&b"1 2"[..]), Some(&b"3"[..]), false)
            );
            let (r, malformed) =
                response(format!("HTTP/1.1 200 OK\r\nA: {fold}\r\n\r\n").as_bytes());
            assert_eq!((r.headers.get(b"a"), malformed), (Some(&b"1 2"[..]), false));
            let t = trailers(format!("A: {fold}\r\n\r\n").as_bytes());
            assert_eq!(
                (t.headers.get(b"a"), t.malformed),
                (Some(&b"1 2"[..]), false)
            );
        }
    }

    #[test]
    fn a_fold_of_nothing_is_malformed() {
        let (r, malformed) = request(b"GET / HTTP/1.1\r\n A: 1\r\nB: 2\r\n\r\n");
        assert_eq!((r.headers.len(), malformed), (1, true));
    }

    #[test]
    fn a_higher_minor_version_is_the_highest_known() {
        let (r, malformed) = request(b"GET / HTTP/1.7\r\nA: 1\r\n\r\n");
        assert_eq!((r.headers.len(), malformed), (1, false));
        let head = parse(Kind::Response, b"HTTP/1.2 200 OK\r\n\r\n");
        assert_eq!((head.protocol, head.malformed), (Protocol::Http11, false));
    }

    #[test]
    fn control_characters_in_values_are_kept_but_for_nul_and_cr() {
        let (r, malformed) = request(b"GET / HTTP/1.1\r\nA: 1\x01\x1b2\r\n\r\n");
        assert_eq!(
            (r.headers.get(b"a"), malformed),
            (Some(&b"1\x01\x1b2"[..]), false)
        );
        for value in ["1\x002", "1\r2"] {
            let text = format!("GET / HTTP/1.1\r\nA: {value}\r\nB: 3\r\n\r\n");
            let (r, malformed) = request(text.as_bytes());
            assert_eq!(
                (r.headers.get(b"a"), r.headers.len(), malformed),
                (None, 1, true)
            );
        }
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
