//! Frames of the kernel programs. Before kernel 6.13 those of a program and of all that it calls, one inside of the
//! other, may have 512 bytes in all, each rounded up to 32; and 8 may be inside of each other. A newer kernel gives each
//! frame a stack of its own, so that a program that loads here may not load there.

use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SymbolKind};
use std::collections::{BTreeMap, BTreeSet};

const OBJECT: &str = concat!(env!("OUT_DIR"), "/plainspan.bpf.o");
const STACK: u64 = 512;
const FRAMES: usize = 8;
/// `MAX_BPF_STACK` is shared out in pieces of this size.
const ROUND: u64 = 32;

const INSTRUCTION: u64 = 8;
const CALL: u8 = 0x85;
/// In the upper half of the registers of a call: to another function of the object.
const PSEUDO_CALL: u8 = 1;
const LOAD_ADDRESS: u8 = 0x18;
const MOVE: u8 = 0xbf;
const ADD_CONSTANT: u8 = 0x07;
const FRAME_POINTER: u8 = 10;

/// Section, and offset in it.
type Place = (usize, u64);

#[derive(Default)]
struct Function {
    name: String,
    is_program: bool,
    stack: u64,
    calls: BTreeSet<Place>,
}

/// All functions by where they begin.
fn functions() -> BTreeMap<Place, Function> {
    let bytes = std::fs::read(OBJECT).expect("the object that build.rs leaves");
    let file = object::File::parse(&*bytes).expect("ELF");
    let mut all = BTreeMap::new();
    for symbol in file.symbols().filter(|s| s.kind() == SymbolKind::Text) {
        let Some(index) = symbol.section_index() else {
            continue;
        };
        let section = file.section_by_index(index).expect("section");
        let code = section.data().expect("code");
        let range = symbol.address() as usize..(symbol.address() + symbol.size()) as usize;
        let mut function = Function {
            name: symbol.name().expect("name").to_owned(),
            is_program: section.name() != Ok(".text"),
            ..Function::default()
        };
        let targets: BTreeMap<u64, RelocationTarget> = section
            .relocations()
            .map(|(at, relocation)| (at, relocation.target()))
            .collect();
        // Where the target of a relocation is; `at` is in front of it.
        let target = |at: u64, addend: u64| match targets.get(&at) {
            Some(RelocationTarget::Symbol(index)) => {
                let symbol = file.symbol_by_index(*index).expect("symbol");
                let addend = match symbol.kind() {
                    SymbolKind::Section => addend,
                    _ => 0,
                };
                Some((symbol.section_index()?.0, symbol.address() + addend))
            }
            _ => None,
        };
        let mut base = None;
        for (number, word) in code[range].chunks_exact(INSTRUCTION as usize).enumerate() {
            let at = symbol.address() + number as u64 * INSTRUCTION;
            let (code, to, from) = (word[0], word[1] & 15, word[1] >> 4);
            let offset = i64::from(i16::from_le_bytes([word[2], word[3]]));
            let constant = i64::from(i32::from_le_bytes([word[4], word[5], word[6], word[7]]));
            // BPF_LDX reads through the second register, BPF_ST and BPF_STX write through the first.
            let through = match code & 7 {
                1 => Some(from),
                2 | 3 => Some(to),
                _ => None,
            };
            let mut deepest = 0;
            if through == Some(FRAME_POINTER) {
                deepest = offset;
            } else if code == ADD_CONSTANT && base == Some(to) {
                deepest = constant;
            }
            base = (code == MOVE && from == FRAME_POINTER).then_some(to);
            function.stack = function.stack.max(deepest.min(0).unsigned_abs());
            if code == CALL && from == PSEUDO_CALL {
                // Counted in instructions from behind the call.
                let distance = (constant + 1) * INSTRUCTION as i64;
                let place = target(at, distance as u64)
                    .unwrap_or_else(|| (index.0, at.wrapping_add_signed(distance)));
                function.calls.insert(place);
            } else if code == LOAD_ADDRESS
                && let Some(place) = target(at, constant as u64)
            {
                // A callback; variables and maps are filtered out by who reads this.
                function.calls.insert(place);
            }
        }
        all.insert((index.0, symbol.address()), function);
    }
    all
}

/// The deepest stack, and the most frames, from a function on.
fn depth(all: &BTreeMap<Place, Function>, at: Place) -> (u64, usize) {
    let function = &all[&at];
    let inner = function
        .calls
        .iter()
        .filter(|place| all.contains_key(place));
    let (stack, frames) = inner
        .map(|place| depth(all, *place))
        .fold((0, 0), |(stack, frames), (inner, more)| {
            (stack.max(inner), frames.max(more))
        });
    let own = function.stack.max(1).next_multiple_of(ROUND);
    (own + stack, frames + 1)
}

#[test]
fn frames_of_every_program_fit_what_kernels_before_6_13_have() {
    let all = functions();
    let programs = all.iter().filter(|(_, function)| function.is_program);
    let depths: Vec<_> = programs
        .map(|(place, function)| (depth(&all, *place), &function.name))
        .collect();
    assert!(depths.len() > 20, "{depths:?}");
    assert!(
        depths
            .iter()
            .any(|((stack, frames), _)| *stack > 400 && *frames > 5),
        "calls and callbacks are followed: {depths:?}"
    );
    let too_deep: Vec<_> = depths
        .iter()
        .filter(|((stack, frames), _)| *stack > STACK || *frames > FRAMES)
        .collect();
    assert!(too_deep.is_empty(), "stack and frames: {too_deep:?}");
}
