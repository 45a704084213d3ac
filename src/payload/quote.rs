//! Words of a POSIX shell.

use super::escape::odd;
use std::fmt::Write as _;

/// `bytes` as one word of a POSIX shell (sh, dash, bash, zsh), which gives back exactly these bytes. Printable ASCII and
/// UTF-8: in single quotes. Anything else: through `printf` with octal escapes, so that neither shell nor terminal sees it.
/// None: a word cannot hold them, which is so of NUL alone.
pub(super) fn word(bytes: &[u8]) -> Option<String> {
    if bytes.contains(&0) {
        return None;
    }
    if let Some(text) = plain(bytes) {
        return Some(quoted(text));
    }
    // A command substitution takes line feeds from the end: they stand behind it.
    let end = bytes
        .iter()
        .rposition(|b| *b != b'\n')
        .map_or(0, |at| at + 1);
    let (front, feeds) = bytes.split_at_checked(end)?;
    let feeds = match feeds.len() {
        0 => String::new(),
        count => format!("'{}'", "\n".repeat(count)),
    };
    Some(format!("\"$({})\"{feeds}", printf(front)))
}

/// Text that can stand in single quotes: printable, and line feeds and tabs.
pub(super) fn plain(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let fits = |c: char| matches!(c, '\n' | '\t') || !odd(c);
    text.chars().all(fits).then_some(text)
}

/// In single quotes, where it needs them.
fn quoted(text: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b"_-+:,./@%".contains(&b);
    if !text.is_empty() && text.bytes().all(bare) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A command that prints these bytes. An octal escape has three digits (POSIX, utilities, printf).
fn printf(bytes: &[u8]) -> String {
    let mut out = String::from("printf '");
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            // In front it would be an option.
            b'-' if at == 0 => out.push_str("\\055"),
            b'%' => out.push_str("%%"),
            // A shell that a person types into replaces `!`, whatever quotes are inside of double ones.
            b'\'' | b'\\' | b'!' => _ = write!(out, "\\{byte:03o}"),
            b' '..=b'~' => out.push(char::from(*byte)),
            // Writing to a `String` cannot fail.
            _ => _ = write!(out, "\\{byte:03o}"),
        }
    }
    out.push('\'');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    fn back(bytes: &[u8]) -> Vec<u8> {
        let word = word(bytes).expect("a word");
        assert!(
            word.bytes()
                .all(|b| b >= b' ' && b != 0x7f || b == b'\n' || b == b'\t')
        );
        let out = Command::new("sh")
            .args(["-c", &format!("printf %s {word}")])
            .output()
            .expect("a shell");
        assert!(out.stderr.is_empty(), "{word}: {:?}", out.stderr);
        out.stdout
    }

    #[test]
    fn a_shell_gives_back_the_same_bytes() {
        for bytes in [
            &b""[..],
            b"plain",
            b"'; touch x; '",
            b"$(touch x) `touch x` \"$HOME\" \\ !! ~ * {a,b}",
            b"two\nlines\n",
            b"\n\n",
            b"esc \x1b[31m %s %d \\n \x7f 100%\n",
            b"\xff\xfe'\n",
            b"\x01",
            b"\xe2\x80\xae turned",
            "é→".as_bytes(),
            b"-n",
            b"-n\xff",
        ] {
            assert_eq!(back(bytes), bytes, "{bytes:?}");
        }
        assert_eq!(word(b"a\0b"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_bytes_without_nul_come_back(bytes in proptest::collection::vec(1u8.., 0..80)) {
            prop_assert_eq!(back(&bytes), bytes);
        }
    }
}
