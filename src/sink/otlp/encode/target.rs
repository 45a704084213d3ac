//! The target URI of a request (RFC 9112 §3.3), and who it was for and from behind proxies (RFC 7239).

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

/// A host, and the port where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority<'a> {
    /// IPv6 addresses without brackets.
    pub host: Cow<'a, str>,
    pub port: Option<u16>,
}

/// Splits `host:port`. User info in front is left out. None: no host.
pub fn authority(text: &str) -> Option<Authority<'_>> {
    let text = text.rsplit('@').next().unwrap_or(text).trim();
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            (host, after.strip_prefix(':'))
        }
        // More than one colon without brackets: an IPv6 address as sloppy programs write it.
        None if text.matches(':').count() > 1 => (text, None),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    (!host.is_empty()).then(|| Authority {
        host: Cow::Borrowed(host),
        port: port.and_then(|p| p.parse().ok()),
    })
}

/// A socket address as an authority.
pub fn of_socket(address: SocketAddr) -> Authority<'static> {
    Authority {
        host: Cow::Owned(ip(address.ip())),
        port: Some(address.port()),
    }
}

/// An address in text; IPv4 in IPv6's clothes is IPv4.
pub fn ip(address: IpAddr) -> String {
    address.to_canonical().to_string()
}

/// Well-known port of a scheme.
pub fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// A request target, by its form (RFC 9112 §3.2).
#[derive(Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// `/path?query`; empty: not known.
    Origin(&'a str),
    /// `scheme://authority/path?query`
    Absolute {
        scheme: &'a str,
        authority: &'a str,
        /// May be empty, or begin with `?`.
        path: &'a str,
    },
    /// `host:port`, of CONNECT.
    Authority(&'a str),
    /// `*`, of OPTIONS.
    Asterisk,
}

impl<'a> Target<'a> {
    pub fn parse(method: &[u8], target: &'a str) -> Self {
        if target == "*" {
            return Target::Asterisk;
        }
        // An extended CONNECT has a path (RFC 8441 §4).
        if method == b"CONNECT" && !target.starts_with('/') {
            return Target::Authority(target);
        }
        match target.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => {
                let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                Target::Absolute {
                    scheme,
                    authority: &rest[..end],
                    path: &rest[end..],
                }
            }
            _ => Target::Origin(target),
        }
    }

    /// Host that the target itself names.
    pub fn authority(&self) -> Option<&'a str> {
        match self {
            Target::Absolute { authority, .. } | Target::Authority(authority) => Some(authority),
            Target::Origin(_) | Target::Asterisk => None,
        }
    }

    /// Path, and query without `?` where there is one.
    pub fn path_and_query(&self) -> (Option<&'a str>, Option<&'a str>) {
        let whole = match self {
            Target::Origin("") => return (None, None),
            Target::Origin(path) => path,
            Target::Absolute { path, .. } => path,
            Target::Asterisk => return (Some("*"), None),
            Target::Authority(_) => return (None, None),
        };
        let whole = whole.split_once('#').map_or(*whole, |(front, _)| front);
        let (path, query) = match whole.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (whole, None),
        };
        // RFC 9110 §4.2.3: an empty path is `/`.
        (Some(if path.is_empty() { "/" } else { path }), query)
    }
}

/// RFC 3986 §3.1.
pub fn is_scheme(text: &str) -> bool {
    text.len() <= 32
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// Parameter `name` of the first element of a `Forwarded` header that has it (RFC 7239 §4), without quotes.
pub fn forwarded<'a>(header: &'a str, name: &str) -> Option<Cow<'a, str>> {
    elements(header, ',')
        .flat_map(|element| elements(element, ';'))
        .find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            key.trim()
                .eq_ignore_ascii_case(name)
                .then(|| unquote(value.trim()))
        })
        .filter(|value| !value.is_empty())
}

/// The pieces between separators that do not stand in quotes.
fn elements(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c: char| {
        if escaped {
            escaped = false;
            return false;
        }
        match c {
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c => return c == separator && !quoted,
        }
        false
    })
}

fn unquote(text: &str) -> Cow<'_, str> {
    let Some(inner) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) else {
        return Cow::Borrowed(text);
    };
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    Cow::Owned(out)
}

/// The first element of a comma list such as `X-Forwarded-For`.
pub fn first_of_list(header: &str) -> Option<&str> {
    header.split(',').map(str::trim).find(|s| !s.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Option<(String, Option<u16>)> {
        authority(text).map(|a| (a.host.into_owned(), a.port))
    }

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port() {
        let host = |h: &str, p| Some((h.to_owned(), p));
        assert_eq!(parts("example.com"), host("example.com", None));
        assert_eq!(parts("example.com:8443"), host("example.com", Some(8443)));
        assert_eq!(parts("[::1]:8443"), host("::1", Some(8443)));
        assert_eq!(parts("[::1]"), host("::1", None));
        assert_eq!(parts("::1"), host("::1", None));
        assert_eq!(parts("u:p@example.com:1"), host("example.com", Some(1)));
        assert_eq!(parts("example.com:99999"), host("example.com", None));
        assert_eq!(parts(""), None);
        assert_eq!(parts(":80"), None);
        assert_eq!(parts("[::1"), None);
    }

    #[test]
    fn each_form_of_a_target_has_its_path_and_query() {
        let of = |method: &str, target: &'static str| {
            Target::parse(method.as_bytes(), target).path_and_query()
        };
        assert_eq!(of("GET", "/a?b=c"), (Some("/a"), Some("b=c")));
        assert_eq!(of("GET", "/a?"), (Some("/a"), Some("")));
        assert_eq!(of("GET", "http://h"), (Some("/"), None));
        assert_eq!(of("GET", "http://h?q"), (Some("/"), Some("q")));
        assert_eq!(
            of("GET", "/go?to=http://h/"),
            (Some("/go"), Some("to=http://h/"))
        );
        assert_eq!(of("OPTIONS", "*"), (Some("*"), None));
        assert_eq!(of("CONNECT", "h:443"), (None, None));
        assert_eq!(of("CONNECT", "/chat"), (Some("/chat"), None));
        assert_eq!(of("GET", ""), (None, None));
    }

    #[test]
    fn forwarded_is_read_with_its_quotes() {
        let header = r#"for="[2001:db8::1]:4711";proto=https;host="a;b, c", for=10.0.0.1"#;
        assert_eq!(
            forwarded(header, "FOR").as_deref(),
            Some("[2001:db8::1]:4711")
        );
        assert_eq!(forwarded(header, "proto").as_deref(), Some("https"));
        assert_eq!(forwarded(header, "host").as_deref(), Some("a;b, c"));
        assert_eq!(forwarded(header, "by"), None);
        assert_eq!(forwarded(r#"host="a\"b""#, "host").as_deref(), Some("a\"b"));
        assert_eq!(forwarded("=;,\";\\", "for"), None);
    }
}
