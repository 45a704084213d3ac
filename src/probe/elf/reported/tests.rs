use crate::probe::elf::built::{Built, LIBRARY, PROGRAM};
use crate::probe::elf::image::Image;
use crate::probe::elf::{Method, Scan};
use crate::probe::target::{CallResult, Probe};
use std::collections::BTreeMap;

/// What OpenSSL does in these functions, as far as the search for them sees it.
const SOURCE: &str = r#"
#include <stddef.h>
#include <string.h>
typedef struct { char *data; size_t len; void (*handshake)(void); int quiet; } SSL;
int last;
#define APART __attribute__((noipa))
APART void debug(const char *file, int line, const char *func) { last += *file + line + *func; }
APART void error(int lib, int reason, const char *fmt) { last += lib + reason; }
APART void put(int lib, int func, int reason, const char *file, int line) { last += lib + func + reason + line + *file; }
#ifdef NUMBERS
#define ERR_AS(name, number, reason) put(20, number, reason, "ssl/ssl_lib.c", __LINE__)
#else
#define ERR_AS(name, number, reason) (debug("ssl/ssl_lib.c", __LINE__, name), error(20, reason, 0))
#endif
#define ERR(number, reason) ERR_AS(__func__, number, reason)
static char pool[4096];
__asm__(".text\n.fill 600000, 1, 0xcc\n");
APART SSL *SSL_new(void *ctx) {
    if (!ctx) { ERR(186, 195); return 0; }
    return memset(pool, 0, sizeof(SSL));
}
APART int SSL_do_handshake(SSL *s) {
    if (!s->handshake) { ERR(180, 144); return -1; }
    s->handshake();
    return 1;
}
#ifdef WHOLE
APART int SSL_read(SSL *s, void *buf, int num) {
    if (!s->handshake) { ERR(223, 276); return -1; }
    memcpy(buf, s->data, num);
    return num;
}
APART int SSL_write(SSL *s, const void *buf, int num) {
    if (!s->handshake) { ERR(208, 276); return -1; }
    if (s->quiet) { ERR(208, 207); return -1; }
    memcpy(s->data, buf, num);
    return num;
}
#else
APART int ssl_read_internal(SSL *s, void *buf, size_t num, size_t *done) {
    if (!s->handshake) { ERR(523, 276); return -1; }
    memcpy(buf, s->data, num);
    *done = num;
    return 1;
}
#ifdef TWICE
APART int another(SSL *s) { ERR_AS("ssl_read_internal", 523, 276); return s->quiet; }
#endif
APART int SSL_read(SSL *s, void *buf, int num) {
    size_t done; int ret;
    if (num < 0) { ERR(223, 271); return -1; }
    ret = READ(s, buf, (size_t)num, &done);
    return ret > 0 ? (int)done : ret;
}
APART int SSL_read_ex(SSL *s, void *buf, size_t num, size_t *done) {
    int ret = ssl_read_internal(s, buf, num, done);
    return ret < 0 ? 0 : ret;
}
#ifdef FLAGS
APART int ssl_write_internal(SSL *s, const void *buf, size_t num, unsigned long flags, size_t *done) {
    if (flags == 7) { ERR(524, 3); return -1; }
#else
APART int ssl_write_internal(SSL *s, const void *buf, size_t num, size_t *done) {
#endif
    if (!s->handshake) { ERR(524, 276); return -1; }
    memcpy(s->data, buf, num);
    *done = num;
    return 1;
}
APART int SSL_write(SSL *s, const void *buf, int num) {
    size_t done; int ret;
    if (num < 0) { ERR(208, 271); return -1; }
#ifdef FLAGS
    ret = ssl_write_internal(s, buf, (size_t)num, 0, &done);
#else
    ret = ssl_write_internal(s, buf, (size_t)num, &done);
#endif
    return ret > 0 ? (int)done : ret;
}
#endif
APART int inner(SSL *s, void *buf, size_t num, size_t *done) { *done = s->len + num; return 1; }
int use(SSL *s, char *buf, int n) {
    size_t done = 0;
    int r = SSL_do_handshake(s) + SSL_read(s, buf, n) + SSL_write(s, buf, n) + inner(s, buf, n, &done);
#ifndef WHOLE
    r += SSL_read_ex(s, buf, n, &done);
#endif
#ifdef TWICE
    r += another(s);
#endif
    return r + (SSL_new(buf) == s);
}
int main(int argc, char **argv) { return use((SSL *)argv, argv[0], argc); }
"#;

const INTERNAL: [&str; 2] = ["ssl_read_internal", "ssl_write_internal"];
const PLAIN: [&str; 2] = ["SSL_read", "SSL_write"];

/// The names of its exported functions tell nothing: they begin otherwise.
fn built(flags: &[&str]) -> Built {
    let mut all = [flags, &["-fvisibility=hidden"]].concat();
    if !flags.iter().any(|flag| flag.starts_with("-DREAD=")) {
        all.push("-DREAD=ssl_read_internal");
    }
    Built::new(SOURCE, &all)
}

/// Where the symbols of `built` say that functions begin.
fn offsets(built: &Built, names: &[&str]) -> BTreeMap<String, u64> {
    let bytes = built.bytes();
    let slice = &bytes[..];
    let image = Image::parse(&slice).expect("an ELF file");
    let mut offsets = BTreeMap::new();
    for name in names {
        let found = image.find(&name[..4], &[*name], &[0]).expect("symbols");
        let address = found.functions[&0].address;
        let offset = image.file_offset(address).expect("in the file");
        offsets.insert((*name).to_owned(), offset);
    }
    offsets
}

/// Entries by name.
fn entries(scan: &Scan) -> BTreeMap<String, u64> {
    let entry =
        |(target, placement): (&crate::probe::target::Target, &crate::probe::elf::Placement)| {
            (target.symbol.clone(), target.file_offset - placement.offset)
        };
    scan.places().map(entry).collect()
}

fn result(scan: &Scan, symbol: &str) -> CallResult {
    let (target, _) = scan
        .places()
        .find(|(target, _)| target.symbol == symbol)
        .unwrap_or_else(|| panic!("no {symbol}"));
    match target.probe {
        Probe::Call { result, .. } => result,
        _ => panic!("{target:?}"),
    }
}

#[test]
fn functions_are_found_where_their_symbols_were_by_names_and_by_numbers() {
    for (flags, moves, written) in [
        (&[][..], INTERNAL, CallResult::Ex { out_arg: 3 }),
        (&["-DFLAGS"], INTERNAL, CallResult::Ex { out_arg: 4 }),
        (&["-DNUMBERS"], INTERNAL, CallResult::Ex { out_arg: 3 }),
        (&["-DNUMBERS", "-DWHOLE"], PLAIN, CallResult::Int),
    ] {
        for kind in [&LIBRARY[..], &PROGRAM] {
            let built = built(&[flags, kind].concat());
            let names = [&moves[..], &["SSL_do_handshake", "SSL_new"]].concat();
            let wanted = offsets(&built, &names);
            built.strip();
            let scan = built.scanned();
            assert_eq!(entries(&scan), wanted, "{flags:?} {kind:?}");
            assert_eq!(scan.stacks[0].name, "openssl");
            assert_eq!(result(&scan, moves[1]), written, "{flags:?} {kind:?}");
            let methods = scan.places().map(|(_, p)| p.method);
            assert!(methods.into_iter().all(|m| m == Method::ErrorReports));
        }
    }
}

#[test]
fn what_does_not_fit_exactly_is_not_probed() {
    for flags in [
        // Another function reports under the name.
        &["-DTWICE"][..],
        &["-DTWICE", "-DNUMBERS"],
        // SSL_read does its work elsewhere.
        &["-DREAD=inner"],
    ] {
        for kind in [&LIBRARY[..], &PROGRAM] {
            let built = built(&[flags, kind].concat());
            built.strip();
            assert_eq!(built.scanned().stacks, [], "{flags:?} {kind:?}");
        }
    }
}
