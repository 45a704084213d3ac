//! Whether a body can be shown as text.

use crate::transaction::Body;

const FORM: &str = "application/x-www-form-urlencoded";
/// How textual types end that do not begin with `text/`.
const ENDINGS: [&str; 6] = ["/json", "+json", "/xml", "+xml", "/yaml", "+yaml"];

/// The bytes of a body that are text by its headers: a textual type, and no content coding, which would have to be
/// undone first. None: binary.
pub fn text<'a>(
    body: &'a Body,
    content_type: Option<&str>,
    content_encoding: Option<&str>,
) -> Option<&'a [u8]> {
    let coded = content_encoding
        .map(str::trim)
        .is_some_and(|c| !c.is_empty() && !c.eq_ignore_ascii_case("identity"));
    (!coded && content_type.is_some_and(textual)).then(|| body.bytes())
}

/// `text/*`, JSON, XML, YAML, forms, and whatever has a `charset`.
fn textual(content_type: &str) -> bool {
    let mut parts = content_type.split(';');
    let media = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    media.starts_with("text/")
        || media == FORM
        || ENDINGS.iter().any(|ending| media.ends_with(ending))
        || parts.any(|parameter| {
            let name = parameter.split('=').next().unwrap_or_default();
            name.trim().eq_ignore_ascii_case("charset")
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::testing::body;

    #[test]
    fn text_is_told_by_type_and_charset() {
        for yes in [
            "text/plain",
            "TEXT/HTML; charset=utf-8",
            "application/json",
            "application/problem+json",
            "image/svg+xml",
            "application/x-yaml+yaml",
            "application/x-www-form-urlencoded",
            "application/javascript; Charset=utf-8",
        ] {
            assert!(textual(yes), "{yes}");
        }
        for no in [
            "",
            "application/octet-stream",
            "image/png",
            "application/jsonx",
            "multipart/form-data; boundary=charset",
        ] {
            assert!(!textual(no), "{no}");
        }
    }

    #[test]
    fn coded_content_is_binary() {
        let body = body(b"hello");
        let of = |encoding| text(&body, Some("text/plain"), encoding);
        assert_eq!(of(None), Some(&b"hello"[..]));
        assert_eq!(of(Some("identity")), Some(&b"hello"[..]));
        assert_eq!(of(Some("gzip")), None);
        assert_eq!(text(&body, None, None), None);
    }
}
