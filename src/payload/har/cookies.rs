//! Cookies, out of the headers that carry them (RFC 6265 §4).

use super::message::text;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use std::time::UNIX_EPOCH;

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cookie {
    name: String,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    http_only: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    secure: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    same_site: Option<String>,
}

/// Those of a `Cookie` header. A part without `=` has no name, as browsers read it.
pub(super) fn sent(value: &[u8]) -> Vec<Cookie> {
    let (text, _) = text(value);
    let parts = text.split(';').map(str::trim).filter(|p| !p.is_empty());
    parts.map(pair).collect()
}

/// That of a `Set-Cookie` header.
pub(super) fn set(value: &[u8]) -> Cookie {
    let (text, _) = text(value);
    let mut parts = text.split(';').map(str::trim);
    let mut cookie = parts.next().map(pair).unwrap_or_default();
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim();
        match name.trim().to_ascii_lowercase().as_str() {
            "path" => cookie.path = Some(value.to_owned()),
            "domain" => cookie.domain = Some(value.to_owned()),
            "expires" => cookie.expires = date(value),
            "httponly" => cookie.http_only = true,
            "secure" => cookie.secure = true,
            "samesite" => cookie.same_site = Some(value.to_owned()),
            _ => {}
        }
    }
    cookie
}

fn pair(part: &str) -> Cookie {
    let (name, value) = part.split_once('=').unwrap_or(("", part));
    Cookie {
        name: name.trim().to_owned(),
        value: value.trim().to_owned(),
        ..Cookie::default()
    }
}

/// A date of HTTP (RFC 9110 §5.6.7), or one with `-` between day, month and year as many servers write it. None: the
/// archive leaves out what is no date.
fn date(text: &str) -> Option<String> {
    let time = httpdate::parse_http_date(text)
        .or_else(|_| httpdate::parse_http_date(&text.replacen('-', " ", 2)))
        .ok()?;
    // Before 1970 there is no such time; it was over then, as it is at the beginning of 1970.
    let time = DateTime::<Utc>::from(time.max(UNIX_EPOCH));
    Some(time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(name: &str, value: &str) -> Cookie {
        Cookie {
            name: name.to_owned(),
            value: value.to_owned(),
            ..Cookie::default()
        }
    }

    #[test]
    fn a_line_of_cookies_is_taken_apart_and_redacted_ones_stay() {
        assert_eq!(
            sent(b"a=1; b=x=y;REDACTED; ;c="),
            [
                cookie("a", "1"),
                cookie("b", "x=y"),
                cookie("", "REDACTED"),
                cookie("c", "")
            ]
        );
    }

    #[test]
    fn a_cookie_that_is_set_has_its_attributes() {
        for date in [
            "Wed, 21 Oct 2015 07:28:00 GMT",
            "Wed, 21-Oct-2015 07:28:00 GMT",
        ] {
            let line = format!(
                "sid=REDACTED; Path=/a; domain=x.example; Expires={date}; HttpOnly; SECURE; SameSite=Lax; Priority=High"
            );
            let want = Cookie {
                path: Some("/a".into()),
                domain: Some("x.example".into()),
                expires: Some("2015-10-21T07:28:00Z".into()),
                http_only: true,
                secure: true,
                same_site: Some("Lax".into()),
                ..cookie("sid", "REDACTED")
            };
            assert_eq!(set(line.as_bytes()), want);
        }
        assert_eq!(set(b"a=1; Expires=soon"), cookie("a", "1"));
        assert_eq!(set(b""), cookie("", ""));
    }
}
