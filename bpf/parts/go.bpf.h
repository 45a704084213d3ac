/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Calls of Go's crypto/tls. The object is the *tls.Conn; registers of arguments and results are in arch/.
 *
 * Entries are the branch of the stack check, returns are each `ret`: a return probe would crash the program, because Go
 * moves and walks its stacks. A read counts at its return, a write where its records are made, which is behind the
 * handshake, under the lock of that direction, and once for each byte. A socket that a goroutine uses inside of a
 * handshake or a read is that of the session, whatever the program has put between the two.
 */

/* The attach cookie, and the library << 32. */
enum ps_go_point {
	PS_GO_READ = 1,	     /* (*Conn).Read(buffer, length) */
	PS_GO_WRITE = 2,     /* (*Conn).Write(buffer, length) */
	PS_GO_RECORD = 3,    /* (*Conn).writeRecordLocked(type, buffer, length) */
	PS_GO_HANDSHAKE = 4, /* (*Conn).clientHandshake, serverHandshake */
	PS_GO_CLOSE = 5,     /* (*Conn).Close */
	PS_GO_RETURN = 6,
};

/* Of a TLS record with application data (RFC 8446 section 5.1). */
#define PS_GO_APPLICATION_DATA 23

/* A frame of its own for the new session. */
static __noinline struct ps_session *ps_go_session(__u64 obj, __u32 tgid, bool whole)
{
	struct ps_session_key key = {.obj = obj, .tgid = tgid};
	struct ps_session *s;
	bool first;

	s = ps_session_get(&key, &first);
	if (s && first && whole)
		s->flags |= PS_S_WHOLE;
	return s;
}

/* The calls of a goroutine, made at its first. */
static __noinline struct ps_thread *ps_goroutine_get(__u64 g, __u32 tgid)
{
	struct ps_goroutine_key key = {.g = g, .tgid = tgid};
	struct ps_thread *t = bpf_map_lookup_elem(&ps_goroutines, &key);
	struct ps_thread new = {};

	if (t)
		return t;
	if (bpf_map_update_elem(&ps_goroutines, &key, &new, BPF_ANY)) {
		ps_count(PS_ST_NO_TASK, 1);
		return NULL;
	}
	return bpf_map_lookup_elem(&ps_goroutines, &key);
}

static __noinline void ps_go_enter(struct pt_regs *ctx, __u8 kind, __u32 library, __u32 tgid)
{
	__u64 obj = PS_GO_1(ctx), buf = PS_GO_2(ctx), len = PS_GO_3(ctx), g = PS_GO_G(ctx), sp = PT_REGS_SP(ctx);
	struct ps_thread *t;
	struct ps_call *call;

	t = ps_goroutine_get(g, tgid);
	if (!t)
		return;
	sp = ps_go_frame(g, sp);
	if (!sp)
		return;
	/*
	 * A new connection at the address of one that was given up without Close. Inside of a read of the same object
	 * it may be a renegotiation, and the session goes on.
	 */
	if (kind == PS_CALL_HANDSHAKE && !(t->depth && t->call[0].obj == obj))
		ps_tls_free(obj, tgid);
	call = ps_call_push(t, sp, obj);
	if (!call)
		return;
	call->obj = obj;
	call->buf = buf;
	call->len = len < (__u32)-1 ? len : (__u32)-1;
	call->sp = sp;
	call->ts = bpf_ktime_get_ns();
	call->conn_id = 0;
	call->library = library;
	call->call = kind;
	call->result = PS_RESULT_NONE;
	call->inner = 0;
}

static __noinline void ps_go_ended(struct ps_thread *t, const struct ps_call *call, __u64 returned, __u32 tgid)
{
	struct ps_session_key key = {.obj = call->obj, .tgid = tgid};
	struct ps_session *s;
	__u32 n = 0;

	if (call->call == PS_CALL_READ && returned <= call->len)
		n = returned;
	if (call->call == PS_CALL_READ)
		ps_library_call(call->library, call->obj, call->buf, n, PS_READ);
	/* A read that failed makes no session: its connection may be closed, and its address another's. */
	if (n || call->call == PS_CALL_HANDSHAKE)
		s = ps_go_session(call->obj, tgid, call->call == PS_CALL_HANDSHAKE);
	else
		s = bpf_map_lookup_elem(&ps_tls, &key);
	if (!s)
		return;
	if (call->conn_id)
		ps_call_vote(t, call, s, n > 0, tgid);
	if (n)
		ps_call_copy(call, s, n, false);
}

static __noinline void ps_go_leave(struct pt_regs *ctx, __u32 tgid)
{
	__u64 returned = PS_GO_RESULT(ctx), sp = PT_REGS_SP(ctx);
	struct ps_goroutine_key key = {.g = PS_GO_G(ctx), .tgid = tgid};
	struct ps_thread *t;
	struct ps_call *call;

	t = bpf_map_lookup_elem(&ps_goroutines, &key);
	if (!t)
		return;
	sp = ps_go_frame(key.g, sp);
	/* The return address is still on the stack here. */
	call = sp ? ps_call_pop(t, sp + PS_RETURN_ADDRESS) : NULL;
	if (!call)
		return;
	ps_call_inside(t, call);
	ps_go_ended(t, call, returned, tgid);
	if (!t->depth)
		bpf_map_delete_elem(&ps_goroutines, &key);
}

/* Seen at its entry: what fails later was sent all the same, as far as the program knows. */
static __noinline void ps_go_write(__u64 obj, __u64 buf, __u64 len, __u32 library, __u32 tgid)
{
	struct ps_call call = {.obj = obj, .buf = buf, .call = PS_CALL_WRITE};
	struct ps_session *s;

	if (!len)
		return;
	if (len > 0x7fffffff) {
		ps_count(PS_ST_NESTED_LOST, 1);
		return;
	}
	ps_library_call(library, obj, buf, len, PS_WRITE);
	call.ts = bpf_ktime_get_ns();
	s = ps_go_session(obj, tgid, false);
	if (s)
		ps_call_copy(&call, s, len, false);
}

static __always_inline void ps_go(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	__u32 point = cookie, library = cookie >> PS_COOKIE_LIBRARY;
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	__u64 one = PS_GO_1(ctx), two = PS_GO_2(ctx), three = PS_GO_3(ctx), four = PS_GO_4(ctx);

	if (ps_ignored(tgid))
		return;
	if (!ps_go_met)
		ps_go_met = 1;
	if (point == PS_GO_RETURN) {
		ps_go_leave(ctx, tgid);
		return;
	}
	if (ps_go_begins_again(ctx))
		return;
	if (point == PS_GO_READ)
		ps_go_enter(ctx, PS_CALL_READ, library, tgid);
	else if (point == PS_GO_HANDSHAKE)
		ps_go_enter(ctx, PS_CALL_HANDSHAKE, library, tgid);
	else if (point == PS_GO_WRITE)
		ps_go_write(one, two, three, library, tgid);
	else if (point == PS_GO_RECORD && (two & 0xff) == PS_GO_APPLICATION_DATA)
		ps_go_write(one, three, four, library, tgid);
	else if (point == PS_GO_CLOSE)
		ps_tls_free(one, tgid);
}

/* Kernel 6.6. */
SEC("?uprobe.multi")
int ps_go_multi(struct pt_regs *ctx)
{
	ps_go(ctx);
	return 0;
}

SEC("?uprobe")
int ps_go_perf(struct pt_regs *ctx)
{
	ps_go(ctx);
	return 0;
}
