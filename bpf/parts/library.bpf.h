/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What is counted and known of each probed file. Its number is in the upper half of the attach cookies; 0: none.
 * What cannot be right is counted: more bytes than were asked for, results that no such function returns, objects and
 * buffers where no memory is, plaintext that is a TLS record. User space detaches a file whose first calls are all so.
 */

#define PS_LIBRARIES 1024
/* Upper half of a cookie. */
#define PS_COOKIE_LIBRARY 32

/* Calls that moved bytes, and were right, until a library's memory is not looked at any more. */
#define PS_LIBRARY_SOUND 32

/* ps_library.pointer: the random is in the object itself */
#define PS_PLACE_INSIDE 0xffffffff

/* By enum ps_dir. */
struct ps_library_counts {
	__u64 calls[2];
	__u64 bytes[2];
	__u64 odd[2];	/* calls that cannot be what they were taken for */
	__u64 right[2]; /* calls that moved bytes, with nothing odd about them */
};

struct ps_library {
	__u32 sound;   /* calls that were right, PS_LIBRARY_SOUND at the most */
	__u32 sure;    /* objects that had the random at the place */
	__u32 tries;   /* objects that were looked through for it */
	__u32 pointer; /* the place: offset of the pointer in the object */
	__u32 at;      /* and offset behind it */
	__u32 missed;  /* objects in a row that moved bytes and had nothing that is known there */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PS_LIBRARIES);
	__type(key, __u32);
	__type(value, struct ps_library);
} ps_libraries SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PS_LIBRARIES);
	__type(key, __u32);
	__type(value, struct ps_library_counts);
} ps_library_counts SEC(".maps");

static __always_inline struct ps_library *ps_library_find(__u32 number)
{
	return number ? bpf_map_lookup_elem(&ps_libraries, &number) : NULL;
}

/* A word in front of which TLS would put nothing: a record of TLS itself (RFC 8446, section 5.1). */
static __always_inline bool ps_is_record(__u64 word)
{
	__u32 length = (word >> 24 & 0xff) << 8 | (word >> 32 & 0xff);

	return (word & 0xff) >= 0x14 && (word & 0xff) <= 0x17 && (word >> 8 & 0xff) == 3 && (word >> 16 & 0xff) <= 4 &&
	       length && length <= 16384 + 256;
}

/* Whether object and buffer are what they must be. */
static __noinline bool ps_is_plausible(__u64 obj, __u64 buf, __u32 n)
{
	__u64 word = 0;

	if (bpf_probe_read_user(&word, sizeof(word), (void *)obj))
		return false;
	word = 0;
	if (buf && n && bpf_probe_read_user(&word, n < sizeof(word) ? 1 : sizeof(word), (void *)buf))
		return false;
	return n < sizeof(word) || !ps_is_record(word);
}

/* In `how` beside the direction: what the call returned cannot be. */
#define PS_CALL_ODD 2

/* Counts one call that returned. */
static __noinline void ps_library_call(__u32 number, __u64 obj, __u64 buf, __u32 n, __u32 how)
{
	struct ps_library_counts *counts;
	struct ps_library *lib = ps_library_find(number);
	__u32 dir = how & 1;
	bool odd = how & PS_CALL_ODD;

	if (!lib)
		return;
	counts = bpf_map_lookup_elem(&ps_library_counts, &number);
	if (!counts)
		return;
	__sync_fetch_and_add(&counts->calls[dir], 1);
	if (n)
		__sync_fetch_and_add(&counts->bytes[dir], n);
	if (!odd && (n || !lib->sound) && lib->sound < PS_LIBRARY_SOUND)
		odd = !ps_is_plausible(obj, buf, n);
	if (odd) {
		__sync_fetch_and_add(&counts->odd[dir], 1);
	} else if (n) {
		__sync_fetch_and_add(&counts->right[dir], 1);
		if (lib->sound < PS_LIBRARY_SOUND)
			__sync_fetch_and_add(&lib->sound, 1);
	}
}
