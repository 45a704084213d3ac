/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What both ends of a TLS connection show: the random of the ClientHello (RFC 8446, section 4.1.2) goes over the socket
 * in the clear, and every library keeps it in the session object. Where an object has it is not told by anyone: it is
 * learned once a library, from objects that hold the random of a hello that their own process sent or received. From
 * then on an object names its connection, on whatever thread its socket is read and written.
 */

/* ps_hello_key.role */
#define PS_HELLO_CLIENT 0 /* the process sent the hello */
#define PS_HELLO_SERVER 1

struct ps_hello_key {
	__u64 random; /* bytes 8 to 15: some clients put the time in front */
	__u32 tgid;
	__u32 role;
};

struct ps_hello {
	__u64 conn_id;
	__u64 sk;
};

/* Removed with the connection. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct ps_hello_key);
	__type(value, struct ps_hello);
} ps_hellos SEC(".maps");

/* Where a ClientHello in the first record has the bytes of its random that are used, and without the record's header.
 */
#define PS_RANDOM_AT 19
#define PS_RECORD_HEADER 5
#define PS_RANDOM_END (PS_RANDOM_AT + 8)
/* Changes of direction on a connection until nobody looks for a ClientHello any more (CONNECT, STARTTLS). */
#define PS_HELLO_TURNS 16

/* The operation's first bytes, PS_RANDOM_END of them. */
static __always_inline bool ps_op_begin(const struct ps_op *op, __u8 bytes[32])
{
	__u64 iov[2] = {op->piece, op->piece_len};

	if (!op->piece_len &&
	    (!op->iov_left || bpf_probe_read_user(iov, sizeof(iov), (void *)op->iov) || iov[1] < PS_RANDOM_END))
		return false;
	return !bpf_probe_read_user(bytes, PS_RANDOM_END, (void *)iov[0]);
}

/* Keeps the random of a ClientHello that begins with this operation. */
__noinline int ps_hello_look(struct ps_conn *conn, struct ps_op *op)
{
	struct ps_hello_key key = {};
	struct ps_hello hello = {};
	__u8 b[32] = {};
	bool split;

	if (!conn || !op)
		return 0;
	if (op->d.op_len < PS_RANDOM_END || conn->turn > PS_HELLO_TURNS)
		return 0;
	if (!ps_op_begin(op, b))
		return 0;
	/* Some read the record's header alone, and then the rest. */
	split = op->d.stream_off == PS_RECORD_HEADER && b[0] == 1 && !b[1] && b[4] == 3;
	if (split)
		__builtin_memcpy(&key.random, b + PS_RANDOM_AT - PS_RECORD_HEADER, sizeof(key.random));
	else if (b[0] == 0x16 && b[1] == 3 && b[5] == 1 && b[9] == 3)
		__builtin_memcpy(&key.random, b + PS_RANDOM_AT, sizeof(key.random));
	/* Neither a number nor an address looks like that, so that no other word of an object is taken for one. */
	if (!(key.random >> 48) || key.random >> 48 == 0xffff)
		return 0;
	key.tgid = op->d.h.tgid;
	key.role = op->d.dir == PS_WRITE ? PS_HELLO_CLIENT : PS_HELLO_SERVER;
	hello.conn_id = conn->id;
	hello.sk = op->sk;
	if (bpf_map_update_elem(&ps_hellos, &key, &hello, BPF_ANY)) {
		ps_count(PS_ST_CONN_MAP_FULL, 1);
		return 0;
	}
	conn->random = key.random;
	conn->hello_tgid = key.tgid;
	conn->hello_role = key.role;
	return 0;
}

static __always_inline void ps_hello_forget(const struct ps_conn *conn)
{
	struct ps_hello_key key = {.random = conn->random, .tgid = conn->hello_tgid, .role = conn->hello_role};

	if (conn->random)
		bpf_map_delete_elem(&ps_hellos, &key);
}

/* Words of an object that are looked at, pointers among the first of them that are followed, and words there. */
#define PS_PLACE_WORDS 256
#define PS_PLACE_POINTERS 64
#define PS_PLACE_BEHIND 40
/* Objects that are looked through until a library is given up. */
#define PS_PLACE_TRIES 512
/* Times that one object is looked through. */
#define PS_PLACE_LOOKS 6
/* Sessions in a row that were seen from their beginning, moved bytes and had nothing known there: it is another place.
 */
#define PS_PLACE_MISSED 64
/* Objects that must have the random at the same place. */
#define PS_PLACE_SURE 3

struct ps_scan {
	__u64 obj;
	__u64 base;
	__u64 random; /* what was found */
	__u32 tgid;
	__u32 at;
	__u32 pointer; /* PS_PLACE_INSIDE or offset of the pointer in the object */
	__u32 found;
};

static __always_inline struct ps_hello *ps_hello_find(__u64 random, __u32 tgid, __u32 role)
{
	struct ps_hello_key key = {.random = random, .tgid = tgid, .role = role};

	return bpf_map_lookup_elem(&ps_hellos, &key);
}

static __always_inline long ps_scan_word(__u32 index, struct ps_scan *scan)
{
	__u64 word = 0;

	if (bpf_probe_read_user(&word, sizeof(word), (void *)(scan->base + index * sizeof(word))))
		return 1;
	if (!(word >> 48) || word >> 48 == 0xffff)
		return 0;
	if (!ps_hello_find(word, scan->tgid, PS_HELLO_CLIENT) && !ps_hello_find(word, scan->tgid, PS_HELLO_SERVER))
		return 0;
	scan->at = index * sizeof(word);
	scan->random = word;
	scan->found = 1;
	return 1;
}

PS_LOOP(ps_scan_behind, PS_PLACE_BEHIND, ps_scan_word, struct ps_scan)
PS_LOOP(ps_scan_words, PS_PLACE_WORDS, ps_scan_word, struct ps_scan)

static __always_inline long ps_scan_pointer(__u32 index, struct ps_scan *scan)
{
	__u64 word = 0;

	if (bpf_probe_read_user(&word, sizeof(word), (void *)(scan->obj + index * sizeof(word))))
		return 1;
	if (word < 0x10000 || word >> 47 || word == scan->obj)
		return 0;
	scan->pointer = index * sizeof(word);
	scan->base = word;
	ps_scan_behind(scan);
	return scan->found ? 1 : 0;
}

PS_LOOP(ps_scan_pointers, PS_PLACE_POINTERS, ps_scan_pointer, struct ps_scan)

/* Looks for the random of a hello of this process in an object, and behind its pointers. */
static __noinline bool ps_place_scan(struct ps_scan *scan)
{
	ps_scan_pointers(scan);
	if (scan->found)
		return true;
	scan->pointer = PS_PLACE_INSIDE;
	scan->base = scan->obj;
	ps_scan_words(scan);
	return scan->found;
}

/* Another object of the library has it there, or has it elsewhere. */
static __always_inline void ps_place_note(struct ps_library *lib, const struct ps_scan *scan)
{
	if (lib->sure && lib->pointer == scan->pointer && lib->at == scan->at) {
		lib->sure++;
		return;
	}
	lib->pointer = scan->pointer;
	lib->at = scan->at;
	lib->sure = 1;
}

/* The random at the library's place in the object; 0 where there is none yet. */
static __noinline __u64 ps_place_read(const struct ps_library *lib, __u64 obj)
{
	__u64 base = obj, random = 0;

	if (lib->pointer != PS_PLACE_INSIDE && bpf_probe_read_user(&base, sizeof(base), (void *)(obj + lib->pointer)))
		return 0;
	if (bpf_probe_read_user(&random, sizeof(random), (void *)(base + lib->at)))
		return 0;
	return random;
}
