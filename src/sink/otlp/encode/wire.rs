//! Fields of protobuf messages, written by hand where a message type would have to own all that is written.

use bytes::BufMut;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

/// Bytes of a field with a length and a number below 16.
pub fn field_len(content: usize) -> usize {
    1 + encoded_len_varint(content as u64) + content
}

/// A field with a length, up to its content of `len` bytes.
pub fn begin(out: &mut impl BufMut, number: u32, len: usize) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(len as u64, out);
}

/// A field of bytes, of text, or of a message that is encoded already.
pub fn bytes(out: &mut impl BufMut, number: u32, content: &[u8]) {
    begin(out, number, content.len());
    out.put_slice(content);
}

/// The same, left out where it is empty, as proto3 has it.
pub fn unless_empty(out: &mut impl BufMut, number: u32, content: &[u8]) {
    if !content.is_empty() {
        bytes(out, number, content);
    }
}

/// A field of an enum or an unsigned integer.
pub fn varint(out: &mut impl BufMut, number: u32, value: u64) {
    encode_key(number, WireType::Varint, out);
    encode_varint(value, out);
}

pub fn fixed64(out: &mut impl BufMut, number: u32, value: u64) {
    encode_key(number, WireType::SixtyFourBit, out);
    out.put_u64_le(value);
}

pub fn fixed32(out: &mut impl BufMut, number: u32, value: u32) {
    encode_key(number, WireType::ThirtyTwoBit, out);
    out.put_u32_le(value);
}
