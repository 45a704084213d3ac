/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Events into the rings. */

static __always_inline void ps_fill_header(struct ps_header *h, __u16 kind, __u32 tgid)
{
	h->kind = kind;
	h->version = PS_EVENT_VERSION;
	h->tgid = tgid;
	h->ts_ns = bpf_ktime_get_ns();
}

/* Room for one event in the control ring, its bytes zero; NULL and counted where there is none. */
#define ps_control_reserve(type)                                                                                       \
	({                                                                                                             \
		type *room = bpf_ringbuf_reserve(&ps_control_ring, sizeof(type), 0);                                   \
		if (room)                                                                                              \
			__builtin_memset(room, 0, sizeof(type));                                                       \
		else                                                                                                   \
			ps_count(PS_ST_CONTROL_RING_FULL, 1);                                                          \
		room;                                                                                                  \
	})

#define PS_CHUNK 16384
/* iovec entries and chunks of one operation: UIO_MAXIOV, and more than the largest op_max needs */
#define PS_STEPS 4096

/* One operation while its bytes are copied. */
struct ps_op {
	__u64 sk;	 /* address of the socket, in an operation of one; else 0 */
	__u64 iov;	 /* next struct iovec in user memory */
	__u64 piece;	 /* user memory to copy now */
	__u64 piece_len; /* bytes there */
	__u32 iov_left;	 /* iovec entries from `iov` on */
	__u32 left;	 /* bytes of the operation still to copy */
	__u32 cut;	 /* PS_F_CUT if the copy ends before the operation does */
	__u32 plaintext; /* count the bytes */
	struct ps_data d;
};

static __always_inline void ps_count_bytes(const struct ps_op *op, __u32 stat, __u64 n)
{
	if (op->plaintext)
		ps_count(stat, n);
}

/* Wake-ups cost the observed thread 7 us: only at each eighth of the ring. In between the reader polls. */
static __always_inline __u64 ps_wake(__u64 size)
{
	__u64 avail = bpf_ringbuf_query(&ps_data_ring, BPF_RB_AVAIL_DATA);
	__u64 before = avail > size ? avail - size : 0;

	return avail >> ps_cfg.wake_shift != before >> ps_cfg.wake_shift ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

/* The size of a reservation must be a constant: the smallest class that holds n bytes is taken. */
#define PS_PUT_CLASS(class)                                                                                            \
	if (n <= (class)) {                                                                                            \
		struct ps_data *e = bpf_ringbuf_reserve(&ps_data_ring, sizeof(struct ps_data) + (class), 0);           \
		if (!e)                                                                                                \
			return -1;                                                                                     \
		__builtin_memcpy(e, &op->d, sizeof(struct ps_data));                                                   \
		if (bpf_probe_read_user(e->data, n, (void *)op->piece)) {                                              \
			e->cap_len = 0;                                                                                \
			e->flags |= PS_F_FAULT | PS_F_LAST;                                                            \
			fault = 1;                                                                                     \
		}                                                                                                      \
		bpf_ringbuf_submit(e, ps_wake(sizeof(struct ps_data) + (class)));                                      \
		return fault;                                                                                          \
	}

/*
 * Functions that are not static are verified once, on their own; static ones at every call, in every state of the
 * caller. That is what keeps the programs below the verifier's limit. A pointer argument of theirs may be NULL to it.
 */

/* Copies n bytes from op->piece as one event. -1: no room; 1: the user memory could not be read. */
__noinline int ps_put(struct ps_op *op, __u32 n)
{
	int fault = 0;

	if (!op)
		return -1;
	PS_PUT_CLASS(128)
	PS_PUT_CLASS(256)
	PS_PUT_CLASS(512)
	PS_PUT_CLASS(1024)
	PS_PUT_CLASS(2048)
	PS_PUT_CLASS(4096)
	PS_PUT_CLASS(8192)
	PS_PUT_CLASS(PS_CHUNK)
	return -1;
}

static __always_inline bool ps_next_piece(struct ps_op *op)
{
	__u64 iov[2];

	if (!op->iov_left || bpf_probe_read_user(iov, sizeof(iov), (void *)op->iov))
		return false;
	op->iov += sizeof(iov);
	op->iov_left--;
	op->piece = iov[0];
	op->piece_len = iov[1];
	return true;
}

__noinline int ps_put_empty(struct ps_op *op, __u8 flags)
{
	struct ps_data *e;

	if (!op)
		return -1;
	e = bpf_ringbuf_reserve(&ps_data_ring, sizeof(struct ps_data), 0);
	if (!e) {
		ps_count(PS_ST_DATA_RING_FULL, 1);
		return -1;
	}
	__builtin_memcpy(e, &op->d, sizeof(struct ps_data));
	e->cap_len = 0;
	e->flags |= flags | PS_F_LAST;
	bpf_ringbuf_submit(e, ps_wake(sizeof(struct ps_data)));
	return 0;
}

/* The context of a loop must be on the stack of the function that runs it. */
struct ps_copy_loop {
	struct ps_op *op;
};

static __always_inline long ps_copy_step(__u32 step, struct ps_copy_loop *loop)
{
	struct ps_op *op = loop->op;
	__u32 n = op->left;
	int put;

	(void)step;
	if (!n)
		return 1;
	if (!op->piece_len) {
		if (ps_next_piece(op))
			return 0;
		ps_count(PS_ST_FAULT, 1);
		ps_put_empty(op, PS_F_FAULT);
		return 1;
	}
	if (op->piece_len < n)
		n = op->piece_len;
	if (n > PS_CHUNK)
		n = PS_CHUNK;
	op->d.cap_len = n;
	if (n == op->left)
		op->d.flags |= PS_F_LAST | op->cut;
	put = ps_put(op, n);
	if (put > 0) {
		ps_count(PS_ST_FAULT, 1);
		return 1;
	}
	if (put < 0) {
		ps_count(PS_ST_DATA_RING_FULL, 1);
		ps_count_bytes(op, PS_ST_BYTES_LOST, n);
	} else {
		ps_count_bytes(op, PS_ST_BYTES_COPIED, n);
	}
	op->left -= n;
	op->piece += n;
	op->piece_len -= n;
	op->d.op_off += n;
	op->d.stream_off += n;
	return 0;
}

PS_LOOP(ps_copy_loop, PS_STEPS, ps_copy_step, struct ps_copy_loop)

/* Sends the operation's bytes, `max` of them at most. op->d holds all but the fields that differ from event to event.
 */
__noinline int ps_copy(struct ps_op *op, __u32 max)
{
	struct ps_copy_loop loop;
	__u32 len;

	if (!op)
		return -1;
	loop.op = op;
	len = op->d.op_len;
	ps_count_bytes(op, PS_ST_BYTES_SEEN, len);
	op->left = len;
	op->cut = 0;
	if (len > max) {
		op->left = max;
		op->cut = PS_F_CUT;
		ps_count_bytes(op, PS_ST_BYTES_SKIPPED, len - max);
	}
	ps_copy_loop(&loop);
	/* 0 unless a fault ended the copy */
	if (op->left)
		ps_count_bytes(op, PS_ST_BYTES_LOST, op->left);
	return 0;
}

/* Sends the operation's length alone. */
static __always_inline void ps_copy_nothing(struct ps_op *op)
{
	ps_count_bytes(op, PS_ST_BYTES_SEEN, op->d.op_len);
	ps_count_bytes(op, PS_ST_BYTES_SKIPPED, op->d.op_len);
	ps_put_empty(op, PS_F_NO_BYTES);
}
