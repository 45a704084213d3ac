//! Text from outside, fit for a terminal.

use std::fmt::Write as _;

/// One line: control characters, and those that turn the direction of writing, are escaped; bytes that are not UTF-8
/// are `\xNN`.
pub fn escaped(bytes: &[u8]) -> String {
    escape(bytes, |_| false)
}

/// Text of many lines: line feeds and tabs stay as they are.
pub fn escaped_text(bytes: &[u8]) -> String {
    escape(bytes, |c| matches!(c, '\n' | '\t'))
}

/// JSON that means the same, with nothing in it that a terminal obeys.
pub fn escaped_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        // Line feeds stand between values alone.
        match odd(c) && c != '\n' {
            // All of them are below U+10000: one escape each.
            true => _ = write!(out, "\\u{:04x}", u32::from(c)),
            false => out.push(c),
        }
    }
    out
}

fn escape(bytes: &[u8], stays: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(bytes.len());
    // Writing to a `String` cannot fail.
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match odd(c) && !stays(c) {
                true => _ = write!(out, "{}", c.escape_default()),
                false => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// It may do something to a terminal, or hide what stands there.
pub(super) fn odd(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        let odd = b"a\x1b]0;x\x07\r\nb\tc\xff\xc2\x9b \xe2\x80\xae\xc3\xa9";
        assert_eq!(
            escaped(odd),
            "a\\u{1b}]0;x\\u{7}\\r\\nb\\tc\\xff\\u{9b} \\u{202e}é"
        );
        assert_eq!(
            escaped_text(odd),
            "a\\u{1b}]0;x\\u{7}\\r\nb\tc\\xff\\u{9b} \\u{202e}é"
        );
    }

    #[test]
    fn json_keeps_its_meaning() {
        let json = "{\"a\u{9b}\u{202e}\": \"\u{7f}\u{feff}é\"}\n";
        let escaped = escaped_json(json);
        assert_eq!(escaped, "{\"a\\u009b\\u202e\": \"\\u007f\\ufeffé\"}\n");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(read(&escaped), read(json));
    }
}
