//! Plain HTTP, connections and processes.

use crate::support::*;
use plainspan::event::{Dir, Event, Role, Source, Verdict, layout::flag};
use plainspan::probe::kernel::KernelOptions;
use std::io::{Read, Write};
use std::net::TcpStream;

#[test]
pub fn a_plain_request_is_seen_at_both_ends_byte_for_byte() {
    let _alone = alone();
    let mut capture = Capture::start(&KernelOptions::default());
    let server = python_server("plain", None);
    let (client, body) = curl(&[&format!("http://127.0.0.1:{}/a", server.port)]);
    assert_eq!(body, b"hello /a");
    capture.until("both closes", |c| {
        let opens = c.opens_at(server.port);
        opens.len() == 2 && opens.iter().all(|o| c.close(o.conn).is_some())
    });

    let [at_client] = capture.opens(client)[..] else {
        panic!("{:?}", capture.opens(client))
    };
    let [at_server] = capture.opens(server.pid())[..] else {
        panic!("{:?}", capture.opens(server.pid()))
    };
    assert_eq!(
        (at_client.role, at_client.whole),
        (Some(Role::Client), true)
    );
    assert_eq!(
        (at_server.role, at_server.whole),
        (Some(Role::Server), true)
    );
    assert_eq!(
        at_client.remote.to_string(),
        format!("127.0.0.1:{}", server.port)
    );
    assert_eq!(
        (at_client.local, at_client.remote),
        (at_server.remote, at_server.local)
    );
    assert_eq!(at_client.local_isn, at_server.remote_isn);
    assert_eq!(at_client.remote_isn, at_server.local_isn);
    assert_eq!(at_client.netns, at_server.netns);

    let sent = capture.data(client, Source::Socket);
    let served = capture.data(server.pid(), Source::Socket);
    let request = Capture::stream(&sent, Dir::Write);
    let response = Capture::stream(&sent, Dir::Read);
    assert!(request.starts_with(b"GET /a HTTP/1.1\r\n") && request.ends_with(b"\r\n\r\n"));
    assert!(response.starts_with(b"HTTP/1.1 200 OK\r\n") && response.ends_with(b"hello /a"));
    assert_eq!(Capture::stream(&served, Dir::Read), request);
    assert_eq!(Capture::stream(&served, Dir::Write), response);
    for data in sent.iter().chain(&served) {
        assert_ne!(data.flags & flag::WHOLE, 0);
        assert_eq!(data.tls, None);
    }
    let turns = |data: &[plainspan::event::Data<'_>], dir| {
        distinct(data.iter().filter(|d| d.dir == dir).map(|d| d.turn))
    };
    assert_eq!((turns(&sent, Dir::Write), turns(&sent, Dir::Read)), (1, 1));
    assert_eq!((sent[0].turn, sent[sent.len() - 1].turn), (0, 1));

    let events = capture.events();
    let at = |wanted: &dyn Fn(&Event<'_>) -> bool| events.iter().position(wanted).expect("event");
    let eof = at(&|e| matches!(e, Event::ConnEof(end) if end.conn == at_server.conn));
    assert!(eof < at(&|e| matches!(e, Event::ConnClose(end) if end.conn == at_server.conn)));

    let end = capture.close(at_client.conn).expect("closed");
    assert_eq!(
        (end.sent, end.received),
        (request.len() as u64, response.len() as u64)
    );
    assert_eq!((end.verdict, end.reset), (Verdict::Http1, false));
}

#[test]
pub fn requests_kept_on_one_connection_have_offsets_and_turns_that_go_on() {
    let _alone = alone();
    let mut capture = Capture::start(&KernelOptions::default());
    let server = python_server("plain", None);
    let url = format!("http://127.0.0.1:{}/a", server.port);
    let (client, _) = curl(&[&url, &url, &url]);
    capture.until("three answers", |c| {
        let data = c.data(client, Source::Socket);
        data.iter().any(|d| d.turn == 5)
    });
    assert_eq!(capture.opens(client).len(), 1);
    let data = capture.data(client, Source::Socket);
    let requests = Capture::stream(&data, Dir::Write);
    assert_eq!(memchr::memmem::find_iter(&requests, b"GET /a").count(), 3);
    Capture::stream(&data, Dir::Read);
}

#[test]
pub fn a_request_in_pieces_and_in_many_buffers_is_complete() {
    let _alone = alone();
    let mut capture = Capture::start(&KernelOptions::default());
    let server = python_server("plain", None);
    // "GE" alone tells nothing; then twenty buffers in one sendmsg.
    let program = "import socket,sys,time
s=socket.create_connection(('127.0.0.1',int(sys.argv[1])))
s.send(b'GE');time.sleep(.05);s.sendmsg([b'',b'T /pieces HTTP/1.1\\r\\n']+[b'x-%d: 1\\r\\n'%i for i in range(20)]+[b'\\r\\n'])
b=bytearray(10);e=bytearray(1000);n=s.recvmsg_into([b,e])[0]
print(n)";
    let (client, _) = python(program, &[&server.port.to_string()]);
    capture.until("the answer", |c| {
        c.data(client, Source::Socket)
            .iter()
            .any(|d| d.dir == Dir::Read)
    });
    capture.settle();
    let data = capture.data(client, Source::Socket);
    let request = Capture::stream(&data, Dir::Write);
    let expected: String = (0..20).map(|i| format!("x-{i}: 1\r\n")).collect();
    let expected = format!("GET /pieces HTTP/1.1\r\n{expected}\r\n");
    assert_eq!(String::from_utf8_lossy(&request), expected);
    let answer = Capture::stream(&data, Dir::Read);
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    let last = data.iter().filter(|d| d.flags & flag::LAST != 0).count();
    assert_eq!(
        last,
        3 - usize::from(answer.is_empty()),
        "one last event an operation"
    );
}

#[test]
pub fn a_protocol_that_is_not_http_is_left_alone_after_its_first_operations() {
    let _alone = alone();
    let mut capture = Capture::start(&KernelOptions::default());
    let program = "import socket,threading
l=socket.create_server(('127.0.0.1',0))
def serve():
    c=l.accept()[0];c.send(b'220 ready\\r\\n')
    for _ in range(20):
        c.recv(100);c.send(b'250 ok '+b'x'*50)
t=threading.Thread(target=serve);t.start()
c=socket.create_connection(l.getsockname());c.recv(100)
for _ in range(20):
    c.send(b'EHLO there\\r\\n');c.recv(100)
c.close();t.join();print(l.getsockname()[1])";
    let (client, port) = python(program, &[]);
    let port = port.trim().parse().expect("port");
    capture.until("both closes", |c| {
        let opens = c.opens_at(port);
        opens.len() == 2 && opens.iter().all(|o| c.close(o.conn).is_some())
    });
    for open in capture.opens_at(port) {
        let end = capture.close(open.conn).expect("closed");
        assert_eq!(end.verdict, Verdict::Other);
        assert_eq!(end.sent.min(end.received), 20 * 12);
        let data = capture.data(client, Source::Socket);
        let copied: usize = data
            .iter()
            .filter(|d| d.conn == Some(open.conn))
            .map(|d| d.bytes.len())
            .sum();
        assert!(copied < 120, "{copied} bytes");
    }
}

#[test]
pub fn the_agents_own_connections_are_invisible_at_both_ends() {
    let _alone = alone();
    let mut capture = Capture::start(&KernelOptions::default());
    let server = python_server("plain", None);
    for _ in 0..5 {
        let mut own = TcpStream::connect(("127.0.0.1", server.port)).expect("connect");
        own.write_all(b"GET /own HTTP/1.1\r\nconnection: close\r\n\r\n")
            .expect("send");
        let mut answer = String::new();
        own.read_to_string(&mut answer).expect("receive");
        assert!(answer.ends_with("hello /own"));
    }
    // Somebody else's connection to the same server is seen: the capture works.
    let (client, _) = curl(&[&format!("http://127.0.0.1:{}/other", server.port)]);
    capture.until("the other client", |c| c.opens_at(server.port).len() == 2);
    capture.settle();
    assert_eq!(capture.opens_at(server.port).len(), 2);
    assert_eq!(capture.opens(std::process::id()), []);
    let served = capture.data(server.pid(), Source::Socket);
    let request = Capture::stream(&served, Dir::Read);
    assert!(request.starts_with(b"GET /other"));
    assert_eq!(memchr::memmem::find(&request, b"/own"), None);
    assert_eq!(capture.opens(client).len(), 1);
}

#[test]
pub fn an_ignored_process_is_invisible_and_its_peer_is_not() {
    let _alone = alone();
    let mut capture = Capture::start(&KernelOptions::default());
    let server = python_server("plain", None);
    capture.kernel.ignore_process(server.pid()).expect("ignore");
    let (client, _) = curl(&[&format!("http://127.0.0.1:{}/a", server.port)]);
    capture.until("the client", |c| c.opens(client).len() == 1);
    capture.settle();
    assert_eq!(capture.opens(server.pid()), []);
    capture.kernel.forget_process(server.pid()).expect("forget");
    curl(&[&format!("http://127.0.0.1:{}/b", server.port)]);
    capture.until("the server", |c| c.opens(server.pid()).len() == 1);
}

#[test]
pub fn a_connection_older_than_the_agent_has_true_offsets_and_numbers() {
    let _alone = alone();
    let server = python_server("plain", None);
    let before = "c=connect()\nfor _ in range(30): get(c,'/late')";
    let mut child = Paused::start(&server, false, before, "get(c,'/late')");
    let mut capture = Capture::start(&KernelOptions::default());
    child.go_on();
    let client = child.pid();
    capture.until("both ends", |c| {
        c.opens_at(server.port).len() == 2 && c.data(client, Source::Socket).len() >= 2
    });
    let opens = capture.opens_at(server.port);
    assert!(opens.iter().all(|o| !o.whole && o.role.is_none()));
    let at = |pid| *opens.iter().find(|o| o.pid == pid).expect("open");
    // The end that accepted is one below: its role is not known yet.
    assert_eq!(at(client).local_isn, at(server.pid()).remote_isn);
    assert_eq!(
        at(server.pid()).local_isn.wrapping_sub(1),
        at(client).remote_isn
    );
    let data = capture.data(server.pid(), Source::Socket);
    let first = data.iter().find(|d| d.dir == Dir::Read).expect("a request");
    assert_eq!(first.offset, 30 * first.bytes.len() as u64);
    assert_ne!(first.flags & flag::WHOLE, 0);
    let data = capture.data(client, Source::Socket);
    let first = data
        .iter()
        .find(|d| d.dir == Dir::Write)
        .expect("a request");
    assert_eq!(first.offset, 30 * u64::from(first.op_len));
    assert_eq!(first.flags & flag::WHOLE, 0);
}

/// What a program says on both ends of a plain connection of its own that was in use before the agent.
fn met_late(after: &str) -> (Capture, u32) {
    let server = python_server("plain", None);
    let before = "import socket
l=socket.create_server(('127.0.0.1',0));a=socket.create_connection(l.getsockname());b,_=l.accept()
def say(x,y,data):
    x.sendall(data);n=0
    while n<len(data): n+=len(y.recv(65536))
say(a,b,b'before');say(b,a,b'before')";
    let mut child = Paused::start(&server, false, before, after);
    let mut capture = Capture::start(&KernelOptions::default());
    child.go_on();
    let pid = child.pid();
    capture.until("both closes", |c| {
        let opens = c.opens(pid);
        opens.len() == 2 && opens.iter().all(|o| c.close(o.conn).is_some())
    });
    capture.settle();
    (capture, pid)
}

fn verdicts(capture: &Capture, pid: u32) -> Vec<Verdict> {
    let opens = capture.opens(pid);
    let ends = opens.iter().filter_map(|o| capture.close(o.conn));
    ends.map(|end| end.verdict).collect()
}

#[test]
fn frames_of_http_2_are_known_on_a_connection_older_than_the_agent() {
    let _alone = alone();
    let (capture, pid) = met_late(
        "for _ in range(9): say(b,a,b'the middle of a long frame'*9)
say(a,b,b'\\0\\0\\3\\1\\5\\0\\0\\0\\7abc')
say(b,a,b'\\0\\0\\1\\1\\4\\0\\0\\0\\7\\x88');say(b,a,b'\\0\\0\\5\\0\\1\\0\\0\\0\\7after')",
    );
    assert_eq!(verdicts(&capture, pid), [Verdict::Http2; 2]);
    let data = capture.data(pid, Source::Socket);
    for dir in [Dir::Write, Dir::Read] {
        let of = data.iter().filter(|d| d.dir == dir);
        let bytes: Vec<u8> = of.flat_map(|d| d.bytes.to_vec()).collect();
        assert!(memchr::memmem::find(&bytes, b"\x07abc").is_some());
        assert!(memchr::memmem::find(&bytes, b"\x07after").is_some());
        assert!(memchr::memmem::find(&bytes, b"middle").is_none());
    }
}

#[test]
pub fn a_request_after_a_long_message_is_seen_on_a_connection_older_than_the_agent() {
    let _alone = alone();
    let (capture, pid) = met_late(
        "for _ in range(99): say(b,a,b'x'*1000)
say(a,b,b'GET /next HTTP/1.1\\r\\n\\r\\n')",
    );
    assert_eq!(verdicts(&capture, pid), [Verdict::Http1; 2]);
    let data = capture.data(pid, Source::Socket);
    assert!(data.iter().all(|d| d.bytes.starts_with(b"GET /next")));
    assert_eq!(data.len(), 2);
}

#[test]
fn another_protocol_is_not_copied_from_a_connection_older_than_the_agent() {
    let _alone = alone();
    let (capture, pid) = met_late(
        "for i in range(20): say(a,b,b'\\0\\0\\0\\x2aSELECT 1'+bytes(36));say(b,a,b'\\0\\0\\1\\x2a'+bytes(298))",
    );
    assert_eq!(capture.data(pid, Source::Socket), []);
    assert_eq!(verdicts(&capture, pid), [Verdict::Other; 2]);
}

#[test]
pub fn a_reset_connection_says_so() {
    let _alone = alone();
    let mut capture = Capture::start(&KernelOptions::default());
    let server = python_server("plain", None);
    let program = "import socket,struct,sys,time
s=socket.create_connection(('127.0.0.1',int(sys.argv[1])))
s.send(b'GET /reset HTTP/1.1\\r\\n')
time.sleep(.1)
s.setsockopt(socket.SOL_SOCKET,socket.SO_LINGER,struct.pack('ii',1,0));s.close()";
    python(program, &[&server.port.to_string()]);
    capture.until("the server's close", |c| {
        let opens = c.opens(server.pid());
        opens.len() == 1 && c.close(opens[0].conn).is_some()
    });
    let end = capture
        .close(capture.opens(server.pid())[0].conn)
        .expect("closed");
    assert!(end.reset);
}

#[test]
pub fn sendfile_shows_as_a_length_without_bytes() {
    let _alone = alone();
    let mut capture = Capture::start(&KernelOptions::default());
    let server = python_server("plain", None);
    let program = "import os,socket,sys,tempfile
f=tempfile.TemporaryFile();f.write(b'z'*5000);f.flush()
s=socket.create_connection(('127.0.0.1',int(sys.argv[1])))
s.send(b'POST /f HTTP/1.1\\r\\ncontent-length: 5000\\r\\n\\r\\n');os.sendfile(s.fileno(),f.fileno(),0,5000)
s.recv(1000)";
    let (client, _) = python(program, &[&server.port.to_string()]);
    capture.until("the answer", |c| {
        c.data(client, Source::Socket)
            .iter()
            .any(|d| d.dir == Dir::Read)
    });
    let data = capture.data(client, Source::Socket);
    let hidden: Vec<_> = data
        .iter()
        .filter(|d| d.flags & flag::NO_BYTES != 0)
        .collect();
    assert_eq!(hidden.iter().map(|d| d.op_len).sum::<u32>(), 5000);
    assert_eq!(hidden[0].offset, u64::from(data[0].op_len));
    assert!(capture.counters().bytes.skipped_on_purpose >= 5000);
}

#[test]
fn programs_that_start_and_end_are_told() {
    let _alone = alone();
    let mut capture = Capture::start(&KernelOptions::default());
    let (pid, _) = python("print(1)", &[]);
    capture.until("the end", |c| {
        c.events()
            .iter()
            .any(|e| matches!(e, Event::Exit { pid: p, .. } if *p == pid))
    });
    let exec = capture.events().into_iter().find_map(|e| match e {
        Event::Exec(exec) if exec.pid == pid => Some((exec.comm.to_vec(), exec.path.to_vec())),
        _ => None,
    });
    let (comm, path) = exec.expect("exec");
    assert_eq!(
        (&comm[..], &path[..]),
        (&b"python3"[..], &b"/usr/bin/python3"[..])
    );
}

#[test]
pub fn the_variables_that_a_process_is_known_by_are_told_with_its_program() {
    let _alone = alone();
    let mut capture = Capture::start(&KernelOptions::default());
    // What looks like one in the middle of another, at each place where a piece of it may begin.
    let inside: Vec<String> = (20..70)
        .map(|n| format!("{}OTEL_SERVICE_NAME=inside", "x".repeat(n)))
        .map(|value| format!("V{}={value}", value.len()))
        .collect();
    let tags = format!("QPOINT_TAGS={}", "t".repeat(498));
    let too_long = format!("OTEL_RESOURCE_ATTRIBUTES={}", "a".repeat(600));
    let mut arguments = vec!["-i", "OTEL_SERVICE_NAMES=no"];
    arguments.extend(inside.iter().map(String::as_str));
    arguments.extend([&*tags, &*too_long, "OTEL_SERVICE_NAME=orders", "/bin/true"]);
    let (pid, _) = run("env", &arguments);
    let (bare, _) = run("env", &["-i", "A=b", "/bin/true"]);
    capture.until("the end", |c| {
        c.events()
            .iter()
            .any(|e| matches!(e, Event::Exit { pid: p, .. } if *p == bare))
    });
    let environ = |wanted: u32| {
        let events = capture.events();
        let last = events.iter().rev().find_map(|e| match e {
            Event::Exec(exec) if exec.pid == wanted && exec.path == b"/bin/true" => Some(
                exec.environ
                    .map(|own| String::from_utf8_lossy(own).into_owned()),
            ),
            _ => None,
        });
        last.expect("exec")
    };
    assert_eq!(environ(pid), ["OTEL_SERVICE_NAME=orders", "", "", &tags]);
    assert_eq!(environ(bare), ["", "", "", ""]);
}

#[test]
pub fn a_ring_that_is_too_small_loses_events_and_counts_them() {
    let _alone = alone();
    let options = KernelOptions {
        ring_bytes: 64 << 10,
        ..KernelOptions::default()
    };
    let mut capture = Capture::start(&options);
    let server = python_server("plain", None);
    let (client, body) = curl(&[&format!("http://127.0.0.1:{}/big/1000000", server.port)]);
    assert_eq!(body, big(1_000_000));
    // Nothing was read meanwhile. The next request gets through, at the right offset.
    capture.settle();
    let counters = capture.counters();
    assert!(counters.capture.data_events_lost > 0);
    assert!(counters.bytes.lost > 500_000, "{counters:?}");
    let b = &counters.bytes;
    assert_eq!(b.seen, b.copied + b.skipped_on_purpose + b.lost);
    let [open] = capture.opens(client)[..] else {
        panic!("the control ring is not the data ring")
    };
    let end = capture.close(open.conn).expect("closed");
    let copied: u64 = capture
        .data(client, Source::Socket)
        .iter()
        .filter(|d| d.dir == Dir::Read)
        .map(|d| d.bytes.len() as u64)
        .sum();
    assert!(end.received > 1_000_000 && copied < end.received);
}
