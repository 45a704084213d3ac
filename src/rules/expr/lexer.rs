//! Text to tokens.

use super::ast::{Comparison, Literal};
use super::literal::{self, Net};
use super::number::Number;
use super::{Fault, Span};

#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    And,
    Or,
    Not,
    Compare(Comparison),
    Open,
    Close,
    OpenList,
    CloseList,
    Comma,
    Literal(Literal),
    /// A field or the name of a function or macro.
    Name(String),
    End,
}

/// Tokens with their places; the last one is [`Token::End`].
pub fn tokens(text: &str) -> Result<Vec<(Token, Span)>, Fault> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blank()?;
        let start = lexer.at;
        let token = lexer.next()?;
        let end = token == Token::End;
        tokens.push((token, Span::new(start, lexer.at)));
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The place from `start` to here.
    fn since(&self, start: usize) -> Span {
        Span::new(start, self.at)
    }

    fn skip_blank(&mut self) -> Result<(), Fault> {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
            self.at += blank;
            let rest = self.rest();
            if rest.starts_with("--") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                let Some(end) = rest.find("*/") else {
                    return Err(Fault::error(
                        Span::new(self.at, self.at + 2),
                        "the comment is not closed",
                    )
                    .hint("end it with `*/`"));
                };
                self.at += end + 2;
            } else if blank == 0 {
                return Ok(());
            }
        }
    }

    fn next(&mut self) -> Result<Token, Fault> {
        const SIGNS: [(&str, Token); 15] = [
            ("&&", Token::And),
            ("||", Token::Or),
            ("==", Token::Compare(Comparison::Eq)),
            ("!=", Token::Compare(Comparison::Ne)),
            (">=", Token::Compare(Comparison::Ge)),
            ("<=", Token::Compare(Comparison::Le)),
            ("=~", Token::Compare(Comparison::Matches)),
            (">", Token::Compare(Comparison::Gt)),
            ("<", Token::Compare(Comparison::Lt)),
            ("!", Token::Not),
            ("(", Token::Open),
            (")", Token::Close),
            ("[", Token::OpenList),
            ("]", Token::CloseList),
            (",", Token::Comma),
        ];
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(Token::End);
        };
        if let Some((sign, token)) = SIGNS.iter().find(|(sign, _)| rest.starts_with(sign)) {
            self.at += sign.len();
            return Ok(token.clone());
        }
        match first {
            '"' | '\'' => self.string(first),
            '/' | '|' => self.regex(first),
            '=' => Err(
                Fault::error(Span::new(self.at, self.at + 1), "`=` is no operator")
                    .hint("write `==`"),
            ),
            '&' => Err(
                Fault::error(Span::new(self.at, self.at + 1), "`&` is no operator")
                    .hint("write `and`"),
            ),
            c if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '+') => {
                self.word()
            }
            c => {
                let span = Span::new(self.at, self.at + c.len_utf8());
                Err(Fault::error(
                    span,
                    format!("`{}` means nothing here", c.escape_debug()),
                ))
            }
        }
    }

    fn string(&mut self, quote: char) -> Result<Token, Fault> {
        let start = self.at;
        self.at += 1;
        let mut out = String::new();
        loop {
            let Some(c) = self.rest().chars().next().filter(|c| *c != '\n') else {
                return Err(Fault::error(
                    Span::new(start, start + 1),
                    "the string is not closed on its line",
                )
                .hint(format!("end it with `{quote}`")));
            };
            self.at += c.len_utf8();
            match c {
                c if c == quote => return Ok(Token::Literal(Literal::Text(out))),
                '\\' => out.push(self.escape()?),
                c => out.push(c),
            }
        }
    }

    /// What follows a backslash in a string.
    fn escape(&mut self) -> Result<char, Fault> {
        let start = self.at - 1;
        let c = self.rest().chars().next().unwrap_or('\n');
        self.at += c.len_utf8().min(self.rest().len());
        let value = match c {
            'n' => Some('\n'),
            't' => Some('\t'),
            'r' => Some('\r'),
            '"' | '\'' | '\\' => Some(c),
            'u' => {
                let digits = self
                    .rest()
                    .get(..4)
                    .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
                self.at += digits.map_or(0, str::len);
                digits
                    .and_then(|d| u32::from_str_radix(d, 16).ok())
                    .and_then(char::from_u32)
            }
            _ => None,
        };
        value.ok_or_else(|| {
            let hint =
                r#"escapes are \n \t \r \" \' \\ and \uXXXX, a character in four hex digits"#;
            Fault::error(self.since(start), "no such escape in a string").hint(hint)
        })
    }

    fn regex(&mut self, delimiter: char) -> Result<Token, Fault> {
        let start = self.at;
        self.at += 1;
        let mut out = String::new();
        loop {
            let mut chars = self.rest().chars();
            let Some(c) = chars.next().filter(|c| *c != '\n') else {
                return Err(Fault::error(
                    Span::new(start, start + 1),
                    "the regular expression is not closed",
                )
                .hint(format!("end it with `{delimiter}`")));
            };
            self.at += c.len_utf8();
            match (c, chars.next()) {
                (c, _) if c == delimiter => return Ok(Token::Literal(Literal::Regex(out))),
                // A slash means the same with and without backslash; a bar does not.
                ('\\', Some('/')) => {
                    out.push('/');
                    self.at += 1;
                }
                ('\\', Some(next)) if next != '\n' => {
                    out.push('\\');
                    out.push(next);
                    self.at += next.len_utf8();
                }
                (c, _) => out.push(c),
            }
        }
    }

    fn word(&mut self) -> Result<Token, Fault> {
        let rest = self.rest();
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '+');
        let mut end = rest.find(|c| !part(c)).unwrap_or(rest.len());
        let mut word = &rest[..end];
        let named = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        // A comment may follow a value without blank; a name may hold any number of dashes.
        if let Some(comment) = word.find("--").filter(|_| !named) {
            end = comment;
            word = &rest[..end];
        }
        let start = self.at;
        self.at += end;
        if named && !word.contains([':', '+']) {
            return Ok(keyword(word).unwrap_or_else(|| Token::Name(word.to_owned())));
        }
        if let Some(network) = self.network(word, start)? {
            return Ok(network);
        }
        if let Some(bytes) = literal::bytes(word) {
            return Ok(Token::Literal(Literal::Bytes(bytes)));
        }
        if let Some(number) = Number::parse(word.as_bytes()) {
            return Ok(Token::Literal(Literal::Number(number)));
        }
        match literal::measure(word) {
            Some(Ok(measure)) => Ok(Token::Literal(Literal::Measure(measure))),
            Some(Err(unit)) => {
                let at = self.at - unit.len();
                Err(Fault::error(self.since(at), format!("`{unit}` is no unit"))
                    .hint("ns us ms s m h d for times; B kB MB GB TB, KiB MiB GiB TiB for sizes"))
            }
            None => Err(Fault::error(
                self.since(start),
                format!("`{word}` is neither a number nor an address"),
            )
            .hint("a text needs quotes")),
        }
    }

    /// An address, or a network where `/` and digits follow one.
    fn network(&mut self, word: &str, start: usize) -> Result<Option<Token>, Fault> {
        // Eight pairs of digits are bytes, though they could be an address of IPv6.
        let Some(address) = Net::parse(word).filter(|_| literal::bytes(word).is_none()) else {
            return Ok(None);
        };
        let rest = self.rest();
        let after = rest.strip_prefix('/').unwrap_or_default();
        let digits = after
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(after.len());
        if digits == 0 {
            return Ok(Some(Token::Literal(Literal::Net(address))));
        }
        self.at += 1 + digits;
        let whole = self.since(start).of(self.text);
        match Net::parse(whole) {
            Some(net) => Ok(Some(Token::Literal(Literal::Net(net)))),
            None => Err(
                Fault::error(self.since(start), format!("`{whole}` is no network"))
                    .hint("the prefix is at most 32 for IPv4 and 128 for IPv6"),
            ),
        }
    }
}

fn keyword(word: &str) -> Option<Token> {
    const WORDS: [(&str, Token); 14] = [
        ("and", Token::And),
        ("or", Token::Or),
        ("not", Token::Not),
        ("eq", Token::Compare(Comparison::Eq)),
        ("ne", Token::Compare(Comparison::Ne)),
        ("gt", Token::Compare(Comparison::Gt)),
        ("ge", Token::Compare(Comparison::Ge)),
        ("lt", Token::Compare(Comparison::Lt)),
        ("le", Token::Compare(Comparison::Le)),
        ("contains", Token::Compare(Comparison::Contains)),
        ("in", Token::Compare(Comparison::In)),
        ("matches", Token::Compare(Comparison::Matches)),
        ("true", Token::Literal(Literal::Bool(true))),
        ("false", Token::Literal(Literal::Bool(false))),
    ];
    WORDS
        .iter()
        .find(|(name, _)| word.eq_ignore_ascii_case(name))
        .map(|(_, token)| token.clone())
}

impl Token {
    /// How a message calls it.
    pub fn describe(&self, text: &str) -> String {
        match self {
            Token::End => "the end".to_owned(),
            _ => {
                let shown: String = text.chars().take(40).collect();
                let cut = if shown.len() < text.len() { "…" } else { "" };
                format!("`{}{cut}`", shown.escape_debug())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::literal::Measure;
    use super::*;

    fn kinds(text: &str) -> Vec<Token> {
        let tokens = tokens(text).unwrap_or_else(|fault| panic!("{}", fault.render(text)));
        tokens
            .into_iter()
            .map(|(token, _)| token)
            .filter(|t| *t != Token::End)
            .collect()
    }

    #[test]
    fn words_of_every_kind_are_told_apart() {
        let text = "a.b-c 5 -5 .5 250ms 64KiB 47:45:54 10.0.0.1 10.0.0.0/8 ::1 fd00::/8 ::1/128 fe80::1 TRUE";
        let net = |text| Token::Literal(Literal::Net(Net::parse(text).expect("a network")));
        assert_eq!(
            kinds(text),
            [
                Token::Name("a.b-c".into()),
                Token::Literal(Literal::Number(Number::Int(5))),
                Token::Literal(Literal::Number(Number::Int(-5))),
                Token::Literal(Literal::Number(Number::Float(0.5))),
                Token::Literal(Literal::Measure(Measure::Duration(250_000_000))),
                Token::Literal(Literal::Measure(Measure::Size(65536))),
                Token::Literal(Literal::Bytes(b"GET".to_vec())),
                net("10.0.0.1"),
                net("10.0.0.0/8"),
                net("::1"),
                net("fd00::/8"),
                net("::1/128"),
                net("fe80::1"),
                Token::Literal(Literal::Bool(true)),
            ]
        );
    }

    #[test]
    fn comments_end_with_their_line_or_their_mark() {
        assert_eq!(
            kinds("1 -- two\n 3 /* 4 \n 5 */ 6--x"),
            [1, 3, 6].map(|n| Token::Literal(Literal::Number(Number::Int(n))))
        );
        assert_eq!(tokens("1 /* x").expect_err("open").span, Span::new(2, 4));
    }

    #[test]
    fn strings_and_patterns_keep_their_escapes() {
        assert_eq!(
            kinds(r#" "a\"\u00e9\n" 'it''s' /a\/b\.c/ |x\|y| "#),
            [
                Token::Literal(Literal::Text("a\"é\n".into())),
                Token::Literal(Literal::Text("it".into())),
                Token::Literal(Literal::Text("s".into())),
                Token::Literal(Literal::Regex(r"a/b\.c".into())),
                Token::Literal(Literal::Regex(r"x\|y".into())),
            ]
        );
    }

    #[test]
    fn signs_and_words_are_the_same_operators() {
        assert_eq!(kinds("AND Or nOt eq =~"), kinds("&& || ! == matches"));
    }
}
