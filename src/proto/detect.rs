//! What bytes at the beginning of a message are: decided from the start line.

/// Longest method that is believed before any HTTP was seen.
const METHOD_MAX: usize = 32;
/// Methods that are registered and in use (IANA HTTP Method Registry).
const METHODS: [&[u8]; 17] = [
    b"GET",
    b"POST",
    b"PUT",
    b"HEAD",
    b"DELETE",
    b"OPTIONS",
    b"PATCH",
    b"CONNECT",
    b"TRACE",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"REPORT",
];

/// Which message a direction carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Request,
    Response,
}

/// What the first bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// A whole start line of HTTP/1.x.
    Line(Kind),
    /// The line is not whole, and may become a start line.
    Partial,
    No,
}

/// Judges bytes that begin at a line's start.
pub fn start(bytes: &[u8]) -> Start {
    match memchr::memchr(b'\n', bytes) {
        Some(end) => whole(&bytes[..=end]),
        None if plausible(bytes) => Start::Partial,
        None => Start::No,
    }
}

/// Judges a line with its LF.
fn whole(line: &[u8]) -> Start {
    let line = line.trim_ascii_end();
    if status_line(line) {
        Start::Line(Kind::Response)
    } else if request_line(line) {
        Start::Line(Kind::Request)
    } else {
        Start::No
    }
}

/// `HTTP/1.x SP 3DIGIT [SP reason]` (RFC 9112 §4).
fn status_line(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"HTTP/1.") else {
        return false;
    };
    let [minor, b' ', rest @ ..] = rest else {
        return false;
    };
    let rest = rest.trim_ascii_start();
    minor.is_ascii_digit()
        && rest.len() >= 3
        && matches!(rest[0], b'1'..=b'9')
        && rest[1..3].iter().all(u8::is_ascii_digit)
        && matches!(rest.get(3), None | Some(b' '))
}

/// `method SP request-target SP HTTP/1.x` (RFC 9112 §3).
fn request_line(line: &[u8]) -> bool {
    let Some(space) = memchr::memrchr(b' ', line) else {
        return false;
    };
    let version = &line[space + 1..];
    let front = line[..space].trim_ascii_end();
    let method = front.split(|b| *b == b' ').next().unwrap_or(&[]);
    let target = front[method.len()..].trim_ascii_start();
    version.len() == 8
        && version.starts_with(b"HTTP/1.")
        && version[7].is_ascii_digit()
        && is_method(method)
        && !target.is_empty()
        && target.iter().all(|b| *b > b' ' && *b != 0x7f)
}

fn is_method(bytes: &[u8]) -> bool {
    (1..=METHOD_MAX).contains(&bytes.len()) && bytes.iter().all(|b| is_token(*b))
}

/// Whether a line without its end may become a start line. Looks at few bytes, since it is asked again as more come.
fn plausible(bytes: &[u8]) -> bool {
    let status = b"HTTP/1.";
    if bytes.len() <= status.len() && status.starts_with(bytes) || bytes.starts_with(status) {
        return true;
    }
    let head = &bytes[..bytes.len().min(METHOD_MAX + 1)];
    match memchr::memchr(b' ', head) {
        Some(space) => is_method(&head[..space]) && bytes.get(space + 1).is_none_or(|b| *b >= b' '),
        None => is_method(head),
    }
}

/// `tchar` (RFC 9110 §5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether bytes are, or begin, a status line. Fewer than its first 7 bytes say nothing.
pub fn may_be_status_line(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HTTP/1.")
        && matches!(start(bytes), Start::Line(Kind::Response) | Start::Partial)
}

/// Whether a line, whole or not, is a status line or a request with a registered method.
pub fn may_be_common(line: &[u8]) -> bool {
    let status = b"HTTP/1.";
    if line.starts_with(status) || status.starts_with(line) {
        return true;
    }
    match memchr::memchr(b' ', line) {
        Some(space) => METHODS.contains(&&line[..space]),
        None => METHODS.iter().any(|method| method.starts_with(line)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_lines_are_told_from_other_bytes() {
        let request = Start::Line(Kind::Request);
        let response = Start::Line(Kind::Response);
        for (bytes, want) in [
            (&b"GET / HTTP/1.1\r\nHost: a\r\n"[..], request),
            (b"M-SEARCH * HTTP/1.1\n", request),
            (b"CONNECT a:443 HTTP/1.0\r\n", request),
            (b"GET  /  HTTP/1.1\r\n", request),
            (b"HTTP/1.1 200 OK\r\n", response),
            (b"HTTP/1.0 404\n", response),
            (b"HTTP/1.1 20\r\n", Start::No),
            (b"HTTP/1.1 2000 x\r\n", Start::No),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Start::No),
            (b"GET / HTTP/2.0\r\n", Start::No),
            (b"GET / a HTTP/1.1\r\n", Start::No),
            (b"EHLO example.com\r\n", Start::No),
            (b"220 smtp ready\r\n", Start::No),
            (b"\x16\x03\x01\x02\x00", Start::No),
            (b"G\xc3\xa9T /", Start::No),
            (b"\r\n", Start::No),
        ] {
            assert_eq!(start(bytes), want, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn only_registered_methods_are_common() {
        for (line, want) in [
            (&b"GET / HTTP/1.1\r\n"[..], true),
            (b"GE", true),
            (b"HTTP/1.1 2", true),
            (b"H", true),
            (b"abcGET / HTTP/1.1\r\n", false),
            (b"GETS", false),
            (b"GE / HTTP/1.1\r\n", false),
        ] {
            assert_eq!(
                may_be_common(line),
                want,
                "{:?}",
                String::from_utf8_lossy(line)
            );
        }
    }

    #[test]
    fn every_cut_of_a_start_line_stays_possible() {
        for line in [&b"DELETE /a/b?c HTTP/1.1\r\n"[..], b"HTTP/1.1 200 OK\r\n"] {
            for cut in 0..line.len() {
                assert_eq!(start(&line[..cut]), Start::Partial, "{cut}");
            }
        }
    }
}
