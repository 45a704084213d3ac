//! Captured text made safe to show.
//!
//! Enters: any bytes. Leaves: text without a character that steers a terminal, breaks a line, turns the direction of
//! what follows or is not to be seen.
//! Holds: pure; two different inputs of [`push`] never give the same text.

use std::fmt::Write;

/// Appends `bytes` with `\n`, `\r`, `\t`, `\\` as in C, other control bytes and bytes that are not UTF-8 as `\xNN`,
/// and other characters that [`hidden`] names as `\u{NNNN}`.
pub fn push(out: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\\' => out.push_str("\\\\"),
                c if c.is_ascii_control() => push_byte(out, c as u8),
                c if hidden(c) => out.extend(c.escape_unicode()),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            push_byte(out, *byte);
        }
    }
}

fn push_byte(out: &mut String, byte: u8) {
    write!(out, "\\x{byte:02x}").expect("a String takes every write");
}

/// Appends a JSON text with the hidden characters of its strings as `\uNNNN`. The text stays the same value: outside of
/// strings JSON is ASCII, and control bytes are escaped in it already.
pub fn push_json(out: &mut Vec<u8>, json: Vec<u8>) {
    if json.is_ascii() {
        out.extend_from_slice(&json);
        return;
    }
    for c in String::from_utf8_lossy(&json).chars() {
        let mut room = [0; 4];
        if c.is_ascii() || !hidden(c) {
            out.extend_from_slice(c.encode_utf8(&mut room).as_bytes());
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
        }
    }
}

/// C0, DEL and C1; line and paragraph separators; marks, embeddings, overrides and isolates of direction; characters of
/// no width; annotation and tag characters.
pub fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(bytes: &[u8]) -> String {
        let mut out = String::new();
        push(&mut out, bytes);
        out
    }

    #[test]
    fn what_steers_a_terminal_is_spelled_out() {
        for (bytes, text) in [
            (&b"plain /a?b=c"[..], "plain /a?b=c"),
            (
                "gr\u{fc}n \u{65e5}\u{672c}".as_bytes(),
                "gr\u{fc}n \u{65e5}\u{672c}",
            ),
            (b"\x1b[31m", "\\x1b[31m"),
            (b"a\r\nb\tc\\", "a\\r\\nb\\tc\\\\"),
            (b"\0\x7f", "\\x00\\x7f"),
            ("\u{9b}31m".as_bytes(), "\\u{9b}31m"),
            (b"\xff\xc3(", "\\xff\\xc3("),
            ("\u{202e}gpj.exe".as_bytes(), "\\u{202e}gpj.exe"),
            (
                "\u{2066}\u{200b}\u{2028}".as_bytes(),
                "\\u{2066}\\u{200b}\\u{2028}",
            ),
        ] {
            assert_eq!(shown(bytes), text);
        }
    }

    #[test]
    fn hidden_characters_of_json_are_escaped_and_the_value_stays() {
        let value = serde_json::json!({"a\u{202e}": "\u{e0041}\u{85}\u{fc}\\"});
        let mut out = Vec::new();
        push_json(&mut out, serde_json::to_vec(&value).unwrap());
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "{\"a\\u202e\":\"\\udb40\\udc41\\u0085\u{fc}\\\\\"}");
        let back: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back, value);
    }

    /// Bytes with many of the characters that matter.
    fn nasty() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            any::<Vec<u8>>(),
            any::<char>().prop_map(|c| c.to_string().into_bytes()),
            (0u32..0x2100).prop_map(|c| char::from_u32(c).unwrap_or('?').to_string().into_bytes()),
            prop::sample::select(vec!["\\", "x1b", "\x1b", "u{202e}", "\u{202e}", "\u{feff}"])
                .prop_map(|s| s.as_bytes().to_vec()),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_ever_shown(bytes in nasty()) {
            let text = shown(&bytes);
            prop_assert!(!text.chars().any(hidden), "{:?}", text);
        }

        #[test]
        fn different_bytes_are_shown_differently(a in nasty(), b in nasty()) {
            prop_assert_eq!(a == b, shown(&a) == shown(&b));
        }
    }

    #[test]
    fn each_character_that_must_not_pass_is_hidden() {
        let ranges = [
            0x00..=0x1f,
            0x7f..=0x9f,
            0x200b..=0x200f,
            0x2028..=0x202e,
            0x2060..=0x2069,
            0xfeff..=0xfeff,
        ];
        for code in ranges.into_iter().flatten() {
            let c = char::from_u32(code).unwrap();
            assert!(hidden(c), "U+{code:04X}");
            assert!(!shown(c.to_string().as_bytes()).contains(c), "U+{code:04X}");
        }
        assert!(!" ~\u{a0}\u{e9}\u{1f600}".chars().any(hidden));
    }
}
