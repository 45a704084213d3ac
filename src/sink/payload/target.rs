//! The request target taken apart, and the URL put together from it.

use crate::event::Role;
use crate::redact::Capture;
use std::borrow::Cow;
use std::net::SocketAddr;

/// Parts of a request's URL. Bytes that are not UTF-8 are percent-encoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub scheme: Cow<'a, str>,
    /// Host and port: of the target, else of the `Host` header, else the server's address; empty where none is known.
    pub authority: Cow<'a, str>,
    /// Without query; empty for `CONNECT`.
    pub path: Cow<'a, str>,
    /// Without `?`; None: the target has none.
    pub query: Option<Cow<'a, str>>,
}

impl<'a> Target<'a> {
    /// Reads the target of the request, if there is one.
    pub fn of(capture: &'a Capture) -> Option<Target<'a>> {
        let request = capture.transaction.request.as_ref()?;
        let raw = request.target.as_slice();
        let (scheme, rest) = split_scheme(raw);
        let (authority, rest) = match (scheme, request.method.as_slice()) {
            (Some(_), _) => {
                let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#'));
                let (authority, rest) = rest.split_at(end.unwrap_or(rest.len()));
                (Some(authority), rest)
            }
            // An extended CONNECT has a path (RFC 8441 §4).
            (None, b"CONNECT") if !rest.starts_with(b"/") => (Some(rest), &b""[..]),
            (None, _) => (None, rest),
        };
        let query = memchr::memchr(b'?', rest);
        let (path, query) = match query {
            Some(mark) => (rest.get(..mark), rest.get(mark + 1..)),
            None => (Some(rest), None),
        };
        Some(Target {
            scheme: scheme.map_or(Cow::Borrowed(own_scheme(capture)), text),
            authority: match authority {
                Some(authority) => text(authority),
                None => host(capture),
            },
            path: text(path.unwrap_or_default()),
            query: query.map(text),
        })
    }

    /// Host without port and brackets.
    pub fn host(&self) -> &str {
        let authority = self.authority.as_ref();
        if let Some(v6) = authority.strip_prefix('[') {
            return v6.split(']').next().unwrap_or_default();
        }
        authority.split(':').next().unwrap_or_default()
    }

    /// `:path` of HTTP/2: path and query.
    pub fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone().into_owned(),
        }
    }

    /// The whole URL.
    pub fn url(&self) -> String {
        let slash = if self.path.starts_with('/') || self.path.is_empty() {
            ""
        } else {
            "/"
        };
        format!(
            "{}://{}{slash}{}",
            self.scheme,
            self.authority,
            self.path_and_query()
        )
    }
}

/// The scheme that this connection speaks.
fn own_scheme(capture: &Capture) -> &'static str {
    let connection = &capture.transaction.connection;
    match connection.tls.is_some() || connection.tls_info.is_some() {
        true => "https",
        false => "http",
    }
}

fn host(capture: &Capture) -> Cow<'_, str> {
    match &capture.facts.host {
        Some(host) if !host.is_empty() => Cow::Borrowed(host),
        _ => server(capture).map_or(Cow::Borrowed(""), |a| Cow::Owned(a.to_string())),
    }
}

fn server(capture: &Capture) -> Option<SocketAddr> {
    match capture.transaction.role {
        Role::Client => capture.transaction.connection.remote,
        Role::Server => capture.transaction.connection.local,
    }
}

/// The scheme of a target in absolute form, and what follows `://`.
fn split_scheme(target: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let end = memchr::memmem::find(target, b"://");
    let parts = end.and_then(|end| Some((target.get(..end)?, target.get(end + 3..)?)));
    match parts {
        Some((scheme, rest))
            if scheme.first().is_some_and(u8::is_ascii_alphabetic)
                && scheme
                    .iter()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')) =>
        {
            (Some(scheme), rest)
        }
        _ => (None, target),
    }
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            let encoded = percent_encoding::percent_encode(bytes, percent_encoding::CONTROLS);
            Cow::Owned(encoded.to_string())
        }
    }
}
