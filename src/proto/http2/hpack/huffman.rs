//! Huffman decoding (RFC 7541 §5.2), four bits a step.

use super::Error;
use super::codes::CODES;
use std::sync::LazyLock;

const EOS: usize = 256;

/// What four bits do in one state.
#[derive(Clone, Copy, Default)]
struct Step {
    next: u8,
    /// A byte is complete.
    emit: Option<u8>,
    /// These bits lead into no code, or into end-of-string.
    invalid: bool,
}

/// The code as a state machine. A state is an inner node of the code's tree; the root is 0.
struct Machine {
    steps: Vec<[Step; 16]>,
    /// Input may end here: all bits since the last byte are ones, and fewer than eight.
    may_end: Vec<bool>,
}

/// No code shorter than four bits: one step completes one byte at the most.
static MACHINE: LazyLock<Machine> = LazyLock::new(Machine::new);

/// Decodes `input` onto the end of `out`.
///
/// # Errors
/// When the bits are no code, hold end-of-string, end in bad padding, or give more than `limit` bytes.
pub(super) fn decode(input: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), Error> {
    let machine = &*MACHINE;
    let end = out.len() + limit;
    let mut state = 0u8;
    for byte in input {
        for nibble in [byte >> 4, byte & 15] {
            let step = machine.steps[usize::from(state)][usize::from(nibble)];
            if step.invalid {
                return Err(Error::Huffman);
            }
            if let Some(byte) = step.emit {
                if out.len() == end {
                    return Err(Error::StringTooLong);
                }
                out.push(byte);
            }
            state = step.next;
        }
    }
    if machine.may_end[usize::from(state)] {
        Ok(())
    } else {
        Err(Error::Huffman)
    }
}

/// A node of the code's tree while the machine is built.
#[derive(Clone, Copy)]
enum Child {
    None,
    Inner(usize),
    Leaf(usize),
}

impl Machine {
    fn new() -> Machine {
        let tree = tree();
        let mut may_end = vec![false; tree.len()];
        let mut node = 0;
        for ones in 0..8 {
            may_end[node] = true;
            match tree[node][1] {
                Child::Inner(next) if ones < 7 => node = next,
                _ => break,
            }
        }
        let steps = (0..tree.len())
            .map(|state| std::array::from_fn(|nibble| step(&tree, state, nibble)))
            .collect();
        Machine { steps, may_end }
    }
}

fn tree() -> Vec<[Child; 2]> {
    let mut tree = vec![[Child::None; 2]];
    for (symbol, (code, len)) in CODES.iter().enumerate() {
        let mut node = 0;
        for bit in (0..*len).rev() {
            let side = (code >> bit & 1) as usize;
            if bit == 0 {
                tree[node][side] = Child::Leaf(symbol);
            } else if let Child::Inner(next) = tree[node][side] {
                node = next;
            } else {
                tree.push([Child::None; 2]);
                let next = tree.len() - 1;
                tree[node][side] = Child::Inner(next);
                node = next;
            }
        }
    }
    tree
}

fn step(tree: &[[Child; 2]], state: usize, nibble: usize) -> Step {
    let mut node = state;
    let mut emit = None;
    for bit in (0..4).rev() {
        match tree[node][nibble >> bit & 1] {
            Child::Inner(next) => node = next,
            Child::Leaf(symbol) if symbol != EOS => {
                // Cannot fail: of the 257 symbols EOS alone is above 255.
                emit = u8::try_from(symbol).ok();
                node = 0;
            }
            Child::Leaf(_) | Child::None => {
                return Step {
                    invalid: true,
                    ..Step::default()
                };
            }
        }
    }
    Step {
        // 256 inner nodes at the most: the tree of 257 leaves has exactly 256.
        next: node as u8,
        emit,
        invalid: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(text: &[u8]) -> Vec<u8> {
        let (mut bits, mut count, mut out) = (0u64, 0u32, Vec::new());
        for byte in text {
            let (code, len) = CODES[usize::from(*byte)];
            bits = bits << len | u64::from(code);
            count += u32::from(len);
            while count >= 8 {
                count -= 8;
                out.push((bits >> count) as u8);
            }
        }
        if count > 0 {
            out.push((bits << (8 - count)) as u8 | (0xff >> count));
        }
        out
    }

    fn decoded(input: &[u8]) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        decode(input, &mut out, 1 << 16).map(|()| out)
    }

    #[test]
    fn the_tree_of_257_codes_has_256_inner_nodes() {
        assert_eq!(tree().len(), 256);
    }

    #[test]
    fn rfc_7541_c_4_1() {
        let input = [
            0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
        ];
        assert_eq!(decoded(&input), Ok(b"www.example.com".to_vec()));
    }

    #[test]
    fn every_byte_survives() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decoded(&encode(&all)), Ok(all));
        for byte in 0..=255u8 {
            assert_eq!(decoded(&encode(&[byte])), Ok(vec![byte]));
        }
    }

    #[test]
    fn bad_padding_and_end_of_string_are_errors() {
        // `a` is 00011: padding of zeros.
        assert_eq!(decoded(&[0b0001_1000]), Err(Error::Huffman));
        // A whole byte of padding.
        assert_eq!(decoded(&[0b0001_1111, 0xff]), Err(Error::Huffman));
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), Err(Error::Huffman));
    }

    #[test]
    fn the_limit_holds() {
        let mut out = Vec::new();
        let input = encode(b"aaaa");
        assert_eq!(decode(&input, &mut out, 3), Err(Error::StringTooLong));
        assert!(out.len() <= 3);
    }
}
