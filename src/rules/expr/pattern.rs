//! Regular expressions: RE2's syntax and meaning, for the `regex` crate, which runs in linear time too.
//!
//! Where the two differ: `\d \w \s \b` are of ASCII in RE2; `[` and `&&` inside a class are themselves; `\Q…\E` quotes.

use regex::bytes::{Regex, RegexBuilder};

/// Bytes that a compiled pattern may take.
const SIZE_LIMIT: usize = 1 << 20;

/// A compiled pattern. Two are equal when they were written the same.
#[derive(Debug, Clone)]
pub struct Pattern {
    regex: Regex,
    text: Box<str>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Pattern {
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn new(text: &str) -> Result<Pattern, String> {
        let built = RegexBuilder::new(&translate(text))
            .size_limit(SIZE_LIMIT)
            .dfa_size_limit(SIZE_LIMIT)
            .build();
        match built {
            Ok(regex) => Ok(Pattern {
                regex,
                text: text.into(),
            }),
            Err(regex::Error::CompiledTooBig(limit)) => {
                Err(format!("it takes more than {limit} bytes when compiled"))
            }
            Err(error) => {
                let shown = error.to_string();
                let last = shown.lines().last().unwrap_or_default();
                Err(last.trim_start_matches("error: ").to_owned())
            }
        }
    }

    pub fn matches(&self, text: &[u8]) -> bool {
        self.regex.is_match(text)
    }
}

fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut class = false;
    while let Some(c) = rest.chars().next() {
        let mut used = c.len_utf8();
        match c {
            '\\' => {
                let next = rest[1..].chars().next();
                used += next.map_or(0, char::len_utf8);
                if next == Some('Q') && !class {
                    let quoted = rest[used..].split("\\E").next().unwrap_or_default();
                    out.push_str(&regex::escape(quoted));
                    used += quoted.len()
                        + if rest[used + quoted.len()..].is_empty() {
                            0
                        } else {
                            2
                        };
                } else {
                    escape(&mut out, next);
                }
            }
            '[' if class => match named_class(rest) {
                Some(name) => {
                    out.push_str(name);
                    used = name.len();
                }
                None => out.push_str("\\["),
            },
            '[' => {
                class = true;
                out.push('[');
                // `]` right behind the beginning is itself.
                let after = &rest[1..];
                let negated = after.strip_prefix('^');
                if negated.is_some() {
                    out.push('^');
                    used += 1;
                }
                if negated.unwrap_or(after).starts_with(']') {
                    out.push_str("\\]");
                    used += 1;
                }
            }
            ']' => {
                class = false;
                out.push(']');
            }
            '&' | '~' if class => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
        rest = rest.get(used..).unwrap_or_default();
    }
    out
}

/// What follows a backslash.
fn escape(out: &mut String, next: Option<char>) {
    let ascii = match next {
        Some('d') => "[0-9]",
        Some('D') => "[^0-9]",
        Some('w') => "[0-9A-Za-z_]",
        Some('W') => "[^0-9A-Za-z_]",
        Some('s') => "[\\t\\n\\f\\r ]",
        Some('S') => "[^\\t\\n\\f\\r ]",
        Some('b') => "(?-u:\\b)",
        Some('B') => "(?-u:\\B)",
        _ => "",
    };
    if ascii.is_empty() {
        out.push('\\');
        out.extend(next);
    } else {
        out.push_str(ascii);
    }
}

/// `[:alpha:]` and the like, at the beginning of `rest`.
fn named_class(rest: &str) -> Option<&str> {
    let end = rest.strip_prefix("[:")?.find(":]")? + 4;
    let name = rest.get(..end)?;
    let inside = name.get(2..end - 2)?;
    inside
        .chars()
        .all(|c| c.is_ascii_lowercase() || c == '^')
        .then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_re2() {
        for (pattern, text, expected) in [
            (r"^\d+$", "123", true),
            (r"^\d+$", "١٢٣", false),
            (r"^\w+$", "é", false),
            (r"(?i)^ÉT", "été", true),
            (r"^.$", "é", true),
            (r"\bcat\b", "a cat!", true),
            (r"^[\w.]+$", "a.b_c", true),
            (r"^[^\d]+$", "abc", true),
            (r"^[[]$", "[", true),
            (r"^[]a]+$", "]a", true),
            (r"^[^]a]+$", "bc", true),
            (r"^[&&]+$", "&", true),
            (r"^[[:alpha:]]+$", "abc", true),
            (r"^[^[:space:]]+$", "a b", false),
            (r"\Qa.b\E$", "xa.b", true),
            (r"\Qa.b\E$", "xaxb", false),
            (r"^\pL+$", "été", true),
            (r"^\p{Greek}$", "λ", true),
            (r"^(?:GET|POST)$", "POST", true),
            (r"a\.b", "a.b", true),
            (r"^/api/v[0-9]+/", "/api/v12/x", true),
            (r"x{2,3}$", "xx", true),
            (r"", "anything", true),
        ] {
            let compiled = Pattern::new(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
            assert_eq!(
                compiled.matches(text.as_bytes()),
                expected,
                "{pattern} on {text}"
            );
        }
        assert!(
            Pattern::new("[").is_err() && Pattern::new("(").is_err() && Pattern::new(r"\").is_err()
        );
        assert!(Pattern::new("(a{1000}){1000}").is_err_and(|e| e.contains("bytes when compiled")));
        assert!(Pattern::new("a(?=b)").is_err());
    }
}
