/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * TLS sessions, and which connection each one uses.
 *
 * Certain: socket I/O inside a TLS call names the connection, and so does the random of the ClientHello in the session
 * object (hello.bpf.h). Else, on a connection whose hello was not seen, what the thread does beside its TLS calls
 * votes: the last receive before a call that reads, and the next send after any call. The first object after a receive
 * claims it. A vote of a call that moved data is strong: it beats a weak one at once, and another strong one at the
 * second time in a row. What is certain by the record layer's own numbers (rustls.bpf.h) is stronger than strong.
 *
 * User space hears of a binding that is certain, or for which strong votes spoke and none against it. Any other one is
 * doubtful: to user space such a session has no connection.
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
	e->conn_id = s->flags & PS_S_TOLD ? s->conn_id : 0;
	e->bound = s->how;
	e->turn = s->flags & PS_S_WHOLE ? s->turn : 0;
	e->moved[PS_READ] = s->off[PS_READ];
	e->moved[PS_WRITE] = s->off[PS_WRITE];
	bpf_ringbuf_submit(e, 0);
}

/* Strong votes in a row without which a binding that was once spoken against stays doubtful. */
#define PS_AGREED_AGAIN 3

static __always_inline bool ps_session_is_sure(const struct ps_session *s)
{
	if (!s->conn_id || s->how >= PS_BOUND_EXACT)
		return s->conn_id;
	return !s->against && s->agreed >= (s->flags & PS_S_MOVED ? PS_AGREED_AGAIN : 1);
}

/* Tells user space which connection the session uses, or that it is not known any more. `anew`: it is another one. */
static __always_inline void ps_session_tell(struct ps_session *s, bool anew, __u32 tgid)
{
	bool told = s->flags & PS_S_TOLD;
	bool sure = ps_session_is_sure(s);

	if (sure == told && !(told && anew))
		return;
	s->flags &= ~PS_S_TOLD;
	if (sure)
		s->flags |= PS_S_TOLD;
	else
		ps_count(PS_ST_DOUBTED, 1);
	ps_session_event(s, PS_TLS_BIND, tgid);
}

/* In a frame of its own: frames of callers add up to 512 bytes at the most, before kernel 6.13. */
static __noinline struct ps_session *ps_session_make(const struct ps_session_key *key)
{
	struct ps_session new = {};

	new.id = ps_next_id();
	new.last_dir = PS_NO_DIR;
	if (bpf_map_update_elem(&ps_tls, key, &new, BPF_ANY)) {
		ps_count(PS_ST_TLS_MAP_FULL, 1);
		return NULL;
	}
	return bpf_map_lookup_elem(&ps_tls, key);
}

/* The session of the object, made at its first call. `first` is set if it was made here. */
static __always_inline struct ps_session *ps_session_get(const struct ps_session_key *key, bool *first)
{
	struct ps_session *s = bpf_map_lookup_elem(&ps_tls, key);

	*first = !s;
	return s ? s : ps_session_make(key);
}

/* The connection of a session that ends can be another one's. */
static __always_inline void ps_session_leave(const struct ps_session *s)
{
	__u64 sk = s->sk;
	struct ps_conn *conn = s->conn_id ? bpf_map_lookup_elem(&ps_conns, &sk) : NULL;

	if (conn && conn->owner == s->id)
		conn->owner = 0;
}

/* The object is another session now: it was reused, so its streams start anew. */
static __always_inline void ps_session_restart(struct ps_session *s, const struct ps_vote *v, __u32 tgid)
{
	ps_session_event(s, PS_TLS_END, tgid);
	ps_session_leave(s);
	s->id = ps_next_id();
	s->off[PS_READ] = 0;
	s->off[PS_WRITE] = 0;
	s->turn = 0;
	s->last_dir = PS_NO_DIR;
	__builtin_memset(&s->walks, 0, sizeof(s->walks));
	s->flags &= PS_S_BARE | PS_S_ROLE;
	if (v->fresh)
		s->flags |= PS_S_WHOLE;
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

/* Whether the vote cannot be right: the connection is certain to be another session's, or shows another hello. */
static __always_inline bool ps_vote_is_false(const struct ps_session *s, const struct ps_vote *v,
					     const struct ps_conn *conn)
{
	bool other = s->random && conn->random && s->random != conn->random;

	/* A callback inside of a TLS call may talk to somebody else. */
	if (v->how == PS_BOUND_EXACT)
		return other && s->how == PS_BOUND_HELLO;
	if (v->how == PS_BOUND_HELLO)
		return conn->owner && conn->owner != s->id;
	return other || (conn->owner && conn->owner != s->id) || (conn->random && s->flags & PS_S_BARE);
}

/* Whether the vote moves the session to another connection. */
static __always_inline bool ps_vote_wins(struct ps_session *s, const struct ps_vote *v)
{
	if (!s->conn_id || v->how >= PS_BOUND_EXACT || v->strong > s->strong)
		return true;
	if (!v->strong || v->strong < s->strong)
		return false;
	s->agreed = 0;
	s->flags |= PS_S_MOVED;
	return ++s->against >= 2;
}

/* The session stays where it is. */
static __always_inline void ps_vote_agrees(struct ps_session *s, const struct ps_vote *v)
{
	s->against = 0;
	if (v->strong && s->agreed < PS_AGREED_AGAIN)
		s->agreed++;
	if (v->strong > s->strong || v->how >= PS_BOUND_EXACT) {
		s->strong = v->strong;
		s->how = v->how;
	}
}

static __always_inline void ps_session_move(struct ps_session *s, const struct ps_vote *v, const struct ps_conn *conn,
					    bool stale, __u32 tgid)
{
	if (!s->conn_id) {
		if (v->fresh)
			s->flags |= PS_S_WHOLE;
	} else if (stale || s->how >= PS_BOUND_EXACT) {
		ps_session_restart(s, v, tgid);
	} else {
		ps_count(PS_ST_REBOUND, 1);
		s->flags |= PS_S_MOVED;
	}
	s->conn_id = v->conn_id;
	s->sk = v->sk;
	s->how = v->how;
	s->strong = v->strong;
	s->agreed = !!v->strong;
	s->against = 0;
	s->flags &= ~PS_S_OWN;
	if (conn->flags & PS_C_OWN)
		s->flags |= PS_S_OWN;
}

static __noinline bool ps_session_vote(struct ps_session *s, const struct ps_vote *v, __u32 tgid)
{
	struct ps_conn *conn;
	__u64 sk = v->sk;
	bool anew = s->conn_id != v->conn_id;

	/* Most votes say once more what is known. */
	if (!anew && s->how >= PS_BOUND_EXACT && v->how <= s->how)
		return true;
	conn = bpf_map_lookup_elem(&ps_conns, &sk);
	if (!conn || conn->id != v->conn_id || ps_vote_is_false(s, v, conn))
		return false;
	if (anew) {
		bool stale = ps_session_is_stale(s, v);

		if (stale || ps_vote_wins(s, v))
			ps_session_move(s, v, conn, stale, tgid);
		else
			anew = false;
	} else {
		ps_vote_agrees(s, v);
	}
	if (s->conn_id == v->conn_id && v->how >= PS_BOUND_EXACT) {
		if (!conn->owner)
			conn->owner = s->id;
		__sync_fetch_and_or(&conn->flags, PS_C_BOUND);
		if (conn->verdict == PS_V_UNKNOWN)
			conn->verdict = PS_V_TLS;
	}
	ps_session_tell(s, anew, tgid);
	return true;
}

/* The TLS call in which the thread is, going by its stack: a call whose return was missed stands below. */
static __always_inline struct ps_call *ps_current_call(struct ps_thread *t, __u64 sp)
{
	struct ps_call *call = t->depth > 1 ? &t->call[1] : &t->call[0];

	return t->depth && sp < call->sp ? call : NULL;
}

/* Returns whether the I/O is inside a TLS call of the thread, which then knows its connection. */
static __always_inline bool ps_call_io(struct ps_thread *t, const struct ps_conn *conn, __u64 sk, __u64 sp, bool fresh)
{
	struct ps_call *call = ps_current_call(t, sp);

	if (!call)
		return false;
	/* The first one counts: a callback inside the call may talk to somebody else. */
	if (!call->conn_id) {
		call->conn_id = conn->id;
		call->sk = sk;
		call->fresh = fresh;
	}
	return true;
}

/* A send outside of any TLS call: the data of the TLS object that waits for one. */
static __noinline void ps_vote_next(struct ps_thread *t, struct ps_vote *v, __u32 tgid)
{
	struct ps_session_key key = {.obj = t->pend, .tgid = tgid};
	struct ps_session *s = bpf_map_lookup_elem(&ps_tls, &key);

	v->how = PS_BOUND_NEXT;
	v->strong = t->pend_strong;
	t->pend = 0;
	if (s && s->how < PS_BOUND_EXACT)
		ps_session_vote(s, v, tgid);
}

/*
 * The same of a goroutine. Of its sockets only those count that may carry TLS: what a program has between TLS and its
 * socket, and a callback inside of the handshake, may talk to somebody else.
 */
static __noinline bool ps_goroutine_io(__u64 sk, const struct ps_conn *conn, const struct pt_regs *regs, bool candidate,
				       bool fresh)
{
	struct ps_goroutine_key key = {.g = PS_GO_G(regs), .tgid = bpf_get_current_pid_tgid() >> 32};
	struct ps_thread *t = bpf_map_lookup_elem(&ps_goroutines, &key);
	struct ps_call *call;
	__u64 frame;

	if (!t)
		return false;
	frame = ps_go_frame(key.g, PS_USER_SP(regs));
	call = frame ? ps_current_call(t, frame) : NULL;
	if (!call)
		return false;
	if (candidate && !call->conn_id) {
		call->conn_id = conn->id;
		call->sk = sk;
		call->fresh = fresh;
	}
	return true;
}

/*
 * The same of a connection that a TLS session is certain to use: whether the I/O is inside a TLS call of the thread.
 * Both ends have sent bytes.
 */
static __noinline bool ps_settled_io(const struct ps_conn *conn, __u64 sk, __u32 dir, bool waited)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
	struct ps_thread *t = bpf_task_storage_get(&ps_threads, task, NULL, 0);

	if (!t || !ps_call_io(t, conn, sk, PS_USER_SP(regs), false))
		return false;
	if (dir == PS_READ)
		t->waited = waited;
	return true;
}

/*
 * One send or receive of a thread, as the binding of TLS sessions sees it. Returns whether it was inside a TLS call.
 * `said`: PS_IO_*.
 */
#define PS_IO_FRESH 1  /* before it the connection had not carried bytes both ways: no TLS handshake can have ended */
#define PS_IO_WAITED 2 /* it may have waited for bytes */

__noinline bool ps_thread_io(struct ps_conn *conn, struct ps_op *op, __u32 said)
{
	bool fresh = said & PS_IO_FRESH;
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
	struct ps_thread *t;
	bool candidate, make;
	__u32 dir;

	if (!conn || !op)
		return false;
	dir = op->d.dir & 1;
	candidate = conn->verdict == PS_V_UNKNOWN || conn->verdict == PS_V_TLS;
	make = candidate && dir == PS_READ;
	if (ps_go_met && ps_goroutine_io(op->sk, conn, regs, candidate, fresh))
		return true;
	t = bpf_task_storage_get(&ps_threads, task, NULL, make ? BPF_LOCAL_STORAGE_GET_F_CREATE : 0);
	if (!t) {
		if (make)
			ps_count(PS_ST_NO_TASK, 1);
		return false;
	}
	if (dir == PS_READ)
		t->waited = !!(said & PS_IO_WAITED);
	if (ps_call_io(t, conn, op->sk, PS_USER_SP(regs), fresh))
		return true;
	if (!candidate)
		return false;
	if (dir == PS_READ) {
		t->last_conn = conn->id;
		t->last_sk = op->sk;
		t->last_fresh = fresh;
		t->last_buf = op->piece;
		t->last_len = op->piece ? op->d.op_len : 0;
		t->claim = 0;
		t->pend = 0;
	} else if (t->pend_len && t->pend_len != op->d.op_len) {
		t->pend = 0;
	} else if (t->pend) {
		struct ps_vote v = {.conn_id = conn->id, .sk = op->sk, .fresh = fresh};

		ps_vote_next(t, &v, task->tgid);
	}
	return false;
}
