//! The wire format has one definition, `bpf/include/event.h`. These tests compile it with the C compiler and hold
//! `src/event/layout.rs` and the decoder against what the compiler makes of it.

use plainspan::event::{self, Bound, Dir, Event, Role, Source, Verdict, layout};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles `body` as the `main` of a C program that includes the header, runs it, returns what it printed.
fn run_c(body: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("temporary directory");
    let source = dir.path().join("layout.c");
    let program = dir.path().join("layout");
    let text = format!(
        "#include <linux/types.h>\n#include <stdio.h>\n#include <stddef.h>\n#include <string.h>\n\
         #include \"event.h\"\nint main(void)\n{{\n{body}\nreturn 0;\n}}\n"
    );
    std::fs::write(&source, text).expect("write the C program");
    let compiler = std::env::var_os("CC").map_or_else(|| PathBuf::from("cc"), PathBuf::from);
    let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("bpf/include");
    let built = Command::new(&compiler)
        .args(["-Wall", "-Werror", "-I"])
        .arg(header)
        .arg("-o")
        .arg(&program)
        .arg(&source)
        .output()
        .expect("run the C compiler: install gcc");
    let errors = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{errors}");
    let ran = Command::new(program).output().expect("run the C program");
    assert!(ran.status.success());
    ran.stdout
}

fn numbers(names: &[(&str, u64)], prefix: &str, what: impl Fn(&str) -> String) {
    let body: String = names
        .iter()
        .map(|(name, _)| {
            format!(
                "printf(\"{name} %llu\\n\", (unsigned long long){});\n",
                what(name)
            )
        })
        .collect();
    let out = String::from_utf8(run_c(&body)).expect("text");
    let c: BTreeMap<&str, u64> = out
        .lines()
        .map(|line| line.split_once(' ').expect("name and number"))
        .map(|(name, number)| (name, number.parse().expect("number")))
        .collect();
    assert_eq!(c.len(), names.len());
    for (name, rust) in names {
        assert_eq!(c[name], *rust, "{prefix}{name}");
    }
}

#[test]
fn sizes_are_the_compilers() {
    use layout::size::*;
    let sizes = [
        ("ps_header", HEADER),
        ("ps_data", DATA),
        ("ps_conn_open", CONN_OPEN),
        ("ps_conn_end", CONN_END),
        ("ps_tls", TLS),
        ("ps_exec", EXEC),
        ("ps_exec_environ", EXEC_ENVIRON),
        ("ps_exit", EXIT),
    ];
    let sizes = sizes.map(|(name, size)| (name, size as u64));
    numbers(&sizes, "sizeof ", |name| format!("sizeof(struct {name})"));
}

#[test]
fn constants_are_the_headers() {
    use layout::{CONN_RESET, CONN_UNWANTED, CONN_WHOLE, VERSION, flag, kind, stat};
    let constants = [
        ("PS_EVENT_VERSION", VERSION.into()),
        ("PS_DATA", kind::DATA.into()),
        ("PS_CONN_OPEN", kind::CONN_OPEN.into()),
        ("PS_CONN_EOF", kind::CONN_EOF.into()),
        ("PS_CONN_CLOSE", kind::CONN_CLOSE.into()),
        ("PS_TLS_BIND", kind::TLS_BIND.into()),
        ("PS_TLS_END", kind::TLS_END.into()),
        ("PS_EXEC", kind::EXEC.into()),
        ("PS_EXIT", kind::EXIT.into()),
        ("PS_F_LAST", flag::LAST.into()),
        ("PS_F_CUT", flag::CUT.into()),
        ("PS_F_FAULT", flag::FAULT.into()),
        ("PS_F_NO_BYTES", flag::NO_BYTES.into()),
        ("PS_F_WHOLE", flag::WHOLE.into()),
        ("PS_F_SKIPPED", flag::SKIPPED.into()),
        ("PS_F_WAITED", flag::WAITED.into()),
        ("PS_CONN_RESET", CONN_RESET.into()),
        ("PS_CONN_UNWANTED", CONN_UNWANTED.into()),
        ("PS_CONN_WHOLE", CONN_WHOLE.into()),
        ("PS_ST_BYTES_SEEN", stat::BYTES_SEEN as u64),
        ("PS_ST_BYTES_COPIED", stat::BYTES_COPIED as u64),
        ("PS_ST_BYTES_SKIPPED", stat::BYTES_SKIPPED as u64),
        ("PS_ST_BYTES_LOST", stat::BYTES_LOST as u64),
        ("PS_ST_DATA_RING_FULL", stat::DATA_RING_FULL as u64),
        ("PS_ST_CONTROL_RING_FULL", stat::CONTROL_RING_FULL as u64),
        ("PS_ST_CONN_MAP_FULL", stat::CONN_MAP_FULL as u64),
        ("PS_ST_TLS_MAP_FULL", stat::TLS_MAP_FULL as u64),
        ("PS_ST_FAULT", stat::FAULT as u64),
        ("PS_ST_NO_TASK", stat::NO_TASK as u64),
        ("PS_ST_NESTED_LOST", stat::NESTED_LOST as u64),
        ("PS_ST_REBOUND", stat::REBOUND as u64),
        ("PS_ST_DOUBTED", stat::DOUBTED as u64),
        ("PS_ST_SKIPPED_CONTENT", stat::SKIPPED_CONTENT as u64),
        ("PS_ST_SKIPPED_NONE", stat::SKIPPED_NONE as u64),
        ("PS_ST_SKIPPED_UNFOLLOWED", stat::SKIPPED_UNFOLLOWED as u64),
        ("PS_ST_MAX", stat::MAX as u64),
    ];
    numbers(&constants, "", str::to_owned);
}

/// Lets C fill one structure and decodes what it wrote, so that every offset in the decoder is checked.
fn decoded(structure: &str, kind: &str, fill: &str, check: impl Fn(Event<'_>)) {
    let record = run_c(&format!(
        "static union {{ struct {structure} e; unsigned char room[4096]; }} u;\n\
         struct {structure} *e = &u.e;\n\
         struct ps_header *h = (struct ps_header *)&u;\n\
         h->kind = {kind}; h->version = PS_EVENT_VERSION; h->tgid = 0x01020304; h->ts_ns = 0x1112131415161718ull;\n\
         {fill}\n\
         fwrite(&u, sizeof(*e) + (h->kind == PS_DATA ? 3 : 0), 1, stdout);"
    ));
    check(event::decode(&record).expect("an event"));
}

#[test]
fn a_data_event_written_by_c_decodes_field_by_field() {
    let fill = "e->ts_entry_ns = 2; e->conn_id = 3; e->tls_id = 4; e->stream_off = 0x0506070809ull; e->op_len = 6; \
        e->op_off = 7; e->cap_len = 3; e->turn = 9; e->tid = 10; e->dir = PS_WRITE; e->source = PS_SRC_TLS; \
        e->flags = PS_F_LAST | PS_F_WHOLE; e->bound = PS_BOUND_PREV; memcpy(e->data, \"abc\", 3);";
    decoded("ps_data", "PS_DATA", fill, |event| {
        let Event::Data(d) = event else {
            panic!("{event:?}")
        };
        assert_eq!((d.time.0, d.pid), (0x1112_1314_1516_1718, 0x0102_0304));
        assert_eq!((d.entry.0, d.tid, d.turn), (2, 10, 9));
        assert_eq!(
            (d.conn.map(|c| c.0), d.tls.map(|t| t.0)),
            (Some(3), Some(4))
        );
        assert_eq!((d.offset, d.op_len, d.op_offset), (0x05_0607_0809, 6, 7));
        assert_eq!((d.dir, d.source), (Dir::Write, Source::Tls));
        assert_eq!(d.flags, layout::flag::LAST | layout::flag::WHOLE);
        assert_eq!((d.bound, d.bytes), (Bound::Prev, &b"abc"[..]));
    });
}

#[test]
fn a_connection_event_written_by_c_decodes_field_by_field() {
    let fill = "e->conn_id = 3; e->family = 6; e->laddr[0] = 0x20; e->laddr[15] = 1; e->raddr[0] = 0xfd; \
        e->lport = 443; e->rport = 50000; e->role = PS_ROLE_SERVER; e->flags = PS_CONN_WHOLE; e->netns = 11; \
        e->local_isn = 12; e->remote_isn = 13;";
    decoded("ps_conn_open", "PS_CONN_OPEN", fill, |event| {
        let Event::ConnOpen(open) = event else {
            panic!("{event:?}")
        };
        assert_eq!(
            (open.time.0, open.pid, open.conn.0),
            (0x1112_1314_1516_1718, 0x0102_0304, 3)
        );
        assert_eq!(open.local.to_string(), "[2000::1]:443");
        assert_eq!(open.remote.to_string(), "[fd00::]:50000");
        assert_eq!((open.role, open.whole), (Some(Role::Server), true));
        assert_eq!((open.netns, open.local_isn, open.remote_isn), (11, 12, 13));
    });
    let fill = "e->conn_id = 3; e->sent = 4; e->received = 5; e->verdict = PS_V_TLS; e->flags = PS_CONN_RESET; e->turn = 6;";
    decoded("ps_conn_end", "PS_CONN_CLOSE", fill, |event| {
        let Event::ConnClose(end) = event else {
            panic!("{event:?}")
        };
        assert_eq!((end.conn.0, end.sent, end.received), (3, 4, 5));
        assert_eq!((end.verdict, end.reset), (Verdict::Tls, true));
        assert_eq!(end.turn, 6);
    });
}

#[test]
fn a_tls_event_written_by_c_decodes_field_by_field() {
    let fill = "e->tls_id = 3; e->conn_id = 4; e->bound = PS_BOUND_NEXT; e->moved[PS_READ] = 5; \
        e->moved[PS_WRITE] = 6; e->turn = 7;";
    decoded("ps_tls", "PS_TLS_BIND", fill, |event| {
        let Event::TlsBind(tls) = event else {
            panic!("{event:?}")
        };
        assert_eq!(
            (tls.tls.0, tls.conn.map(|c| c.0), tls.pid),
            (3, Some(4), 0x0102_0304)
        );
        assert_eq!(tls.bound, Bound::Next);
        assert_eq!((tls.moved, tls.turn), (Some([5, 6]), 7));
    });
}

#[test]
fn a_process_event_written_by_c_decodes_field_by_field() {
    let fill = "e->start_ns = 3; strcpy((char *)e->comm, \"curl\"); strcpy((char *)e->path, \"/usr/bin/curl\");";
    decoded("ps_exec", "PS_EXEC", fill, |event| {
        let Event::Exec(exec) = event else {
            panic!("{event:?}")
        };
        assert_eq!((exec.pid, exec.start_boottime_ns), (0x0102_0304, 3));
        assert_eq!(
            (exec.comm, exec.path),
            (&b"curl"[..], &b"/usr/bin/curl"[..])
        );
        assert_eq!(exec.environ, [&b""[..]; 4]);
    });
    let fill = "e->e.start_ns = 3; strcpy((char *)e->variables[0], \"OTEL_SERVICE_NAME=a\"); strcpy((char *)e->variables[3], \"QPOINT_TAGS=b:c\");";
    decoded("ps_exec_environ", "PS_EXEC", fill, |event| {
        let Event::Exec(exec) = event else {
            panic!("{event:?}")
        };
        assert_eq!(exec.start_boottime_ns, 3);
        let [name, attributes, strategy, tags] = exec.environ;
        assert_eq!(
            (name, tags),
            (&b"OTEL_SERVICE_NAME=a"[..], &b"QPOINT_TAGS=b:c"[..])
        );
        assert!(attributes.is_empty() && strategy.is_empty());
    });
    decoded("ps_exit", "PS_EXIT", "(void)e;", |event| {
        let Event::Exit { time, pid } = event else {
            panic!("{event:?}")
        };
        assert_eq!((time.0, pid), (0x1112_1314_1516_1718, 0x0102_0304));
    });
}
