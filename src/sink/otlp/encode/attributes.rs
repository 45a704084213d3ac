//! A list of attributes, written straight as protobuf: most of what is exported is attributes.

use super::names;
use super::wire::field_len;
use crate::transaction::Headers;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};
use std::borrow::Cow;
use std::net::IpAddr;

/// Number of the field `attributes` of a span.
pub const OF_SPAN: u8 = 9;
/// Number of the field `attributes` of a log record.
pub const OF_LOG_RECORD: u8 = 6;
/// Key byte of a field with a length (protobuf wire type 2).
const fn with_length(number: u8) -> u8 {
    number << 3 | 2
}

/// Fields of `KeyValue`.
const KEY: u8 = with_length(1);
const VALUE: u8 = with_length(2);
/// Fields of `AnyValue`.
const STRING: u8 = with_length(1);
const BOOL: u8 = 2 << 3;
const INT: u8 = 3 << 3;
const DOUBLE: u8 = 4 << 3 | 1;
const ARRAY: u8 = with_length(5);
/// Field of `ArrayValue`.
const ELEMENT: u8 = with_length(1);

/// Attributes in the order they were added. Values longer than [`names::MAX_VALUE`] are cut, arrays have
/// [`names::MAX_ARRAY`] bytes at the most, and those of which something is missing are named.
#[derive(Debug)]
pub struct Attributes {
    /// The field `attributes` of the message, once for each.
    out: Vec<u8>,
    field: u8,
    truncated: Vec<String>,
}

impl Attributes {
    /// Attributes of a message that has them in the field of number `field`, below 16; written behind what is in `out`.
    pub fn of(field: u8, out: Vec<u8>) -> Self {
        Attributes {
            out,
            field: with_length(field),
            truncated: Vec::new(),
        }
    }

    /// All of another list, which may be of another field.
    pub fn extend(&mut self, other: &Attributes) {
        let mut at = self.out.len();
        self.out.extend_from_slice(&other.out);
        self.truncated.extend_from_slice(&other.truncated);
        while self.field != other.field
            && let Some(rest) = self.out.get_mut(at..)
            && let [tag, rest @ ..] = rest
        {
            *tag = self.field;
            let mut rest = &*rest;
            let before = rest.len();
            let len = decode_varint(&mut rest).expect("what was written here reads back");
            at += 1 + (before - rest.len()) + len as usize;
        }
    }

    /// The memory, without its use as attributes.
    pub fn take_buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    pub fn text<'a>(&mut self, name: &str, value: impl Into<Cow<'a, str>>) {
        let value = value.into();
        let value = self.capped(name, &value);
        self.begin(name, field_len(value.len()));
        self.bytes(STRING, value.as_bytes());
    }

    /// Adds it where there is one.
    pub fn maybe_text<'a>(&mut self, name: &str, value: Option<impl Into<Cow<'a, str>>>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// An integer of OTLP is signed: what does not fit is its greatest.
    pub fn int(&mut self, name: &str, value: u64) {
        let value = value.min(i64::MAX as u64);
        self.begin(name, 1 + encoded_len_varint(value));
        self.out.push(INT);
        self.varint(value);
    }

    pub fn double(&mut self, name: &str, value: f64) {
        self.begin(name, 1 + size_of::<f64>());
        self.out.push(DOUBLE);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// IPv4 in IPv6's clothes is IPv4.
    pub fn ip(&mut self, name: &str, address: IpAddr) {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let (text, len) = dotted(address.octets());
                self.begin(name, field_len(len));
                self.bytes(STRING, &text[..len]);
            }
            IpAddr::V6(address) => self.text(name, address.to_string()),
        }
    }

    pub fn bool(&mut self, name: &str, value: bool) {
        self.begin(name, 2);
        self.out.extend_from_slice(&[BOOL, value.into()]);
    }

    pub fn texts(&mut self, name: &str, values: impl IntoIterator<Item = String>) {
        let values: Vec<String> = values.into_iter().collect();
        self.array(name, || values.iter().map(|v| Cow::Borrowed(v.as_bytes())));
    }

    /// One attribute for each name of a header field, `prefix` and the name in lower case, with one element for each
    /// field line. Pseudo-headers (`:path`) are none.
    pub fn headers(&mut self, prefix: &str, headers: &Headers) {
        let mut names = Seen::default();
        headers.iter().for_each(|(name, _)| names.add(name));
        let mut key = String::new();
        for (index, (name, value)) in headers.iter().enumerate() {
            if name.first().is_none_or(|b| *b == b':') {
                continue;
            }
            let alone = !names.perhaps_twice(name);
            if alone && self.usual_header(prefix, name, value) {
                continue;
            }
            let before = || headers.iter().take(index);
            if !alone && before().any(|(n, _)| n.eq_ignore_ascii_case(name)) {
                continue;
            }
            key.clear();
            key.push_str(prefix);
            let short = name.get(..names::MAX_NAME).unwrap_or(name);
            key.push_str(&lossy(short));
            key.make_ascii_lowercase();
            match name.len() > names::MAX_NAME {
                true => self.cut(&key),
                false if alone => self.element(&key, value),
                false => self.array(&key, || headers.get_all(name).map(Cow::Borrowed)),
            }
        }
    }

    /// A header whose name and value are whole as they stand; false: it is not such a one, and nothing was added.
    fn usual_header(&mut self, prefix: &str, name: &[u8], value: &[u8]) -> bool {
        let usual = name.len() <= names::MAX_NAME
            && value.len() <= names::MAX_VALUE
            && name.is_ascii()
            && std::str::from_utf8(value).is_ok();
        if !usual {
            return false;
        }
        let key = prefix.len() + name.len();
        let element = field_len(value.len());
        let elements = field_len(element);
        let len = field_len(key) + field_len(field_len(elements));
        // Tag and length in front are ten bytes at the most.
        self.out.reserve(10 + len);
        self.length(self.field, len);
        self.length(KEY, key);
        self.out.extend_from_slice(prefix.as_bytes());
        let at = self.out.len();
        self.out.extend_from_slice(name);
        self.out[at..].make_ascii_lowercase();
        self.length(VALUE, field_len(elements));
        self.length(ARRAY, elements);
        self.length(ELEMENT, element);
        self.bytes(STRING, value);
        true
    }

    /// The attributes as fields of their message, with the names of those that were cut.
    pub fn into_bytes(mut self) -> Vec<u8> {
        if !self.truncated.is_empty() {
            self.truncated.dedup();
            let truncated = std::mem::take(&mut self.truncated);
            self.texts(names::TRUNCATED, truncated);
        }
        self.out
    }

    /// The attributes as a list, with the names of those that were cut.
    pub fn finish(self) -> Vec<KeyValue> {
        let field = self.field;
        let out = self.into_bytes();
        let mut rest = &out[..];
        let mut list = Vec::new();
        while let Some((first, mut body)) = rest.split_first() {
            debug_assert_eq!(*first, field);
            let value = <KeyValue as prost::Message>::decode_length_delimited(&mut body);
            list.push(value.expect("what was written here reads back"));
            rest = body;
        }
        list
    }

    /// An attribute up to its value, whose message has `value` bytes.
    fn begin(&mut self, name: &str, value: usize) {
        self.out.push(self.field);
        let len = field_len(name.len()) + field_len(value);
        self.varint(len as u64);
        self.bytes(KEY, name.as_bytes());
        self.length(VALUE, value);
    }

    /// An array of one.
    fn element(&mut self, name: &str, value: &[u8]) {
        let text = lossy(value);
        let text = self.capped(name, &text);
        let element = field_len(text.len());
        let elements = field_len(element);
        self.begin(name, field_len(elements));
        self.length(ARRAY, elements);
        self.length(ELEMENT, element);
        self.bytes(STRING, text.as_bytes());
    }

    /// Elements as long as they find room; not UTF-8, they are replaced.
    fn array<'a, I>(&mut self, name: &str, values: impl Fn() -> I)
    where
        I: Iterator<Item = Cow<'a, [u8]>>,
    {
        let (mut elements, mut room, mut kept) = (0, names::MAX_ARRAY, 0);
        let mut whole = true;
        for value in values() {
            let (len, all) = shown(&value, |text| text.len());
            let Some(left) = room.checked_sub(len) else {
                whole = false;
                break;
            };
            room = left;
            kept += 1;
            whole &= all;
            elements += field_len(field_len(len));
        }
        if !whole {
            self.cut(name);
        }
        self.begin(name, field_len(elements));
        self.length(ARRAY, elements);
        for value in values().take(kept) {
            shown(&value, |text| {
                self.length(ELEMENT, field_len(text.len()));
                self.bytes(STRING, text.as_bytes());
            });
        }
    }

    /// Something of this attribute is missing.
    fn cut(&mut self, name: &str) {
        if self.truncated.last().is_none_or(|last| last != name) {
            self.truncated.push(name.to_owned());
        }
    }

    fn length(&mut self, key: u8, len: usize) {
        self.out.push(key);
        self.varint(len as u64);
    }

    fn varint(&mut self, value: u64) {
        match value {
            // Nearly all.
            ..0x80 => self.out.push(value as u8),
            0x80..0x4000 => self
                .out
                .extend_from_slice(&[value as u8 | 0x80, (value >> 7) as u8]),
            _ => encode_varint(value, &mut self.out),
        }
    }

    fn bytes(&mut self, key: u8, bytes: &[u8]) {
        self.length(key, bytes.len());
        self.out.extend_from_slice(bytes);
    }

    fn capped<'v>(&mut self, name: &str, value: &'v str) -> &'v str {
        if value.len() > names::MAX_VALUE {
            self.cut(name);
        }
        cut(value)
    }
}

/// An IPv4 address in text (RFC 6943 §3.1.1), and its length. What formats numbers of any width takes ten times as long.
fn dotted(octets: [u8; 4]) -> ([u8; 15], usize) {
    let mut text = [b'.'; 15];
    let mut len = 0;
    let mut put = |byte: u8| {
        text[len] = byte;
        len += 1;
    };
    for (index, octet) in octets.into_iter().enumerate() {
        if index > 0 {
            put(b'.');
        }
        if octet >= 100 {
            put(b'0' + octet / 100);
        }
        if octet >= 10 {
            put(b'0' + octet / 10 % 10);
        }
        put(b'0' + octet % 10);
    }
    (text, len)
}

/// Names of header fields, each as a bit: what was seen once is known for certain to be alone.
#[derive(Default)]
struct Seen {
    once: [u64; WORDS],
    twice: [u64; WORDS],
}

/// Bits are so many times 64.
const WORDS: usize = 8;

impl Seen {
    fn add(&mut self, name: &[u8]) {
        let (word, bit) = Seen::place(name);
        self.twice[word] |= self.once[word] & bit;
        self.once[word] |= bit;
    }

    fn perhaps_twice(&self, name: &[u8]) -> bool {
        let (word, bit) = Seen::place(name);
        self.twice[word] & bit != 0
    }

    /// The same for names that differ in case alone.
    fn place(name: &[u8]) -> (usize, u64) {
        let at = |index: usize| name.get(index).map_or(0, |b| u64::from(b | 0x20));
        let (len, last) = (name.len(), name.len().wrapping_sub(1));
        let letters = [
            at(0),
            at(len / 3),
            at(len / 2),
            at(last.wrapping_sub(2)),
            at(last),
        ];
        let sum = letters.iter().fold(len as u64, |sum, b| sum << 8 ^ b);
        // The upper bits of a product depend on all of its bits (Fibonacci hashing).
        let hash = sum.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55;
        ((hash as usize / 64) % WORDS, 1 << (hash % 64))
    }
}

/// What is not UTF-8 is replaced. Most of what is seen is ASCII, which the check alone reads many bytes at a time.
pub fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

fn cut(value: &str) -> &str {
    &value[..value.floor_char_boundary(names::MAX_VALUE)]
}

/// What `take` makes of a value as it is shown, and whether that is all of it.
fn shown<T>(value: &[u8], take: impl FnOnce(&str) -> T) -> (T, bool) {
    let text = lossy(value);
    (take(cut(&text)), text.len() <= names::MAX_VALUE)
}
