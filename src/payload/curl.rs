//! A request as a line for a shell: curl sends it again.
//!
//! For POSIX shells (sh, dash, bash, zsh) and curl from 7.55 on. What the line does not say is not invented: neither where a
//! name leads, nor whether certificates are checked. Nothing of a request can make the shell run something, or curl read
//! a file.

use super::document::{Document, Message};
use super::escape::escaped;
use super::quote::{plain, word};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// The line, and what whoever runs it should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub text: String,
    /// What is not as it was: redacted values, headers that curl cannot send, a body that is not whole.
    pub notes: Vec<String>,
}

/// Why there is no line.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CurlError {
    #[error("the request was not seen")]
    NoRequest,
    #[error("curl cannot send a CONNECT request by itself")]
    Connect,
    #[error("the scheme of the URL is neither http nor https: {0}")]
    Scheme(String),
    #[error("the method is none that can be sent: {0}")]
    Method(String),
}

/// Longer bodies do not go as a word: Linux takes 128 KiB of one.
const MAX_WORD: usize = 64 << 10;
/// From this size on curl would ask for leave to send a body (`Expect: 100-continue`) by itself.
const ASKS: usize = 1 << 20;
/// What must not stand in a URL as it is.
const URL: &AsciiSet = &CONTROLS.add(b' ').add(b'#').add(b'"').add(b'<').add(b'>');

/// The line that sends the request of `document`.
///
/// # Errors
/// When there is nothing that curl could send.
pub fn line(document: &Document) -> Result<Line, CurlError> {
    let request = document.request.as_ref().ok_or(CurlError::NoRequest)?;
    let mut line = Words::default();
    line.words.push("curl".to_owned());
    method(&mut line, request)?;
    version(&mut line, request);
    headers(&mut line, request);
    body(&mut line, request);
    url(&mut line, request)?;
    Ok(Line {
        text: format!("{}{}", line.pipe, line.words.join(" ")),
        notes: line.notes,
    })
}

/// The line so far.
#[derive(Default)]
struct Words {
    /// What feeds curl; empty or ends in `| `.
    pipe: String,
    words: Vec<String>,
    notes: Vec<String>,
}

impl Words {
    /// False: a word cannot hold it.
    fn option(&mut self, name: &str, value: &[u8]) -> bool {
        let Some(value) = word(value) else {
            return false;
        };
        self.words.extend([name.to_owned(), value]);
        true
    }
}

fn method(line: &mut Words, request: &Message) -> Result<(), CurlError> {
    let method = request.method.as_str();
    if method == "CONNECT" {
        return Err(CurlError::Connect);
    }
    if !is_token(method.as_bytes()) {
        return Err(CurlError::Method(escaped(method.as_bytes())));
    }
    match method {
        // What curl does by itself.
        "GET" if request.content().is_empty() => {}
        "POST" if !request.content().is_empty() => {}
        "HEAD" => line.words.push("--head".to_owned()),
        _ => _ = line.option("--request", method.as_bytes()),
    }
    Ok(())
}

fn version(line: &mut Words, request: &Message) {
    let option = match (request.protocol_version.as_str(), request.scheme.as_str()) {
        ("1.0", _) => "--http1.0",
        ("1.1", _) => "--http1.1",
        ("2", "https") => "--http2",
        ("2", _) => "--http2-prior-knowledge",
        _ => return,
    };
    line.words.push(option.to_owned());
}

/// Fields that curl makes of what it sends.
const OF_CURL: [&str; 2] = ["content-length", "transfer-encoding"];
/// Fields that curl adds where none are given.
const ADDED: [&str; 2] = ["User-Agent", "Accept"];

fn headers(line: &mut Words, request: &Message) {
    // A body that is sent without its codings has no header that names them.
    let decoded = request.body_encoding.is_some() && request.body_as_sent.is_none();
    for (name, value) in request.headers() {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        let same_host = is("host") && value.eq_ignore_ascii_case(request.authority.as_bytes());
        let coding = decoded && is("content-encoding");
        if same_host || coding || OF_CURL.into_iter().any(is) {
            continue;
        }
        let field = match value.is_empty() {
            // A colon with nothing behind it takes a field away.
            true => [name, b";"].concat(),
            false => [name, b": ", value].concat(),
        };
        let breaks = |b: &u8| matches!(b, b'\r' | b'\n');
        // A name such as `@file` would make curl read a file.
        let sent = is_token(name) && !value.iter().any(breaks) && line.option("--header", &field);
        let shown = escaped(name);
        if !sent {
            line.notes.push(format!(
                "the header `{shown}` is left out: curl cannot send it"
            ));
        } else if is_redacted(value) {
            line.notes.push(format!(
                "the header `{shown}` was redacted: put its value in"
            ));
        }
    }
    let missing = |name: &&str| request.values(name).next().is_none();
    let added = ADDED.into_iter().filter(missing);
    added.for_each(|name| {
        line.words
            .extend(["--header".to_owned(), format!("{name}:")])
    });
    if request.headers().next().is_none() && request.protocol_version != "1.0" {
        line.notes
            .push("the document has no headers: its level keeps none".to_owned());
    }
}

fn body(line: &mut Words, request: &Message) {
    let content = match &request.body_as_sent {
        Some(sent) => &sent.0,
        None => request.content(),
    };
    if let Some(cut) = request.cut() {
        line.notes.push(format!("the body is not whole: {cut}"));
    }
    if request.body_redacted {
        line.notes
            .push("values in the body were redacted: put them in".to_owned());
    }
    let coding = request.body_encoding.as_ref();
    if let Some(coding) = coding.filter(|_| request.body_as_sent.is_none()) {
        let coding = escaped(coding.as_bytes());
        line.notes
            .push(format!("the body is sent without its coding, {coding}"));
    }
    if content.is_empty() {
        return;
    }
    if request.method == "HEAD" {
        line.notes
            .push("the body is left out: curl sends none with HEAD".to_owned());
        return;
    }
    let quiet = |name: &str| request.values(name).next().is_none();
    if quiet("content-type") {
        line.words
            .extend(["--header".to_owned(), "Content-Type:".to_owned()]);
    }
    if content.len() >= ASKS && quiet("expect") {
        line.words
            .extend(["--header".to_owned(), "Expect:".to_owned()]);
    }
    // Text is sent as it stands there: of `--data-raw` nothing is taken for the name of a file.
    let text = plain(content).is_some() && content.len() <= MAX_WORD;
    if !text || !line.option("--data-raw", content) {
        line.pipe = format!("printf %s {} | base64 -d | ", STANDARD.encode(content));
        line.words
            .extend(["--data-binary".to_owned(), "@-".to_owned()]);
    }
}

fn url(line: &mut Words, request: &Message) -> Result<(), CurlError> {
    let scheme = request.scheme.as_str();
    // Of others curl has some that read files.
    if !matches!(scheme, "http" | "https") || !request.url.starts_with(scheme) {
        return Err(CurlError::Scheme(escaped(request.url.as_bytes())));
    }
    // Brackets and braces are no patterns, and `..` is no way up.
    line.words
        .extend(["--globoff".to_owned(), "--path-as-is".to_owned()]);
    let mut url = request.url.clone();
    if request.path == "*" {
        line.words
            .extend(["--request-target".to_owned(), "'*'".to_owned()]);
        url = format!("{scheme}://{}/", request.authority);
    }
    if is_redacted(url.as_bytes()) {
        line.notes
            .push("values in the URL were redacted: put them in".to_owned());
    }
    let url = utf8_percent_encode(&url, URL).to_string();
    line.option("--url", url.as_bytes());
    Ok(())
}

/// RFC 9110 §5.6.2.
fn is_token(bytes: &[u8]) -> bool {
    let fits = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    !bytes.is_empty() && bytes.iter().all(fits)
}

/// Redaction left its mark: `REDACTED`, or `hmac:`.
fn is_redacted(value: &[u8]) -> bool {
    let has = |mark: &[u8]| memchr::memmem::find(value, mark).is_some();
    has(crate::redact::MASK) || has(b"hmac:")
}

#[cfg(test)]
#[path = "curl_tests.rs"]
mod tests;
