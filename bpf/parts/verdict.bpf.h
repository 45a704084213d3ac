/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What a connection carries, by the first bytes of its first operations. */

#define PS_HEAD_MAX 8
/* Operations without a match until a connection is PS_V_OTHER. */
#define PS_UNDECIDED_OPS 3

/*
 * A connection that is older than the agent may be in the middle of a long message, so it is looked at for longer:
 * until this many changes of direction or operations had no match. Nothing is copied meanwhile.
 */
#define PS_LATE_TURNS 16
#define PS_LATE_OPS 4096

/* Answers of ps_classify besides enum ps_verdict. */
#define PS_HEAD_MORE 16 /* right so far, too short to tell */

static __always_inline bool ps_starts(__u64 head, __u32 n, __u64 text, __u32 len)
{
	__u64 mask = ~0ULL >> (64 - 8 * (n < len ? n : len));

	return !((head ^ text) & mask);
}

/* A method token (RFC 9110, section 9.1) in capitals, as all registered ones are, and a space. */
static __always_inline __u32 ps_method(__u64 head, __u32 n)
{
	for (__u32 i = 0; i < PS_HEAD_MAX; i++) {
		__u8 c = head >> (8 * i);

		if (i == n)
			return PS_HEAD_MORE;
		if (c == ' ' && i >= 3)
			return PS_V_HTTP1;
		if (c != '-' && (c < 'A' || c > 'Z'))
			return PS_V_OTHER;
	}
	return PS_V_HTTP1;
}

/* The first four bytes of a status line, or of a request line with a method in common use. */
static __always_inline bool ps_is_common(__u32 text)
{
	switch (text) {
	case 0x50545448: /* HTTP */
	case 0x20544547: /* GET */
	case 0x54534f50: /* POST */
	case 0x20545550: /* PUT */
	case 0x44414548: /* HEAD */
	case 0x454c4544: /* DELE */
	case 0x4954504f: /* OPTI */
	case 0x43544150: /* PATC */
	case 0x4e4e4f43: /* CONN */
	case 0x504f5250: /* PROP */
		return true;
	default:
		return false;
	}
}

/*
 * The first 8 of the 9 bytes of a frame header of HTTP/2 (RFC 9113, section 4.1), as peers send them. Random bytes look
 * like one once in 2^29 times; user space, which sees what follows, has the last word.
 */
static __always_inline bool ps_is_frame(__u64 head)
{
	__u32 len = (head & 0xff) << 16 | (head >> 8 & 0xff) << 8 | (head >> 16 & 0xff);
	__u32 kind = head >> 24 & 0xff;
	__u32 flags = head >> 32 & 0xff;
	/* The last byte of the stream's number is not there. */
	__u32 stream = head >> 40;

	if (len > 16384 || stream & 0xff)
		return false;
	switch (kind) {
	case 0: /* DATA: END_STREAM, PADDED */
		return !(flags & ~0x9) && len;
	case 1: /* HEADERS: END_STREAM, END_HEADERS, PADDED, PRIORITY */
		return !(flags & ~0x2d) && len;
	case 2: /* PRIORITY */
		return !flags && len == 5;
	case 3: /* RST_STREAM */
		return !flags && len == 4;
	case 4: /* SETTINGS: ACK */
		return !stream && (flags == 1 ? !len : !flags && len % 6 == 0);
	case 5: /* PUSH_PROMISE: END_HEADERS, PADDED */
		return !(flags & ~0xc) && len > 4;
	case 6: /* PING: ACK */
		return !stream && flags <= 1 && len == 8;
	case 7: /* GOAWAY */
		return !stream && !flags && len >= 8;
	case 8: /* WINDOW_UPDATE */
		return !flags && len == 4;
	default: /* CONTINUATION never begins what a peer sends */
		return false;
	}
}

/* "PRI * HT": what a client of HTTP/2 begins with (RFC 9113, section 3.4) */
#define PS_PREFACE_WORD 0x5448202a20495250

/* n bytes, 1 to PS_HEAD_MAX, the first in the lowest bits. `late`: not the first ones of the stream. */
__noinline __u32 ps_classify(__u64 head, __u32 n, bool late)
{
	const __u64 preface = PS_PREFACE_WORD;
	const __u64 status = 0x2e312f50545448; /* "HTTP/1." */

	if (n < 1 || n > PS_HEAD_MAX)
		return PS_V_OTHER;
	/* A TLS record of any type (RFC 8446, section 5.1): on a whole connection the first one is a handshake. */
	if ((head & 0xff) == 0x16 || (late && (head & 0xff) >= 0x14 && (head & 0xff) <= 0x17)) {
		if (n < 2)
			return PS_HEAD_MORE;
		return (head & 0xff00) == 0x300 ? PS_V_TLS : PS_V_OTHER;
	}
	if (ps_starts(head, n, preface, 8))
		return n < 8 ? PS_HEAD_MORE : PS_V_HTTP2;
	if (ps_starts(head, n, status, 7))
		return n < 7 ? PS_HEAD_MORE : PS_V_HTTP1;
	if (late && n == PS_HEAD_MAX && ps_is_frame(head))
		return PS_V_HTTP2;
	return ps_method(head, n);
}

/* Adds the operation's first bytes to those kept. The operation's pieces are read, not used up. */
__noinline int ps_head_add(struct ps_conn *conn, const struct ps_op *op)
{
	struct ps_op at = {};
	__u32 dir, have, left;

	if (!conn || !op)
		return -1;
	at.iov = op->iov;
	at.iov_left = op->iov_left;
	at.piece = op->piece;
	at.piece_len = op->piece_len;
	dir = op->d.dir & 1;
	have = conn->head_len[dir];
	left = op->d.op_len;
	for (__u32 i = 0; i < PS_HEAD_MAX; i++) {
		__u64 bytes = 0;
		__u32 n;

		if (!left || have >= PS_HEAD_MAX)
			break;
		if (!at.piece_len && !ps_next_piece(&at))
			break;
		n = at.piece_len < left ? at.piece_len : left;
		if (n > PS_HEAD_MAX - have)
			n = PS_HEAD_MAX - have;
		/* The verifier of 6.1 does not see that it is bounded already, and the compiler does. */
		barrier_var(n);
		if (n > PS_HEAD_MAX || bpf_probe_read_user(&bytes, n, (void *)at.piece))
			break;
		conn->head[dir] |= bytes << (8 * (have & 7));
		have += n;
		left -= n;
		at.piece += n;
		at.piece_len -= n;
	}
	conn->head_len[dir] = have;
	return 0;
}

/* An operation that is no HTTP may stand before HTTP (a PROXY header), so its beginning is copied too. */
#define PS_FOREIGN_MAX 512

/* Looks at one operation of an undecided connection. Returns the largest number of its bytes worth copying. */
__noinline __u32 ps_decide(struct ps_conn *conn, const struct ps_op *op, bool readable)
{
	__u32 verdict = PS_V_OTHER;
	__u32 dir, foreign, other;
	bool late;

	if (!conn || !op)
		return 0;
	dir = op->d.dir & 1;
	late = !(conn->flags & PS_C_WHOLE);
	foreign = PS_C_FOREIGN_READ << dir;
	other = PS_C_FOREIGN_READ << (dir ^ 1);
	if (readable) {
		ps_head_add(conn, op);
		verdict = ps_classify(conn->head[dir], conn->head_len[dir], late);
	}
	if (verdict == PS_HEAD_MORE)
		return PS_HEAD_MAX;
	/* Where the peer spoke first, and no HTTP, a capital word is a command of another protocol (SMTP's EHLO). */
	if (verdict == PS_V_HTTP1 && (conn->head[dir] & 0xffffffff) != 0x50545448 && !late && conn->flags & other)
		verdict = PS_V_OTHER;
	/* And the longer one looks into the middle of something, the less a capital word says. */
	if (verdict == PS_V_HTTP1 && late && conn->late_ops >= PS_UNDECIDED_OPS && !ps_is_common(conn->head[dir]))
		verdict = PS_V_OTHER;
	conn->head[dir] = 0;
	conn->head_len[dir] = 0;
	if (verdict != PS_V_OTHER) {
		conn->verdict = verdict;
		return ~0U;
	}
	if (late) {
		if (++conn->late_ops >= PS_LATE_OPS || conn->turn >= PS_LATE_TURNS)
			conn->verdict = PS_V_OTHER;
		return 0;
	}
	__sync_fetch_and_or(&conn->flags, foreign);
	if (++conn->ops >= PS_UNDECIDED_OPS)
		conn->verdict = PS_V_OTHER;
	return PS_FOREIGN_MAX;
}
