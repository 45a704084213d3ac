/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * TLS sessions, and which connection each one uses.
 *
 * Socket I/O inside a TLS call names the connection for certain. Libraries with memory BIOs do their I/O beside the
 * call, on the same thread: then the last receive before a call that reads, and the next send after any call, vote.
 * The first object after a receive claims it. A vote of a call that moved data is strong: it beats a weak one at
 * once, and another strong one at the second time in a row.
 */

struct ps_vote {
	__u64 conn_id;
	__u64 sk;
	__u8 how; /* enum ps_bound */
	__u8 strong;
	__u8 fresh;
};

static __noinline void ps_session_event(const struct ps_session *s, __u16 kind, __u32 tgid)
{
	struct ps_tls *e;

	if (s->flags & PS_S_OWN)
		return;
	e = ps_control_reserve(struct ps_tls);
	if (!e)
		return;
	ps_fill_header(&e->h, kind, tgid);
	e->tls_id = s->id;
	e->conn_id = s->conn_id;
	e->bound = s->how;
	e->moved[PS_READ] = s->off[PS_READ];
	e->moved[PS_WRITE] = s->off[PS_WRITE];
	bpf_ringbuf_submit(e, 0);
}

/* The session of the object, made at its first call. `first` is set if it was made here. */
static __always_inline struct ps_session *ps_session_get(const struct ps_session_key *key, bool *first)
{
	struct ps_session *s = bpf_map_lookup_elem(&ps_tls, key);
	struct ps_session new = {};

	*first = !s;
	if (s)
		return s;
	new.id = ps_next_id();
	new.last_dir = PS_NO_DIR;
	if (bpf_map_update_elem(&ps_tls, key, &new, BPF_ANY)) {
		ps_count(PS_ST_TLS_MAP_FULL, 1);
		return NULL;
	}
	return bpf_map_lookup_elem(&ps_tls, key);
}

/* The object is another session now: it was reused, so its streams start anew. */
static __always_inline void ps_session_restart(struct ps_session *s, const struct ps_vote *v, __u32 tgid)
{
	ps_session_event(s, PS_TLS_END, tgid);
	s->id = ps_next_id();
	s->off[PS_READ] = 0;
	s->off[PS_WRITE] = 0;
	s->turn = 0;
	s->last_dir = PS_NO_DIR;
	__builtin_memset(&s->walks, 0, sizeof(s->walks));
	s->flags = v->fresh ? PS_S_WHOLE : 0;
}

/*
 * Whether the session's connection is over, and the vote is for one at its beginning: then the object is another
 * session, at an address that was used before. Stripped libraries do not tell when they free one.
 */
static __always_inline bool ps_session_is_stale(const struct ps_session *s, const struct ps_vote *v)
{
	__u64 sk = s->sk;
	struct ps_conn *conn;

	if (!s->conn_id || !v->fresh)
		return false;
	conn = bpf_map_lookup_elem(&ps_conns, &sk);
	return !conn || conn->id != s->conn_id;
}

/* Whether the vote moves the session to another connection. */
static __always_inline bool ps_vote_wins(struct ps_session *s, const struct ps_vote *v)
{
	if (!s->conn_id || v->how == PS_BOUND_EXACT || v->strong > s->strong)
		return true;
	return v->strong && ++s->against >= 2;
}

static __noinline void ps_session_vote(struct ps_session *s, const struct ps_vote *v, __u32 tgid)
{
	struct ps_conn *conn;
	__u64 sk = v->sk;
	bool stale;

	if (s->conn_id == v->conn_id) {
		s->against = 0;
		if (v->strong <= s->strong && v->how != PS_BOUND_EXACT)
			return;
		s->strong = v->strong;
		s->how = v->how;
	}
	/* Few calls get here: the session is new, moves, or its binding became certain. */
	conn = bpf_map_lookup_elem(&ps_conns, &sk);
	if (!conn || conn->id != v->conn_id)
		return;
	if (v->how == PS_BOUND_EXACT) {
		__sync_fetch_and_or(&conn->flags, PS_C_BOUND);
		if (conn->verdict == PS_V_UNKNOWN)
			conn->verdict = PS_V_TLS;
	}
	if (s->conn_id == v->conn_id)
		return;
	stale = ps_session_is_stale(s, v);
	if (!stale && !ps_vote_wins(s, v))
		return;
	if (!s->conn_id) {
		if (v->fresh)
			s->flags |= PS_S_WHOLE;
	} else if (stale || s->how == PS_BOUND_EXACT) {
		ps_session_restart(s, v, tgid);
	} else {
		ps_count(PS_ST_REBOUND, 1);
	}
	s->conn_id = v->conn_id;
	s->sk = v->sk;
	s->how = v->how;
	s->strong = v->strong;
	s->against = 0;
	s->flags &= ~PS_S_OWN;
	if (conn->flags & PS_C_OWN)
		s->flags |= PS_S_OWN;
	ps_session_event(s, PS_TLS_BIND, tgid);
}

/* The TLS call in which the thread is, going by its stack: a call whose return was missed stands below. */
static __always_inline struct ps_call *ps_current_call(struct ps_thread *t, __u64 sp)
{
	struct ps_call *call = t->depth > 1 ? &t->call[1] : &t->call[0];

	return t->depth && sp < call->sp ? call : NULL;
}

/* A send outside of any TLS call: the data of the TLS object that waits for one. */
static __noinline void ps_vote_next(struct ps_thread *t, struct ps_vote *v, __u32 tgid)
{
	struct ps_session_key key = {.obj = t->pend, .tgid = tgid};
	struct ps_session *s = bpf_map_lookup_elem(&ps_tls, &key);

	v->how = PS_BOUND_NEXT;
	v->strong = t->pend_strong;
	t->pend = 0;
	if (s && s->how != PS_BOUND_EXACT)
		ps_session_vote(s, v, tgid);
}

/*
 * The same of a goroutine. Of its sockets only those count that may carry TLS: what a program has between TLS and its
 * socket, and a callback inside of the handshake, may talk to somebody else.
 */
static __noinline bool ps_goroutine_io(struct sock *sk, const struct ps_conn *conn, const struct pt_regs *regs,
				       bool candidate, bool fresh)
{
	struct ps_goroutine_key key = {.g = regs->r14, .tgid = bpf_get_current_pid_tgid() >> 32};
	struct ps_thread *t = bpf_map_lookup_elem(&ps_goroutines, &key);
	struct ps_call *call;
	__u64 frame;

	if (!t)
		return false;
	frame = ps_go_frame(key.g, regs->sp);
	call = frame ? ps_current_call(t, frame) : NULL;
	if (!call)
		return false;
	if (candidate && !call->conn_id) {
		call->conn_id = conn->id;
		call->sk = (__u64)sk;
		call->fresh = fresh;
	}
	return true;
}

/*
 * One send or receive of a thread, as the binding of TLS sessions sees it. Returns whether it was inside a TLS call.
 * `said`: PS_IO_*.
 */
#define PS_IO_FRESH 1  /* before it the connection had not carried bytes both ways: no TLS handshake can have ended */
#define PS_IO_WAITED 2 /* it may have waited for bytes */

static __noinline bool ps_thread_io(struct sock *sk, struct ps_conn *conn, __u32 dir, __u32 said)
{
	bool fresh = said & PS_IO_FRESH;
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
	bool candidate = conn->verdict == PS_V_UNKNOWN || conn->verdict == PS_V_TLS;
	bool make = candidate && dir == PS_READ;
	struct ps_thread *t;
	struct ps_call *call;

	if (ps_go_met && ps_goroutine_io(sk, conn, regs, candidate, fresh))
		return true;
	t = bpf_task_storage_get(&ps_threads, task, NULL, make ? BPF_LOCAL_STORAGE_GET_F_CREATE : 0);
	if (!t) {
		if (make)
			ps_count(PS_ST_NO_TASK, 1);
		return false;
	}
	if (dir == PS_READ)
		t->waited = !!(said & PS_IO_WAITED);
	call = ps_current_call(t, regs->sp);
	if (call) {
		/* The first one counts: a callback inside the call may talk to somebody else. */
		if (!call->conn_id) {
			call->conn_id = conn->id;
			call->sk = (__u64)sk;
			call->fresh = fresh;
		}
		return true;
	}
	if (!candidate)
		return false;
	if (dir == PS_READ) {
		t->last_conn = conn->id;
		t->last_sk = (__u64)sk;
		t->last_fresh = fresh;
		t->claim = 0;
		t->pend = 0;
	} else if (t->pend) {
		struct ps_vote v = {.conn_id = conn->id, .sk = (__u64)sk, .fresh = fresh};

		ps_vote_next(t, &v, task->tgid);
	}
	return false;
}
