//! Real programs, and small ones made here: of each form of the table, damaged, and with code that does not agree.

use super::{CLIENT, CLOSE, READ, RECORD, SERVER, WRITE};
use crate::probe::elf::{Scan, Stack, scan, scan_file};
use crate::probe::target::{GoPoint, Probe};
use object::{Object, ObjectSymbol};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Builds of `tests/programs/go` by `tests/setup.sh`.
const NEW: [&str; 3] = ["new", "new-pie", "new-cgo"];
const OLD: [&str; 3] = ["old", "old-pie", "old-symbols"];

fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/go")
        .join(name);
    let found = path.exists();
    assert!(found, "{} is missing: run tests/setup.sh", path.display());
    path
}

fn only(scan: Scan) -> Stack {
    assert_eq!(scan.stacks.len(), 1, "{scan:?}");
    let stack = scan.stacks.into_iter().next().expect("looked at above");
    assert_eq!(stack.name, "go");
    stack
}

fn points(stack: &Stack) -> Vec<(&str, GoPoint)> {
    let point = |probe: Probe| match probe {
        Probe::Go(point) => point,
        other => panic!("{other:?} in {stack:?}"),
    };
    let all = stack
        .targets
        .iter()
        .map(|t| (t.symbol.as_str(), point(t.probe)));
    all.collect()
}

/// Every place is one instruction of its own: the branch of a stack check, or a `ret`.
fn at_instructions(stack: &Stack, file: &[u8]) {
    let offsets: BTreeSet<u64> = stack.targets.iter().map(|t| t.file_offset).collect();
    assert_eq!(offsets.len(), stack.targets.len(), "a place twice");
    for (target, placement) in stack.places() {
        let at = usize::try_from(target.file_offset).expect("fits");
        assert_eq!(file[at], placement.file_byte);
        let code = &file[at..at + 2];
        let returns = target.probe == Probe::Go(GoPoint::Return);
        let right = match returns {
            true => code[0] == 0xc3,
            // jbe, near or far.
            false => code[0] == 0x76 || code == [0x0f, 0x86],
        };
        assert!(right, "{code:x?} at {target:?}");
        assert_eq!(placement.emulated, !returns);
    }
}

fn found_in_full(stack: &Stack, version: &str) {
    assert_eq!(stack.refused, None);
    assert_eq!(stack.version.as_deref(), Some(version));
    let points = points(stack);
    let entries: Vec<_> = points
        .iter()
        .filter(|(_, p)| *p != GoPoint::Return)
        .collect();
    let wanted = [
        (READ, GoPoint::Read),
        (RECORD, GoPoint::Record),
        (CLIENT, GoPoint::Handshake),
        (SERVER, GoPoint::Handshake),
        (CLOSE, GoPoint::Close),
    ];
    assert_eq!(entries, wanted.iter().collect::<Vec<_>>());
    let returns = |name: &str| {
        points
            .iter()
            .filter(|p| **p == (name, GoPoint::Return))
            .count()
    };
    assert!(returns(READ) >= 5, "{points:?}");
    assert!(returns(CLIENT) >= 3 && returns(SERVER) >= 3, "{points:?}");
    assert_eq!(returns(RECORD) + returns(CLOSE) + returns(WRITE), 0);
}

fn without_sections(mut file: Vec<u8>) -> Vec<u8> {
    file[40..48].fill(0);
    file[60..64].fill(0);
    file
}

#[test]
fn programs_of_two_versions_are_found_in_every_form_with_and_without_section_headers() {
    for (names, version) in [(NEW, "go1.27.3"), (OLD, "go1.19.8")] {
        for name in names {
            let file = std::fs::read(program(name)).expect("readable");
            let stack = only(scan(&file).expect(name));
            found_in_full(&stack, version);
            at_instructions(&stack, &file);
            let bare = without_sections(file);
            assert_eq!(only(scan(&bare).expect(name)), stack, "{name}");
        }
    }
}

#[test]
fn functions_are_where_the_symbols_say() {
    let file = std::fs::read(program("old-symbols")).expect("readable");
    let elf = object::File::parse(&*file).expect("an ELF file");
    let stack = only(scan(&file).expect("scanned"));
    for (target, placement) in stack.places() {
        let mut symbols = elf
            .symbols()
            .filter(|s| s.name() == Ok(target.symbol.as_str()));
        let symbol = symbols.next().expect("a symbol");
        let end = symbol.address() + symbol.size();
        // The code of a program that is not moved is at 0x400000 more than in the file.
        let place = target.file_offset + 0x40_0000;
        assert_eq!(place - placement.offset, symbol.address());
        assert!(place < end, "{target:?}");
    }
}

#[test]
fn caddy_is_scanned_in_time() {
    let venv = std::env::var_os("PLAINSPAN_TEST_VENV").map(PathBuf::from);
    let venv =
        venv.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-venv"));
    let file = std::fs::File::open(venv.join("bin/caddy")).expect("run tests/setup.sh");
    let began = Instant::now();
    let stack = only(scan_file(&file).expect("scanned"));
    let took = began.elapsed();
    eprintln!("caddy scanned in {took:?}");
    found_in_full(&stack, "go1.26.8");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// A small program. Its code is at the same offset in the file as in memory, but for `BASE`.
struct Small {
    layout: u8,
    version: &'static str,
    /// The header says where the code begins (Go 1.18 to 1.25).
    says_text: bool,
    functions: Vec<(&'static str, Vec<u8>)>,
}

const BASE: u64 = 0x40_0000;
const TEXT: u64 = 0x1000;
/// What a linker that is not Go's puts in front of Go's code.
const FOREIGN: u64 = 0x40;
const FUNCTION: u64 = 0x40;
const TABLE: u64 = 0x2000;
const DATA: u64 = 0x3000;

/// The check of the stack, `body`, and the other end of the check, which saves four registers and calls the function at
/// index 0.
fn checked(index: u64, body: &[u8]) -> Vec<u8> {
    let mut code = vec![
        0x49,
        0x3b,
        0x66,
        0x10,
        0x76,
        u8::try_from(body.len()).expect("short"),
    ];
    code.extend(body);
    for (register, at) in [(0x44, 8), (0x5c, 0x10), (0x4c, 0x18), (0x7c, 0x20)] {
        code.extend([0x48, 0x89, register, 0x24, at]);
    }
    code.push(0xe8);
    let after = i32::try_from(index * FUNCTION).expect("near") + code.len() as i32 + 4;
    code.extend((-after).to_le_bytes());
    code.push(0xeb);
    code.push((-(code.len() as i32 + 1)) as i8 as u8);
    code
}

/// A call, as the first instruction behind five others in a checked function, of the function at index `to`.
fn call(from: u64, at: u64, to: u64) -> Vec<u8> {
    let distance = (to * FUNCTION) as i32 - (from * FUNCTION + at + 5) as i32;
    [vec![0xe8], distance.to_le_bytes().to_vec()].concat()
}

impl Small {
    fn new(layout: u8, version: &'static str, says_text: bool) -> Small {
        // mov ebx,23; call; ret
        let write = [vec![0xbb, 23, 0, 0, 0], call(3, 11, 2), vec![0xc3]].concat();
        Small {
            layout,
            version,
            says_text,
            functions: vec![
                ("runtime.morestack_noctxt", vec![0xc3]),
                (READ, checked(1, &[0x90, 0xc3, 0xc3])),
                (RECORD, checked(2, &[0xc3])),
                (WRITE, checked(3, &write)),
                (CLOSE, checked(4, &[0xc3])),
                (SERVER, checked(5, &[0xc3])),
            ],
        }
    }

    fn table(&self) -> Vec<u8> {
        let count = self.functions.len() as u64;
        let wide = self.layout == 0xfa;
        let mut names = vec![0];
        let mut list: Vec<u64> = Vec::new();
        let mut described: Vec<u8> = Vec::new();
        let entry = |index: u64| index * FUNCTION + if wide { BASE + TEXT + FOREIGN } else { 0 };
        let list_size = if wide { 16 * count + 8 } else { 8 * count + 4 };
        for (index, (name, _)) in (0..).zip(&self.functions) {
            list.extend([entry(index), list_size + described.len() as u64]);
            match wide {
                true => described.extend(entry(index).to_le_bytes()),
                false => described.extend((entry(index) as u32).to_le_bytes()),
            }
            described.extend((names.len() as u32).to_le_bytes());
            names.extend([name.as_bytes(), b"\0"].concat());
        }
        list.push(entry(count));
        let text = if self.says_text {
            BASE + TEXT + FOREIGN
        } else {
            0
        };
        let (header, after) = (72, 72 + names.len() as u64);
        let words = match wide {
            true => [count, 1, header, after, after, after, after, 0],
            false => [count, 1, text, header, after, after, after, after],
        };
        let mut table = vec![self.layout, 0xff, 0xff, 0xff, 0, 0, 1, 8];
        table.extend(words.iter().flat_map(|w| w.to_le_bytes()));
        table.extend(names);
        for number in list {
            match wide {
                true => table.extend(number.to_le_bytes()),
                false => table.extend((number as u32).to_le_bytes()),
            }
        }
        table.extend(described);
        table
    }

    fn code(&self) -> Vec<u8> {
        let mut code = vec![0xcc; FOREIGN as usize];
        for (_, function) in &self.functions {
            let mut function = function.clone();
            assert!(
                function.len() <= FUNCTION as usize,
                "a function is too long"
            );
            function.resize(FUNCTION as usize, 0xcc);
            code.extend(function);
        }
        code
    }

    fn data(&self) -> Vec<u8> {
        let mut data = b"\xff Go buildinf:\x08\x02".to_vec();
        data.resize(32, 0);
        data.push(self.version.len() as u8);
        data.extend(self.version.as_bytes());
        data.resize(data.len().next_multiple_of(8), 0);
        // As in runtime.moduledata.
        let first = BASE + TEXT + FOREIGN;
        let last = first + self.functions.len() as u64 * FUNCTION;
        data.extend([first, last].iter().flat_map(|w| w.to_le_bytes()));
        data
    }

    fn file(&self) -> Vec<u8> {
        let parts = [
            (5, TEXT, self.code()),
            (4, TABLE, self.table()),
            (6, DATA, self.data()),
        ];
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(64, 0);
        file[16..18].copy_from_slice(&2u16.to_le_bytes());
        file[18..20].copy_from_slice(&62u16.to_le_bytes());
        file[32..40].copy_from_slice(&64u64.to_le_bytes());
        file[54..56].copy_from_slice(&56u16.to_le_bytes());
        file[56..58].copy_from_slice(&3u16.to_le_bytes());
        for (flags, at, bytes) in &parts {
            file.extend(1u32.to_le_bytes());
            file.extend(u32::to_le_bytes(*flags));
            let size = bytes.len() as u64;
            let words = [*at, BASE + at, BASE + at, size, size, 0x1000];
            file.extend(words.iter().flat_map(|w| w.to_le_bytes()));
        }
        for (_, at, bytes) in parts {
            file.resize(at as usize, 0);
            file.extend(bytes);
        }
        file
    }

    fn stack(&self) -> Stack {
        only(scan(&self.file()).expect("scanned"))
    }

    fn set(&mut self, name: &str, code: Vec<u8>) {
        let function = self.functions.iter_mut().find(|(n, _)| *n == name);
        function.expect("one of them").1 = code;
    }

    fn rename(&mut self, name: &str, to: &'static str) {
        let function = self.functions.iter_mut().find(|(n, _)| *n == name);
        function.expect("one of them").0 = to;
    }
}

/// What a small program's places must be.
const PLACES: [(&str, GoPoint); 7] = [
    (READ, GoPoint::Read),
    (READ, GoPoint::Return),
    (READ, GoPoint::Return),
    (RECORD, GoPoint::Record),
    (SERVER, GoPoint::Handshake),
    (SERVER, GoPoint::Return),
    (CLOSE, GoPoint::Close),
];

#[test]
fn every_form_of_the_table_that_such_programs_have_is_read() {
    for (layout, version, says_text) in [
        (0xfa, "go1.17.13", false),
        (0xf0, "go1.18.10", true),
        (0xf0, "go1.19.8", false),
        (0xf1, "go1.25.5", true),
        (0xf1, "go1.27.3", false),
        (0xf1, "devel go1.29-0a1b2c3d", false),
        (0xf1, "devel +0a1b2c3d", false),
        (0xf1, "", false),
    ] {
        let small = Small::new(layout, version, says_text);
        let stack = small.stack();
        assert_eq!(stack.refused, None, "{version}");
        assert_eq!(stack.version.unwrap_or_default(), version);
        let stack = small.stack();
        assert_eq!(points(&stack), PLACES, "{version}");
        at_instructions(&stack, &small.file());
    }
}

#[test]
fn programs_whose_arguments_are_on_the_stack_say_so() {
    let wide = Small::new(0xfa, "go1.16.15", false).stack();
    let reason = wide.refused.expect("refused");
    assert!(
        reason.contains("go1.16.15") && reason.contains("1.17"),
        "{reason}"
    );
    let mut first = Small::new(0xf1, "go1.15.2", false).file();
    // The oldest form has its names among its functions.
    first[TABLE as usize] = 0xfb;
    let reason = only(scan(&first).expect("scanned"))
        .refused
        .expect("refused");
    assert!(reason.contains("go1.15.2"), "{reason}");
}

#[test]
fn a_program_without_tls_is_none_and_one_without_a_table_says_so() {
    let mut small = Small::new(0xf1, "go1.27.3", false);
    small.rename(READ, "main.read");
    assert_eq!(scan(&small.file()).expect("scanned").stacks, []);
    let mut file = Small::new(0xf1, "go1.27.3", false).file();
    file[TABLE as usize] = 0x12;
    let stack = only(scan(&file).expect("scanned"));
    assert!(stack.refused.expect("refused").contains("function table"));
    assert_eq!(stack.targets, []);
}

#[test]
fn where_records_are_made_in_another_way_the_write_is_probed() {
    let mut small = Small::new(0xf1, "go1.99", false);
    small.rename(RECORD, "crypto/tls.(*Conn).writeRecord");
    let stack = small.stack();
    assert!(
        points(&stack).contains(&(WRITE, GoPoint::Write)),
        "{stack:?}"
    );
    let mut small = Small::new(0xf1, "go1.99", false);
    // Not the type of a record.
    let write = [vec![0xbb, 24, 0, 0, 0], call(3, 11, 2), vec![0xc3]].concat();
    small.set(WRITE, checked(3, &write));
    let stack = small.stack();
    assert!(
        points(&stack).contains(&(WRITE, GoPoint::Write)),
        "{stack:?}"
    );
}

#[test]
fn code_that_is_not_what_the_compiler_makes_is_refused() {
    let good = checked(1, &[0x90, 0xc3, 0xc3]);
    let changed = |at: usize, byte: u8| {
        let mut code = good.clone();
        code[at] = byte;
        code
    };
    let last = good.len() - 1;
    let cases = [
        ("no check", vec![0x90, 0xc3]),
        ("another limit", changed(3, 0x18)),
        ("another register", changed(2, 0x67)),
        ("another branch", changed(4, 0x77)),
        ("no way back", changed(last, 0)),
        ("another function for more stack", changed(31, 0x12)),
        (
            "no return",
            changed(7, 0x90)
                .into_iter()
                .map(|b| if b == 0xc3 { 0x90 } else { b })
                .collect(),
        ),
        ("no instruction", checked(1, &[0x06, 0xc3])),
        (
            "a branch into an instruction",
            checked(1, &[0xeb, 1, 0xb8, 0x90, 0x90, 0x90, 0x90, 0xc3]),
        ),
        ("a branch out of it", checked(1, &[0x74, 0x70, 0xc3])),
        ("a loop to the check", checked(1, &[0x74, 0xf8, 0xc3])),
    ];
    for (what, code) in cases {
        let mut small = Small::new(0xf1, "go1.27.3", true);
        small.set(READ, code);
        let stack = small.stack();
        assert!(stack.refused.is_some(), "{what}: {stack:?}");
        assert_eq!(stack.targets, [], "{what}");
    }
    // The same in a function that is looked at later: all or nothing.
    let mut small = Small::new(0xf1, "go1.27.3", true);
    small.set(CLOSE, vec![0x90, 0xc3]);
    let stack = small.stack();
    assert!(stack.refused.expect("refused").contains(CLOSE));
    assert_eq!(stack.targets, []);
}

#[test]
fn a_name_that_two_functions_have_is_none() {
    let mut small = Small::new(0xf1, "go1.27.3", true);
    small.rename(SERVER, CLOSE);
    let stack = small.stack();
    // The handshake is not in it, and which of the two ends a connection cannot be told.
    assert!(
        !points(&stack).iter().any(|(name, _)| *name == CLOSE),
        "{stack:?}"
    );
}

/// A repeatable stream of numbers (xorshift64).
fn numbers(mut state: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).expect("below a usize")
    }
}

/// Whatever was damaged: no panic, and no place that is not an instruction of its kind.
fn harmless(file: &[u8]) {
    if let Ok(scan) = scan(file) {
        for stack in &scan.stacks {
            at_instructions(stack, file);
        }
    }
}

#[test]
fn damaged_programs_never_make_it_panic_or_probe_what_is_no_instruction() {
    let whole = Small::new(0xf1, "go1.27.3", false).file();
    for cut in 0..whole.len() {
        harmless(&whole[..cut]);
    }
    let places = [
        0..64 + 3 * 56,
        TEXT as usize..TEXT as usize + 0x200,
        TABLE as usize..TABLE as usize + 0x200,
        DATA as usize..whole.len(),
    ];
    let mut number = numbers(0x9e37_79b9_7f4a_7c15);
    for round in 0..20_000 {
        let mut file = whole.clone();
        let place = places[round % places.len()].clone();
        for _ in 0..=number(3) {
            let at = place.start + number(place.len());
            file[at] = [
                0,
                0xff,
                0x7f,
                0x80,
                1,
                file[at] ^ 4,
                file[at].wrapping_add(1),
            ][number(7)];
        }
        harmless(&file);
    }
}

#[test]
fn a_damaged_real_program_never_makes_it_panic() {
    let mut file = std::fs::read(program("old")).expect("readable");
    let elf = object::File::parse(&*file).expect("an ELF file");
    let table =
        object::ObjectSection::file_range(&elf.section_by_name(".gopclntab").expect("a table"));
    let start = usize::try_from(table.expect("in the file").0).expect("fits");
    let mut number = numbers(7);
    for _ in 0..40 {
        let at = start + number(0x8000);
        let before = file[at];
        file[at] ^= 1 << number(8);
        harmless(&file);
        file[at] = before;
    }
    for _ in 0..20 {
        let cut = number(file.len());
        harmless(&file[..cut]);
    }
}
