/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Messages of HTTP/1 as far as it takes to tell content from the rest (RFC 9112): start line, the fields that say how
 * long the content is, the chunked coding. Where anything is odd, or has two readings, the stream is followed no more.
 */

/* ps_walk.kind */
enum ps_message {
	PS_M_NONE = 0,
	PS_M_REQUEST = 1,
	PS_M_HEAD = 2,	  /* a request whose response has no content */
	PS_M_CONNECT = 3, /* a request after which the connection may be a tunnel */
	PS_M_RESPONSE = 4,
};

/* ps_walk.field: where in a line */
enum ps_field {
	PS_L_START = 0, /* start line */
	PS_L_NAME = 1,
	PS_L_LENGTH = 2,  /* value of content-length */
	PS_L_CODING = 3,  /* value of transfer-encoding */
	PS_L_TYPE = 4,	  /* value of content-type */
	PS_L_UPGRADE = 5, /* value of upgrade */
	PS_L_REST = 6,	  /* up to the line's end nothing matters */
};

/* ps_walk.said */
#define PS_SAID_LENGTH 1
#define PS_SAID_CHUNKED 2
#define PS_SAID_DIGIT 4	 /* of a content-length, or of a chunk's size */
#define PS_SAID_DIGITS 8 /* the digits are over */
#define PS_SAID_WHOLE 16 /* if it cannot be followed, all of the stream is needed from here on */

/* What the bytes that were read come to. */
enum ps_lines {
	PS_LINES_MORE = 0,
	PS_LINES_END = 1, /* of the head, of the line or of the section */
	PS_LINES_ODD = 2,
};

/* As in src/proto/http1: a longer head is cut there. */
#define PS_HTTP1_HEAD_MAX (64 << 10)
#define PS_HTTP1_LENGTH_MAX (1ULL << 48)
/* Bytes looked at in one step. */
#define PS_LINES_BLOCK 64
/* "HTTP/1.1 200": enough of a start line to know which one it is. */
#define PS_START_MIN 12
/* "transfer-encodin", all that is kept of a name */
#define PS_WORDS 16
#define PS_CONTENT 0x2d746e65746e6f63ULL  /* "content-" */
#define PS_TRANSFER 0x726566736e617274ULL /* "transfer" */
#define PS_UPGRADE 0x65646172677075ULL	  /* "upgrade" */

/* A piece of content shorter than this is copied: an event costs more. */
#define PS_FEW 512
/* But of one message no more than this. */
#define PS_FEW_MAX (64 << 10)

static __always_inline __u8 ps_lower(__u8 c)
{
	return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

static __always_inline void ps_word_add(struct ps_walk *walk, __u8 c)
{
	__u32 pos = walk->pos;

	if (pos < 8)
		walk->word[0] |= (__u64)c << (8 * (pos & 7));
	else if (pos < PS_WORDS)
		walk->word[1] |= (__u64)c << (8 * (pos & 7));
	if (pos < 255)
		walk->pos = pos + 1;
}

static __always_inline void ps_line_begins(struct ps_walk *walk, __u8 field)
{
	walk->word[0] = 0;
	walk->word[1] = 0;
	walk->pos = 0;
	walk->field = field;
}

/* The first 12 bytes of a start line are there. */
static __always_inline bool ps_start_line(struct ps_walk *walk)
{
	__u64 head = walk->word[0];
	__u32 code = walk->word[1];
	__u8 kind = PS_M_REQUEST;

	if (ps_starts(head, 8, 0x2e312f50545448, 7)) { /* "HTTP/1." */
		__u8 a = (code >> 8) - '0', b = (code >> 16) - '0', c = (code >> 24) - '0';

		if ((code & 0xff) != ' ' || a > 9 || b > 9 || c > 9)
			return false;
		walk->status = a * 100 + b * 10 + c;
		kind = PS_M_RESPONSE;
	} else if (head == PS_PREFACE_WORD) {
		walk->said |= PS_SAID_WHOLE;
		return false;
	} else if (ps_method(head, 8) != PS_V_HTTP1) {
		return false;
	} else if (ps_starts(head, 8, 0x2044414548, 5)) { /* "HEAD " */
		kind = PS_M_HEAD;
	} else if (ps_starts(head, 8, 0x205443454e4e4f43, 8)) { /* "CONNECT " */
		kind = PS_M_CONNECT;
	}
	/* A direction carries requests or responses. */
	if (walk->kind && (walk->kind == PS_M_RESPONSE) != (kind == PS_M_RESPONSE))
		return false;
	walk->kind = kind;
	walk->field = PS_L_REST;
	return true;
}

/* Whether a name that begins like this is of interest. */
static __always_inline bool ps_name_matters(const struct ps_walk *walk)
{
	__u64 mask = walk->pos < 8 ? (1ULL << (8 * (walk->pos & 7))) - 1 : ~0ULL;
	__u64 one = walk->word[0];

	return one == (PS_CONTENT & mask) || one == (PS_TRANSFER & mask) || one == (PS_UPGRADE & mask);
}

/* The name of a field is over. */
static __always_inline void ps_field_named(struct ps_walk *walk)
{
	__u64 one = walk->word[0], two = walk->word[1];
	__u8 field = PS_L_REST;

	if (walk->pos == 14 && one == PS_CONTENT && two == 0x6874676e656c) /* "length" */
		field = PS_L_LENGTH;
	else if (walk->pos == 12 && one == PS_CONTENT && two == 0x65707974) /* "type" */
		field = PS_L_TYPE;
	else if (walk->pos == 7 && one == PS_UPGRADE)
		field = PS_L_UPGRADE;
	/* "transfer-encodin" and one more */
	else if (walk->pos == 17 && one == PS_TRANSFER && two == 0x6e69646f636e652d)
		field = PS_L_CODING;
	ps_line_begins(walk, field);
	walk->said &= ~(PS_SAID_DIGIT | PS_SAID_DIGITS);
}

/* A decimal digit of a content-length, or what may stand around. False: something else. */
static __always_inline bool ps_length_byte(struct ps_walk *walk, __u8 c)
{
	if (c == ' ' || c == '\t') {
		if (walk->said & PS_SAID_DIGIT)
			walk->said |= PS_SAID_DIGITS;
		return true;
	}
	if (c < '0' || c > '9' || walk->said & PS_SAID_DIGITS)
		return false;
	/* The field may be there once. */
	if (!(walk->said & PS_SAID_DIGIT) && walk->said & PS_SAID_LENGTH)
		return false;
	walk->said |= PS_SAID_DIGIT | PS_SAID_LENGTH;
	walk->left = walk->left * 10 + (c - '0');
	return walk->left < PS_HTTP1_LENGTH_MAX;
}

/* A line of a head is over, and it is not the empty one. False: it is odd. */
static __always_inline bool ps_line_ends(struct ps_walk *walk)
{
	__u64 one = walk->word[0], two = walk->word[1];

	switch (walk->field) {
	case PS_L_START:
	case PS_L_NAME:
		return false;
	case PS_L_LENGTH:
		return walk->said & PS_SAID_DIGIT;
	case PS_L_CODING:
		if (walk->said & PS_SAID_CHUNKED || walk->pos != 7 || one != 0x64656b6e756863) /* "chunked" */
			return false;
		walk->said |= PS_SAID_CHUNKED;
		return true;
	case PS_L_TYPE:
		/* "application/grpc", "application/conn(ect)": their messages are counted. */
		if (one != 0x746163696c707061 || (two != 0x637072672f6e6f69 && two != 0x6e6e6f632f6e6f69))
			return true;
		walk->said |= PS_SAID_WHOLE;
		return false;
	case PS_L_UPGRADE:
		/* "websocke(t)", "h2c": what user space reads on. Matters with 101 alone. */
		if (one == 0x656b636f73626577 || (walk->pos == 3 && one == 0x633268))
			walk->said |= PS_SAID_WHOLE;
		return true;
	default:
		return true;
	}
}

/* One byte of a line of a head, but for its end. */
static __always_inline bool ps_head_byte(struct ps_walk *walk, __u8 c)
{
	switch (walk->field) {
	case PS_L_START:
		ps_word_add(walk, c);
		return walk->pos < PS_START_MIN || ps_start_line(walk);
	case PS_L_NAME:
		if (c == ':') {
			ps_field_named(walk);
			return true;
		}
		c = ps_lower(c);
		/* A line that goes on from the one before it (obs-fold). */
		if (!walk->pos && (c == ' ' || c == '\t'))
			return false;
		ps_word_add(walk, c);
		if (!ps_name_matters(walk))
			walk->field = PS_L_REST;
		return true;
	case PS_L_LENGTH:
		return ps_length_byte(walk, c);
	case PS_L_CODING:
	case PS_L_TYPE:
	case PS_L_UPGRADE:
		if (walk->pos || (c != ' ' && c != '\t'))
			ps_word_add(walk, ps_lower(c));
		return true;
	default:
		return true;
	}
}

/* A hexadecimal digit of a chunk's size, or what ends it. */
static __always_inline bool ps_size_byte(struct ps_walk *walk, __u8 c)
{
	__u8 digit = c - '0';

	if (digit > 9) {
		digit = (c | 0x20) - 'a';
		if (digit > 5) {
			walk->mode = PS_W_SIZE_EXT;
			return walk->said & PS_SAID_DIGIT && (c == ';' || c == ' ' || c == '\t');
		}
		digit += 10;
	}
	walk->said |= PS_SAID_DIGIT;
	walk->left = walk->left << 4 | digit;
	return walk->left < PS_HTTP1_LENGTH_MAX;
}

/* One byte of what is read in lines. */
static __always_inline int ps_line_byte(struct ps_walk *walk, __u8 c)
{
	bool good = true;

	if (c == '\r')
		return PS_LINES_MORE;
	switch (walk->mode) {
	case PS_W_FIELDS:
		if (c != '\n') {
			good = ps_head_byte(walk, c);
		} else if (walk->field == PS_L_START && !walk->pos) {
			/* Empty lines in front of a message are passed over. */
		} else {
			if (walk->field == PS_L_NAME && !walk->pos)
				return PS_LINES_END;
			good = ps_line_ends(walk);
			ps_line_begins(walk, PS_L_NAME);
		}
		break;
	case PS_W_TRAILER:
		if (c != '\n')
			walk->pos = 1;
		else if (!walk->pos)
			return PS_LINES_END;
		else
			walk->pos = 0;
		break;
	case PS_W_SIZE:
	case PS_W_SIZE_EXT:
		if (c == '\n')
			return walk->said & PS_SAID_DIGIT ? PS_LINES_END : PS_LINES_ODD;
		if (walk->mode == PS_W_SIZE)
			good = ps_size_byte(walk, c);
		break;
	default: /* PS_W_CHUNK_END */
		return c == '\n' ? PS_LINES_END : PS_LINES_ODD;
	}
	return good ? PS_LINES_MORE : PS_LINES_ODD;
}

/* Bytes of a word in front of its first newline; 8 where it has none. */
static __always_inline __u32 ps_newline_at(__u64 word)
{
	const __u64 ones = 0x0101010101010101ULL;
	__u64 found;

	word ^= 0x0a * ones;
	/* The lowest bit is that of the first newline; others may be wrong. */
	found = (word - ones) & ~word & 0x80 * ones;
	if (!found)
		return 8;
	/* All bits below it: one byte more than stand in front, each with its own lowest bit. */
	return (((((found & -found) - 1) & ones) * ones) >> 56) - 1;
}

/*
 * Reads n bytes of a word, 8 at the most, up to the end of what the mode is about. Returns how many were read << 2 |
 * enum ps_lines.
 */
__noinline int ps_lines_word(struct ps_walk *walk, __u64 word, __u32 n)
{
	__u32 at = 0;

	if (!walk)
		return PS_LINES_ODD;
	for (__u32 step = 0; step < 8 && at < n; step++) {
		/* What does not matter of a line is passed over. */
		__u32 rest = walk->mode == PS_W_FIELDS && walk->field == PS_L_REST ? ps_newline_at(word) : 0;
		int state;

		if (rest >= n - at)
			return n << 2 | PS_LINES_MORE;
		word >>= 8 * (rest & 7);
		at += rest;
		state = ps_line_byte(walk, word);
		word >>= 8;
		at++;
		if (state != PS_LINES_MORE)
			return at << 2 | state;
	}
	return at << 2 | PS_LINES_MORE;
}

/*
 * Reads n bytes of user memory, PS_LINES_BLOCK at the most, in one of the modes that go by lines, up to the end of what
 * the mode is about. Returns how many were read << 2 | enum ps_lines.
 */
__noinline int ps_lines_read(struct ps_walk *walk, __u64 from, __u32 n)
{
	__u64 block[PS_LINES_BLOCK / 8] = {};

	if (!walk || !n)
		return PS_LINES_ODD;
	if (n > PS_LINES_BLOCK)
		n = PS_LINES_BLOCK;
	barrier_var(n);
	if (n > PS_LINES_BLOCK || bpf_probe_read_user(block, n, (void *)from))
		return PS_LINES_ODD;
	for (__u32 i = 0; i < PS_LINES_BLOCK && i < n; i += 8) {
		__u32 left = n - i < 8 ? n - i : 8;
		int got = ps_lines_word(walk, block[i / 8], left);

		if ((got & 3) != PS_LINES_MORE)
			return got + (i << 2);
	}
	return n << 2 | PS_LINES_MORE;
}

/* A message may begin here. */
static __always_inline void ps_message_begins(struct ps_walk *walk)
{
	walk->mode = PS_W_FIELDS;
	walk->left = 0;
	walk->said = 0;
	walk->size = 0;
	walk->few = 0;
	walk->status = 0;
	ps_line_begins(walk, PS_L_START);
}

/* Where the content of a request ends. Returns false where that can't be told. */
static __always_inline bool ps_request_head(struct ps_walks *walks, struct ps_walk *walk)
{
	__u64 bit = 1ULL << (walks->asked & 63);

	if (walk->kind == PS_M_CONNECT || walks->asked - walks->answered >= 63)
		return false;
	if (walk->kind == PS_M_HEAD)
		walks->bodiless |= bit;
	else
		walks->bodiless &= ~bit;
	walks->asked++;
	return true;
}

/* The same for a response. `request`: what is being read in the other direction. */
static __always_inline bool ps_response_head(struct ps_walks *walks, struct ps_walk *walk,
					     const struct ps_walk *request)
{
	bool bodiless;

	/* The connection goes on with something else. */
	if (walk->status == 101)
		return false;
	if (walk->status < 200) {
		walk->mode = PS_W_MESSAGE;
		return true;
	}
	/* Content that was announced and not begun may stay away now. */
	if (walks->asked == walks->answered ||
	    ((request->mode == PS_W_BODY || request->mode == PS_W_SIZE) && !request->few))
		return false;
	bodiless = walks->bodiless >> (walks->answered & 63) & 1;
	walks->answered++;
	if (bodiless || walk->status == 204 || walk->status == 304)
		walk->mode = PS_W_MESSAGE;
	else if (!walk->said)
		walk->mode = PS_W_CLOSE;
	return true;
}

/* A head is over: decides how its content is read. */
static __always_inline bool ps_head_ends(struct ps_walks *walks, struct ps_walk *walk, const struct ps_walk *other)
{
	walk->said &= PS_SAID_LENGTH | PS_SAID_CHUNKED;
	walk->mode = PS_W_BODY;
	if (walk->kind != PS_M_RESPONSE) {
		if (!ps_request_head(walks, walk))
			return false;
	} else if (!ps_response_head(walks, walk, other)) {
		return false;
	}
	/* Both lengths are what request smuggling looks like (RFC 9112, section 6.1). */
	if (walk->said == (PS_SAID_LENGTH | PS_SAID_CHUNKED))
		return false;
	if (walk->mode == PS_W_CLOSE) {
		walk->left = ~0ULL;
	} else if (walk->mode == PS_W_BODY && walk->said == PS_SAID_CHUNKED) {
		walk->mode = PS_W_SIZE;
		walk->left = 0;
		walk->said = 0;
	} else if (walk->mode == PS_W_BODY && !walk->left) {
		walk->mode = PS_W_MESSAGE;
	}
	return true;
}

/* What was read in lines is over. */
static __always_inline bool ps_lines_end(struct ps_walks *walks, struct ps_walk *walk, const struct ps_walk *other)
{
	switch (walk->mode) {
	case PS_W_FIELDS:
		return ps_head_ends(walks, walk, other);
	case PS_W_TRAILER:
		walk->mode = PS_W_MESSAGE;
		return true;
	case PS_W_CHUNK_END:
		walk->mode = PS_W_SIZE;
		walk->left = 0;
		walk->said = 0;
		return true;
	default: /* a chunk's size */
		walk->mode = walk->left ? PS_W_CHUNK : PS_W_TRAILER;
		walk->pos = 0;
		return true;
	}
}

/* Content that was passed over, or copied. */
static __always_inline void ps_content_passed(struct ps_walk *walk)
{
	if (walk->left)
		return;
	walk->mode = walk->mode == PS_W_CHUNK ? PS_W_CHUNK_END : PS_W_MESSAGE;
}
