/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Content left out. Where no level keeps bodies, a stream is followed: all is copied but content, which is one event
 * without bytes. HTTP/2 is followed frame by frame from the stream's first byte on; HTTP/1, in http1.bpf.h, from where
 * a message begins. User space reads all heads and frames itself, so that a wrong step here is a gap to it, and never a
 * wrong message.
 *
 * Of a stream that is neither, or not understood, PS_LOOSE_MAX bytes are copied in one direction without a turn: a head
 * begins after one. It is copied whole where user space needs every byte: HTTP/2 that is not followed, because each
 * header section depends on all before it; messages that are counted (gRPC, gRPC-Web, Connect, WebSocket).
 */

#define PS_FRAME_HEAD 9
#define PS_PREFACE 24
/* A gRPC message begins with a flag and its length. */
#define PS_GRPC_PREFIX 5
/* A longer message is not believed: receivers take 4 MiB unless told otherwise. */
#define PS_GRPC_MAX (16 << 20)
/* Bytes copied in one direction without a turn of a stream that is not followed. */
#define PS_LOOSE_MAX (64 << 10)
/* Steps of one operation: each one takes some of it, but for a few between two frames or chunks. */
#define PS_WALK_STEPS (1 << 20)

/* One operation while its frames are followed. Positions count from the operation's first byte. */
struct ps_walk_loop {
	struct ps_op *op;
	struct ps_walks *walks;
	struct ps_walk *walk;
	__u64 base;	  /* user memory of position 0, as if the piece that is there now were all */
	__u64 stream_off; /* of the operation */
	__u32 n;
	__u32 end; /* of the piece */
	__u32 run; /* first byte that was not sent yet */
	__u32 at;
	__u8 flags; /* of events */
	__u8 broken;
	__u8 dir;
	__u8 pad;
};

static __always_inline bool ps_is_framed(const struct ps_walk *walk)
{
	return walk->mode > PS_W_OFF && walk->mode < PS_W_MESSAGE;
}

/* The stream is not followed from here on. */
static __always_inline void ps_walks_stop(struct ps_walks *walks)
{
	if (ps_is_framed(&walks->dir[0]) || ps_is_framed(&walks->dir[1]))
		walks->whole = 1;
	walks->stop = 1;
}

static __always_inline void ps_walk_stop(struct ps_walk_loop *w)
{
	ps_walks_stop(w->walks);
	w->walk->mode = PS_W_OFF;
}

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

/* Says that n bytes are left out; `why` counts them. */
static __always_inline void ps_walk_skip(struct ps_walk_loop *w, __u32 n, __u32 why)
{
	struct ps_op *op = w->op;

	op->d.op_off = w->at;
	op->d.op_len = w->at + n;
	op->d.stream_off = w->stream_off + w->at;
	op->d.flags = w->flags;
	if (ps_put_empty(op, PS_F_SKIPPED)) {
		ps_count(PS_ST_BYTES_LOST, n);
	} else {
		ps_count(PS_ST_BYTES_SKIPPED, n);
		ps_count(why, n);
	}
	w->at += n;
	w->run = w->at;
}

/* Content is looked at once a stream: as it goes on it may be anything. */
static __always_inline __u8 ps_walk_content_begins(const struct ps_walk *walk)
{
	for (__u32 i = 0; i < PS_PLAIN; i++) {
		if (walk->plain[i] == walk->size)
			return PS_W_SKIP;
	}
	return PS_W_PEEK;
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
	walk->few = 0;
	walk->size = stream;
	/* PADDED */
	if (data && h[4] & 0x8 && len > PS_GRPC_PREFIX)
		walk->mode = PS_W_PAD;
	else if (data && !(h[4] & 0x8) && len >= PS_GRPC_PREFIX)
		walk->mode = ps_walk_content_begins(walk);
	else
		walk->mode = len ? PS_W_COPY : PS_W_HEAD;
}

/* The length of the padding that a DATA frame ends with (RFC 9113, section 6.1): it is not content. */
static __always_inline void ps_walk_padding(struct ps_walk_loop *w)
{
	struct ps_walk *walk = w->walk;
	__u8 padding;

	if (bpf_probe_read_user(&padding, 1, (void *)(w->base + w->at)) || padding >= walk->left) {
		walk->mode = PS_W_OFF;
		return;
	}
	w->at++;
	walk->left--;
	walk->mode = PS_W_COPY;
	if (walk->left - padding >= PS_GRPC_PREFIX) {
		walk->left -= padding;
		walk->few = padding;
		walk->mode = ps_walk_content_begins(walk);
	}
}

/* Content of a frame is over. */
static __always_inline void ps_walk_content_ends(struct ps_walk *walk)
{
	walk->left = walk->few;
	walk->mode = walk->few ? PS_W_COPY : PS_W_HEAD;
	walk->few = 0;
}

static __always_inline void ps_walk_head(struct ps_walk_loop *w)
{
	struct ps_walk *walk = w->walk;
	const void *from = (void *)(w->base + w->at);
	__u8 whole[16];
	__u8 byte;

	if (!walk->have && w->end - w->at >= PS_FRAME_HEAD) {
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

/*
 * The beginning of content is there. Where it is that of a gRPC message nothing is skipped, and from then on nothing of
 * the stream is.
 */
static __always_inline void ps_walk_judge(struct ps_walk_loop *w, const __u8 *p)
{
	struct ps_walk *walk = w->walk;
	__u32 len = (__u32)p[1] << 24 | (__u32)p[2] << 16 | (__u32)p[3] << 8 | p[4];

	if (p[0] <= 1 && len < PS_GRPC_MAX) {
		ps_walk_stop(w);
		return;
	}
	walk->last++;
	walk->plain[walk->last & (PS_PLAIN - 1)] = walk->size;
	walk->mode = PS_W_SKIP;
	if (!walk->left)
		ps_walk_content_ends(walk);
}

/* Content that may come in pieces: then its beginning is copied. */
static __always_inline void ps_walk_peek(struct ps_walk_loop *w)
{
	struct ps_walk *walk = w->walk;
	const void *from = (void *)(w->base + w->at);
	__u8 p[8] = {};
	__u8 byte;

	if (!walk->have && w->end - w->at >= PS_GRPC_PREFIX) {
		if (bpf_probe_read_user(p, PS_GRPC_PREFIX, from))
			ps_walk_stop(w);
		else
			ps_walk_judge(w, p);
		return;
	}
	if (bpf_probe_read_user(&byte, 1, from)) {
		ps_walk_stop(w);
		return;
	}
	walk->head[walk->have & 15] = byte;
	walk->have++;
	w->at++;
	walk->left--;
	if (walk->have >= PS_GRPC_PREFIX) {
		walk->have = 0;
		ps_walk_judge(w, walk->head);
	}
}

/* The next piece of the operation. What was not sent of the one before it is sent first. */
static __always_inline void ps_walk_piece(struct ps_walk_loop *w)
{
	struct ps_op *op = w->op;
	__u32 left = w->n - w->at;

	if (w->at != w->run) {
		ps_walk_send(w);
		return;
	}
	if (!ps_next_piece(op)) {
		op->d.op_off = w->at;
		op->d.op_len = w->n;
		op->d.stream_off = w->stream_off + w->at;
		op->d.flags = w->flags;
		ps_count(PS_ST_FAULT, 1);
		ps_count(PS_ST_BYTES_LOST, left);
		ps_put_empty(op, PS_F_FAULT);
		w->broken = 1;
		return;
	}
	w->base = op->piece - w->at;
	w->end = op->piece_len < left ? w->at + (__u32)op->piece_len : w->n;
}

/* Content that is not wanted. */
static __always_inline void ps_walk_content(struct ps_walk_loop *w, __u32 n)
{
	struct ps_walk *walk = w->walk;

	if (n > walk->left)
		n = walk->left;
	ps_walk_skip(w, n, PS_ST_SKIPPED_CONTENT);
	walk->left -= n;
}

/* Heads of HTTP/1, and what stands around chunks. */
static __always_inline void ps_walk_lines(struct ps_walk_loop *w)
{
	struct ps_walk *walk = w->walk;
	int got = ps_lines_read(walk, w->base + w->at, w->end - w->at);
	__u32 read = got >> 2;
	bool whole;

	w->at += read;
	walk->size += read;
	whole = walk->said & PS_SAID_WHOLE;
	if (read && (got & 3) == PS_LINES_MORE && walk->size <= PS_HTTP1_HEAD_MAX)
		return;
	if (read && (got & 3) == PS_LINES_END &&
	    ps_lines_end(w->walks, walk, w->dir ? &w->walks->dir[0] : &w->walks->dir[1]))
		return;
	if (whole)
		w->walks->whole = 1;
	ps_walk_stop(w);
}

/* Content of HTTP/1. Returns whether it was copied: then the caller sends it. */
static __always_inline bool ps_walk_body(struct ps_walk_loop *w)
{
	struct ps_walk *walk = w->walk;
	__u32 n = w->end - w->at;
	bool copy;

	if (n > walk->left)
		n = walk->left;
	copy = n < PS_FEW && walk->few < PS_FEW_MAX;
	if (copy) {
		w->at += n;
		walk->left -= n;
		walk->few += n;
	} else if (w->at != w->run) {
		ps_walk_send(w);
		return false;
	} else {
		ps_walk_content(w, n);
		walk->few |= 1;
	}
	ps_content_passed(walk);
	return copy;
}

/* Bytes of a stream that is not followed. Returns whether they were copied: then the caller sends them. */
static __always_inline bool ps_walk_loose(struct ps_walk_loop *w)
{
	struct ps_walk *walk = w->walk;
	__u32 n = w->end - w->at;
	__u32 room = PS_CHUNK / 2;

	if (!w->walks->whole) {
		if (walk->loose >= PS_LOOSE_MAX && w->at != w->run) {
			ps_walk_send(w);
			return false;
		}
		if (walk->loose >= PS_LOOSE_MAX) {
			ps_walk_skip(w, n, PS_ST_SKIPPED_UNFOLLOWED);
			return false;
		}
		if (room > PS_LOOSE_MAX - walk->loose)
			room = PS_LOOSE_MAX - walk->loose;
		if (n > room)
			n = room;
		walk->loose += n;
	} else if (n > room) {
		n = room;
	}
	w->at += n;
	return true;
}

static __always_inline long ps_walk_step(__u32 step, struct ps_walk_loop *w)
{
	struct ps_walk *walk = w->walk;
	__u32 n = w->end - w->at;

	(void)step;
	if (w->at >= w->n || w->broken)
		return 1;
	if (w->at >= w->end) {
		ps_walk_piece(w);
		return 0;
	}
	switch (walk->mode) {
	case PS_W_HEAD:
		ps_walk_head(w);
		break;
	case PS_W_PEEK:
		ps_walk_peek(w);
		break;
	case PS_W_SKIP:
		if (w->at != w->run) {
			ps_walk_send(w);
			return 0;
		}
		ps_walk_content(w, n);
		if (!walk->left)
			ps_walk_content_ends(walk);
		return 0;
	case PS_W_PAD:
		ps_walk_padding(w);
		break;
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
	case PS_W_MESSAGE:
		ps_message_begins(walk);
		return 0;
	case PS_W_FIELDS:
	case PS_W_TRAILER:
	case PS_W_SIZE:
	case PS_W_SIZE_EXT:
	case PS_W_CHUNK_END:
		ps_walk_lines(w);
		break;
	case PS_W_CHUNK:
	case PS_W_BODY:
	case PS_W_CLOSE:
		if (!ps_walk_body(w))
			return 0;
		break;
	default:
		if (!ps_walk_loose(w))
			return 0;
		break;
	}
	if (w->at >= w->n || w->at - w->run >= PS_CHUNK / 2)
		ps_walk_send(w);
	return 0;
}

PS_LOOP(ps_walk_all, PS_WALK_STEPS, ps_walk_step, struct ps_walk_loop)

/*
 * Where a message may begin: a client's preface, a server's settings, a start line of HTTP/1. `first`: these are the
 * first bytes of the stream; else only HTTP/1 can be told, by what is in common use.
 */
static __always_inline void ps_walk_start(struct ps_walks *walks, struct ps_walk *walk, const struct ps_op *op,
					  bool first)
{
	const __u32 http = 0x50545448; /* "HTTP" */
	__u64 word = 0;
	__u8 c = 0;

	if (op->piece_len >= PS_FRAME_HEAD) {
		if (bpf_probe_read_user(&word, sizeof(word), (void *)op->piece) ||
		    bpf_probe_read_user(&c, 1, (void *)(op->piece + 8)))
			return;
	} else if (bpf_probe_read_user(&word, 1, (void *)op->piece)) {
		return;
	} else if (first && !word) {
		/* It may be the settings of HTTP/2, and is too short to tell. */
		walks->whole = 1;
		return;
	}
	if (first && word == PS_PREFACE_WORD) {
		walk->mode = PS_W_COPY;
		walk->left = PS_PREFACE;
		return;
	}
	/* Length below 64 KiB, type SETTINGS, no flags, stream 0. */
	if (first && !(word & 0xff) && word >> 24 == 4 && !c) {
		walk->mode = PS_W_HEAD;
		return;
	}
	c = word;
	if (c < 'A' || c > 'Z' || (!first && !ps_is_common(word)))
		return;
	/* A response to a request that was not followed: whether it has content is not known. */
	if ((__u32)word == http && walks->asked == walks->answered)
		return;
	walk->kind = PS_M_NONE;
	ps_message_begins(walk);
}

/* An operation of a stream of HTTP/2 that is older than the agent. */
static __always_inline bool ps_is_late_frame(const struct ps_op *op)
{
	__u64 word;

	if (op->d.flags & PS_F_WHOLE || op->piece_len < sizeof(word))
		return false;
	return !bpf_probe_read_user(&word, sizeof(word), (void *)op->piece) && ps_is_frame(word);
}

/* ps_walk_frames */
#define PS_WALK_BEGINS 1 /* a message may begin here */
#define PS_WALK_HTTP2 2	 /* it is HTTP/2 for certain */

/* Sends an operation without what is not wanted. 0: it is to be copied as it is. */
__noinline int ps_walk_frames(struct ps_walks *walks, struct ps_op *op, __u32 how)
{
	struct ps_walk_loop w = {};
	struct ps_walk *walk;

	if (!walks || !op)
		return 0;
	walk = op->d.dir & 1 ? &walks->dir[1] : &walks->dir[0];
	if (how & PS_WALK_BEGINS)
		walk->loose = 0;
	if (!op->piece_len && !ps_next_piece(op))
		return 0;
	if (walks->stop)
		walk->mode = PS_W_OFF;
	if (walk->mode == PS_W_START && how & PS_WALK_BEGINS)
		ps_walk_start(walks, walk, op, !op->d.stream_off && op->d.flags & PS_F_WHOLE);
	if (walk->mode == PS_W_START && (how & PS_WALK_HTTP2 || ps_is_late_frame(op)))
		walks->whole = 1;
	if (walk->mode <= PS_W_OFF && walks->whole)
		return 0;
	w.op = op;
	w.walks = walks;
	w.walk = walk;
	w.dir = op->d.dir & 1;
	w.base = op->piece;
	w.n = op->d.op_len;
	w.end = op->piece_len < w.n ? (__u32)op->piece_len : w.n;
	w.stream_off = op->d.stream_off;
	w.flags = op->d.flags;
	ps_count(PS_ST_BYTES_SEEN, w.n);
	ps_walk_all(&w);
	if (!w.broken && w.run < w.n) {
		/* More frames or chunks than any sender puts into one operation. */
		ps_count(PS_ST_BYTES_LOST, w.n - w.run);
		w.broken = 1;
	}
	if (w.broken)
		ps_walks_stop(walks);
	return 1;
}

/* What is not followed for now can be followed again where a message of HTTP/1 begins. */
static __always_inline void ps_walk_leave(struct ps_walks *walks)
{
	if (walks->dir[0].mode >= PS_W_MESSAGE || walks->dir[1].mode >= PS_W_MESSAGE) {
		walks->dir[0].mode = PS_W_START;
		walks->dir[1].mode = PS_W_START;
		walks->asked = 0;
		walks->answered = 0;
	} else if (walks->dir[0].mode != PS_W_START || walks->dir[1].mode != PS_W_START) {
		ps_walks_stop(walks);
	}
}

/* Nothing of these bytes is wanted. */
static __always_inline void ps_walk_nothing(struct ps_walks *walks, __u32 n)
{
	ps_walk_leave(walks);
	ps_count(PS_ST_BYTES_SEEN, n);
	ps_count(PS_ST_BYTES_SKIPPED, n);
	ps_count(PS_ST_SKIPPED_NONE, n);
}

/* An operation whose bytes can't be seen. */
static __always_inline void ps_walk_unseen(struct ps_walks *walks, __u32 dir, __u32 n)
{
	struct ps_walk *walk = dir & 1 ? &walks->dir[1] : &walks->dir[0];

	if (walk->mode == PS_W_START || walks->stop)
		return;
	if (walk->mode < PS_W_CHUNK || n > walk->left) {
		ps_walks_stop(walks);
		return;
	}
	walk->left -= n;
	walk->few |= 1;
	ps_content_passed(walk);
}
