use crate::probe::elf::built::{Built, LIBRARY, PROGRAM, survives_damage};
use crate::probe::elf::{Method, Scan};
use crate::probe::target::{Probe, TlsCall};
use std::collections::BTreeMap;

/// What BoringSSL does in these functions, as far as the search for them sees it.
const SOURCE: &str = r#"
#include <string.h>
typedef struct { char *data; long len; void *quic; void (*handshake)(void); } SSL;
int last;
#define APART __attribute__((noipa))
APART void put(int lib, int unused, int reason, const char *file, unsigned line) { last += lib + reason + line + *file; }
#define ERR(reason, line) put(16, 0, reason, "../../ssl/ssl_lib.cc", line)
static char pool[4096];
__asm__(".text\n.fill 600000, 1, 0xcc\n");
APART SSL *SSL_new(void *ctx) {
    if (!ctx) { ERR(185, 491); return 0; }
    return memset(pool, 0, sizeof(SSL));
}
APART int SSL_do_handshake(SSL *s) {
    if (!s->handshake) { ERR(134, 731); return -1; }
    s->handshake();
    return 1;
}
APART int SSL_process(SSL *s) {
    if (s->quic) { ERR(66, 819); s->len = 0; return -1; }
    return 1;
}
APART int ssl_read_impl(SSL *s) {
    if (!s->handshake) { ERR(226, 846); return -1; }
    if (s->len == 7) { ERR(215, 879); return -1; }
    return s->len;
}
#ifdef READS
APART int SSL_read(SSL *s, char *buf, int n) {
    int r;
    if (s->quic) { ERR(66, READ_LINE); return -1; }
    r = ssl_read_impl(s);
    if (r <= 0) return r;
    memcpy(buf, s->data, n);
    s->data += n;
    s->len -= n;
    return n;
}
#endif
APART int SSL_peek(SSL *s, char *buf, int n) {
    int r;
    if (s->quic) { ERR(66, READ_LINE); return -1; }
    r = ssl_read_impl(s);
    if (r <= 0) return r;
    memcpy(buf, s->data, n);
    return n;
}
APART int SSL_write(SSL *s, char *buf, int n) {
    if (s->quic) { ERR(66, 962); return -1; }
    if (!s->handshake) { ERR(226, 967); return -1; }
    if (n < 0) { ERR(111, 982); return -1; }
    if (s->len == 7) { ERR(215, 988); return -1; }
    memcpy(s->data, buf, n);
    return n;
}
int use(SSL *s, char *buf, int n) {
    int r = SSL_do_handshake(s) + SSL_process(s) + SSL_peek(s, buf, n) + SSL_write(s, buf, n);
#ifdef READS
    r += SSL_read(s, buf, n);
#endif
    return r + (SSL_new(buf) == s);
}
int main(int argc, char **argv) { return use((SSL *)argv, argv[0], argc); }
"#;

fn built(flags: &[&str]) -> Built {
    Built::new(SOURCE, &[flags, &["-fvisibility=hidden"]].concat())
}

/// Places by name, but those that a stripped file does not tell.
fn places(scan: &Scan) -> BTreeMap<String, u64> {
    let named = scan
        .places()
        .map(|(t, _)| (t.symbol.clone(), t.file_offset));
    named.filter(|(name, _)| name != "SSL_new").collect()
}

fn is_found_where_the_symbols_were(flags: &[&str]) {
    let mut all = vec!["-DREADS", "-DREAD_LINE=940"];
    all.extend(flags);
    let program = built(&all);
    let named = program.scanned();
    program.strip();
    let scan = program.scanned();
    assert_eq!(places(&named).len(), 3, "{named:?}");
    assert_eq!(places(&scan), places(&named));
    assert_eq!(scan.stacks[0].name, "boringssl");
    assert!(scan.places().all(|(_, p)| p.method == Method::ErrorReports));
    let new = scan.places().filter(|(t, _)| {
        let Probe::Call { call, .. } = t.probe else {
            panic!("{t:?}");
        };
        call == TlsCall::New
    });
    assert_eq!(new.count(), 1);
}

#[test]
fn a_stripped_library_is_found_where_its_symbols_were() {
    is_found_where_the_symbols_were(&LIBRARY);
}

#[test]
fn a_stripped_program_at_fixed_addresses_without_frames_is_found_where_its_symbols_were() {
    is_found_where_the_symbols_were(&PROGRAM);
}

#[test]
fn what_does_not_fit_exactly_is_not_probed() {
    for flags in [
        // SSL_peek alone: it takes nothing away.
        &["-DREAD_LINE=940"][..],
        // Lines in another order.
        &["-DREADS", "-DREAD_LINE=700"],
        &["-DREADS", "-DREAD_LINE=975"],
    ] {
        for kind in [&LIBRARY[..], &PROGRAM] {
            let program = built(&[flags, kind].concat());
            program.strip();
            assert_eq!(program.scanned().stacks, [], "{flags:?} {kind:?}");
        }
    }
}

#[test]
fn a_damaged_file_is_an_error_or_nothing_and_never_a_panic() {
    let program = built(&["-DREADS", "-DREAD_LINE=940", "-shared", "-fPIC"]);
    program.strip();
    survives_damage(&program.bytes());
}
