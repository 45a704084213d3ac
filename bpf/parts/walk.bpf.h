/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Content of HTTP/2 left out. Where no level keeps bodies, the frames of a TLS session are followed from its first byte
 * on: all is copied but the content of DATA, which is one event without bytes. A session that carries gRPC is copied
 * whole, since its messages are counted; so is everything that is no HTTP/2 or was not seen from its beginning.
 */

#define PS_FRAME_HEAD 9
#define PS_PREFACE 24
/* A gRPC message begins with a flag and its length. */
#define PS_GRPC_PREFIX 5
/* A longer message is not believed: receivers take 4 MiB unless told otherwise. */
#define PS_GRPC_MAX (16 << 20)

/* One operation while its frames are followed. Positions count from the operation's first byte. */
struct ps_walk_loop {
	struct ps_op *op;
	struct ps_walk *walk;
	__u64 base;	  /* user memory */
	__u64 stream_off; /* of the operation */
	__u32 n;
	__u32 run; /* first byte that was not sent yet */
	__u32 at;
	__u8 flags; /* of events */
	__u8 broken;
	__u8 grpc;
	__u8 pad;
};

/* Sends what is between run and at: PS_CHUNK bytes at most. */
static __always_inline void ps_walk_send(struct ps_walk_loop *w)
{
	struct ps_op *op = w->op;
	__u32 n = w->at - w->run;
	int put;

	if (!n)
		return;
	op->piece = w->base + w->run;
	op->d.op_off = w->run;
	op->d.op_len = w->n;
	op->d.stream_off = w->stream_off + w->run;
	op->d.cap_len = n;
	op->d.flags = w->flags;
	if (w->at == w->n)
		op->d.flags |= PS_F_LAST;
	put = ps_put(op, n);
	if (put > 0) {
		/* The event says that the rest of the operation is missing. */
		ps_count(PS_ST_FAULT, 1);
		ps_count(PS_ST_BYTES_LOST, w->n - w->run);
		w->broken = 1;
	} else if (put < 0) {
		ps_count(PS_ST_DATA_RING_FULL, 1);
		ps_count(PS_ST_BYTES_LOST, n);
	} else {
		ps_count(PS_ST_BYTES_COPIED, n);
	}
	w->run = w->at;
}

/* Says that n bytes are left out. */
static __always_inline void ps_walk_skip(struct ps_walk_loop *w, __u32 n)
{
	struct ps_op *op = w->op;

	op->d.op_off = w->at;
	op->d.op_len = w->at + n;
	op->d.stream_off = w->stream_off + w->at;
	op->d.flags = w->flags;
	ps_count(ps_put_empty(op, PS_F_SKIPPED) ? PS_ST_BYTES_LOST : PS_ST_BYTES_SKIPPED, n);
	w->at += n;
	w->run = w->at;
}

/* A whole frame header is there. */
static __always_inline void ps_walk_frame(struct ps_walk *walk, const __u8 *h)
{
	__u32 len = (__u32)h[0] << 16 | (__u32)h[1] << 8 | h[2];
	__u32 stream = (__u32)h[5] << 24 | (__u32)h[6] << 16 | (__u32)h[7] << 8 | h[8];
	bool data = h[3] == 0;

	walk->have = 0;
	walk->left = len;
	if (stream >> 31 || (data && !stream)) {
		walk->mode = PS_W_OFF;
		return;
	}
	/* Padding (0x8) is not content: such a frame is rare, and copied whole. */
	if (data && !(h[4] & 0x8) && len >= PS_GRPC_PREFIX)
		walk->mode = PS_W_PEEK;
	else
		walk->mode = len ? PS_W_COPY : PS_W_HEAD;
}

static __always_inline void ps_walk_head(struct ps_walk_loop *w)
{
	struct ps_walk *walk = w->walk;
	const void *from = (void *)(w->base + w->at);
	__u8 whole[16];
	__u8 byte;

	if (!walk->have && w->n - w->at >= PS_FRAME_HEAD) {
		if (bpf_probe_read_user(whole, PS_FRAME_HEAD, from)) {
			walk->mode = PS_W_OFF;
			return;
		}
		w->at += PS_FRAME_HEAD;
		ps_walk_frame(walk, whole);
		return;
	}
	if (bpf_probe_read_user(&byte, 1, from)) {
		walk->mode = PS_W_OFF;
		return;
	}
	walk->head[walk->have & 15] = byte;
	walk->have++;
	w->at++;
	if (walk->have >= PS_FRAME_HEAD)
		ps_walk_frame(walk, walk->head);
}

/* Content that begins as a gRPC message does is not skipped, and from then on none of the session. */
static __always_inline void ps_walk_peek(struct ps_walk_loop *w)
{
	struct ps_walk *walk = w->walk;
	const void *from = (void *)(w->base + w->at);
	__u8 p[PS_GRPC_PREFIX] = {};
	__u32 len;

	walk->mode = PS_W_SKIP;
	if (w->n - w->at < PS_GRPC_PREFIX) {
		if (bpf_probe_read_user(p, 1, from) || p[0] <= 1)
			w->grpc = 1;
	} else if (bpf_probe_read_user(p, sizeof(p), from)) {
		w->grpc = 1;
	} else {
		len = (__u32)p[1] << 24 | (__u32)p[2] << 16 | (__u32)p[3] << 8 | p[4];
		w->grpc = p[0] <= 1 && len < PS_GRPC_MAX;
	}
	if (w->grpc)
		walk->mode = PS_W_OFF;
}

static long ps_walk_step(__u32 step, struct ps_walk_loop *w)
{
	struct ps_walk *walk = w->walk;
	__u32 n = w->n - w->at;

	(void)step;
	if (w->at >= w->n || w->broken)
		return 1;
	switch (walk->mode) {
	case PS_W_HEAD:
		ps_walk_head(w);
		break;
	case PS_W_PEEK:
		ps_walk_peek(w);
		return 0;
	case PS_W_SKIP:
		if (w->at != w->run) {
			ps_walk_send(w);
			return 0;
		}
		if (n > walk->left)
			n = walk->left;
		ps_walk_skip(w, n);
		walk->left -= n;
		if (!walk->left)
			walk->mode = PS_W_HEAD;
		return 0;
	case PS_W_COPY:
		if (n > walk->left)
			n = walk->left;
		/* Room for one more header in the same event. */
		if (n > PS_CHUNK / 2)
			n = PS_CHUNK / 2;
		w->at += n;
		walk->left -= n;
		if (!walk->left)
			walk->mode = PS_W_HEAD;
		break;
	default:
		if (n > PS_CHUNK / 2)
			n = PS_CHUNK / 2;
		w->at += n;
		break;
	}
	if (w->at >= w->n || w->at - w->run >= PS_CHUNK / 2)
		ps_walk_send(w);
	return 0;
}

/* The first bytes of a direction: a client's preface, a server's settings, or no HTTP/2. */
static __always_inline void ps_walk_start(struct ps_walk *walk, const struct ps_op *op)
{
	const __u64 preface = 0x5448202a20495250; /* "PRI * HT" */
	__u64 first = 0;
	__u8 stream = 0;

	walk->mode = PS_W_OFF;
	if (op->piece_len < PS_FRAME_HEAD || bpf_probe_read_user(&first, sizeof(first), (void *)op->piece) ||
	    bpf_probe_read_user(&stream, 1, (void *)(op->piece + 8)))
		return;
	if (first == preface) {
		walk->mode = PS_W_COPY;
		walk->left = PS_PREFACE;
	} else if (!(first & 0xff) && first >> 24 == 4 && !stream) {
		/* Length below 64 KiB, type SETTINGS, no flags, stream 0. */
		walk->mode = PS_W_HEAD;
	}
}

/* Sends an operation of a session without the content of DATA. 0: it is to be copied as it is. */
__noinline int ps_walk_frames(struct ps_walk *walk, struct ps_op *op, __u32 whole)
{
	struct ps_walk_loop w = {};

	if (!walk || !op)
		return 0;
	if (walk->mode == PS_W_START) {
		walk->mode = PS_W_OFF;
		if (whole)
			ps_walk_start(walk, op);
	}
	if (walk->mode == PS_W_OFF)
		return 0;
	w.op = op;
	w.walk = walk;
	w.base = op->piece;
	w.n = op->d.op_len;
	w.stream_off = op->d.stream_off;
	w.flags = op->d.flags;
	ps_count(PS_ST_BYTES_SEEN, w.n);
	bpf_loop(PS_STEPS, ps_walk_step, &w, 0);
	if (!w.broken && w.run < w.n) {
		/* More frames than any sender puts into one operation. */
		ps_count(PS_ST_BYTES_LOST, w.n - w.run);
		walk->mode = PS_W_OFF;
	}
	if (w.broken)
		walk->mode = PS_W_OFF;
	return w.grpc ? 2 : 1;
}

/* Whether the operation was sent here. */
static __noinline bool ps_walk_op(struct ps_session *s, struct ps_op *op)
{
	__u32 dir = op->d.dir & 1;
	__u32 whole = s->flags & PS_S_WHOLE && !op->d.stream_off;
	int walked = ps_walk_frames(dir ? &s->walk[1] : &s->walk[0], op, whole);

	if (walked == 2) {
		s->walk[0].mode = PS_W_OFF;
		s->walk[1].mode = PS_W_OFF;
	}
	return walked;
}
