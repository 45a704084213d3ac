use crate::probe::elf::built::{Built, LIBRARY, survives_damage};
use crate::probe::elf::{Method, Scan, Stack, scan};
use crate::probe::target::{Probe, RustlsForm, RustlsMethod, RustlsSuite};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What rustls is to the search: tables of methods, and functions that read their arguments.
const SOURCE: &str = r#"
const char *const texts[] = { "cannot decrypt peer's message", "/src/rustls-" VERSION "/src/conn.rs" };
__asm__(".text\n.fill 100000, 1, 0xcc\n"
    ".balign 16\ndrop: ret\n"
    ".balign 16\nleaf13: lea 0x11(%rsi),%rax\n ret\n"
    ".balign 16\nleaf_gcm: endbr64\n push %rbp\n mov %rsp,%rbp\n lea 0x18(%rsi),%rax\n pop %rbp\n ret\n"
    ".balign 16\nencrypt13: push %rbp\n mov %rdx,%r15\n mov %rdi,(%rsp)\n mov 0x10(%rdx),%rsi\n cmpq $0,(%rdx)\n"
    " call drop\n movzbl " TYPE "(%r15),%eax\n cmp $3,%eax\n pop %rbp\n ret\n"
    ".balign 16\ndecrypt13: push %rbx\n mov 8(%rdx),%rbx\n cmp $" LEAST ",%rbx\n jb 1f\n mov (%rdx),%rax\n1: pop %rbx\n ret\n"
    ".balign 16\nencrypt_gcm: test %rcx,%rcx\n mov %rdx,-8(%rsp)\n push %rbx\n jns 1f\n call drop\n1: mov %rdx,%rbx\n mov (%rbx),%rcx\n mov 0x18(%rbx),%rdi\n"
    " sub 0x10(%rbx),%rdi\n mov 0x20(%rbx),%al\n pop %rbx\n ret\n"
    ".balign 16\ndecrypt_gcm: mov %rdi,%rax\n cmpq $0x17,8(%rdx)\n ja 1f\n movb $6,(%rax)\n ret\n1: push %rbx\n mov (%rdx),%r8\n pop %rbx\n ret\n"
    ".balign 16\nother: push %rbx\n mov 8(%rsi),%rax\n pop %rbx\n ret\n");
extern char drop[], leaf13[], leaf_gcm[], encrypt13[], decrypt13[], encrypt_gcm[], decrypt_gcm[], other[];
#define HIDE __attribute__((visibility("hidden")))
#define N(n) ((const void *)(long)(n))
const void *const tables[] = {
    drop, N(48), N(8), decrypt13, 0, 0, 0, drop, N(48), N(8), encrypt13, leaf13,
    /* Another type with such a last method. */
    drop, N(24), N(8), other, leaf13, 0, 0,
    /* No drop function, and the two apart by another distance. */
    0, N(560), N(16), decrypt_gcm, 0, 0, 0, 0, 0, N(560), N(16), encrypt_gcm, leaf_gcm,
};
int main(void) { return tables[0] == texts; }
"#;

/// What rustls 0.21 is to the search: objects with a key of ring, and functions that make and open vectors.
const BEFORE_22: &str = r#"
const char *const texts[] = { "cannot decrypt peer's message", "/src/rustls-" VERSION "/src/conn.rs" };
__asm__(".text\n.fill 100000, 1, 0xcc\n"
    ".balign 16\ndrop: ret\n"
    ".balign 16\nencrypt13: push %rbp\n mov 8(%rdx),%r15\n mov %r15,%rbx\n add $0x11,%rbx\n jns 1f\n call drop\n"
    "1: mov (%rdx),%rax\n movzbl " TYPE "(%rdx),%eax\n pop %rbp\n ret\n"
    /* It sets the type, and does not read it. */
    ".balign 16\ndecrypt13: push %rbx\n mov %rdx,%r14\n mov 0x10(%rdx),%r13\n cmp $0x10,%r13\n jb 1f\n"
    " mov 8(%r14),%rbp\n call drop\n movb $5,0x18(%r14)\n movzbl 0x18(%r14),%eax\n1: pop %rbx\n ret\n"
    ".balign 16\nencrypt_gcm: push %rbp\n movzwl 0x12(%rdx),%esi\n movzbl " TYPE "(%rdx),%eax\n mov 8(%rdx),%rcx\n"
    " mov %rcx,0x38(%rsp)\n call drop\n mov 0x38(%rsp),%rbp\n lea " MORE "(%rbp),%rdi\n pop %rbp\n ret\n"
    ".balign 16\ndecrypt_gcm: push %rbx\n cmpq $0x17,0x10(%rdx)\n ja 1f\n pop %rbx\n ret\n"
    "1: mov (%rdx),%r8\n movzbl 0x1c(%rdx),%eax\n movzwl 0x18(%rdx),%ecx\n pop %rbx\n ret\n"
    /* No decrypt goes with it. */
    ".balign 16\nencrypt_chacha: push %rbp\n mov 8(%rdx),%rcx\n movzbl " TYPE "(%rdx),%eax\n add $0x10,%rcx\n pop %rbp\n ret\n"
    ".balign 16\nother: push %rbx\n mov 8(%rsi),%rax\n pop %rbx\n ret\n");
extern char drop[], encrypt13[], decrypt13[], encrypt_gcm[], decrypt_gcm[], encrypt_chacha[], other[];
#define N(n) ((const void *)(long)(n))
const void *const marker[] = { drop, N(0), N(1) };
const void *const tables[] = {
    drop, N(560), N(16), encrypt13, drop, N(560), N(16), decrypt13, 0, 0,
    0, N(560), N(16), decrypt_gcm, 0, N(560), N(16), encrypt_chacha, 0, 0,
    /* With a table of a trait without methods, as older compilers have it. */
    drop, N(560), N(16), marker, encrypt_gcm, 0, drop, N(560), N(16), other,
};
int main(void) { return tables[0] == texts; }
"#;
const RIGHT_BEFORE_22: [&str; 3] = [
    r#"-DTYPE="0x10""#,
    r#"-DMORE="0x18""#,
    r#"-DVERSION="0.21.12""#,
];

const PROGRAMS: [&[&str]; 4] = [
    &LIBRARY,
    &["-pie", "-fPIE"],
    &["-pie", "-fPIE", "-Wl,-z,pack-relative-relocs"],
    &["-no-pie", "-fno-pie"],
];
/// As rustls 0.23 is.
const RIGHT: [&str; 3] = [
    r#"-DTYPE="0x20""#,
    r#"-DLEAST="0x10""#,
    r#"-DVERSION="0.23.46""#,
];

fn built(flags: &[&str]) -> Vec<u8> {
    built_from(SOURCE, flags)
}

fn built_from(source: &str, flags: &[&str]) -> Vec<u8> {
    let built = Built::new(source, &[flags, &["-Wl,-Bsymbolic"]].concat());
    built.strip();
    built.bytes()
}

fn only(scan: Scan) -> Stack {
    assert_eq!(scan.stacks.len(), 1, "{scan:?}");
    let stack = scan.stacks.into_iter().next().expect("looked at above");
    assert_eq!(stack.name, "rustls");
    stack
}

fn methods(stack: &Stack) -> Vec<(RustlsMethod, RustlsSuite, u8, &str)> {
    let each = stack
        .places()
        .map(|(target, placement)| match target.probe {
            Probe::Rustls {
                method,
                suite,
                offset,
                ..
            } => (method, suite, offset, placement.instruction.as_str()),
            other => panic!("{other:?}"),
        });
    each.collect()
}

#[test]
fn a_stripped_program_is_found_however_it_is_linked() {
    use RustlsMethod::{Decrypt, Encrypt};
    use RustlsSuite::{Tls12Gcm, Tls13};
    for kind in PROGRAMS {
        let stack = only(scan(&built(&[&RIGHT, kind].concat())).expect("scanned"));
        assert_eq!(stack.version.as_deref(), Some("0.23.46"));
        assert_eq!(
            methods(&stack),
            [
                (Encrypt, Tls13, 0, "push"),
                (Decrypt, Tls13, 0, "push"),
                (Encrypt, Tls12Gcm, 8, "push"),
                // `mov rdi, rax; cmp; ja`: the arguments are all in place.
                (Decrypt, Tls12Gcm, 8, "ja"),
            ],
            "{kind:?}"
        );
        assert!(
            stack
                .placements
                .iter()
                .all(|p| p.method == Method::MethodTable && p.emulated)
        );
    }
}

#[test]
fn code_that_reads_something_else_is_not_probed() {
    for wrong in [
        // The type is elsewhere, as in rustls 0.22.
        [r#"-DTYPE="0x28""#, RIGHT[1], RIGHT[2]],
        // A `decrypt` of another suite.
        [RIGHT[0], r#"-DLEAST="0x18""#, RIGHT[2]],
    ] {
        let stack = only(scan(&built(&[&wrong, &LIBRARY[..]].concat())).expect("scanned"));
        let suites: BTreeSet<String> = methods(&stack).iter().map(|m| m.1.to_string()).collect();
        assert_eq!(
            suites,
            ["TLS 1.2 with AES-GCM".to_owned()].into(),
            "{wrong:?}"
        );
    }
}

#[test]
fn the_methods_of_an_older_version_are_told_by_what_they_do() {
    use RustlsForm::{VectorTypeFirst, VectorTypeLast};
    use RustlsMethod::{Decrypt, Encrypt};
    use RustlsSuite::{Tls12Gcm, Tls13};
    for kind in PROGRAMS {
        let flags = [&RIGHT_BEFORE_22, kind].concat();
        let stack = only(scan(&built_from(BEFORE_22, &flags)).expect("scanned"));
        assert_eq!(stack.version.as_deref(), Some("0.21.12"));
        let found = stack.targets.iter().map(|target| match target.probe {
            Probe::Rustls {
                method,
                suite,
                form,
                ..
            } => (method, suite, form),
            other => panic!("{other:?}"),
        });
        assert_eq!(
            found.collect::<Vec<_>>(),
            [
                (Encrypt, Tls13, VectorTypeFirst),
                (Encrypt, Tls12Gcm, VectorTypeFirst),
                (Decrypt, Tls13, VectorTypeFirst),
                (Decrypt, Tls12Gcm, VectorTypeLast),
            ],
            "{kind:?}"
        );
    }
}

#[test]
fn code_that_is_not_that_of_an_older_version_is_not_probed() {
    for (wrong, left) in [
        // The type is elsewhere.
        (
            [r#"-DTYPE="0x18""#, RIGHT_BEFORE_22[1], RIGHT_BEFORE_22[2]],
            0,
        ),
        // Records of no suite that there is.
        (
            [RIGHT_BEFORE_22[0], r#"-DMORE="0x19""#, RIGHT_BEFORE_22[2]],
            2,
        ),
        // What is sure to be newer is not looked through for it.
        ([RIGHT_BEFORE_22[0], RIGHT_BEFORE_22[1], RIGHT[2]], 0),
    ] {
        let flags = [&wrong, &LIBRARY[..]].concat();
        let stack = only(scan(&built_from(BEFORE_22, &flags)).expect("scanned"));
        assert_eq!(stack.targets.len(), left, "{wrong:?}");
        assert_eq!(stack.refused.is_some(), left == 0, "{wrong:?}");
    }
}

#[test]
fn what_cannot_be_captured_says_why() {
    for (version, reason) in [
        (
            "0.19.1",
            "it is older than 0.20 (0.19.1), the first that can be captured",
        ),
        (
            "0.21.12",
            "its record layer (0.21.12) is not compiled in a way that is known",
        ),
        (
            "0.24.1",
            "its record layer (0.24.1) is not compiled in a way that is known",
        ),
    ] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (c, path) = (dir.path().join("a.c"), dir.path().join("program"));
        let text = format!(
            "const char *const texts[] = {{ \"cannot decrypt peer's message\", \"/src/rustls-{version}/src/conn.rs\" }};
             __asm__(\".text\\n.fill 100000, 1, 0xcc\\n\"); int main(void) {{ return texts[0] == 0; }}"
        );
        std::fs::write(&c, text).expect("source written");
        let gcc = Command::new("gcc").arg("-o").arg(&path).arg(&c).status();
        assert!(gcc.expect("gcc is installed").success());
        let bytes = std::fs::read(&path).expect("readable");
        let stack = only(scan(&bytes).expect("scanned"));
        assert_eq!(stack.targets, []);
        let refused = stack.refused.expect("refused");
        assert!(refused.starts_with(reason), "{refused}");
    }
}

#[test]
fn a_damaged_file_is_an_error_or_nothing_and_never_a_panic() {
    survives_damage(&built(&[&RIGHT, PROGRAMS[2]].concat()));
    survives_damage(&built_from(
        BEFORE_22,
        &[&RIGHT_BEFORE_22, PROGRAMS[3]].concat(),
    ));
}

/// A build of `tests/programs/rustls`.
fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/rustls")
        .join(name);
    assert!(
        path.exists(),
        "{} is missing: run tests/setup.sh",
        path.display()
    );
    path
}

/// Addresses of the methods that symbols name.
fn named(path: &Path) -> BTreeSet<u64> {
    let output = Command::new("nm")
        .arg("-C")
        .arg(path)
        .output()
        .expect("nm is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let is = |line: &&str| {
        let of = |kind: &str, method: &str| {
            line.contains(&format!("cipher::Message{kind}>::{method}")) && !line.contains("Invalid")
        };
        of("Encrypter", "encrypt") && !line.contains("encrypted_payload_len")
            || of("Decrypter", "decrypt")
    };
    let address = |line: &str| u64::from_str_radix(line.split(' ').next()?, 16).ok();
    text.lines().filter(is).filter_map(address).collect()
}

#[test]
fn every_method_that_symbols_name_is_found_without_them() {
    // Four of aws-lc, three of ring.
    for (name, version, pairs) in [
        ("peer", "0.23.", 4 + 3),
        ("peer-0.22", "0.22.", 4 + 3),
        ("peer-0.21", "0.21.", 3),
        ("peer-0.20", "0.20.", 3),
    ] {
        is_found_without_symbols(name, version, pairs);
    }
}

fn is_found_without_symbols(name: &str, version: &str, pairs: usize) {
    let symbols = program(&format!("{name}-symbols"));
    let bytes = std::fs::read(program(name)).expect("readable");
    let stack = only(scan(&bytes).expect("scanned"));
    let said = stack.version.as_deref();
    assert!(said.is_some_and(|v| v.starts_with(version)), "{said:?}");
    let with_symbols = std::fs::read(&symbols).expect("readable");
    let same = only(scan(&with_symbols).expect("scanned"));
    assert_eq!(stack.targets, same.targets);
    let slice = with_symbols.as_slice();
    let image = crate::probe::elf::image::Image::parse(&slice);
    let image = image.map_err(|e| e.to_string()).expect("parsed");
    let named: BTreeSet<u64> = named(&symbols)
        .into_iter()
        .map(|address| image.file_offset(address).expect("code"))
        .collect();
    let found = stack.places().map(|(t, p)| t.file_offset - p.offset);
    assert_eq!(found.collect::<BTreeSet<_>>(), named);
    assert_eq!(named.len(), 2 * pairs, "{name}");
}
