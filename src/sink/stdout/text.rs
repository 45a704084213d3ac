//! Captured text made safe for a terminal, and what of a body is text.

use std::fmt::Write;

/// Characters that steer a terminal, or reorder what a reader sees: C0, DEL, C1, line and paragraph separators,
/// bidirectional controls.
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}'
        )
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Appends `text` with such characters written as escapes: `\n`, `\x1b`, `\u{202e}`.
pub fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        if !steers(c) {
            out.push(c);
            continue;
        }
        let written = match c {
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            c if u32::from(c) < 0x100 => write!(out, "\\x{:02x}", u32::from(c)),
            c => write!(out, "\\u{{{:x}}}", u32::from(c)),
        };
        written.expect("a String takes any text");
    }
}

/// Appends JSON with such characters as `\uXXXX`. They stand in strings alone, where the two mean the same.
pub fn escape_json(out: &mut String, json: &str) {
    for c in json.chars() {
        if steers(c) {
            write!(out, "\\u{:04x}", u32::from(c)).expect("a String takes any text");
        } else {
            out.push(c);
        }
    }
}

/// Whether content of this type, not encoded, is text (semantic conventions, `http.request.body.content`).
pub fn is_text(content_type: Option<&str>, content_encoding: Option<&str>) -> bool {
    if content_encoding.is_some_and(|e| !e.trim().eq_ignore_ascii_case("identity")) {
        return false;
    }
    let Some(content_type) = content_type else {
        return false;
    };
    let content_type = content_type.to_ascii_lowercase();
    let (kind, parameters) = content_type.split_once(';').unwrap_or((&content_type, ""));
    let kind = kind.trim();
    let formats = ["json", "xml", "yaml"];
    let is_format = formats
        .iter()
        .any(|f| kind.ends_with(&format!("/{f}")) || kind.ends_with(&format!("+{f}")));
    kind.starts_with("text/")
        || is_format
        || kind == "application/x-www-form-urlencoded"
        || parameters
            .split(';')
            .any(|p| p.trim_start().starts_with("charset="))
}
