//! How a TLS session's connection becomes known, and when it is not known any more.

use crate::support::*;
use plainspan::event::{Bound, Data, Event, Source};
use plainspan::probe::kernel::KernelOptions;

/// Both ends do their socket calls beside the TLS calls, on event loops, 20 connections at once.
const CLIENT: &str = "import asyncio,ssl,sys
x=ssl.create_default_context();x.check_hostname=False;x.verify_mode=ssl.CERT_NONE
async def one():
    r,w=await asyncio.open_connection('127.0.0.1',int(sys.argv[1]),ssl=x)
    for i in range(5):
        w.write(b'GET /%d HTTP/1.1\\r\\n\\r\\n'%i);await w.drain()
        h=await r.readuntil(b'\\r\\n\\r\\n');await r.readexactly(int(h.split()[-1]))
    w.close()
async def main(): await asyncio.gather(*[one() for _ in range(20)])
asyncio.run(main())";

#[test]
pub fn a_session_of_an_event_loop_is_certain_by_the_hello_from_its_first_byte() {
    let _alone = alone();
    let certificate = Certificate::new();
    let mut capture = Capture::start(&KernelOptions::default()).with_libssl();
    let server = python_server("asyncio", Some(&certificate));
    let (client, _) = python(CLIENT, &[&server.port.to_string()]);
    let moved = |c: &Capture, pid| c.data(pid, Source::Tls).len();
    capture.until("all requests and answers", |c| {
        moved(c, client) >= 200 && moved(c, server.pid()) >= 200
    });
    for pid in [client, server.pid()] {
        for data in capture.data(pid, Source::Tls) {
            assert_eq!(data.bound, Bound::Hello, "{data:?}");
            assert!(data.conn.is_some(), "{data:?}");
        }
    }
    let counters = capture.counters().capture;
    assert_eq!(counters.tls_sessions_doubted, 0);
}

/// Two connections with memory BIOs, as Python's event loop uses them.
const TWO: &str = "import socket,time
class C:
    def __init__(s):
        s.s=socket.create_connection(('127.0.0.1',int(sys.argv[1])));s.i=ssl.MemoryBIO();s.o=ssl.MemoryBIO()
        s.t=x.wrap_bio(s.i,s.o)
        while True:
            try: s.t.do_handshake();break
            except ssl.SSLWantReadError: s.flush();s.feed()
        s.flush()
    def flush(s):
        if s.o.pending: s.s.sendall(s.o.read())
    def feed(s): s.i.write(s.s.recv(65536))
    def ask(s,p): s.t.write(b'GET %s HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n'%p);s.flush()
    def read(s):
        while True:
            try: return s.t.read(65536)
            except ssl.SSLWantReadError: s.feed()
    def get(s,p): s.ask(p);s.feed();return s.read()
a,b=C(),C()
a.get(b'/early');b.get(b'/early')";

#[test]
pub fn a_session_that_something_speaks_against_has_no_connection_until_it_is_sure_again() {
    let _alone = alone();
    let certificate = Certificate::new();
    let server = python_server("tls", Some(&certificate));
    let mut child = Paused::start(
        &server,
        true,
        TWO,
        "a.get(b'/first');b.get(b'/first')
b.ask(b'/doubted');a.ask(b'/sure');time.sleep(0.3)
b.feed();a.feed();b.read();a.read()
for _ in range(3): b.get(b'/again')
b.get(b'/last')",
    );
    // Before the agent there were the hellos.
    let mut capture = Capture::start(&KernelOptions::default()).with_libssl();
    child.go_on();
    let pid = child.pid();
    let answer = |c: &Capture, path: &str| -> Option<(Option<_>, Bound)> {
        let end = format!("hello {path}");
        let data = c.data(pid, Source::Tls);
        let is_end = |d: &&Data<'_>| d.bytes.ends_with(end.as_bytes());
        data.iter().find(is_end).map(|d| (d.conn, d.bound))
    };
    capture.until("the last answer", |c| answer(c, "/last").is_some());
    let conn = |path| answer(&capture, path).expect("seen").0;
    assert!(conn("/first").is_some(), "what the thread did spoke for it");
    assert_eq!(conn("/doubted"), None);
    assert!(conn("/sure").is_some());
    let last = conn("/last").expect("sure again");
    assert_ne!(Some(last), conn("/sure"));
    let taken_back = capture
        .events()
        .into_iter()
        .filter(|e| matches!(e, Event::TlsBind(t) if t.pid == pid && t.conn.is_none()));
    assert_eq!(taken_back.count(), 1);
    let counters = capture.counters().capture;
    assert_eq!(
        (counters.tls_sessions_doubted, counters.tls_sessions_rebound),
        (1, 0)
    );
}
