/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Every send and receive on a TCP socket, in the task that did it. ps_io is told of each one, by the programs of one of
 * four tiers: the tracepoints below, functions of TCP (function.bpf.h), system calls (syscall.bpf.h).
 */

/* msg_iov and msg_iovlen in the user's struct msghdr */
#define PS_MSGHDR_IOV 16

/*
 * Finds the operation's bytes in user memory, through the registers saved at the system call. The kernel has copied
 * them already, so they are there in both directions. False where the call has no user buffer (sendfile, splice,
 * io_uring), hides which one (sendmmsg), or is not this task's (kernel threads).
 */
static __noinline bool ps_user_buffer(struct ps_op *op, __u32 dir)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
	__u64 msg[2];

	if (task->flags & (PF_KTHREAD | PF_IO_WORKER | PF_USER_WORKER) || ps_is_compat(task))
		return false;
	switch (PS_SYSCALL_NUMBER(regs)) {
	case NR_read:
	case NR_recvfrom:
		if (dir != PS_READ)
			return false;
		break;
	case NR_write:
	case NR_sendto:
		if (dir != PS_WRITE)
			return false;
		break;
	case NR_readv:
	case NR_writev:
	case NR_preadv2:
	case NR_pwritev2:
		op->iov = PS_SYSCALL_2(regs);
		op->iov_left = PS_SYSCALL_3(regs);
		return true;
	case NR_sendmsg:
	case NR_recvmsg:
		if (bpf_probe_read_user(msg, sizeof(msg), (void *)(PS_SYSCALL_2(regs) + PS_MSGHDR_IOV)))
			return false;
		op->iov = msg[0];
		op->iov_left = msg[1];
		return true;
	default:
		return false;
	}
	op->piece = PS_SYSCALL_2(regs);
	op->piece_len = op->d.op_len;
	return true;
}

/* ret <= 0: the end of the stream, or an error that tells how it ended. */
static __noinline void ps_io_ended(struct sock *sk, int ret)
{
	struct ps_conn *conn = ps_conn_find(sk);

	if (!conn || conn->flags & PS_C_OWN)
		return;
	if (ret < 0)
		ps_conn_failed(conn, -ret);
	else if (ps_kernel(sk, sk_shutdown) & RCV_SHUTDOWN && !(__sync_fetch_and_or(&conn->flags, PS_C_EOF) & PS_C_EOF))
		ps_conn_end(conn, PS_CONN_EOF);
}

/* Entry of a connection that is older than the agent, at its first I/O since. */
static __always_inline struct ps_conn *ps_conn_found_late(struct sock *sk, __u32 dir, __u32 len)
{
	__u8 state = ps_kernel(sk, __sk_common.skc_state);
	__u8 role = PS_ROLE_UNKNOWN;
	struct ps_conn *conn;

	if (state == TCP_CLOSE)
		return NULL;
	/* Bytes before the end of the handshake: TCP Fast Open (RFC 7413). */
	if (state == TCP_SYN_SENT)
		role = PS_ROLE_CLIENT;
	else if (state == TCP_SYN_RECV)
		role = PS_ROLE_SERVER;
	conn = ps_conn_add(sk, role, role == PS_ROLE_UNKNOWN ? 0 : PS_C_WHOLE | PS_C_EARLY);
	/* The operation is counted by the caller. */
	if (conn && role == PS_ROLE_UNKNOWN) {
		__u64 off = conn->off[dir & 1];

		conn->off[dir & 1] = off > len ? off - len : 0;
	}
	return conn;
}

static __always_inline void ps_hello_copy(struct ps_conn *conn, __u32 dir, struct ps_op *op, bool readable)
{
	__u32 have = conn->hello[dir];

	/* An older connection's hellos are long gone. */
	if (have >= PS_HELLO_MAX || !readable || !(conn->flags & PS_C_WHOLE))
		return;
	op->d.source = PS_SRC_HELLO;
	op->plaintext = 0;
	conn->hello[dir] = op->d.op_len < PS_HELLO_MAX - have ? have + op->d.op_len : PS_HELLO_MAX;
	ps_copy(op, PS_HELLO_MAX - have);
}

/* TLS inside a connection that began with something else (CONNECT, STARTTLS), known by a handshake in a TLS call. */
static __noinline void ps_tls_begins(struct ps_conn *conn, const struct ps_op *op)
{
	__u8 first[2] = {};

	if (op->piece_len < sizeof(first) || bpf_probe_read_user(first, sizeof(first), (void *)op->piece))
		return;
	if (first[0] == 0x16 && first[1] == 3)
		conn->verdict = PS_V_TLS;
}

/* Nobody wants anything of the connection: what may be wanted later is one that was met late. */
static __always_inline void ps_io_unwanted(struct ps_conn *conn, const struct ps_op *op)
{
	__sync_fetch_and_or(&conn->flags, PS_C_UNWANTED);
	__sync_fetch_and_and(&conn->flags, ~(PS_C_EXACT_READ | PS_C_EXACT_WRITE));
	if ((conn->verdict == PS_V_HTTP1 || conn->verdict == PS_V_HTTP2) && !(conn->flags & PS_C_BOUND))
		ps_walk_nothing(&conn->walks, op->d.op_len);
}

/* Copies an operation of a plain connection, or what is wanted of it. */
static __always_inline void ps_io_copy(struct ps_conn *conn, struct ps_op *op, __u32 max, __u32 want, bool begins)
{
	__u32 how = begins ? PS_WALK_BEGINS : 0;

	if (conn->verdict == PS_V_HTTP2)
		how |= PS_WALK_HTTP2;
	if (want == PS_WANT_ALL)
		ps_walk_leave(&conn->walks);
	else if ((max >= ps_cfg.op_max || max >= op->d.op_len) && ps_walk_frames(&conn->walks, op, how))
		return;
	ps_copy(op, max);
}

/* ps_io_bytes */
#define PS_IO_READABLE 1 /* the bytes may be in user memory */
#define PS_IO_TURNED 2	 /* the operation before it went the other way */

/* Votes, verdict and copy of an operation that moved bytes. */
__noinline int ps_io_bytes(struct ps_conn *conn, struct ps_op *op, __u32 how)
{
	__u32 max = ps_cfg.op_max;
	bool readable = how & PS_IO_READABLE;
	bool undecided, own;
	__u32 dir, said, want;

	if (!conn || !op)
		return 0;
	undecided = conn->verdict == PS_V_UNKNOWN;
	own = conn->flags & PS_C_OWN;
	dir = op->d.dir & 1;
	said = (!op->d.stream_off || !conn->off[dir ^ 1] ? PS_IO_FRESH : 0) |
	       (op->d.flags & PS_F_WAITED ? PS_IO_WAITED : 0);
	if (readable)
		readable = ps_user_buffer(op, dir);
	if (conn->verdict == PS_V_UNKNOWN && !own) {
		__u32 worth = ps_decide(conn, op, readable);

		if (worth < max)
			max = worth;
	}
	if (readable && !conn->random && conn->flags & PS_C_WHOLE)
		ps_hello_look(conn, op);
	if (ps_thread_io(conn, op, said) && readable && conn->verdict != PS_V_TLS)
		ps_tls_begins(conn, op);
	if (own)
		return 0;
	want = ps_want(op->d.h.tgid, conn->id);
	if (want == PS_WANT_NOTHING)
		ps_io_unwanted(conn, op);
	else if (conn->verdict == PS_V_TLS || (conn->head[dir] & 0xff) == 0x16)
		ps_hello_copy(conn, dir, op, readable);
	else if (!max || conn->verdict == PS_V_OTHER || conn->flags & PS_C_BOUND)
		return 0;
	else if (readable)
		ps_io_copy(conn, op, max, want, undecided || how & PS_IO_TURNED);
	else {
		ps_walk_unseen(&conn->walks, dir, op->d.op_len);
		ps_copy_nothing(op);
	}
	return 0;
}

/* A TLS session is certain to use the connection, and nothing is to be learned from, or copied of, the socket's bytes.
 */
static __always_inline bool ps_conn_is_settled(const struct ps_conn *conn, __u32 dir, __u32 tgid)
{
	const __u32 needed = PS_C_BOUND | PS_C_ANNOUNCED;

	if ((conn->flags & (needed | PS_C_OWN)) != needed || conn->verdict != PS_V_TLS)
		return false;
	if (conn->flags & PS_C_WHOLE &&
	    (conn->hello[dir] < PS_HELLO_MAX || (!conn->random && conn->turn <= PS_HELLO_TURNS)))
		return false;
	return ps_want(tgid, conn->id) != PS_WANT_NOTHING;
}

/* Returns whether the operation before this one went the other way. */
static __always_inline bool ps_conn_turn(struct ps_conn *conn, __u32 dir)
{
	bool turned = conn->last_dir != dir && conn->last_dir != PS_NO_DIR;

	if (turned)
		conn->turn++;
	conn->last_dir = dir;
	return turned;
}

static __always_inline int ps_io(struct sock *sk, int ret, int flags, __u32 dir)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u16 family = ps_kernel(sk, __sk_common.skc_family);
	struct ps_conn *conn;
	struct socket *socket;
	bool turned, waited;
	struct ps_op op;
	__u64 off;

	if (ret < 0 && ret != -ECONNRESET && ret != -EPIPE)
		return 0;
	if (ps_kernel(sk, sk_protocol) != IPPROTO_TCP || (family != AF_INET && family != AF_INET6))
		return 0;
	if (dir == PS_READ && flags & (MSG_PEEK | MSG_ERRQUEUE))
		return 0;
	if (ps_ignored(id >> 32))
		return 0;
	if (ret <= 0) {
		if (ret || dir == PS_READ)
			ps_io_ended(sk, ret);
		return 0;
	}
	/* Sockets of the kernel itself (NFS, iSCSI) have no file; the task's registers are not about them. */
	socket = ps_kernel(sk, sk_socket);
	if (!socket || !ps_kernel(socket, file))
		return 0;
	conn = ps_conn_find(sk);
	if (!conn)
		conn = ps_conn_found_late(sk, dir, ret);
	if (!conn)
		return 0;
	/* Everything is counted before there can be a loss. */
	off = __sync_fetch_and_add(&conn->off[dir], ret);
	turned = ps_conn_turn(conn, dir);
	if (!(conn->flags & (PS_C_ANNOUNCED | PS_C_OWN)))
		ps_conn_announce(sk, conn, id >> 32);
	/* Sockets of event loops are O_NONBLOCK, which the kernel turns into this flag. */
	waited = dir == PS_READ && !(flags & MSG_DONTWAIT);
	if (ps_conn_is_settled(conn, dir, id >> 32) && ps_settled_io(conn, (__u64)sk, dir, waited))
		return 0;

	__builtin_memset(&op, 0, sizeof(op));
	op.plaintext = 1;
	ps_fill_header(&op.d.h, PS_DATA, id >> 32);
	op.d.ts_entry_ns = op.d.h.ts_ns;
	op.d.conn_id = conn->id;
	op.d.stream_off = off;
	op.d.op_len = ret;
	op.d.turn = conn->turn;
	op.d.tid = id;
	op.d.dir = dir;
	if (conn->flags & (dir == PS_READ ? PS_C_EXACT_READ : PS_C_EXACT_WRITE))
		op.d.flags = PS_F_WHOLE;
	if (waited)
		op.d.flags |= PS_F_WAITED;
	/* A receive with MSG_TRUNC throws the bytes away. */
	op.sk = (__u64)sk;
	ps_io_bytes(conn, &op,
		    (dir == PS_WRITE || !(flags & MSG_TRUNC) ? PS_IO_READABLE : 0) | (turned ? PS_IO_TURNED : 0));
	return 0;
}

/* Kernel 6.3. */
SEC("?tp_btf/sock_send_length")
int BPF_PROG(ps_sock_send, struct sock *sk, int ret, int flags)
{
	return ps_io(sk, ret, flags, PS_WRITE);
}

SEC("?tp_btf/sock_recv_length")
int BPF_PROG(ps_sock_recv, struct sock *sk, int ret, int flags)
{
	return ps_io(sk, ret, flags, PS_READ);
}
