/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Calls of rustls's record layer, one a record: `encrypt(&self, &message, number)`, seen at its entry, and
 * `decrypt(&self, &message, number)`, seen at its return too. The result's place is the first argument of each.
 *
 * The objects of the two directions are different ones, and a new key is a new object. What joins them is the record
 * layer that holds both: while it calls one it has its own address in a register or on the stack. It is known for
 * certain: it holds the object and its table of methods, in which the probed function stands, and the numbers of the
 * next records.
 * Where it is not found, nothing of the key is followed.
 *
 * Sockets: rustls opens a record where it was received, or before 0.23 a copy of it, so a record that lies in what the
 * thread received last is of that connection. What is encrypted is of the connection over which the thread sends next
 * exactly as many bytes as the records have.
 */

/*
 * The attach cookie: enum ps_rustls_method | enum ps_rustls_suite << 8 | offset of the place in the function << 16 |
 * where the type stands in a message that is encrypted, by which versions of rustls differ, << 24.
 */
enum ps_rustls_method {
	PS_RUSTLS_ENCRYPT = 1,
	PS_RUSTLS_DECRYPT = 2,
};

enum ps_rustls_suite {
	PS_RUSTLS_13 = 1,
	PS_RUSTLS_12_GCM = 2,
	PS_RUSTLS_12_CHACHA = 3,
};

/* Of a TLS record (RFC 8446 section 5.1): its header, the most that it may hold. */
#define PS_RECORD_HEADER 5
#define PS_RECORD_MAX 16384
#define PS_RECORD_APPLICATION_DATA 23

/* The largest discriminant of rustls's ContentType, and that of application data. */
#define PS_RUSTLS_TYPES 5
#define PS_RUSTLS_APPLICATION_DATA 3

/* The type's place in rustls 0.23. In older versions it is another, and messages have another form. */
#define PS_RUSTLS_SLICES 0x20

/* struct OutboundPlainMessage of 0.23: 0 and one slice, or slices and a range of their bytes. */
struct ps_rustls_outbound {
	__u64 slices; /* 0: one slice */
	__u64 second; /* one slice: its address; else how many slices */
	__u64 third;  /* one slice: its length; else where the range begins */
	__u64 end;
	__u8 type;
	__u8 pad[7];
};

/* struct InboundOpaqueMessage of 0.23 */
struct ps_rustls_inbound {
	__u64 payload;
	__u64 len;
	__u8 type;
	__u8 pad[7];
};

/* struct BorrowedPlainMessage of 0.20 to 0.22: one slice; then type and version, in either order. */
struct ps_rustls_borrowed {
	__u64 payload;
	__u64 len;
	__u64 rest;
};

/* struct OpaqueMessage of 0.20 to 0.22: a vector, whose address and capacity are in either order; then as above. */
struct ps_rustls_opaque {
	__u64 words[2];
	__u64 len;
	__u64 rest;
};

/* No capacity of such a vector is as large, and no address that a program may map by default is as small. */
#define PS_RUSTLS_CAPACITY 65536

/* One key: an object of one direction. */
struct ps_rustls_key {
	__u64 session; /* `obj` of its struct ps_session_key; no address of a program is as high. 0: not followed */
	__u64 next;    /* number of its next record */
	__u64 other;   /* object of the other direction */
	__u8 dir;
	__u8 whole; /* its first record was seen */
	__u8 pad[6];
};

#define PS_RUSTLS_SESSION (1ULL << 63)
/* In ps_thread.pend: records of more than one session wait. No object is there. */
#define PS_RUSTLS_SEVERAL 1

/* By the object's address. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, struct ps_session_key);
	__type(value, struct ps_rustls_key);
} ps_rustls SEC(".maps");

/* A record that was encrypted, or decrypted well. */
struct ps_rustls_record {
	__u64 self;
	__u64 number;
	__u64 function; /* entry of the method */
	__u64 sp;
	__u64 saved[PS_SAVED];
	__u32 tgid;
	__u8 dir;
	__u8 type_at; /* PS_RUSTLS_SLICES, or less in an older version */
	__u8 pad[2];
};

/*
 * A record layer: the encrypter and the decrypter with their methods, and the numbers of their next records: in 0.23 a
 * limit, of writes, of reads; before, of writes, of reads.
 */
struct ps_layer_half {
	__u64 object;
	__u64 methods;
};

/* Methods stand in their table behind three words. Compilers before Rust 1.74 had a fourth, of a trait without methods.
 */
#define PS_METHODS 24
/* Words of the stack that are looked at for its address. */
#define PS_LAYER_STACK 56

struct ps_layer_search {
	const struct ps_rustls_record *record;
	__u64 other;
	__u64 number; /* of the other direction's next record */
};

/*
 * Whether the record layer is at `at`: it holds the object, and of its methods the one that was called. The number of a
 * record is counted up before the call that encrypts, and after the one that decrypts.
 */
static __always_inline bool ps_layer_is(struct ps_layer_search *search, __u64 at)
{
	const struct ps_rustls_record *r = search->record;
	bool writes = r->dir == PS_WRITE;
	__u64 own = at + (writes ? 0 : sizeof(struct ps_layer_half));
	__u64 other = at + (writes ? sizeof(struct ps_layer_half) : 0);
	__u64 numbers = at + 2 * sizeof(struct ps_layer_half) + (r->type_at == PS_RUSTLS_SLICES ? 8 : 0);
	struct ps_layer_half half;
	__u64 two[2] = {};

	if (bpf_probe_read_user(&half, sizeof(half), (void *)own) || half.object != r->self)
		return false;
	if (bpf_probe_read_user(two, sizeof(two), (void *)numbers))
		return false;
	if (writes ? two[0] != r->number + 1 : two[1] != r->number)
		return false;
	search->number = writes ? two[1] : two[0];
	if (bpf_probe_read_user(&search->other, sizeof(search->other), (void *)other) ||
	    bpf_probe_read_user(two, sizeof(two), (void *)(half.methods + PS_METHODS)))
		return false;
	return two[0] == r->function || two[1] == r->function;
}

/* A record layer begins with 16 bytes of its own, or right with the two objects. */
static __always_inline long ps_layer_step(__u32 step, struct ps_layer_search *search)
{
	const struct ps_rustls_record *r = search->record;
	__u64 at = 0;

	if (step < PS_SAVED)
		at = r->saved[step];
	else if (bpf_probe_read_user(&at, sizeof(at), (void *)(r->sp + 8 * (step - PS_SAVED))))
		return 1;
	if (at < 4096 || at & 7)
		return 0;
	if (ps_layer_is(search, at + 16) || ps_layer_is(search, at))
		return 1;
	search->other = 0;
	return 0;
}

PS_LOOP(ps_layer_find, PS_SAVED + PS_LAYER_STACK, ps_layer_step, struct ps_layer_search)

/* Ends what an object was: its key is over, and where it was not replaced in its session, that too. */
static __noinline void ps_rustls_over(__u64 session, __u64 other, __u32 tgid)
{
	struct ps_session_key key = {.obj = other, .tgid = tgid};
	struct ps_rustls_key *of = bpf_map_lookup_elem(&ps_rustls, &key);

	if (of && of->session == session)
		bpf_map_delete_elem(&ps_rustls, &key);
	ps_tls_free(session, tgid);
}

/* A key replaces another of the same session and direction. */
static __noinline void ps_rustls_join(struct ps_rustls_key *joined, __u64 self, __u64 session, __u32 tgid)
{
	struct ps_session_key before = {.obj = joined->other, .tgid = tgid};
	struct ps_rustls_key *of;

	if (before.obj != self) {
		of = bpf_map_lookup_elem(&ps_rustls, &before);
		if (of && of->session == session && of->dir != joined->dir)
			bpf_map_delete_elem(&ps_rustls, &before);
	}
	joined->other = self;
}

/* An object whose record is not the next one of a key that is known: a new key, or one that was met late. */
static __noinline void ps_rustls_met(const struct ps_rustls_record *r, const struct ps_rustls_key *was)
{
	struct ps_session_key key = {.obj = r->self, .tgid = r->tgid};
	struct ps_layer_search search = {.record = r};
	struct ps_rustls_key new = {.dir = r->dir, .next = r->number + 1, .whole = !r->number};
	struct ps_rustls_key *joined = NULL;
	__u64 session = 0, other = 0;

	if (was) {
		session = was->session;
		other = was->other;
	}
	ps_layer_find(&search);
	if (!search.other) {
		ps_count(PS_ST_NESTED_LOST, 1);
	} else {
		struct ps_session_key far = {.obj = search.other, .tgid = r->tgid};

		new.other = search.other;
		joined = bpf_map_lookup_elem(&ps_rustls, &far);
		/* Another number: what was at this address before. The one that is there now has not been used. */
		if (joined && (joined->dir == r->dir || !joined->session || joined->next != search.number))
			joined = NULL;
		new.session = joined ? joined->session : PS_RUSTLS_SESSION | ps_next_id();
	}
	if (session && session != new.session)
		ps_rustls_over(session, other, r->tgid);
	/* Records of the key were not seen: how many bytes they had is not known, so the streams begin anew. */
	else if (session && was && was->dir == r->dir && r->number) {
		ps_tls_free(session, r->tgid);
		if (joined)
			joined->whole = 0;
	}
	if (joined)
		ps_rustls_join(joined, r->self, new.session, r->tgid);
	if (bpf_map_update_elem(&ps_rustls, &key, &new, BPF_ANY))
		ps_count(PS_ST_TLS_MAP_FULL, 1);
}

/* Counts the record, and gives the key that it was made with. NULL where that is not followed. */
static __always_inline struct ps_rustls_key *ps_rustls_count(const struct ps_rustls_record *r)
{
	struct ps_session_key key = {.obj = r->self, .tgid = r->tgid};
	struct ps_rustls_key *k = bpf_map_lookup_elem(&ps_rustls, &key);

	if (k && k->dir == r->dir && k->next == r->number && r->number) {
		k->next++;
		return k->session ? k : NULL;
	}
	ps_rustls_met(r, k);
	k = bpf_map_lookup_elem(&ps_rustls, &key);
	return k && k->session ? k : NULL;
}

/* The session of a key that carries application data, made at the first. */
static __noinline struct ps_session *ps_rustls_session_of(const struct ps_rustls_key *k, __u32 tgid)
{
	struct ps_session_key key = {.obj = k->session, .tgid = tgid};
	struct ps_session *s;
	bool first;

	s = ps_session_get(&key, &first);
	if (!s)
		return NULL;
	if (first && k->whole)
		s->flags |= PS_S_WHOLE;
	else if (!k->whole)
		s->flags &= ~PS_S_WHOLE;
	return s;
}

static __always_inline struct ps_thread *ps_rustls_thread(void)
{
	struct ps_thread *t;

	t = bpf_task_storage_get(&ps_threads, bpf_get_current_task_btf(), NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!t)
		ps_count(PS_ST_NO_TASK, 1);
	return t;
}

/* Records wait for the thread's next send. */
static __noinline void ps_rustls_wait(struct ps_thread *t, __u64 session, __u32 len)
{
	if (t->pend == session && t->pend_len) {
		t->pend_len += len;
		return;
	}
	t->pend_len = len;
	t->pend_strong = 1;
	t->pend = t->pend ? PS_RUSTLS_SEVERAL : session;
}

/* Bytes of a record that are not its content. */
static __always_inline __u32 ps_rustls_more(__u32 suite)
{
	if (suite == PS_RUSTLS_13)
		return PS_RECORD_HEADER + 17;
	return PS_RECORD_HEADER + (suite == PS_RUSTLS_12_GCM ? 24 : 16);
}

/* Goes through slices to where a range begins. */
struct ps_rustls_seek {
	struct ps_op *op;
	__u64 left;
};

static __always_inline long ps_rustls_seek_slice(__u32 step, struct ps_rustls_seek *seek)
{
	struct ps_op *op = seek->op;

	(void)step;
	if (!ps_next_piece(op))
		return 1;
	if (op->piece_len > seek->left) {
		op->piece += seek->left;
		op->piece_len -= seek->left;
		seek->left = 0;
		return 1;
	}
	seek->left -= op->piece_len;
	op->piece_len = 0;
	return 0;
}

PS_LOOP(ps_rustls_seek, PS_STEPS, ps_rustls_seek_slice, struct ps_rustls_seek)

/* Where the content is. False where the message is not as it must be. */
static __noinline bool ps_rustls_content(const struct ps_rustls_outbound *message, struct ps_op *op)
{
	struct ps_rustls_seek seek = {.op = op};
	__u64 len = message->third;

	if (message->type > PS_RUSTLS_TYPES)
		return false;
	if (message->slices) {
		if (message->end < message->third || message->second > PS_STEPS)
			return false;
		len = message->end - message->third;
	}
	if (len > PS_RECORD_MAX)
		return false;
	op->d.op_len = len;
	if (!message->slices) {
		op->piece = message->second;
		op->piece_len = len;
		return true;
	}
	if (!len)
		return true;
	op->iov = message->slices;
	op->iov_left = message->second;
	seek.left = message->third;
	ps_rustls_seek(&seek);
	return op->piece_len != 0;
}

static __always_inline void ps_rustls_put(struct ps_session *s, struct ps_op *op, __u32 dir, bool waited)
{
	ps_session_copy(s, op, dir, waited, false);
}

static __noinline void ps_rustls_encrypt(const struct ps_rustls_record *r, const struct ps_rustls_outbound *message,
					 __u32 more)
{
	struct ps_op *op = ps_task_op();
	struct ps_rustls_key *k;
	struct ps_thread *t;
	struct ps_session *s;

	if (!op)
		return;
	if (!ps_rustls_content(message, op)) {
		ps_count(PS_ST_NESTED_LOST, 1);
		return;
	}
	k = ps_rustls_count(r);
	t = ps_rustls_thread();
	if (!t)
		return;
	ps_rustls_wait(t, k ? k->session : PS_RUSTLS_SEVERAL, op->d.op_len + more);
	if (!k || message->type != PS_RUSTLS_APPLICATION_DATA || !op->d.op_len)
		return;
	s = ps_rustls_session_of(k, r->tgid);
	if (!s)
		return;
	op->d.ts_entry_ns = bpf_ktime_get_ns();
	ps_rustls_put(s, op, PS_WRITE, false);
}

/*
 * Whether the record lies in what the thread received last: it is of that connection. Before 0.23 it is a copy of what
 * was received. The bytes of an encrypted record are like no others, so the first ones tell, where a receive began with
 * the record or what was before it has been moved out of the way.
 */
static __noinline bool ps_rustls_received(const struct ps_thread *t, const struct ps_rustls_inbound *message,
					  __u32 type_at)
{
	struct {
		__u8 header[PS_RECORD_HEADER + 3];
		__u64 content[2];
	} received = {};
	__u64 from = message->payload - PS_RECORD_HEADER;
	__u64 copy[2] = {};

	if (!t->last_conn)
		return false;
	if (type_at == PS_RUSTLS_SLICES)
		return from < t->last_buf + t->last_len && message->payload + message->len > t->last_buf;
	if (t->last_len < PS_RECORD_HEADER + sizeof(copy) || message->len < sizeof(copy))
		return false;
	if (bpf_probe_read_user(received.header, PS_RECORD_HEADER, (void *)t->last_buf) ||
	    bpf_probe_read_user(received.content, sizeof(copy), (void *)(t->last_buf + PS_RECORD_HEADER)) ||
	    bpf_probe_read_user(copy, sizeof(copy), (void *)message->payload))
		return false;
	return (__u64)(received.header[3] << 8 | received.header[4]) == message->len &&
	       received.content[0] == copy[0] && received.content[1] == copy[1];
}

static __noinline void ps_rustls_vote(struct ps_thread *t, struct ps_session *s, __u64 session,
				      const struct ps_call *call, __u32 tgid)
{
	struct ps_vote v = {.how = PS_BOUND_PREV, .strong = 2};

	if (!t->last_conn || (t->claim && t->claim != session) || call->conn_id != t->last_conn)
		return;
	t->claim = session;
	if (s->conn_id == t->last_conn && s->strong >= v.strong)
		return;
	v.conn_id = t->last_conn;
	v.sk = t->last_sk;
	v.fresh = t->last_fresh;
	ps_session_vote(s, &v, tgid);
}

/* Length of the content, which begins at `content`, where the result says that it was decrypted. 0 else. */
static __noinline __u32 ps_rustls_result(__u64 result, __u64 content, __u64 most)
{
	__u64 words[9] = {};

	/*
	 * Ok(message) holds the content's address and length; an error does not. Between them may be a vector's
	 * capacity: it holds the tag too, so it is above the most.
	 */
	if (bpf_probe_read_user(words, sizeof(words), (void *)result))
		return 0;
	for (int i = 0; i < 7; i++) {
		if (words[i] != content)
			continue;
		if (words[i + 1] && words[i + 1] <= most)
			return words[i + 1];
		if (words[i + 1] > most && words[i + 1] < PS_RUSTLS_CAPACITY && words[i + 2] && words[i + 2] <= most)
			return words[i + 2];
	}
	return 0;
}

static __noinline void ps_rustls_decrypted(const struct ps_rustls_record *r, const struct ps_call *call, __u32 suite,
					   __u64 result, struct ps_thread *t)
{
	struct ps_op *op = ps_task_op();
	__u64 content = call->buf;
	__u32 more = ps_rustls_more(suite) - PS_RECORD_HEADER;
	struct ps_rustls_key *k;
	struct ps_session *s;
	__u8 type = PS_RECORD_APPLICATION_DATA;
	__u32 n;

	if (!op)
		return;
	n = ps_rustls_result(result, content, call->len - more);
	/* ring moves the content to where the nonce was, aws-lc leaves it behind. */
	if (!n && suite == PS_RUSTLS_12_GCM) {
		content += 8;
		n = ps_rustls_result(result, content, call->len - more);
	}
	if (!n)
		return;
	/* TLS 1.3: the type follows the content, and stays there when it is cut off. */
	if (suite == PS_RUSTLS_13 && bpf_probe_read_user(&type, sizeof(type), (void *)(content + n)))
		return;
	k = ps_rustls_count(r);
	if (!k || type != PS_RECORD_APPLICATION_DATA || call->call != PS_CALL_READ)
		return;
	s = ps_rustls_session_of(k, r->tgid);
	if (!s)
		return;
	ps_rustls_vote(t, s, k->session, call, r->tgid);
	op->piece = content;
	op->piece_len = n;
	op->d.op_len = n;
	op->d.ts_entry_ns = call->ts;
	ps_rustls_put(s, op, PS_READ, t->waited);
}

static __always_inline void ps_rustls_registers(struct ps_rustls_record *r, struct pt_regs *ctx)
{
	ps_saved_registers(r->saved, ctx);
	r->sp = PT_REGS_SP(ctx);
	r->tgid = bpf_get_current_pid_tgid() >> 32;
}

/* Remembers the call until it returns. False where it is not as it must be. */
static __noinline bool ps_rustls_decrypt(const struct ps_rustls_record *r, const struct ps_rustls_inbound *message,
					 __u32 suite)
{
	struct ps_thread *t;
	struct ps_call *call;

	if (message->type > PS_RUSTLS_TYPES || message->len > PS_RECORD_MAX + 256) {
		ps_count(PS_ST_NESTED_LOST, 1);
		return false;
	}
	/* Too short to hold anything. */
	if (message->len <= ps_rustls_more(suite) - PS_RECORD_HEADER)
		return false;
	t = ps_rustls_thread();
	if (!t)
		return false;
	call = ps_call_push(t, r->sp, r->self);
	if (!call)
		return false;
	call->obj = r->self;
	call->buf = message->payload;
	call->len = message->len;
	call->out = r->number;
	call->sk = r->function;
	call->sp = r->sp;
	call->ts = bpf_ktime_get_ns();
	call->conn_id = ps_rustls_received(t, message, r->type_at) ? t->last_conn : 0;
	call->call = message->type == PS_RUSTLS_APPLICATION_DATA ? PS_CALL_READ : PS_CALL_HANDSHAKE;
	call->result = PS_RESULT_NONE;
	call->inner = 0;
	return true;
}

/* What is encrypted, in the form of rustls 0.23. False where it cannot be read. */
static __noinline bool ps_rustls_outbound(struct ps_rustls_outbound *outbound, __u64 message, __u32 type_at)
{
	struct ps_rustls_borrowed borrowed = {};

	if (type_at == PS_RUSTLS_SLICES)
		return !bpf_probe_read_user(outbound, sizeof(*outbound), (void *)message);
	if (bpf_probe_read_user(&borrowed, sizeof(borrowed), (void *)message))
		return false;
	outbound->slices = 0;
	outbound->second = borrowed.payload;
	outbound->third = borrowed.len;
	outbound->type = borrowed.rest >> 8 * (type_at & 4);
	return true;
}

/* The same of what is decrypted. TLS 1.3 does not look at the type, which is always the same: nor is it known where. */
static __noinline bool ps_rustls_inbound(struct ps_rustls_inbound *inbound, __u64 message, __u32 type_at, __u32 suite)
{
	struct ps_rustls_opaque opaque = {};
	bool first;

	if (type_at == PS_RUSTLS_SLICES)
		return !bpf_probe_read_user(inbound, sizeof(*inbound), (void *)message);
	if (bpf_probe_read_user(&opaque, sizeof(opaque), (void *)message))
		return false;
	first = opaque.words[0] >= PS_RUSTLS_CAPACITY;
	inbound->payload = first ? opaque.words[0] : opaque.words[1];
	inbound->len = opaque.len;
	inbound->type = opaque.rest >> 8 * (type_at & 4);
	if (suite == PS_RUSTLS_13 && (opaque.rest >> 32 & 0xff) == PS_RUSTLS_APPLICATION_DATA)
		inbound->type = PS_RUSTLS_APPLICATION_DATA;
	/* No such message: the caller sees that by its type. */
	if (first == (opaque.words[1] >= PS_RUSTLS_CAPACITY) ||
	    (first ? opaque.words[1] : opaque.words[0]) < opaque.len)
		inbound->type = 0xff;
	return true;
}

/* Returns whether the return of the call is wanted. */
static __always_inline bool ps_rustls_enter(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	__u64 message = PT_REGS_PARM3(ctx);
	struct ps_rustls_record r = {};
	__u32 suite = cookie >> 8 & 0xff;

	ps_rustls_registers(&r, ctx);
	if (ps_ignored(r.tgid))
		return false;
	r.self = PT_REGS_PARM2(ctx);
	r.number = PT_REGS_PARM4(ctx);
	r.function = PT_REGS_IP(ctx) - (cookie >> 16 & 0xff);
	r.type_at = cookie >> 24;
	if ((cookie & 0xff) == PS_RUSTLS_ENCRYPT) {
		struct ps_rustls_outbound outbound = {};

		r.dir = PS_WRITE;
		if (ps_rustls_outbound(&outbound, message, r.type_at))
			ps_rustls_encrypt(&r, &outbound, ps_rustls_more(suite));
		else
			ps_count(PS_ST_FAULT, 1);
		return false;
	} else {
		struct ps_rustls_inbound inbound = {};

		if (ps_rustls_inbound(&inbound, message, r.type_at, suite))
			return ps_rustls_decrypt(&r, &inbound, suite);
		ps_count(PS_ST_FAULT, 1);
		return false;
	}
}

static __always_inline void ps_rustls_leave(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	__u64 result = PT_REGS_RC(ctx);
	struct ps_rustls_record r = {};
	struct ps_thread *t;
	struct ps_call *call;

	ps_rustls_registers(&r, ctx);
	t = bpf_task_storage_get(&ps_threads, bpf_get_current_task_btf(), NULL, 0);
	if (!t)
		return;
	call = ps_call_pop(t, r.sp);
	if (!call)
		return;
	r.self = call->obj;
	r.number = call->out;
	r.function = call->sk;
	r.dir = PS_READ;
	r.type_at = cookie >> 24;
	ps_rustls_decrypted(&r, call, cookie >> 8 & 0xff, result, t);
}

/* Kernel 6.13. */
SEC("?uprobe.session")
int ps_rustls_session(struct pt_regs *ctx)
{
	if (!bpf_session_is_return())
		return !ps_rustls_enter(ctx);
	ps_rustls_leave(ctx);
	return 0;
}

/* Kernel 6.6. */
SEC("?uprobe.multi")
int ps_rustls_enter_multi(struct pt_regs *ctx)
{
	ps_rustls_enter(ctx);
	return 0;
}

SEC("?uretprobe.multi")
int ps_rustls_leave_multi(struct pt_regs *ctx)
{
	ps_rustls_leave(ctx);
	return 0;
}

SEC("?uprobe")
int ps_rustls_enter_perf(struct pt_regs *ctx)
{
	ps_rustls_enter(ctx);
	return 0;
}

SEC("?uretprobe")
int ps_rustls_leave_perf(struct pt_regs *ctx)
{
	ps_rustls_leave(ctx);
	return 0;
}
