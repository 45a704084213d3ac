use super::*;
use crate::probe::target::{CallResult, Probe, TlsCall};
use std::path::{Path, PathBuf};
use std::process::Command;

const LIBSSL: &str = "/usr/lib/x86_64-linux-gnu/libssl.so.3";

/// Compiles C with inline assembly into a shared library.
fn library(source: &str, flags: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (c, so) = (dir.path().join("a.c"), dir.path().join("libssl-test.so"));
    std::fs::write(&c, source).expect("source written");
    let output = Command::new("gcc")
        .args(["-shared", "-fPIC", "-O1", "-Wl,--build-id", "-o"])
        .arg(&so)
        .arg(&c)
        .args(flags)
        .output()
        .expect("gcc is installed");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "gcc: {errors}");
    (dir, so)
}

fn scanned(path: &Path) -> Scan {
    scan(&std::fs::read(path).expect("readable")).expect("scanned")
}

fn found(scan: &Scan) -> Vec<(&str, TlsCall, CallResult, &str, u64)> {
    scan.places()
        .map(|(t, p)| {
            let (call, result) = call_of(t);
            let symbol = t.symbol.as_str();
            (symbol, call, result, p.instruction.as_str(), p.offset)
        })
        .collect()
}

fn call_of(target: &Target) -> (TlsCall, CallResult) {
    match target.probe {
        Probe::Call { call, result } => (call, result),
        other => panic!("{other:?} in {}", target.symbol),
    }
}

fn symbols(scan: &Scan) -> Vec<&str> {
    scan.places().map(|(t, _)| t.symbol.as_str()).collect()
}

const EX3: CallResult = CallResult::Ex { out_arg: 3 };
const EX4: CallResult = CallResult::Ex { out_arg: 4 };
const READ_INTERNAL: &str = "ssl_read_internal (from SSL_read)";
const WRITE_INTERNAL: &str = "ssl_write_internal (from SSL_write)";

/// Functions of assembly, each a global symbol with its size.
fn assembly(functions: &[(&str, &str)]) -> String {
    let mut source = String::from("__asm__(\".text\\n\"\n");
    for (name, body) in functions {
        let body = body.replace('\n', "\\n");
        let scope = if name.starts_with("SSL_") {
            ".globl"
        } else {
            ".local"
        };
        source.push_str(&format!(
            "\"{scope} {name}\\n.type {name},@function\\n{name}:\\n{body}\\n.size {name},.-{name}\\n\"\n"
        ));
    }
    source.push_str(");\n");
    source
}

const PLAIN_3: &str = "sub $0x18,%rsp\ntest %edx,%edx\njs 1f\nmov %rsp,%rcx\nmovslq %edx,%rdx\ncall CALLEE\nadd $0x18,%rsp\n1: ret";
const EX_3: &str = "sub $8,%rsp\ncall CALLEE\nadd $8,%rsp\nret";

fn pair(reader: &'static str, writer: &'static str) -> Vec<(&'static str, String)> {
    let calls = |body: &str, callee| body.replace("CALLEE", callee);
    vec![
        (reader, "push %rbx\npop %rbx\nret".into()),
        (writer, "push %rbx\npop %rbx\nret".into()),
        ("SSL_read", calls(PLAIN_3, reader)),
        ("SSL_read_ex", calls(EX_3, reader)),
        ("SSL_write", calls(PLAIN_3, writer)),
        ("SSL_write_ex", calls(EX_3, writer)),
    ]
}

fn build(functions: &[(&str, String)], flags: &[&str]) -> Scan {
    let borrowed: Vec<(&str, &str)> = functions.iter().map(|(n, b)| (*n, b.as_str())).collect();
    let (_dir, so) = library(&assembly(&borrowed), flags);
    scanned(&so)
}

#[test]
fn debians_libssl_is_probed_at_its_internal_functions() {
    let scan = scanned(Path::new(LIBSSL));
    assert_eq!(scan.stacks.len(), 1);
    assert_eq!(scan.stacks[0].name, "openssl");
    assert_eq!(scan.build_id.as_ref().map(Vec::len), Some(20));
    assert_eq!(
        found(&scan),
        [
            (READ_INTERNAL, TlsCall::Read, EX3, "push", 0),
            (WRITE_INTERNAL, TlsCall::Write, EX3, "push", 0),
            (
                "SSL_do_handshake",
                TlsCall::Handshake,
                CallResult::None,
                "push",
                0
            ),
            ("SSL_free", TlsCall::Free, CallResult::None, "je", 3),
        ]
    );
    assert!(scan.places().all(|(_, p)| p.emulated));
}

#[test]
fn a_program_with_its_own_copy_is_found_by_its_symbols() {
    let node = Path::new("/usr/bin/node");
    let file = File::open(node).expect("node is installed");
    let began = std::time::Instant::now();
    let scan = scan_file(&file).expect("scanned");
    eprintln!("node scanned in {:?}", began.elapsed());
    let symbols = symbols(&scan);
    // Debian's own Node is a shared library that uses libssl, and then there is nothing to find in the program.
    let program = std::fs::read(node).expect("node can be read");
    if memchr::memmem::find(&program, b"\0libnode.so.").is_some() {
        assert_eq!(symbols, Vec::<&str>::new());
        return;
    }
    for needed in [
        "SSL_read",
        "SSL_read_ex",
        "SSL_write",
        "SSL_write_ex",
        "SSL_free",
    ] {
        assert!(symbols.contains(&needed), "{needed} in {symbols:?}");
    }
    assert!(
        scan.places()
            .all(|(_, p)| p.emulated && p.method == Method::Exported)
    );
}

#[test]
fn reading_parts_of_a_file_finds_the_same_as_reading_all_of_it() {
    let file = File::open(LIBSSL).expect("libssl is installed");
    let parts = scan_file(&file).expect("scanned");
    assert_eq!(parts, scanned(Path::new(LIBSSL)));
}

#[test]
fn targets_are_at_the_functions_bytes_in_the_file() {
    // `lea 0x77(%rax),%rax` marks the place: file offset and address differ in a linked library.
    let marked = [
        (
            "SSL_read",
            "push %rbx\nlea 0x77(%rax),%rax\npop %rbx\nret".to_owned(),
        ),
        (
            "SSL_write",
            "push %rbp\nlea 0x77(%rax),%rax\npop %rbp\nret".to_owned(),
        ),
    ];
    let borrowed: Vec<(&str, &str)> = marked.iter().map(|(n, b)| (*n, b.as_str())).collect();
    let shifted = ["-Wl,-Ttext-segment=0x7000000"];
    let (_dir, so) = library(&assembly(&borrowed), &shifted);
    let bytes = std::fs::read(so).expect("readable");
    let scan = scan(&bytes).expect("scanned");
    let targets = scan.targets();
    assert_eq!(targets.len(), 2);
    for (target, push) in std::iter::zip(&targets, [0x53, 0x55]) {
        let at = usize::try_from(target.file_offset).expect("fits");
        assert_eq!(bytes[at..at + 5], [push, 0x48, 0x8d, 0x40, 0x77]);
    }
}

#[test]
fn versioned_and_stripped_libraries_are_found() {
    let functions = pair("r", "w");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let map = dir.path().join("map");
    std::fs::write(&map, "V_1 { global: SSL_*; local: *; };").expect("written");
    let script = format!("-Wl,--version-script={}", map.display());
    for flags in [&[script.as_str()][..], &[script.as_str(), "-s"]] {
        let scan = build(&functions, flags);
        let symbols = symbols(&scan);
        assert_eq!(symbols, [READ_INTERNAL, WRITE_INTERNAL]);
    }
}

#[test]
fn openssl_3_3_passes_the_count_through_the_fifth_argument() {
    let mut functions = pair("r", "w");
    functions.truncate(4);
    functions.extend([
        (
            "SSL_write",
            "sub $0x18,%rsp\ntest %edx,%edx\njs 1f\nxor %ecx,%ecx\nmovslq %edx,%rdx\nlea 8(%rsp),%r8\ncall w\n\
             add $0x18,%rsp\n1: ret"
                .to_owned(),
        ),
        ("SSL_write_ex2", "sub $8,%rsp\ncall w\nadd $8,%rsp\nret".to_owned()),
        ("SSL_write_ex", "mov %rcx,%r8\nxor %ecx,%ecx\njmp SSL_write_ex2@PLT".to_owned()),
    ]);
    for flags in [&[][..], &["-Wl,-z,ibtplt"], &["-s"]] {
        let scan = build(&functions, flags);
        assert_eq!(
            found(&scan),
            [
                (READ_INTERNAL, TlsCall::Read, EX3, "push", 0),
                (WRITE_INTERNAL, TlsCall::Write, EX4, "push", 0),
            ],
            "{flags:?}"
        );
    }
}

#[test]
fn where_the_callers_disagree_the_exported_functions_are_probed() {
    let exported = |functions: &[(&str, String)]| {
        let scan = build(functions, &[]);
        let is_read = |t: &Target| call_of(t).0 == TlsCall::Read;
        let read: Vec<String> = scan
            .places()
            .filter(|(t, p)| is_read(t) && p.method == Method::Exported)
            .map(|(t, _)| t.symbol.clone())
            .collect();
        read
    };
    let both = ["SSL_read", "SSL_read_ex"];
    let mut other = pair("r", "w");
    other[2].1 = PLAIN_3.replace("CALLEE", "w");
    assert_eq!(exported(&other), both, "another callee");
    let mut changed = pair("r", "w");
    changed[3].1 = "sub $8,%rsp\nxor %edx,%edx\ncall r\nadd $8,%rsp\nret".to_owned();
    assert_eq!(
        exported(&changed),
        both,
        "an argument changed before the call"
    );
    let mut dear = pair("r", "w");
    dear[0].1 = "sub $8,%rsp\nadd $8,%rsp\nret".to_owned();
    assert_eq!(exported(&dear), both, "the internal function is no cheaper");
    let mut peeks = pair("r", "w");
    peeks.push(("SSL_peek", PLAIN_3.replace("CALLEE", "r")));
    assert_eq!(exported(&peeks), both, "peeking goes through it too");
}

#[test]
fn bytes_that_pass_two_exported_functions_are_seen_once() {
    // As in LibreSSL and AWS-LC: the `_ex` function calls the plain one, here through the linkage table.
    let functions = [
        ("SSL_read", "push %rbx\npop %rbx\nret".to_owned()),
        (
            "SSL_read_ex",
            "push %rbx\ncall SSL_read@PLT\npop %rbx\nret".to_owned(),
        ),
        ("SSL_write", "push %rbx\npop %rbx\nret".to_owned()),
        (
            "SSL_write_ex",
            "push %rbx\ncall *SSL_write@GOTPCREL(%rip)\npop %rbx\nret".to_owned(),
        ),
        ("SSL_do_handshake", "push %rbx\npop %rbx\nret".to_owned()),
        ("SSL_connect", "jmp SSL_do_handshake@PLT".to_owned()),
        ("SSL_accept", "push %rbx\npop %rbx\nret".to_owned()),
    ];
    let scan = build(&functions, &[]);
    let symbols = symbols(&scan);
    assert_eq!(
        symbols,
        ["SSL_read", "SSL_write", "SSL_do_handshake", "SSL_accept"]
    );
}

#[test]
fn a_file_that_only_uses_or_half_defines_the_functions_is_no_target() {
    let uses = "int SSL_read(void*,void*,int); int SSL_write(void*,void*,int);\
                int f(void*p){return SSL_read(p,p,1)+SSL_write(p,p,1);}";
    let half = "int SSL_read(void*p,void*q,int n){return n;} int SSL_writex(void){return 1;}";
    let data = "int SSL_read = 1, SSL_write = 2;";
    for source in [uses, half, data] {
        let (_dir, so) = library(source, &[]);
        let scan = scanned(&so);
        assert_eq!(scan.stacks, [], "{source}");
    }
}

#[test]
fn what_is_no_x86_64_program_is_refused_with_a_reason() {
    assert!(matches!(scan(b"#!/bin/sh\n"), Err(ScanError::NotElf)));
    assert!(matches!(scan(b""), Err(ScanError::NotElf)));
    let mut bytes = std::fs::read(LIBSSL).expect("libssl is installed");
    bytes[4] = 1;
    assert!(matches!(scan(&bytes), Err(ScanError::Unsupported(_))));
    bytes[4] = 2;
    bytes[18] = 183;
    assert!(matches!(scan(&bytes), Err(ScanError::Unsupported(_))));
    assert!(matches!(scan(&bytes[..40]), Err(ScanError::Damaged(_))));
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

/// Every target of a damaged file must still lie in it.
fn harmless(bytes: &[u8]) {
    if let Ok(scan) = scan(bytes) {
        for stack in &scan.stacks {
            assert_eq!(stack.targets.len(), stack.placements.len());
        }
        for target in scan.targets() {
            assert!(usize::try_from(target.file_offset).is_ok_and(|at| at < bytes.len()));
        }
    }
}

#[test]
fn damaged_files_never_make_it_panic() {
    let (_dir, so) = library(
        &assembly(
            &pair("r", "w")
                .iter()
                .map(|(n, b)| (*n, b.as_str()))
                .collect::<Vec<_>>(),
        ),
        &[],
    );
    let whole = std::fs::read(so).expect("readable");
    for cut in 0..whole.len() {
        harmless(&whole[..cut]);
    }
    let mut number = numbers(0x9e37_79b9_7f4a_7c15);
    for round in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..=number(4) {
            // Half of the hits go to the headers, where damage matters most.
            let below = if round % 2 == 0 { 0x400 } else { bytes.len() };
            let at = number(below.min(bytes.len()));
            bytes[at] = [0, 0xff, 0x7f, 0x80, 1][number(5)];
        }
        harmless(&bytes);
    }
}

#[test]
fn a_damaged_real_library_never_makes_it_panic() {
    let whole = std::fs::read(LIBSSL).expect("libssl is installed");
    let mut number = numbers(42);
    for _ in 0..60 {
        harmless(&whole[..number(whole.len())]);
        let mut bytes = whole.clone();
        for _ in 0..8 {
            let below = if number(2) == 0 { 0x800 } else { bytes.len() };
            let at = number(below);
            bytes[at] ^= 1 << number(8);
        }
        harmless(&bytes);
    }
}

#[test]
fn gnutls_is_probed_once_for_each_byte() {
    let scan = scanned(Path::new("/usr/lib/x86_64-linux-gnu/libgnutls.so.30"));
    assert_eq!(scan.stacks.len(), 1);
    assert_eq!(scan.stacks[0].name, "gnutls");
    let symbols = symbols(&scan);
    for needed in [
        "gnutls_record_recv",
        "gnutls_record_recv_seq",
        "gnutls_record_send2",
        "gnutls_handshake",
        "gnutls_record_uncork",
        "gnutls_deinit",
    ] {
        assert!(symbols.contains(&needed), "{needed} in {symbols:?}");
    }
    // It goes on in the one with the longer name.
    assert!(!symbols.contains(&"gnutls_record_send"), "{symbols:?}");
    let free = |(t, _): &(&Target, &Placement)| t.symbol == "gnutls_deinit";
    let (_, deinit) = scan.places().find(free).expect("there");
    assert!(deinit.emulated, "{deinit:?}");
}

#[test]
fn nss_is_found_in_both_of_its_libraries() {
    let nspr = scanned(Path::new("/usr/lib/x86_64-linux-gnu/libnspr4.so"));
    let expected = ["PR_Read", "PR_Recv", "PR_Write", "PR_Send", "PR_Close"];
    assert_eq!(symbols(&nspr), expected);
    assert_eq!(nspr.stacks[0].name, "nss");
    let ssl = scanned(Path::new("/usr/lib/x86_64-linux-gnu/libssl3.so"));
    let symbols = symbols(&ssl);
    assert!(symbols.contains(&"SSL_ImportFD"), "{symbols:?}");
    assert_eq!((ssl.stacks.len(), ssl.stacks[0].name), (1, "nss"));
}

#[test]
fn a_library_that_passes_on_to_gnutls_is_left_to_gnutls() {
    let source = "int gnutls_record_recv(void *, void *, int);\n\
        int SSL_read(void *s, void *b, int n) { return gnutls_record_recv(s, b, n); }\n\
        int SSL_write(void *s, void *b, int n) { return n; }\n";
    let (_dir, so) = library(source, &["-Wl,--unresolved-symbols=ignore-all"]);
    assert_eq!(scanned(&so).stacks, []);
    let (_dir, so) = library(&source.replace("gnutls_record_recv", "other"), &[]);
    assert_eq!(scanned(&so).stacks.len(), 1);
}

#[test]
fn s2n_is_found_by_its_symbols() {
    let source = "long s2n_recv(void *c, char *b, long n, int *blocked) { b[0] = n; return n; }\n\
        long s2n_send(void *c, char *b, long n, int *blocked) { *blocked = b[0]; return n; }\n\
        int s2n_negotiate(void *c, int *blocked) { *blocked = 1; return 0; }\n\
        int s2n_connection_free(int *c) { *c = 2; return 0; }\n";
    let (_dir, so) = library(source, &[]);
    let scan = scanned(&so);
    assert_eq!((scan.stacks.len(), scan.stacks[0].name), (1, "s2n"));
    let mut symbols = symbols(&scan);
    symbols.sort_unstable();
    let expected = [
        "s2n_connection_free",
        "s2n_negotiate",
        "s2n_recv",
        "s2n_send",
    ];
    assert_eq!(symbols, expected);
    let (_dir, so) = library(&source.replace("s2n_send", "s2n_sends"), &[]);
    assert_eq!(scanned(&so).stacks, []);
}
