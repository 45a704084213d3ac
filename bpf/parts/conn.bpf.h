/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Connections from handshake to close, and their events. */

static __always_inline struct ps_conn *ps_conn_find(const struct sock *sk)
{
	__u64 key = (__u64)sk;

	return bpf_map_lookup_elem(&ps_conns, &key);
}

/*
 * Counters of a connection, each read once: while they move, all that is made of one reading is wrong by the same
 * amount, so that an offset that is wrong never goes with initial sequence numbers that are right.
 */
struct ps_counters {
	__u64 received; /* bytes in order so far */
	__u64 acked;	/* the SYN counts at the end that connected, and there alone */
	__u32 rcv_nxt;
	__u32 copied_seq;
	__u32 snd_una;
	__u32 write_seq;
};

/* The socket as one of TCP, which it was seen to be. */
static __always_inline struct tcp_sock *ps_tcp(struct sock *sk)
{
	if (ps_cfg.untyped)
		return (struct tcp_sock *)sk;
	return bpf_skc_to_tcp_sock(sk);
}

static __always_inline struct ps_counters ps_read_counters(struct tcp_sock *tp)
{
	struct ps_counters now = {
		.received = ps_kernel(tp, bytes_received),
		.acked = ps_kernel(tp, bytes_acked),
		.rcv_nxt = ps_kernel(tp, rcv_nxt),
		.copied_seq = ps_kernel(tp, copied_seq),
		.snd_una = ps_kernel(tp, snd_una),
		.write_seq = ps_kernel(tp, write_seq),
	};

	barrier_var(now.received);
	barrier_var(now.acked);
	barrier_var(now.rcv_nxt);
	barrier_var(now.snd_una);
	return now;
}

/*
 * The initial sequence numbers, from fields that hold at any time of a connection's life. With an unknown role the end
 * is taken as the one that connected.
 */
static __always_inline void ps_conn_isns(struct ps_conn *conn, const struct ps_counters *now)
{
	conn->remote_isn = now->rcv_nxt - (__u32)now->received - 1;
	conn->local_isn = now->snd_una - (__u32)now->acked;
	if (conn->role == PS_ROLE_SERVER)
		conn->local_isn--;
}

/* Offsets of a connection that is older than its entry. */
static __always_inline void ps_conn_late(struct ps_conn *conn, const struct ps_counters *now)
{
	__u64 received = now->received - (__u32)(now->rcv_nxt - now->copied_seq);
	__u64 sent = now->acked + (__u32)(now->write_seq - now->snd_una);

	/* An end that connected has had its SYN acknowledged. */
	if (conn->role == PS_ROLE_UNKNOWN && !now->acked)
		conn->role = PS_ROLE_SERVER;
	if (conn->role != PS_ROLE_SERVER && sent)
		sent--;
	conn->off[PS_READ] = received;
	conn->off[PS_WRITE] = sent;
	conn->flags |= PS_C_EXACT_READ;
	if (conn->role != PS_ROLE_UNKNOWN)
		conn->flags |= PS_C_EXACT_WRITE;
}

static __noinline struct ps_conn *ps_conn_add(struct sock *sk, __u8 role, __u32 flags)
{
	struct tcp_sock *tp = ps_tcp(sk);
	struct ps_counters now;
	struct ps_conn conn = {};
	__u64 key = (__u64)sk;

	if (!tp)
		return NULL;
	now = ps_read_counters(tp);
	conn.id = ps_next_id();
	conn.role = role;
	conn.flags = flags;
	conn.last_dir = PS_NO_DIR;
	if (flags & PS_C_WHOLE)
		conn.flags |= PS_C_EXACT_READ | PS_C_EXACT_WRITE;
	else
		ps_conn_late(&conn, &now);
	ps_conn_isns(&conn, &now);
	if (bpf_map_update_elem(&ps_conns, &key, &conn, BPF_ANY)) {
		ps_count(PS_ST_CONN_MAP_FULL, 1);
		return NULL;
	}
	return bpf_map_lookup_elem(&ps_conns, &key);
}

static __always_inline bool ps_is_mapped(const __be32 a[4])
{
	return !a[0] && !a[1] && a[2] == __builtin_bswap32(0xffff);
}

static __always_inline void ps_fill_addresses(struct ps_conn_open *e, struct sock *sk)
{
	struct sock_common *c = &sk->__sk_common;
	__be32 local[4] = {}, remote[4] = {};
	bool v6 = ps_kernel(c, skc_family) == AF_INET6;

	for (int i = 0; i < 4 && v6; i++) {
		local[i] = ps_kernel(c, skc_v6_rcv_saddr.in6_u.u6_addr32[i]);
		remote[i] = ps_kernel(c, skc_v6_daddr.in6_u.u6_addr32[i]);
	}
	if (v6 && ps_is_mapped(remote)) {
		v6 = false;
		local[0] = local[3];
		remote[0] = remote[3];
		local[2] = local[3] = remote[2] = remote[3] = 0;
	} else if (!v6) {
		local[0] = ps_kernel(c, skc_rcv_saddr);
		remote[0] = ps_kernel(c, skc_daddr);
	}
	e->family = v6 ? 6 : 4;
	__builtin_memcpy(e->laddr, local, sizeof(local));
	__builtin_memcpy(e->raddr, remote, sizeof(remote));
	e->lport = ps_kernel(c, skc_num);
	e->rport = __builtin_bswap16(ps_kernel(c, skc_dport));
}

/* Called in the task that does the first I/O. */
static __noinline void ps_conn_announce(struct sock *sk, struct ps_conn *conn, __u32 tgid)
{
	struct ps_conn_open *e;
	struct net *net;

	if (__sync_fetch_and_or(&conn->flags, PS_C_ANNOUNCED) & PS_C_ANNOUNCED)
		return;
	e = ps_control_reserve(struct ps_conn_open);
	if (!e) {
		/* The next operation tries again. */
		__sync_fetch_and_and(&conn->flags, ~PS_C_ANNOUNCED);
		return;
	}
	ps_fill_header(&e->h, PS_CONN_OPEN, tgid);
	e->conn_id = conn->id;
	ps_fill_addresses(e, sk);
	e->role = conn->role;
	e->flags = conn->flags & PS_C_WHOLE ? PS_CONN_WHOLE : 0;
	net = ps_kernel(sk, __sk_common.skc_net.net);
	e->netns = ps_kernel(net, ns.inum);
	e->local_isn = conn->local_isn;
	e->remote_isn = conn->remote_isn;
	bpf_ringbuf_submit(e, 0);
}

static __noinline void ps_conn_end(const struct ps_conn *conn, __u16 kind)
{
	struct ps_conn_end *e;

	if (!(conn->flags & PS_C_ANNOUNCED))
		return;
	e = ps_control_reserve(struct ps_conn_end);
	if (!e)
		return;
	ps_fill_header(&e->h, kind, bpf_get_current_pid_tgid() >> 32);
	e->conn_id = conn->id;
	e->sent = conn->off[PS_WRITE];
	e->received = conn->off[PS_READ];
	e->verdict = conn->verdict;
	e->flags = conn->flags & PS_C_RESET ? PS_CONN_RESET : 0;
	if (conn->flags & PS_C_UNWANTED)
		e->flags |= PS_CONN_UNWANTED;
	else
		e->turn = conn->turn;
	bpf_ringbuf_submit(e, 0);
}

/*
 * A reset ended the connection. EPIPE after the peer's orderly end does not say so: what was received is whole, and the
 * peer has only refused what came later, such as the close_notify of a TLS client.
 */
static __always_inline void ps_conn_failed(struct ps_conn *conn, int error)
{
	if (error == ECONNRESET || (error == EPIPE && !(conn->flags & PS_C_EOF)))
		__sync_fetch_and_or(&conn->flags, PS_C_RESET);
}

/* The connection as its far end numbers it. */
static __always_inline __u64 ps_far_key(const struct ps_conn *conn)
{
	return (__u64)conn->remote_isn << 32 | conn->local_isn;
}

static __always_inline __u64 ps_near_key(const struct ps_conn *conn)
{
	return (__u64)conn->local_isn << 32 | conn->remote_isn;
}

static __always_inline void ps_conn_remove(const struct sock *sk, struct ps_conn *conn)
{
	__u64 key = (__u64)sk;

	ps_conn_end(conn, PS_CONN_CLOSE);
	ps_hello_forget(conn);
	if (conn->flags & PS_C_OWN && conn->role == PS_ROLE_CLIENT) {
		__u64 far = ps_far_key(conn);

		bpf_map_delete_elem(&ps_own, &far);
	}
	bpf_map_delete_elem(&ps_conns, &key);
}

/* A new connection. The entry of an earlier one at this address, whose end was missed, goes. */
static __noinline struct ps_conn *ps_conn_replace(struct sock *sk, struct ps_conn *old, __u8 role)
{
	if (old)
		ps_conn_remove(sk, old);
	return ps_conn_add(sk, role, PS_C_WHOLE);
}

/* connect() in the agent's own task: the only moment that tells whose connection it is. */
static __always_inline void ps_on_syn_sent(struct sock *sk)
{
	if (bpf_get_current_pid_tgid() >> 32 == ps_cfg.agent_tgid)
		ps_conn_add(sk, PS_ROLE_CLIENT, PS_C_WHOLE | PS_C_EARLY | PS_C_OWN);
}

static __always_inline __u64 ps_port_key(const struct sock *sk, __u16 port)
{
	return (__u64)sk->__sk_common.skc_net.net->ns.inum << 16 | port;
}

/* listen() in the agent's own task: its status endpoint. */
static __always_inline void ps_on_listen(const struct sock *sk)
{
	__u64 key = ps_port_key(sk, sk->__sk_common.skc_num);
	__u8 one = 1;

	if (bpf_get_current_pid_tgid() >> 32 != ps_cfg.agent_tgid)
		return;
	if (bpf_map_update_elem(&ps_own_ports, &key, &one, BPF_ANY))
		ps_count(PS_ST_CONN_MAP_FULL, 1);
}

/* A connection within this host has the same address at both ends, or loopback addresses. */
static __always_inline bool ps_is_to_agent(const struct sock *sk)
{
	const struct sock_common *c = &sk->__sk_common;
	__u64 key = ps_port_key(sk, __builtin_bswap16(c->skc_dport));
	__be32 local = c->skc_rcv_saddr, remote = c->skc_daddr;

	if (!bpf_map_lookup_elem(&ps_own_ports, &key))
		return false;
	if (c->skc_family == AF_INET6) {
		local = c->skc_v6_rcv_saddr.in6_u.u6_addr32[3];
		remote = c->skc_v6_daddr.in6_u.u6_addr32[3];
	}
	return local == remote || (local & 0xff) == 127;
}

static __always_inline void ps_on_connected(struct sock *sk)
{
	struct ps_conn *conn = ps_conn_find(sk);
	struct ps_counters now;
	struct tcp_sock *tp;
	__u64 far;
	__u8 one = 1;

	if (!conn || !(conn->flags & PS_C_EARLY)) {
		conn = ps_conn_replace(sk, conn, PS_ROLE_CLIENT);
		if (conn && ps_is_to_agent(sk))
			__sync_fetch_and_or(&conn->flags, PS_C_OWN);
		return;
	}
	tp = ps_tcp(sk);
	if (!tp)
		return;
	now = ps_read_counters(tp);
	ps_conn_isns(conn, &now);
	if (!(conn->flags & PS_C_OWN))
		return;
	/* The far end, if on this host, gets there later: its last step of the handshake answers this one. */
	far = ps_far_key(conn);
	if (bpf_map_update_elem(&ps_own, &far, &one, BPF_ANY))
		ps_count(PS_ST_CONN_MAP_FULL, 1);
}

static __always_inline void ps_on_accepted(struct sock *sk)
{
	struct ps_conn *conn = ps_conn_find(sk);
	__u64 near;

	if (!conn || !(conn->flags & PS_C_EARLY))
		conn = ps_conn_replace(sk, conn, PS_ROLE_SERVER);
	if (!conn)
		return;
	near = ps_near_key(conn);
	if (bpf_map_lookup_elem(&ps_own, &near))
		__sync_fetch_and_or(&conn->flags, PS_C_OWN);
}

/* TCP_CLOSE: over, unless the program still has bytes to receive (the peer reset, or both ends sent FIN). */
static __always_inline void ps_on_closed(struct sock *sk)
{
	struct ps_conn *conn = ps_conn_find(sk);
	struct tcp_sock *tp;

	if (!conn)
		return;
	ps_conn_failed(conn, sk->sk_err);
	tp = ps_tcp(sk);
	if (tp && sk->sk_shutdown != SHUTDOWN_MASK && ps_kernel(tp, rcv_nxt) != ps_kernel(tp, copied_seq) &&
	    conn->flags & PS_C_ANNOUNCED)
		return;
	ps_conn_remove(sk, conn);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(ps_sock_state, struct sock *sk, int from, int to)
{
	if (sk->sk_protocol != IPPROTO_TCP)
		return 0;
	if (to == TCP_SYN_SENT)
		ps_on_syn_sent(sk);
	else if (to == TCP_LISTEN)
		ps_on_listen(sk);
	else if (to == TCP_ESTABLISHED && from == TCP_SYN_SENT)
		ps_on_connected(sk);
	else if (to == TCP_ESTABLISHED && from == TCP_SYN_RECV)
		ps_on_accepted(sk);
	else if (to == TCP_CLOSE)
		ps_on_closed(sk);
	return 0;
}

/* The socket itself goes: ends what TCP_CLOSE left. */
SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(ps_sock_destroy, struct sock *sk)
{
	struct ps_conn *conn = ps_conn_find(sk);

	if (conn)
		ps_conn_remove(sk, conn);
	return 0;
}
