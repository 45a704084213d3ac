//! TLS through OpenSSL: plaintext, and the connection that carries it.

use crate::support::*;
use plainspan::event::{Bound, Data, Dir, Event, Source, Verdict, layout::flag};
use plainspan::probe::kernel::KernelOptions;
use plainspan::probe::tier::Tier;

fn sessions_of(data: &[Data<'_>]) -> usize {
    distinct(data.iter().map(|d| d.tls.expect("a TLS session")))
}

fn a_request_is_seen_in_the_clear(tier: Tier) {
    let _alone = alone();
    let options = KernelOptions {
        tier: tier.into(),
        ..KernelOptions::default()
    };
    let certificate = Certificate::new();
    let mut capture = Capture::start(&options).with_libssl();
    assert_eq!(capture.kernel.chosen().tiers.calls, tier);
    let server = python_server("tls", Some(&certificate));
    let (client, body) = curl(&[&format!("https://127.0.0.1:{}/tls", server.port)]);
    assert_eq!(body, b"hello /tls");
    capture.until("both closes", |c| {
        let opens = c.opens_at(server.port);
        opens.len() == 2 && opens.iter().all(|o| c.close(o.conn).is_some())
    });

    let sent = capture.data(client, Source::Tls);
    let served = capture.data(server.pid(), Source::Tls);
    let request = Capture::stream(&sent, Dir::Write);
    let response = Capture::stream(&sent, Dir::Read);
    assert!(request.starts_with(b"GET /tls HTTP/1.1\r\n"));
    assert!(response.starts_with(b"HTTP/1.1 200 OK\r\n") && response.ends_with(b"hello /tls"));
    assert_eq!(Capture::stream(&served, Dir::Read), request);
    assert_eq!(Capture::stream(&served, Dir::Write), response);
    for (pid, data) in [(client, &sent), (server.pid(), &served)] {
        let [open] = capture.opens(pid)[..] else {
            panic!("{:?}", capture.opens(pid))
        };
        assert_eq!(sessions_of(data), 1);
        for d in data {
            assert_eq!((d.conn, d.bound), (Some(open.conn), Bound::Exact));
            assert_ne!(d.flags & flag::WHOLE, 0);
            assert!(d.entry < d.time);
        }
        assert_eq!(capture.data(pid, Source::Socket), []);
        assert_eq!(
            capture.close(open.conn).expect("closed").verdict,
            Verdict::Tls
        );
        let bound = capture.events().into_iter().any(|e| {
            matches!(e, Event::TlsBind(t) if t.conn == Some(open.conn) && Some(t.tls) == data[0].tls)
        });
        assert!(bound);
    }
    let ended = capture.events().into_iter().find_map(|e| match e {
        Event::TlsEnd(t) if Some(t.tls) == sent[0].tls => Some(t.moved),
        _ => None,
    });
    let moved = [response.len() as u64, request.len() as u64];
    assert_eq!(ended, Some(Some(moved)), "curl frees its session");
}

#[test]
fn a_request_is_seen_in_the_clear_by_session_probes() {
    a_request_is_seen_in_the_clear(Tier::Session);
}

#[test]
fn a_request_is_seen_in_the_clear_by_multi_probes() {
    a_request_is_seen_in_the_clear(Tier::Multi);
}

#[test]
fn a_request_is_seen_in_the_clear_by_perf_probes() {
    a_request_is_seen_in_the_clear(Tier::Perf);
}

#[test]
pub fn the_hellos_of_both_sides_are_copied_once() {
    let _alone = alone();
    let certificate = Certificate::new();
    let mut capture = Capture::start(&KernelOptions::default()).with_libssl();
    let server = python_server("tls", Some(&certificate));
    let url = format!("https://localhost:{}/big/100000", server.port);
    let resolve = format!("localhost:{}:127.0.0.1", server.port);
    let (client, _) = curl(&["--resolve", &resolve, &url]);
    capture.until("the answer", |c| c.data(client, Source::Tls).len() > 5);
    capture.settle();
    for pid in [client, server.pid()] {
        let hello = capture.data(pid, Source::Hello);
        let (client_dir, server_dir) = match pid == client {
            true => (Dir::Write, Dir::Read),
            false => (Dir::Read, Dir::Write),
        };
        let client_hello = Capture::stream(&hello, client_dir);
        let server_hello = Capture::stream(&hello, server_dir);
        assert_eq!((client_hello[0], client_hello[5]), (0x16, 1));
        assert_eq!((server_hello[0], server_hello[5]), (0x16, 2));
        assert!(memchr::memmem::find(&client_hello, b"localhost").is_some());
        assert!(client_hello.len() <= 2048 && server_hello.len() <= 2048);
        assert!(client_hello.len().max(server_hello.len()) == 2048);
    }
}

#[test]
pub fn one_write_of_a_mebibyte_is_complete() {
    let _alone = alone();
    let certificate = Certificate::new();
    let mut capture = Capture::start(&KernelOptions::default()).with_libssl();
    let server = python_server("asyncio", Some(&certificate));
    let n = 1 << 20;
    let (client, body) = curl(&[&format!("https://127.0.0.1:{}/big/{n}", server.port)]);
    assert_eq!(body, big(n));
    capture.until("all of it", |c| {
        let data = c.data(client, Source::Tls);
        data.iter()
            .filter(|d| d.dir == Dir::Read)
            .map(|d| d.bytes.len())
            .sum::<usize>()
            >= n
    });
    for (pid, dir) in [(client, Dir::Read), (server.pid(), Dir::Write)] {
        let bytes = Capture::stream(&capture.data(pid, Source::Tls), dir);
        assert!(bytes.ends_with(&big(n)), "{} bytes", bytes.len());
    }
    assert_eq!(capture.counters().bytes.lost, 0);
}

#[test]
fn an_operation_above_the_cap_is_cut_and_the_stream_goes_on() {
    let _alone = alone();
    let certificate = Certificate::new();
    let options = KernelOptions {
        op_max_bytes: 20_000,
        ..KernelOptions::default()
    };
    let mut capture = Capture::start(&options).with_libssl();
    let server = python_server("asyncio", Some(&certificate));
    let url = |path: &str| format!("https://127.0.0.1:{}/{path}", server.port);
    curl(&[&url("big/100000"), &url("after")]);
    let pid = server.pid();
    let is_after = |d: &Data<'_>| d.dir == Dir::Write && d.bytes.ends_with(b"hello /after");
    capture.until("the second answer", |c| {
        c.data(pid, Source::Tls).iter().any(is_after)
    });
    let data = capture.data(pid, Source::Tls);
    let cut: Vec<_> = data.iter().filter(|d| d.flags & flag::CUT != 0).collect();
    assert!(!cut.is_empty() && cut.iter().all(|d| d.flags & flag::LAST != 0));
    let after = data.iter().find(|d| is_after(d)).expect("seen");
    let ops = data
        .iter()
        .filter(|d| d.dir == Dir::Write && d.flags & flag::LAST != 0);
    let before: u64 = ops.map(|d| u64::from(d.op_len)).sum::<u64>() - u64::from(after.op_len);
    assert_eq!(after.offset, before);
}

#[test]
pub fn many_clients_of_one_event_loop_are_each_on_their_own_connection() {
    let _alone = alone();
    let certificate = Certificate::new();
    let mut capture = Capture::start(&KernelOptions::default()).with_libssl();
    let server = python_server("asyncio", Some(&certificate));
    // 20 connections at once on one thread of the client too, 10 requests each, the client's port in the path.
    let program = "import asyncio,ssl,sys
x=ssl.create_default_context();x.check_hostname=False;x.verify_mode=ssl.CERT_NONE
async def one():
    r,w=await asyncio.open_connection('127.0.0.1',int(sys.argv[1]),ssl=x)
    p=w.get_extra_info('sockname')[1]
    for i in range(10):
        w.write(b'GET /%d/%d HTTP/1.1\\r\\n\\r\\n'%(p,i));await w.drain()
        h=await r.readuntil(b'\\r\\n\\r\\n');await r.readexactly(int(h.split()[-1]))
    w.close()
async def main(): await asyncio.gather(*[one() for _ in range(20)])
asyncio.run(main())";
    let (client, _) = python(program, &[&server.port.to_string()]);
    let count = |data: &[Data<'_>], dir| {
        let gets = data
            .iter()
            .filter(|d| d.dir == dir && d.bytes.starts_with(b"GET /"));
        gets.count()
    };
    capture.until("all requests", |c| {
        count(&c.data(client, Source::Tls), Dir::Write) == 200
            && count(&c.data(server.pid(), Source::Tls), Dir::Read) == 200
    });
    for (pid, dir) in [(client, Dir::Write), (server.pid(), Dir::Read)] {
        let opens = capture.opens(pid);
        assert_eq!(opens.len(), 20);
        for d in capture
            .data(pid, Source::Tls)
            .iter()
            .filter(|d| d.dir == dir)
        {
            let path = String::from_utf8_lossy(d.bytes);
            let port: u16 = path[5..]
                .split('/')
                .next()
                .expect("port")
                .parse()
                .expect("port");
            let open = opens
                .iter()
                .find(|o| Some(o.conn) == d.conn)
                .expect("bound");
            let client_end = if pid == client {
                open.local
            } else {
                open.remote
            };
            assert_eq!(client_end.port(), port, "{path}");
        }
    }
}

#[test]
pub fn node_that_does_its_own_socket_io_is_bound_right_at_both_ends() {
    let _alone = alone();
    let certificate = Certificate::new();
    let mut capture = Capture::start(&KernelOptions::default()).with_node();
    let program = "const https=require('https'),fs=require('fs'),[c,k]=process.argv.slice(1);
const s=https.createServer({cert:fs.readFileSync(c),key:fs.readFileSync(k)},(q,r)=>r.end('at '+q.socket.remotePort));
s.listen(0,'127.0.0.1',()=>{let left=20;const port=s.address().port;console.log(port);
for(let i=0;i<20;i++){const agent=new https.Agent({keepAlive:true,maxSockets:1,rejectUnauthorized:false});let n=0;
const one=()=>{const q=https.get({port,host:'127.0.0.1',path:'/'+n,agent},r=>{r.resume();r.on('end',()=>{
if(++n<5)return setImmediate(one);agent.destroy();if(!--left)s.close()})})};one()}});";
    let certificate = [certificate.cert(), certificate.key()];
    let paths = certificate.each_ref().map(|p| p.to_str().expect("text"));
    let (pid, _) = run(NODE, &["-e", program, paths[0], paths[1]]);
    let answers = |c: &Capture, dir| {
        let data = c.data(pid, Source::Tls);
        let answers = data
            .iter()
            .filter(|d| d.dir == dir && d.bytes.starts_with(b"HTTP/1.1 200"));
        answers.count()
    };
    capture.until("100 answers at both ends", |c| {
        answers(c, Dir::Write) == 100 && answers(c, Dir::Read) == 100
    });
    let opens = capture.opens(pid);
    assert_eq!(opens.len(), 40);
    let mut seen = 0;
    for d in capture.data(pid, Source::Tls) {
        let text = String::from_utf8_lossy(d.bytes);
        let Some((_, port)) = text.split_once("at ") else {
            continue;
        };
        let port: String = port.chars().take_while(char::is_ascii_digit).collect();
        let open = opens
            .iter()
            .find(|o| Some(o.conn) == d.conn)
            .expect("bound");
        let client_end = match d.dir {
            Dir::Read => open.local,
            Dir::Write => open.remote,
        };
        assert_eq!(client_end.port().to_string(), port, "{text}");
        seen += 1;
    }
    assert_eq!(seen, 200);
}

#[test]
fn a_call_that_is_probed_more_than_once_counts_once() {
    let _alone = alone();
    let certificate = Certificate::new();
    // Twice at the exported functions, as through two mounts of one file, and once in what they call.
    let capture = Capture::start(&KernelOptions::default());
    let mut capture = capture.with_libssl().with_libssl().with_libssl_inside();
    let server = python_server("tls", Some(&certificate));
    let url = format!("https://127.0.0.1:{}/once", server.port);
    let (client, _) = curl(&[&url, &url, &url]);
    capture.until("three answers", |c| {
        let data = c.data(client, Source::Tls);
        data.iter()
            .filter(|d| d.bytes.ends_with(b"hello /once"))
            .count()
            == 3
    });
    for (pid, dir) in [(client, Dir::Write), (server.pid(), Dir::Read)] {
        let requests = Capture::stream(&capture.data(pid, Source::Tls), dir);
        assert_eq!(
            memchr::memmem::find_iter(&requests, b"GET /once").count(),
            3
        );
    }
    assert_eq!(capture.counters().capture.tls_calls_not_followed, 0);
}

#[test]
fn the_functions_inside_the_library_give_the_same_bytes() {
    let _alone = alone();
    let certificate = Certificate::new();
    let mut capture = Capture::start(&KernelOptions::default()).with_libssl_inside();
    let server = python_server("tls", Some(&certificate));
    let (client, _) = curl(&[&format!("https://127.0.0.1:{}/inside", server.port)]);
    capture.until("the answer", |c| {
        let data = c.data(client, Source::Tls);
        data.iter().any(|d| d.bytes.ends_with(b"hello /inside"))
    });
    for (pid, dir) in [(client, Dir::Write), (server.pid(), Dir::Read)] {
        let data = capture.data(pid, Source::Tls);
        assert!(Capture::stream(&data, dir).starts_with(b"GET /inside"));
        assert!(data.iter().all(|d| d.bound == Bound::Exact));
    }
}

#[test]
pub fn tls_older_than_the_agent_is_seen_from_then_on() {
    let _alone = alone();
    let certificate = Certificate::new();
    let server = python_server("asyncio", Some(&certificate));
    let mut child = Paused::start(
        &server,
        true,
        "c=connect()\nfor _ in range(3): get(c,'/early')",
        "for _ in range(3): get(c,'/late')",
    );
    let mut capture = Capture::start(&KernelOptions::default()).with_libssl();
    child.go_on();
    let has = |c: &Capture, pid, dir| {
        let data = c.data(pid, Source::Tls);
        let late = data
            .iter()
            .filter(|d| d.dir == dir && d.bytes.starts_with(b"GET /late"));
        late.count() == 3
    };
    let (client, at) = (child.pid(), server.pid());
    capture.until("the later requests at both ends", |c| {
        has(c, client, Dir::Write) && has(c, at, Dir::Read)
    });
    capture.settle();
    for pid in [client, at] {
        let [open] = capture.opens(pid)[..] else {
            panic!("{:?}", capture.opens(pid))
        };
        let data = capture.data(pid, Source::Tls);
        assert!(data.iter().all(|d| d.flags & flag::WHOLE == 0));
        // A blocking client is bound inside its first call; the server by the receive before it.
        assert!(data.iter().all(|d| d.conn == Some(open.conn)));
        assert_eq!(capture.data(pid, Source::Hello), []);
    }
}

#[test]
pub fn the_far_end_of_the_agents_own_tls_connection_is_invisible() {
    let _alone = alone();
    let certificate = Certificate::new();
    for kind in ["tls", "asyncio"] {
        let server = python_server(kind, Some(&certificate));
        let mut agent = Paused::start(
            &server,
            true,
            "",
            "for _ in range(3): get(connect(),'/own')",
        );
        let options = KernelOptions {
            agent_pid: agent.pid(),
            ..KernelOptions::default()
        };
        let mut capture = Capture::start(&options).with_libssl();
        agent.go_on();
        let (client, _) = curl(&[&format!("https://127.0.0.1:{}/other", server.port)]);
        capture.until("the other client", |c| c.opens_at(server.port).len() == 2);
        capture.settle();
        assert_eq!(capture.opens(agent.pid()), []);
        assert_eq!(capture.opens(client).len(), 1);
        assert_eq!(capture.opens(server.pid()).len(), 1);
        let request = Capture::stream(&capture.data(server.pid(), Source::Tls), Dir::Read);
        let text = String::from_utf8_lossy(&request);
        assert!(text.starts_with("GET /other"), "{kind}: {text}");
    }
}

#[test]
fn sessions_left_by_a_process_are_forgotten() {
    let _alone = alone();
    let certificate = Certificate::new();
    let capture = Capture::start(&KernelOptions::default()).with_libssl();
    let server = python_server("tls", Some(&certificate));
    // os._exit skips every destructor, and so SSL_free.
    let program = "import os,ssl,socket,sys
x=ssl.create_default_context();x.check_hostname=False;x.verify_mode=ssl.CERT_NONE
s=x.wrap_socket(socket.create_connection(('127.0.0.1',int(sys.argv[1]))))
s.send(b'GET /x HTTP/1.1\\r\\n\\r\\n');s.recv(100);os._exit(0)";
    let (client, _) = python(program, &[&server.port.to_string()]);
    assert_eq!(
        capture.kernel.sessions_of(client).expect("sessions").len(),
        1
    );
    capture.kernel.forget_process(client).expect("forget");
    assert_eq!(
        capture.kernel.sessions_of(client).expect("sessions").len(),
        0
    );
}
