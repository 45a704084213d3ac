//! Whether content can be shown as text.

const FORM: &str = "application/x-www-form-urlencoded";
/// How textual types end that do not begin with `text/`.
const ENDINGS: [&str; 6] = ["/json", "+json", "/xml", "+xml", "/yaml", "+yaml"];

/// `text/*`, JSON, XML, YAML, forms, and whatever has a `charset`: the rule of the semantic conventions for body
/// attributes.
pub fn is_text(content_type: &str) -> bool {
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
            assert!(is_text(yes), "{yes}");
        }
        for no in [
            "",
            "application/octet-stream",
            "image/png",
            "application/jsonx",
            "multipart/form-data; boundary=charset",
        ] {
            assert!(!is_text(no), "{no}");
        }
    }
}
