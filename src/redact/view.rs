//! Text with its escapes undone, and where each byte of it comes from.

use std::borrow::Cow;
use std::ops::Range;

/// How often escapes are undone at the most. What is escaped more often is not looked into.
const ROUNDS: usize = 4;

/// A reading of a text.
pub(super) struct View<'a> {
    pub bytes: Cow<'a, [u8]>,
    /// Where each byte begins in the text, and where the last one ends. None: the bytes are the text.
    starts: Option<Vec<u32>>,
}

impl<'a> View<'a> {
    /// The text as it stands.
    pub fn plain(text: &'a [u8]) -> Self {
        View {
            bytes: Cow::Borrowed(text),
            starts: None,
        }
    }

    /// All readings of `text`: as it stands, and with its percent-encoding and the escapes of JSON undone as often as
    /// that changes anything. `plus`: a `+` may be a space. `cut`: what may be half an escape at the end is left out.
    pub fn all(text: &'a [u8], plus: bool, cut: bool) -> Vec<View<'a>> {
        let mut views = vec![View::plain(text)];
        if u32::try_from(text.len()).is_err() {
            return views;
        }
        if plus && memchr::memchr(b'+', text).is_some() {
            views.extend(views.first().and_then(|v| v.unescaped(true, cut)));
        }
        let mut last = views.first().and_then(|v| v.unescaped(false, cut));
        for _ in 0..ROUNDS {
            let Some(view) = last else { break };
            last = view.unescaped(false, cut);
            views.push(view);
        }
        views
    }

    /// What is inside the quotes of a JSON string, as it was meant.
    pub fn unescape_json(text: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            match (byte, backslash(text, at)) {
                (b'\\', (Some(c), len)) => {
                    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    at += len;
                }
                _ => {
                    bytes.push(*byte);
                    at += 1;
                }
            }
        }
        bytes
    }

    /// The range of the text that `range` of the bytes comes from.
    pub fn source(&self, range: &Range<usize>) -> Range<usize> {
        let Some(starts) = &self.starts else {
            return range.clone();
        };
        let of = |at: usize| starts.get(at).copied().unwrap_or_default() as usize;
        // Several bytes may come from one escape: it goes as a whole.
        let last = range.end.checked_sub(1).filter(|i| *i >= range.start);
        let end = match last.and_then(|last| starts.get(last)) {
            Some(begin) => {
                let behind = starts.get(range.end..).unwrap_or_default();
                let next = behind.iter().find(|start| *start > begin);
                next.map_or(of(starts.len().saturating_sub(1)), |next| *next as usize)
            }
            None => of(range.end),
        };
        of(range.start)..end
    }

    /// One round; None where nothing changes.
    fn unescaped(&self, plus: bool, cut: bool) -> Option<View<'a>> {
        let text = &*self.bytes;
        let any = memchr::memchr2(b'%', b'\\', text).is_some();
        if !any && !plus {
            return None;
        }
        let mut bytes = Vec::with_capacity(text.len());
        let mut starts = Vec::with_capacity(text.len() + 1);
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            let (value, len) = match byte {
                b'%' => percent(text, at),
                b'\\' => backslash(text, at),
                b'+' if plus => (Some(' '), 1),
                _ => (None, 1),
            };
            if cut && len > 1 && at + len > text.len() {
                break;
            }
            let start = self.source(&(at..at)).start as u32;
            let len = if value.is_some() { len } else { 1 };
            match (value, byte) {
                // A byte of percent-encoding, as it is.
                (Some(c), b'%') => bytes.push(c as u8),
                (Some(c), _) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                (None, byte) => bytes.push(*byte),
            }
            starts.resize(bytes.len(), start);
            at += len;
        }
        starts.push(self.source(&(text.len()..text.len())).start as u32);
        (bytes != text).then_some(View {
            bytes: Cow::Owned(bytes),
            starts: Some(starts),
        })
    }
}

fn hex(byte: Option<&u8>) -> Option<u32> {
    (*byte? as char).to_digit(16)
}

/// What an escape at `at` stands for, and how long it is or would be.
fn percent(text: &[u8], at: usize) -> (Option<char>, usize) {
    let value = hex(text.get(at + 1)).zip(hex(text.get(at + 2)));
    let value = value.and_then(|(a, b)| char::from_u32(a << 4 | b));
    let half = text.get(at + 1).is_none_or(u8::is_ascii_hexdigit);
    (value, if half { 3 } else { 1 })
}

fn backslash(text: &[u8], at: usize) -> (Option<char>, usize) {
    let simple = match text.get(at + 1) {
        None => return (None, 2),
        Some(b'u') => {
            let digits: Vec<u32> = (2..6).map_while(|i| hex(text.get(at + i))).collect();
            let value = digits.iter().fold(0, |v, d| v << 4 | d);
            return match digits.len() {
                4 => (Some(char::from_u32(value).unwrap_or('\u{fffd}')), 6),
                n if at + 2 + n == text.len() => (None, 6),
                _ => (None, 1),
            };
        }
        Some(b'n') => '\n',
        Some(b't') => '\t',
        Some(b'r') => '\r',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b @ (b'"' | b'\\' | b'/')) => char::from(*b),
        Some(_) => return (None, 1),
    };
    (Some(simple), 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(text: &str, cut: bool) -> Vec<String> {
        let views = View::all(text.as_bytes(), true, cut);
        let show = |v: &View| String::from_utf8_lossy(&v.bytes).into_owned();
        views.iter().skip(1).map(show).collect()
    }

    #[test]
    fn escapes_are_undone_as_often_as_it_takes() {
        assert_eq!(readings("a%20b%2", false), ["a b%2"]);
        assert_eq!(readings("%2541", false), ["%41", "A"]);
        assert_eq!(readings(r#"\u0041\n\"\x"#, false), ["A\n\"\\x"]);
        assert_eq!(readings("a+b", false), ["a b"]);
        assert_eq!(readings(r"%5Cu0041", false), [r"\u0041", "A"]);
        assert!(readings("plain", false).is_empty());
    }

    #[test]
    fn half_an_escape_at_a_cut_is_left_out() {
        for half in ["%", "%4", "\\", "\\u", "\\u00", "\\u004"] {
            assert_eq!(readings(&format!("ab{half}"), true), ["ab"], "{half}");
        }
        assert_eq!(readings("ab%252", true), ["ab%2", "ab"]);
    }

    #[test]
    fn a_range_leads_back_to_the_text() {
        let text = b"x=%2541b\\u0043";
        for view in View::all(text, false, false) {
            if let Some(at) = memchr::memmem::find(&view.bytes, b"AbC") {
                assert_eq!(view.source(&(at..at + 3)), 2..text.len());
                return;
            }
        }
        panic!("no reading has it");
    }
}
