//! Header blocks: a decoder that begins late says nothing else than one that saw all; literals come back.

use super::input::Input;
use plainspan::proto::http2::hpack::{Decoder, Error, MAX_FIELDS, MAX_LIST, MAX_TABLE};

type Fields = Vec<(Option<Vec<u8>>, Option<Vec<u8>>)>;

fn decode(decoder: &mut Decoder, block: &[u8]) -> (Fields, Result<(), Error>) {
    let mut fields = Fields::new();
    let mut bytes = 0;
    let result = decoder.decode(block, |name, value| {
        bytes += name.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
        fields.push((name.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec)));
    });
    assert!(fields.len() <= MAX_FIELDS && bytes <= MAX_LIST);
    assert!(decoder.table_size() <= MAX_TABLE);
    (fields, result)
}

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let choices = input.byte();
    if choices & 0x80 != 0 {
        return come_back(input);
    }
    let begins = usize::from(choices & 7);
    let mut all = Decoder::new(true);
    let mut late = Decoder::new(false);
    let mut number = 0;
    while !input.is_empty() {
        let block = input.text();
        let (want, result) = decode(&mut all, block);
        if number == begins && choices & 8 != 0 {
            // The same as to begin here.
            late.lost_block();
        } else if number >= begins {
            let (got, late_result) = decode(&mut late, block);
            if result.is_ok() {
                assert_eq!(late_result, Ok(()), "block {number}");
                check(&got, &want);
            }
        }
        if result.is_err() {
            return check_after_loss(&mut all, input);
        }
        number += 1;
    }
}

/// What is known is true.
fn check(got: &Fields, want: &Fields) {
    assert_eq!(got.len(), want.len(), "the number of fields");
    let right = |got: &Option<Vec<u8>>, want: &Option<Vec<u8>>| got.is_none() || got == want;
    for (got, want) in got.iter().zip(want) {
        assert!(right(&got.0, &want.0) && right(&got.1, &want.1));
    }
}

/// After a loss a decoder is as good as one that begins late, and needs no older entry.
fn check_after_loss(decoder: &mut Decoder, mut input: Input<'_>) {
    decoder.lost_block();
    assert_eq!(decoder.table_size(), 0);
    while !input.is_empty() {
        let block = input.text();
        if decode(decoder, block).1.is_err() {
            return;
        }
    }
}

/// Literals, written here, come back, and again by their index.
fn come_back(mut input: Input<'_>) {
    let mut decoder = Decoder::new(true);
    while !input.is_empty() {
        let (choices, name, value) = (input.byte(), input.text(), input.text());
        let first = [0x40, 0x00, 0x10][usize::from(choices) % 3];
        let mut block = vec![first];
        for text in [name, value] {
            integer(text.len(), 7, &mut block);
            block.extend_from_slice(text);
        }
        let field = (Some(name.to_vec()), Some(value.to_vec()));
        let mut want = vec![field];
        if first == 0x40 && name.len() + value.len() + 32 <= 4096 {
            // The newest entry of the table.
            block.push(0x80 | 62);
            want.extend_from_within(..);
        }
        let (got, result) = decode(&mut decoder, &block);
        // A name is never empty; whether an empty one is known, can't be told.
        if !name.is_empty() {
            assert!(result.is_ok() && got == want, "{result:?}");
        }
        assert!(decoder.table_size() <= 4096);
    }
}

/// RFC 7541 §5.1.
fn integer(value: usize, bits: u8, out: &mut Vec<u8>) {
    let most = (1 << bits) - 1;
    if value < most {
        return out.push(value as u8);
    }
    out.push(most as u8);
    let mut rest = value - most;
    while rest >= 128 {
        out.push(0x80 | (rest % 128) as u8);
        rest /= 128;
    }
    out.push(rest as u8);
}
