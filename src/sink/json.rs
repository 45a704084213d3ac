//! JSON (RFC 8259) written straight into a buffer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::Write;

/// Writes one JSON text. Commas are set by itself; that objects and arrays are closed is the caller's part.
pub(super) struct Json {
    out: Vec<u8>,
    /// A value or a key stands in front: the next one needs a comma.
    comma: bool,
}

impl Json {
    pub fn with_capacity(bytes: usize) -> Self {
        Json {
            out: Vec::with_capacity(bytes),
            comma: false,
        }
    }

    /// Writes into what `out` had before, which is cleared.
    pub fn into(mut out: Vec<u8>) -> Self {
        out.clear();
        Json { out, comma: false }
    }

    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    pub fn object(&mut self, body: impl FnOnce(&mut Self)) {
        self.nest(b'{', b'}', body);
    }

    pub fn array(&mut self, body: impl FnOnce(&mut Self)) {
        self.nest(b'[', b']', body);
    }

    fn nest(&mut self, open: u8, close: u8, body: impl FnOnce(&mut Self)) {
        self.separate();
        self.out.push(open);
        self.comma = false;
        body(self);
        self.out.push(close);
        self.comma = true;
    }

    fn separate(&mut self) {
        if self.comma {
            self.out.push(b',');
        }
    }

    pub fn key(&mut self, key: &str) -> &mut Self {
        self.string(key);
        self.out.push(b':');
        self.comma = false;
        self
    }

    pub fn null(&mut self) {
        self.raw("null");
    }

    pub fn bool(&mut self, value: bool) {
        self.raw(if value { "true" } else { "false" });
    }

    pub fn number(&mut self, value: impl Into<u64>) {
        self.display(format_args!("{}", value.into()));
    }

    pub fn integer(&mut self, value: i64) {
        self.display(format_args!("{value}"));
    }

    /// JSON has no number for what is not finite: that is null.
    pub fn double(&mut self, value: f64) {
        if value.is_finite() {
            self.display(format_args!("{value}"));
        } else {
            self.null();
        }
    }

    fn raw(&mut self, text: &str) {
        self.separate();
        self.out.extend_from_slice(text.as_bytes());
        self.comma = true;
    }

    fn display(&mut self, text: std::fmt::Arguments<'_>) {
        self.separate();
        self.out.write_fmt(text).expect("a Vec takes every write");
        self.comma = true;
    }

    /// `text`, in quotes. It must have no byte that JSON escapes.
    pub fn plain(&mut self, text: std::fmt::Arguments<'_>) {
        self.display(format_args!("\"{text}\""));
    }

    pub fn string(&mut self, text: &str) {
        self.separate();
        self.out.push(b'"');
        self.escape(text);
        self.out.push(b'"');
        self.comma = true;
    }

    /// Bytes as a string; what is not UTF-8 becomes U+FFFD.
    pub fn lossy(&mut self, bytes: &[u8]) {
        self.separate();
        self.out.push(b'"');
        for chunk in bytes.utf8_chunks() {
            self.escape(chunk.valid());
            if !chunk.invalid().is_empty() {
                self.out.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
        self.out.push(b'"');
        self.comma = true;
    }

    pub fn base64(&mut self, bytes: &[u8]) {
        self.separate();
        self.out.push(b'"');
        let start = self.out.len();
        // Longer than any encoding of `bytes`; cut to what was written.
        self.out.resize(start + bytes.len().div_ceil(3) * 4, 0);
        let room = self.out.get_mut(start..).unwrap_or_default();
        let len = STANDARD
            .encode_slice(bytes, room)
            .expect("4 bytes of room for each 3");
        self.out.truncate(start + len);
        self.out.push(b'"');
        self.comma = true;
    }

    fn escape(&mut self, text: &str) {
        let mut done = 0;
        for (i, byte) in text.bytes().enumerate() {
            if byte >= b' ' && !matches!(byte, b'"' | b'\\' | 0x7f) {
                continue;
            }
            let kept = text.as_bytes().get(done..i).unwrap_or_default();
            self.out.extend_from_slice(kept);
            done = i + 1;
            match byte {
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                _ => write!(self.out, "\\u{byte:04x}").expect("a Vec takes every write"),
            }
        }
        let rest = text.as_bytes().get(done..).unwrap_or_default();
        self.out.extend_from_slice(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_reads_back(text in any::<String>(), bytes in any::<Vec<u8>>()) {
            let mut json = Json::with_capacity(0);
            json.object(|j| {
                j.key("text").string(&text);
                j.key("lossy").lossy(&bytes);
                j.key("list").array(|j| { j.number(1u8); j.null(); j.bool(true); j.base64(&bytes); });
                j.key(&format!("k{text}")).object(|_| {});
            });
            let out = json.finish();
            let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(value["text"].as_str(), Some(text.as_str()));
            prop_assert_eq!(value["lossy"].as_str(), Some(&*String::from_utf8_lossy(&bytes)));
            let list = value["list"].as_array().unwrap();
            prop_assert_eq!(STANDARD.decode(list[3].as_str().unwrap()).unwrap(), bytes);
            prop_assert!(!out.iter().any(|b| *b < b' ' || *b == 0x7f));
        }
    }
}
