//! Tests of the other modules, at each tier that every kernel has: the same must be seen. Those that a host's kernel may
//! lack (fexit, kprobes) are run on kernels that have them, with `PLAINSPAN_TEST_TIER`.

use crate::support::*;
use crate::{association, bodies, plain, tls};
use plainspan::event::{Dir, Source, layout::flag};
use plainspan::probe::kernel::{Kernel, KernelError, KernelOptions};
use plainspan::probe::tier::SocketTier;

const PLAIN: [fn(); 12] = [
    plain::a_plain_request_is_seen_at_both_ends_byte_for_byte,
    plain::requests_kept_on_one_connection_have_offsets_and_turns_that_go_on,
    plain::a_request_in_pieces_and_in_many_buffers_is_complete,
    plain::a_protocol_that_is_not_http_is_left_alone_after_its_first_operations,
    plain::the_agents_own_connections_are_invisible_at_both_ends,
    plain::an_ignored_process_is_invisible_and_its_peer_is_not,
    plain::a_connection_older_than_the_agent_has_true_offsets_and_numbers,
    plain::a_request_after_a_long_message_is_seen_on_a_connection_older_than_the_agent,
    plain::a_reset_connection_says_so,
    plain::sendfile_shows_as_a_length_without_bytes,
    plain::the_variables_that_a_process_is_known_by_are_told_with_its_program,
    plain::a_ring_that_is_too_small_loses_events_and_counts_them,
];

const TLS: [fn(); 8] = [
    tls::the_hellos_of_both_sides_are_copied_once,
    tls::one_write_of_a_mebibyte_is_complete,
    tls::many_clients_of_one_event_loop_are_each_on_their_own_connection,
    tls::node_that_does_its_own_socket_io_is_bound_right_at_both_ends,
    tls::tls_older_than_the_agent_is_seen_from_then_on,
    tls::the_far_end_of_the_agents_own_tls_connection_is_invisible,
    association::a_session_of_an_event_loop_is_certain_by_the_hello_from_its_first_byte,
    association::a_session_that_something_speaks_against_has_no_connection_until_it_is_sure_again,
];

const BODIES: [fn(); 8] = [
    bodies::content_of_known_length_is_left_out_and_what_follows_is_not,
    bodies::chunks_are_left_out_and_their_sizes_and_trailers_are_not,
    bodies::heads_that_come_in_pieces_of_any_size_are_understood,
    bodies::content_that_one_operation_sends_is_left_out_however_long_it_is,
    bodies::content_of_http_2_is_left_out_however_it_is_read,
    bodies::a_session_that_carries_grpc_is_copied_whole_from_there_on,
    bodies::what_is_wanted_may_change_while_a_connection_is_open,
    bodies::what_is_lost_while_content_is_left_out_is_a_gap_of_known_size,
];

#[test]
fn plain_http_is_the_same_at_system_calls() {
    at_tiers("syscalls", &PLAIN);
}

#[test]
fn tls_is_the_same_at_system_calls() {
    at_tiers("syscalls", &TLS);
}

#[test]
fn what_is_left_out_is_the_same_at_system_calls() {
    at_tiers("syscalls", &BODIES);
}

#[test]
fn all_is_the_same_with_what_kernel_5_15_has() {
    let fifteen = "perf,syscalls,for_each";
    at_tiers(fifteen, &PLAIN);
    at_tiers(fifteen, &TLS);
    at_tiers(fifteen, &BODIES);
}

#[test]
fn loops_over_an_array_do_what_bpf_loop_does() {
    at_tiers("multi,tracepoints,for_each", &BODIES);
}

/// Bytes that both ends of connections of a program moved, by what it does with the connected sockets `a` and `b`.
fn moved_at(tiers: &str, program: &str) -> (Capture, u32) {
    let options = KernelOptions {
        tier: tiers.parse().expect("tiers"),
        ..KernelOptions::default()
    };
    let mut capture = Capture::start(&options);
    let program = format!(
        "import array,ctypes,os,socket
l=socket.create_server(('127.0.0.1',0));a=socket.create_connection(l.getsockname());b,_=l.accept()
{program}
a.close();b.close()"
    );
    let (pid, _) = python(&program, &[]);
    capture.until("both closes", |c| {
        let opens = c.opens(pid);
        opens.len() == 2 && opens.iter().all(|o| c.close(o.conn).is_some())
    });
    (capture, pid)
}

/// Calls that no test of another module makes, with how many bytes each direction moved.
const CALLS: &str = "a.sendall(b'GET /calls HTTP/1.1\\r\\n\\r\\n')
assert b.recv(4,socket.MSG_PEEK)==b'GET '
b.setblocking(False)
try: b.recv(4,socket.MSG_PEEK|socket.MSG_OOB)
except OSError: pass
assert len(os.read(b.fileno(),10))==10
assert len(b.recvmsg(100)[0])==13
try: b.recv(1)
except BlockingIOError: pass
b.setblocking(True)
os.writev(b.fileno(),[b'HTTP/1.1 200 OK\\r\\n',b'content-length: 300\\r\\n\\r\\n'])
c=ctypes.CDLL(None,use_errno=True)
class I(ctypes.Structure): _fields_=[('p',ctypes.c_char_p),('n',ctypes.c_size_t)]
class H(ctypes.Structure): _fields_=[('name',ctypes.c_void_p),('namelen',ctypes.c_uint),('iov',ctypes.POINTER(I)),('iovlen',ctypes.c_size_t),('control',ctypes.c_void_p),('controllen',ctypes.c_size_t),('flags',ctypes.c_int)]
class M(ctypes.Structure): _fields_=[('h',H),('n',ctypes.c_uint)]
i=[I(b'x'*60,60),I(b'y'*40,40)]
m=(M*2)(M(H(iov=ctypes.pointer(i[0]),iovlen=1)),M(H(iov=ctypes.pointer(i[1]),iovlen=1)))
assert c.sendmmsg(b.fileno(),m,2,0)==2
r,w=os.pipe();os.write(w,b'z'*200)
assert c.splice(r,None,b.fileno(),None,200,0)==200
n=0
while n<340: n+=len(a.recv(1000))";

#[test]
fn every_call_that_moves_bytes_is_counted_once_at_every_tier() {
    let _alone = alone();
    for tiers in ["tracepoints", "syscalls"] {
        let (capture, pid) = moved_at(tiers, CALLS);
        let ends = capture.opens(pid).into_iter();
        let ends = ends.map(|open| capture.close(open.conn).expect("closed"));
        let mut moved: Vec<_> = ends.map(|end| (end.sent, end.received)).collect();
        moved.sort_unstable();
        assert_eq!(moved, [(23, 340), (340, 23)], "{tiers}");
        let data = capture.data(pid, Source::Socket);
        let hidden = data.iter().filter(|d| d.flags & flag::NO_BYTES != 0);
        assert_eq!(hidden.map(|d| d.op_len).sum::<u32>(), 300, "{tiers}");
        let read = data.iter().filter(|d| d.dir == Dir::Read);
        let waited: Vec<_> = read.map(|d| d.flags & flag::WAITED != 0).collect();
        assert_eq!(waited[..3], [false, false, true], "{tiers}");
    }
}

#[test]
fn a_tier_that_the_kernel_does_not_take_is_named_with_the_reason() {
    let _alone = alone();
    let load = |tier: SocketTier| {
        Kernel::load(&KernelOptions {
            tier: tier.into(),
            ..KernelOptions::default()
        })
    };
    for tier in [SocketTier::Fexit, SocketTier::Kprobes] {
        match load(tier) {
            Ok(kernel) => assert_eq!(kernel.chosen().tiers.sockets, tier),
            Err(KernelError::NotForced { tier: named, why }) => {
                assert_eq!(named, tier.name());
                assert!(why.starts_with("ps_tcp_"), "{why}");
            }
            Err(other) => panic!("{other}"),
        }
    }
}
