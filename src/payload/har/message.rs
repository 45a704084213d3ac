//! Requests and responses.

use super::super::document::Message;
use super::cookies::{self, Cookie};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    method: String,
    url: String,
    http_version: &'static str,
    cookies: Vec<Cookie>,
    headers: Vec<Header>,
    query_string: Vec<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    post_data: Option<PostData>,
    headers_size: i64,
    body_size: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Response {
    status: u16,
    status_text: String,
    http_version: &'static str,
    cookies: Vec<Cookie>,
    headers: Vec<Header>,
    content: Content,
    #[serde(rename = "redirectURL")]
    redirect_url: String,
    headers_size: i64,
    body_size: i64,
}

#[derive(Debug, Serialize)]
struct Header {
    name: String,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct Named {
    name: String,
    value: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PostData {
    mime_type: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    params: Vec<Named>,
    text: String,
    /// As in `content`; the format has it there alone, but text cannot hold any byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    size: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    compression: Option<i64>,
    mime_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

const BASE64: &str = "base64";
/// Of what was not seen.
const NO_URL: &str = "about:blank";
/// What must not stand in a URL as it is.
const URL: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>');

/// As the start line, or the protocol's id, has it.
pub(super) fn version(request: &Message) -> &'static str {
    match request.protocol_version.as_str() {
        "1.0" => "HTTP/1.0",
        "1.1" => "HTTP/1.1",
        "2" => "HTTP/2",
        _ => "",
    }
}

impl Request {
    pub fn of(request: Option<&Message>, version: &'static str) -> Request {
        let empty = Message::default();
        let seen = request.is_some();
        let request = request.unwrap_or(&empty);
        let url = match seen {
            true => utf8_percent_encode(&request.url, URL).to_string(),
            false => NO_URL.to_owned(),
        };
        let post_data = (!request.content().is_empty()).then(|| PostData::of(request));
        Request {
            method: request.method.clone(),
            url,
            http_version: version,
            cookies: request.values("cookie").flat_map(cookies::sent).collect(),
            headers: headers(request),
            query_string: pairs(request.query.as_bytes()),
            comment: request.cut().filter(|_| post_data.is_none()),
            post_data,
            headers_size: -1,
            body_size: size(request.body_size),
        }
    }
}

impl Response {
    /// Without a response the status is 0, as browsers have it.
    pub fn of(response: Option<&Message>, version: &'static str) -> Response {
        let empty = Message::default();
        let seen = response.is_some();
        let response = response.unwrap_or(&empty);
        let location = response.values("location").next();
        Response {
            status: response.status,
            status_text: response.reason.clone(),
            http_version: if seen { version } else { "" },
            cookies: response.values("set-cookie").map(cookies::set).collect(),
            headers: headers(response),
            content: Content::of(response),
            redirect_url: location.map(|url| text(url).0).unwrap_or_default(),
            headers_size: -1,
            body_size: size(response.body_size),
        }
    }
}

impl PostData {
    fn of(request: &Message) -> PostData {
        let (text, encoding) = shown(request);
        let form = essence(&request.content_type) == "application/x-www-form-urlencoded";
        PostData {
            mime_type: request.content_type.clone(),
            params: match form {
                true => pairs(request.content()),
                false => Vec::new(),
            },
            text,
            encoding,
            comment: request.cut(),
        }
    }
}

impl Content {
    fn of(response: &Message) -> Content {
        let content = response.content();
        let kept = response.body.is_some();
        let cut = response.cut();
        let (text, encoding) = match content.is_empty() {
            true => (None, None),
            false => {
                let (text, encoding) = shown(response);
                (Some(text), encoding)
            }
        };
        let here = i64::try_from(content.len()).unwrap_or(i64::MAX);
        let sent = size(response.body_size);
        let coded = response.body_encoding.is_some() && cut.is_none() && sent >= 0;
        let mime_type = match response.content_type.is_empty() {
            true => "x-unknown".to_owned(),
            false => response.content_type.clone(),
        };
        Content {
            // Where nothing was kept: the length is known if no coding hides it.
            size: match kept {
                true => here,
                false if response.values("content-encoding").next().is_none() => sent,
                false => -1,
            },
            compression: coded.then(|| here - sent),
            mime_type,
            text,
            encoding,
            comment: cut,
        }
    }
}

fn size(bytes: Option<u64>) -> i64 {
    bytes.and_then(|n| i64::try_from(n).ok()).unwrap_or(-1)
}

/// Content as text, else as base64.
fn shown(message: &Message) -> (String, Option<&'static str>) {
    match message.text() {
        Some(text) => (text.to_owned(), None),
        None => (STANDARD.encode(message.content()), Some(BASE64)),
    }
}

/// Media type without parameters, in lower case.
fn essence(content_type: &str) -> String {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// Names and values of a query or a form, decoded.
fn pairs(encoded: &[u8]) -> Vec<Named> {
    url::form_urlencoded::parse(encoded)
        .map(|(name, value)| Named {
            name: name.into_owned(),
            value: value.into_owned(),
        })
        .collect()
}

fn headers(message: &Message) -> Vec<Header> {
    let header = |(name, value)| {
        let ((name, odd_name), (value, odd_value)) = (text(name), text(value));
        let odd = odd_name || odd_value;
        Header {
            name,
            value,
            comment: odd.then_some("not UTF-8: each byte is a character (ISO 8859-1)"),
        }
    };
    message.headers().map(header).collect()
}

/// Bytes as text; true: they are not UTF-8, and each is the character of its number, as browsers have it.
pub(super) fn text(bytes: &[u8]) -> (String, bool) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (bytes.iter().copied().map(char::from).collect(), true),
    }
}
