/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What a connection carries, by the first bytes of its first operations. */

#define PS_HEAD_MAX 8
/* Operations without a match until a connection is PS_V_OTHER. */
#define PS_UNDECIDED_OPS 3

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

/* n bytes, 1 to PS_HEAD_MAX, the first in the lowest bits. */
__noinline __u32 ps_classify(__u64 head, __u32 n, bool late)
{
	const __u64 preface = 0x5448202a20495250; /* "PRI * HT" */
	const __u64 status = 0x2e312f50545448;	  /* "HTTP/1." */

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

	if (!conn || !op)
		return 0;
	dir = op->d.dir & 1;
	foreign = PS_C_FOREIGN_READ << dir;
	other = PS_C_FOREIGN_READ << (dir ^ 1);
	if (readable) {
		ps_head_add(conn, op);
		verdict = ps_classify(conn->head[dir], conn->head_len[dir], !(conn->flags & PS_C_WHOLE));
	}
	if (verdict == PS_HEAD_MORE)
		return PS_HEAD_MAX;
	/* Where the peer spoke first, and no HTTP, a capital word is a command of another protocol (SMTP's EHLO). */
	if (verdict == PS_V_HTTP1 && (conn->head[dir] & 0xffffffff) != 0x50545448 && conn->flags & PS_C_WHOLE &&
	    conn->flags & other)
		verdict = PS_V_OTHER;
	conn->head[dir] = 0;
	conn->head_len[dir] = 0;
	if (verdict != PS_V_OTHER) {
		conn->verdict = verdict;
		return ~0U;
	}
	__sync_fetch_and_or(&conn->flags, foreign);
	if (++conn->ops >= PS_UNDECIDED_OPS)
		conn->verdict = PS_V_OTHER;
	return PS_FOREIGN_MAX;
}
