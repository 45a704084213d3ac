/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Calls of TLS libraries. The first argument is the session object, the second the buffer, the third its length.
 * Bytes are taken at the return, when it is known how many moved: partial writes, short reads and retries are right.
 */

/* The attach cookie: enum ps_tls_call | enum ps_tls_result << 8 | index of the out argument << 16 | library << 32. */
enum ps_tls_call {
	PS_CALL_READ = 1,
	PS_CALL_WRITE = 2,
	PS_CALL_HANDSHAKE = 3, /* no data: SSL_do_handshake, SSL_connect, SSL_accept, SSL_shutdown */
	PS_CALL_FREE = 4,
	PS_CALL_PEEK = 5, /* reads, and consumes nothing */
	PS_CALL_NEW = 6,  /* returns a new session object */
};

enum ps_tls_result {
	PS_RESULT_NONE = 0,
	PS_RESULT_INT = 1,    /* the int returned is the number of bytes if above 0 */
	PS_RESULT_EX = 2,     /* returns 1, and stores the number in a size_t */
	PS_RESULT_LENGTH = 3, /* as PS_RESULT_INT; the bytes are not where the second argument points */
	PS_RESULT_ALL = 4,    /* 0 is returned where all bytes moved */
	/* as PS_RESULT_INT; the object may be no TLS session. With an out argument that one has the flags of recv(2).
	 */
	PS_RESULT_DESCRIPTOR = 5,
};

/*
 * Whether a descriptor of NSPR (prio.h) has layers upon its socket or file, as those with TLS have: its first word
 * points to its methods, which begin with its kind.
 */
#define PR_DESC_LAYERED 4

static __noinline bool ps_is_layered(__u64 descriptor)
{
	__u64 methods = 0;
	__u32 kind = 0;

	if (bpf_probe_read_user(&methods, sizeof(methods), (void *)descriptor) ||
	    bpf_probe_read_user(&kind, sizeof(kind), (void *)methods)) {
		ps_count(PS_ST_FAULT, 1);
		return false;
	}
	return kind == PR_DESC_LAYERED;
}

/*
 * Whether the descriptor of the call is a TLS session: it is known as one, or its own socket carries TLS. Other layers
 * and plain sockets go through the same functions.
 */
static __noinline bool ps_is_tls_descriptor(const struct ps_call *call, __u32 tgid)
{
	struct ps_session_key key = {.obj = call->obj, .tgid = tgid};
	__u64 sk = call->sk;
	struct ps_conn *conn;

	if (bpf_map_lookup_elem(&ps_tls, &key))
		return true;
	if (!call->conn_id)
		return false;
	conn = bpf_map_lookup_elem(&ps_conns, &sk);
	return conn && conn->id == call->conn_id && conn->verdict == PS_V_TLS;
}

static __always_inline bool ps_is_data(__u8 call)
{
	return call == PS_CALL_READ || call == PS_CALL_WRITE;
}

static __noinline void ps_tls_free(__u64 obj, __u32 tgid)
{
	struct ps_session_key key = {.obj = obj, .tgid = tgid};
	struct ps_session *s = bpf_map_lookup_elem(&ps_tls, &key);

	if (!s)
		return;
	ps_session_event(s, PS_TLS_END, tgid);
	ps_session_leave(s);
	bpf_map_delete_elem(&ps_tls, &key);
}

/* A session object was made: one that was known at its address is gone. */
static __noinline void ps_tls_made(__u64 obj, __u32 tgid)
{
	struct ps_session_key key = {.obj = obj, .tgid = tgid};
	struct ps_session *s;
	bool first;

	if (!obj)
		return;
	ps_tls_free(obj, tgid);
	s = ps_session_get(&key, &first);
	if (s)
		s->flags |= PS_S_WHOLE;
}

/* Takes the calls off whose frames, at or below sp, have ended: their returns were not seen. */
static __always_inline void ps_call_drop(struct ps_thread *t, __u64 sp, __u64 obj)
{
	struct ps_call *call = t->depth > 1 ? &t->call[1] : &t->call[0];

	if (!t->depth || call->sp > sp)
		return;
	t->depth--;
	/* The same frame and object: the same call once more, where a file is probed twice through two paths. */
	if (call->sp != sp || call->obj != obj)
		ps_count(PS_ST_NESTED_LOST, 1);
}

/* A free slot for a call whose frame is at sp. */
static __always_inline struct ps_call *ps_call_push(struct ps_thread *t, __u64 sp, __u64 obj)
{
	ps_call_drop(t, sp, obj);
	ps_call_drop(t, sp, obj);
	if (t->depth >= PS_CALLS) {
		ps_count(PS_ST_NESTED_LOST, 1);
		return NULL;
	}
	return t->depth++ ? &t->call[1] : &t->call[0];
}

/* Returns whether the return of the call is wanted. */
static __always_inline bool ps_tls_enter(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	__u64 obj = PT_REGS_PARM1(ctx);
	__u64 sp = PT_REGS_SP(ctx);
	__u64 fourth = PT_REGS_PARM4(ctx);
	__u64 fifth = PT_REGS_PARM5(ctx);
	struct ps_thread *t;
	struct ps_call *call;
	bool inner, peek = false;

	/* Else the compiler chooses between addresses in the context, which the verifier refuses. */
	barrier_var(fourth);
	barrier_var(fifth);
	if (ps_ignored(tgid))
		return false;
	if ((cookie & 0xff) == PS_CALL_FREE) {
		ps_tls_free(obj, tgid);
		return false;
	}
	if ((cookie >> 8 & 0xff) == PS_RESULT_DESCRIPTOR) {
		if (!ps_is_layered(obj))
			return false;
		peek = cookie >> 16 & 0xff && fourth & MSG_PEEK;
	}
	t = bpf_task_storage_get(&ps_threads, bpf_get_current_task_btf(), NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!t) {
		ps_count(PS_ST_NO_TASK, 1);
		return false;
	}
	call = ps_call_push(t, sp, obj);
	if (!call)
		return false;
	inner = t->depth > 1 && t->call[0].obj == obj && t->call[0].call == (cookie & 0xff);
	/* Another object came between the waiting one and its send. */
	if (t->pend != obj && (cookie & 0xff) != PS_CALL_NEW)
		t->pend = 0;
	call->obj = obj;
	call->buf = PT_REGS_PARM2(ctx);
	call->len = PT_REGS_PARM3(ctx);
	call->out = (cookie >> 16 & 0xff) == 4 ? fifth : fourth;
	call->sp = sp;
	call->ts = bpf_ktime_get_ns();
	call->conn_id = 0;
	call->library = cookie >> PS_COOKIE_LIBRARY;
	call->call = peek ? PS_CALL_PEEK : cookie;
	call->result = cookie >> 8;
	call->inner = inner;
	return true;
}

/* The call whose frame has just been left. Where the stack had the return address, that is off it already. */
static __always_inline struct ps_call *ps_call_pop(struct ps_thread *t, __u64 sp)
{
	sp -= PS_RETURN_ADDRESS;
	if (t->depth && t->call[0].sp == sp) {
		if (t->depth > 1)
			ps_count(PS_ST_NESTED_LOST, 1);
		t->depth = 0;
		return &t->call[0];
	}
	if (t->depth > 1 && t->call[1].sp == sp) {
		t->depth = 1;
		return &t->call[1];
	}
	return NULL;
}

/* The bytes are not in the call's buffer: GnuTLS takes a write that waited again without one. */
static __always_inline bool ps_is_blind(const struct ps_call *call)
{
	return call->result == PS_RESULT_LENGTH || !call->buf;
}

/* Bytes that the call moved. `odd` is set where it says what no call says. */
static __noinline __u32 ps_call_bytes(const struct ps_call *call, int returned, bool *odd)
{
	__u64 n = 0;

	*odd = false;
	if (call->result == PS_RESULT_INT || call->result == PS_RESULT_DESCRIPTOR || call->result == PS_RESULT_LENGTH)
		n = returned > 0 ? returned : 0;
	else if (call->result == PS_RESULT_ALL)
		n = returned ? 0 : call->len;
	else if (call->result == PS_RESULT_EX && returned == 1 &&
		 bpf_probe_read_user(&n, sizeof(n), (void *)call->out)) {
		ps_count(PS_ST_FAULT, 1);
		*odd = true;
	} else if (call->result == PS_RESULT_EX && returned > 1) {
		*odd = true;
	}
	if (ps_is_blind(call))
		return n;
	/* More than was asked for is no count: better none than foreign memory. */
	if (n > call->len)
		*odd = true;
	return n <= call->len ? n : 0;
}

/* The one of the process's two ends of a connection to itself that the session is; NULL where that is not known. */
static __always_inline struct ps_hello *ps_session_end(const struct ps_session *s, __u64 random, __u32 tgid)
{
	struct ps_hello *client = ps_hello_find(random, tgid, PS_HELLO_CLIENT);
	struct ps_hello *server = ps_hello_find(random, tgid, PS_HELLO_SERVER);

	if (s->flags & PS_S_CLIENT)
		return client;
	if (s->flags & PS_S_SERVER || !client)
		return server;
	if (!server || client->conn_id == s->conn_id)
		return client;
	return server->conn_id == s->conn_id ? server : NULL;
}

static __always_inline bool ps_session_bind_hello(struct ps_session *s, __u64 random, __u32 tgid)
{
	struct ps_hello *hello = ps_session_end(s, random, tgid);
	struct ps_vote v = {.how = PS_BOUND_HELLO, .strong = 3, .fresh = 1};

	if (!hello)
		return false;
	v.conn_id = hello->conn_id;
	v.sk = hello->sk;
	return ps_session_vote(s, &v, tgid);
}

/* Looks for the place of the random in this library's objects, by an object whose connection shows its hello. */
static __noinline void ps_place_learn(struct ps_library *lib, struct ps_session *s, const struct ps_call *call,
				      __u32 tgid)
{
	struct ps_scan scan = {.obj = call->obj, .tgid = tgid};
	__u64 sk = call->sk;
	struct ps_conn *conn;

	/* Sessions that are older than the agent never have one; of those there may be many. */
	if (s->looked >= PS_PLACE_LOOKS || s->how == PS_BOUND_HELLO)
		return;
	s->looked++;
	if (__sync_fetch_and_add(&lib->tries, 1) >= PS_PLACE_TRIES && lib->tries & 63)
		return;
	if (!ps_place_scan(&scan))
		return;
	if (call->conn_id) {
		conn = bpf_map_lookup_elem(&ps_conns, &sk);
		if (conn && conn->id == call->conn_id && conn->random == scan.random)
			ps_place_note(lib, &scan);
		return;
	}
	if (ps_session_bind_hello(s, scan.random, tgid))
		ps_place_note(lib, &scan);
}

/* Binds a session by the random in its object. `first`: this is the first call on the object. */
static __noinline void ps_session_hello(struct ps_session *s, const struct ps_call *call, bool moved, bool first,
					__u32 tgid)
{
	struct ps_library *lib = ps_library_find(s->library);
	__u64 random;

	if (!lib)
		return;
	if (lib->sure < PS_PLACE_SURE) {
		ps_place_learn(lib, s, call, tgid);
		return;
	}
	if (call->conn_id)
		return;
	random = ps_place_read(lib, call->obj);
	if (!(random >> 48)) {
		if (!s->random)
			s->flags |= PS_S_BARE;
		return;
	}
	if (random == s->random && s->how == PS_BOUND_HELLO)
		return;
	if (random != s->random) {
		bool whole = first || s->flags & PS_S_BARE;

		s->random = random;
		s->flags &= ~(PS_S_BARE | PS_S_ROLE);
		if (!ps_hello_find(random, tgid, PS_HELLO_CLIENT) && !ps_hello_find(random, tgid, PS_HELLO_SERVER))
			s->flags |= PS_S_CLIENT;
		else if (whole)
			s->flags |= PS_S_SERVER;
	}
	if (ps_session_bind_hello(s, random, tgid))
		lib->missed = 0;
	else if (moved && s->flags & PS_S_WHOLE && ++lib->missed >= PS_PLACE_MISSED)
		lib->sure = lib->missed = 0;
}

static __noinline void ps_call_vote(struct ps_thread *t, const struct ps_call *call, struct ps_session *s, bool moved,
				    __u32 tgid)
{
	struct ps_vote v = {};

	if (call->conn_id) {
		v.conn_id = call->conn_id;
		v.sk = call->sk;
		v.how = PS_BOUND_EXACT;
		v.strong = 2;
		v.fresh = call->fresh;
		if (s->conn_id != v.conn_id || s->how < PS_BOUND_EXACT)
			ps_session_vote(s, &v, tgid);
		return;
	}
	if (s->how >= PS_BOUND_EXACT)
		return;
	if (call->call != PS_CALL_WRITE && t->last_conn && (!t->claim || t->claim == call->obj)) {
		v.conn_id = t->last_conn;
		v.sk = t->last_sk;
		v.how = PS_BOUND_PREV;
		v.strong = call->call == PS_CALL_READ && moved;
		v.fresh = t->last_fresh;
		if (ps_session_vote(s, &v, tgid))
			t->claim = call->obj;
	}
	t->pend = call->obj;
	t->pend_len = 0;
	t->pend_strong = call->call == PS_CALL_WRITE && moved;
}

/*
 * Sends what a call moved, or what is wanted of it. `op` holds where the bytes are, their number and when the call
 * began. `blind`: they are not known.
 */
static __always_inline void ps_session_copy(struct ps_session *s, struct ps_op *op, __u32 dir, bool waited, bool blind)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u32 want, turn = s->turn, n = op->d.op_len;

	op->d.stream_off = s->off[dir];
	s->off[dir] += n;
	if (s->last_dir != dir && s->last_dir != PS_NO_DIR)
		s->turn++;
	s->last_dir = dir;
	if (s->flags & PS_S_OWN)
		return;
	want = ps_want(id >> 32, s->conn_id);
	if (want == PS_WANT_NOTHING) {
		/* What may be wanted later is a stream that was met late. */
		s->flags &= ~PS_S_WHOLE;
		ps_walk_nothing(&s->walks, n);
		return;
	}
	ps_fill_header(&op->d.h, PS_DATA, id >> 32);
	op->d.conn_id = s->flags & PS_S_TOLD ? s->conn_id : 0;
	op->d.tls_id = s->id;
	op->d.turn = s->turn;
	op->d.tid = id;
	op->d.dir = dir;
	op->d.source = PS_SRC_TLS;
	op->d.bound = s->how;
	if (s->flags & PS_S_WHOLE)
		op->d.flags = PS_F_WHOLE;
	if (waited && dir == PS_READ)
		op->d.flags |= PS_F_WAITED;
	if (blind) {
		ps_walk_unseen(&s->walks, dir, n);
		ps_copy_nothing(op);
		return;
	}
	if (want == PS_WANT_ALL)
		ps_walk_leave(&s->walks);
	else if (ps_walk_frames(&s->walks, op, s->turn != turn || !op->d.stream_off ? PS_WALK_BEGINS : 0))
		return;
	ps_copy(op, ps_cfg.op_max);
}

/* An operation of this task while it is copied. On the stack of a program it would leave too little to those it calls.
 */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct ps_op);
} ps_ops SEC(".maps");

static __noinline struct ps_op *ps_task_op(void)
{
	struct ps_op *op =
		bpf_task_storage_get(&ps_ops, bpf_get_current_task_btf(), NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!op) {
		ps_count(PS_ST_NO_TASK, 1);
		return NULL;
	}
	__builtin_memset(op, 0, sizeof(*op));
	op->plaintext = 1;
	return op;
}

static __noinline void ps_call_copy(const struct ps_call *call, struct ps_session *s, __u32 n, bool waited)
{
	__u32 dir = call->call == PS_CALL_WRITE ? PS_WRITE : PS_READ;
	struct ps_op *op = ps_task_op();

	if (!op)
		return;
	op->piece = call->buf;
	op->piece_len = n;
	op->d.op_len = n;
	op->d.ts_entry_ns = call->ts;
	ps_session_copy(s, op, dir, waited, ps_is_blind(call));
}

/* TLS inside TLS: both are on this connection. */
static __always_inline void ps_call_inside(struct ps_thread *t, const struct ps_call *call)
{
	if (t->depth && !t->call[0].conn_id) {
		t->call[0].conn_id = call->conn_id;
		t->call[0].sk = call->sk;
		t->call[0].fresh = call->fresh;
	}
}

static __always_inline void ps_tls_leave(struct pt_regs *ctx)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct ps_session_key key = {.tgid = tgid};
	struct ps_session *s;
	struct ps_thread *t;
	struct ps_call *call;
	bool first, odd = false;
	__u32 n, how;

	t = bpf_task_storage_get(&ps_threads, bpf_get_current_task_btf(), NULL, 0);
	if (!t)
		return;
	call = ps_call_pop(t, PT_REGS_SP(ctx));
	if (!call)
		return;
	ps_call_inside(t, call);
	if (call->call == PS_CALL_NEW) {
		ps_tls_made(PT_REGS_RC(ctx), tgid);
		return;
	}
	if (call->result == PS_RESULT_DESCRIPTOR && !ps_is_tls_descriptor(call, tgid))
		return;
	key.obj = call->obj;
	s = ps_session_get(&key, &first);
	if (!s)
		return;
	if (first && call->call == PS_CALL_HANDSHAKE)
		s->flags |= PS_S_WHOLE;
	n = ps_call_bytes(call, PT_REGS_RC(ctx), &odd);
	how = (call->call == PS_CALL_WRITE ? PS_WRITE : PS_READ) | (odd ? PS_CALL_ODD : 0);
	if (call->library) {
		s->library = call->library;
		if (ps_is_data(call->call) && !call->inner)
			ps_library_call(call->library, call->obj, ps_is_blind(call) ? 0 : call->buf, n, how);
		if (s->how != PS_BOUND_EXACT)
			ps_session_hello(s, call, n > 0, first, tgid);
	}
	ps_call_vote(t, call, s, n > 0, tgid);
	if (n && ps_is_data(call->call) && !call->inner)
		ps_call_copy(call, s, n, t->waited);
}

extern bool bpf_session_is_return(void) __ksym __weak;

/* Kernel 6.13: one program for both, and the return only where it is wanted. */
SEC("?uprobe.session")
int ps_tls_session(struct pt_regs *ctx)
{
	if (!bpf_session_is_return())
		return !ps_tls_enter(ctx);
	ps_tls_leave(ctx);
	return 0;
}

/* Kernel 6.6. */
SEC("?uprobe.multi")
int ps_tls_enter_multi(struct pt_regs *ctx)
{
	ps_tls_enter(ctx);
	return 0;
}

SEC("?uretprobe.multi")
int ps_tls_leave_multi(struct pt_regs *ctx)
{
	ps_tls_leave(ctx);
	return 0;
}

SEC("?uprobe")
int ps_tls_enter_perf(struct pt_regs *ctx)
{
	ps_tls_enter(ctx);
	return 0;
}

SEC("?uretprobe")
int ps_tls_leave_perf(struct pt_regs *ctx)
{
	ps_tls_leave(ctx);
	return 0;
}
