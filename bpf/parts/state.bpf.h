/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the programs remember: configuration, maps, counters. The sizes of the maps are set by the loader. */

struct ps_config {
	__u32 agent_tgid; /* never captured */
	__u32 op_max;	  /* bytes copied of one operation at most */
	__u32 wake_shift; /* the reader is woken when the data ring's fill passes a multiple of 1 << wake_shift */
	__u32 untyped;	/* programs of sockets get addresses that the verifier knows no type of (kprobes, system calls)
			 */
	__u32 for_each; /* the kernel has no bpf_loop: ps_steps takes its place */
	__u32 nonblock; /* tcp_recvmsg has an argument `nonblock` in front of its flags */
};
/* Known to the verifier when it looks at the programs: what it excludes is not in them. */
const volatile struct ps_config ps_cfg = {};

/* A field of a kernel structure, where the structure's address may have no type. */
#define ps_kernel(from, field)                                                                                         \
	({                                                                                                             \
		__typeof__((from)->field) value;                                                                       \
		if (ps_cfg.untyped)                                                                                    \
			bpf_probe_read_kernel((void *)&value, sizeof(value), (const void *)&(from)->field);            \
		else                                                                                                   \
			value = (from)->field;                                                                         \
		value;                                                                                                 \
	})

/* Set by user space once ps_pid_policy has an entry: most hosts never pay for the look-up. A map of its own. */
__u32 ps_policy_on SEC(".data.policy") = 0;
/* The most that anybody wants of anything: enum ps_want. Set by user space. A map of its own. */
__u32 ps_want_most SEC(".data.want") = 0;
/* Set by user space once ps_conn_policy has an entry. A map of its own. */
__u32 ps_conn_policy_on SEC(".data.conns") = 0;
/* Connections and TLS sessions are numbered together. */
__u64 ps_last_id = 0;

/* What is copied of a stream. The higher number is the stronger one. */
enum ps_want {
	PS_WANT_ALL = 0,
	PS_WANT_HEADS = 1,   /* content is counted, not copied */
	PS_WANT_NOTHING = 2, /* bytes are counted, nothing is copied */
};

/* ps_conn.flags. The one after a PS_C_*_READ is the same for PS_WRITE. */
#define PS_C_ANNOUNCED 0x1 /* PS_CONN_OPEN was sent */
#define PS_C_WHOLE 0x2	   /* seen from its handshake on */
#define PS_C_EARLY 0x4	   /* entered before the handshake ended */
#define PS_C_OWN 0x8	   /* a connection of the agent, or the far end of one */
#define PS_C_RESET 0x10
#define PS_C_EOF 0x20	      /* PS_CONN_EOF was sent */
#define PS_C_BOUND 0x40	      /* a TLS session does I/O on it: the socket's bytes are not the plaintext */
#define PS_C_EXACT_READ 0x100 /* off[dir] counts from the first byte */
#define PS_C_EXACT_WRITE 0x200
#define PS_C_FOREIGN_READ 0x400 /* this direction began with something that is not HTTP */
#define PS_C_FOREIGN_WRITE 0x800
#define PS_C_UNWANTED 0x1000 /* nothing was copied of some of its bytes: PS_WANT_NOTHING */

/* ps_walk.mode */
enum ps_walk_mode {
	PS_W_START = 0, /* where a message may begin, on a stream that is not followed yet */
	PS_W_OFF = 1,	/* not to be followed */
	/* HTTP/2 */
	PS_W_HEAD = 2, /* in a frame header */
	PS_W_COPY = 3, /* in bytes that are copied */
	PS_W_PEEK = 4, /* at the first byte of content */
	PS_W_SKIP = 5, /* in content that is not copied */
	PS_W_PAD = 6,  /* at the length of a frame's padding */
	/* HTTP/1 */
	PS_W_MESSAGE = 7,   /* at the first byte of a message */
	PS_W_FIELDS = 8,    /* in a head */
	PS_W_TRAILER = 9,   /* in a trailer section */
	PS_W_SIZE = 10,	    /* in the line before a chunk */
	PS_W_SIZE_EXT = 11, /* in that line, behind the size */
	PS_W_CHUNK_END = 12,
	PS_W_CHUNK = 13, /* in a chunk's data */
	PS_W_BODY = 14,	 /* in content of known length */
	PS_W_CLOSE = 15, /* in content that ends with the stream */
};

/* Streams of HTTP/2 that are remembered at a time. A power of two for the verifier. */
#define PS_PLAIN 4

/* Where one direction of a stream is in the frames of HTTP/2 or in the messages of HTTP/1. */
struct ps_walk {
	__u64 left; /* bytes until the mode ends; in a head: the content's length, as far as it was read */
	union {
		__u64 word[2]; /* HTTP/1: beginning of the line or of the field's value, lower case */
		__u8 head[16]; /* HTTP/2: of a frame, or of content; a power of two for the verifier */
	};
	__u32 few;    /* HTTP/1: content of this message that was copied, because little of it came at a time; HTTP/2:
		       * padding at the frame's end */
	__u32 size;   /* HTTP/1: bytes of the head; HTTP/2: stream of the DATA frame */
	__u32 loose;  /* bytes copied since the last turn while it was not followed */
	__u16 status; /* HTTP/1: of a response */
	__u8 mode;    /* enum ps_walk_mode */
	__u8 have;    /* HTTP/2: bytes in head */
	__u8 pos;     /* HTTP/1: bytes of the line, or of the field's value */
	__u8 field;   /* HTTP/1: enum ps_field */
	__u8 said;    /* HTTP/1: PS_SAID_* */
	__u8 kind;    /* HTTP/1: enum ps_message */
	__u8 last;    /* HTTP/2: in plain, the one written last */
	__u8 pad[5];
	__u32 plain[PS_PLAIN]; /* HTTP/2: streams whose content is not gRPC */
};

/* Both directions of a stream. Each field but `stop` and `whole` is written by one direction alone. */
struct ps_walks {
	struct ps_walk dir[2];
	__u64 bodiless; /* HTTP/1: a bit for each request: its response has no content */
	__u32 asked;	/* HTTP/1: requests, and final responses to them */
	__u32 answered;
	__u32 stop;  /* never to be followed again */
	__u32 whole; /* all of it is needed where it is not followed */
};

/* One TCP connection end. Indexed by enum ps_dir where there are two. */
struct ps_conn {
	__u64 id;
	__u64 off[2];  /* bytes so far */
	__u64 head[2]; /* first bytes of the stream, while they do not tell enough */
	__u32 local_isn;
	__u32 remote_isn;
	__u32 flags;
	__u32 turn;
	__u16 hello[2]; /* bytes copied as PS_SRC_HELLO */
	__u8 head_len[2];
	__u8 role;
	__u8 verdict;
	__u8 ops; /* operations that gave no verdict */
	__u8 last_dir;
	__u8 pad[2];
	__u16 late_ops;	 /* the same, on a connection that is older than its entry */
	__u8 hello_role; /* enum of hello.bpf.h */
	__u8 pad2[1];
	__u32 hello_tgid; /* process that sent or received the ClientHello */
	__u64 random;	  /* of the ClientHello, some of its bytes; 0: not seen */
	__u64 owner;	  /* the TLS session that is certain to use it; 0: none */
	struct ps_walks walks;
};

/* last_dir before the first operation */
#define PS_NO_DIR 2

struct ps_session_key {
	__u64 obj;
	__u32 tgid;
	__u32 pad;
};

/* ps_session.flags */
#define PS_S_WHOLE 1   /* its first call was seen */
#define PS_S_OWN 2     /* on a connection with PS_C_OWN */
#define PS_S_TOLD 4    /* user space knows its connection */
#define PS_S_MOVED 8   /* what it does has spoken for two connections */
#define PS_S_BARE 16   /* its object has no random yet, where those of its library have it */
#define PS_S_CLIENT 32 /* its object had the random before a hello was on the way */
#define PS_S_SERVER 64 /* its object got the random from a hello */
#define PS_S_ROLE (PS_S_CLIENT | PS_S_SERVER)

/* One TLS session object (an SSL *) of one process. */
struct ps_session {
	__u64 id;
	__u64 conn_id; /* 0: not bound */
	__u64 sk;      /* of that connection */
	__u64 off[2];
	__u32 turn;
	__u8 how;     /* enum ps_bound */
	__u8 strong;  /* the binding rests on: 1 a call that moved data, 2 what is certain */
	__u8 against; /* strong votes in a row for another connection */
	__u8 flags;
	__u8 last_dir;
	__u8 agreed; /* strong votes in a row for its connection */
	__u8 looked; /* times that its object was looked through */
	__u8 pad;
	__u32 library;
	__u64 random; /* of the ClientHello, as the object has it; 0: not known */
	struct ps_walks walks;
};

/* A TLS library call under way on a thread. */
struct ps_call {
	__u64 obj;
	__u64 buf;
	__u64 out; /* where an _ex call stores the count */
	__u64 sp;  /* stack pointer at entry: names the frame */
	__u64 ts;
	__u64 conn_id; /* connection of the first socket I/O inside the call */
	__u64 sk;
	__u32 len;
	__u32 library;
	__u8 call;   /* enum ps_tls_call */
	__u8 result; /* enum ps_tls_result */
	__u8 fresh;  /* the connection had not carried bytes both ways before */
	__u8 inner;  /* inside a call that reports the same bytes */
	__u8 pad[4];
};

#define PS_CALLS 2

/* What a thread that uses TLS did last. */
struct ps_thread {
	struct ps_call call[PS_CALLS];
	__u32 depth;
	__u8 pend_strong;
	__u8 last_fresh;
	__u8 waited; /* its last receive may have waited for bytes */
	__u8 pad;
	__u64 last_conn; /* connection of the last receive outside a TLS call */
	__u64 last_sk;
	__u64 claim;	/* TLS object that owns that receive */
	__u64 pend;	/* TLS object that waits for the thread's next send */
	__u64 last_buf; /* where that receive put its bytes, as far as it was one piece */
	__u32 last_len;
	__u32 pend_len; /* bytes that the next send has if it is of that object; 0: not known */
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20);
} ps_data_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} ps_control_ring SEC(".maps");

/* By socket address. Not LRU: that would give up live connections when many short ones pass. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct ps_conn);
} ps_conns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct ps_session_key);
	__type(value, struct ps_session);
} ps_tls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct ps_thread);
} ps_threads SEC(".maps");

/* Connections of the agent as their far ends see them: local ISN << 32 | remote ISN. NAT keeps these, not addresses. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, __u8);
} ps_own SEC(".maps");

/* Ports that the agent listens on: inode number of the network namespace << 16 | port. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 64);
	__type(key, __u64);
	__type(value, __u8);
} ps_own_ports SEC(".maps");

/* Values of ps_pid_policy and ps_conn_policy: PS_POLICY_IGNORE, or an enum ps_want above it. */
#define PS_POLICY_IGNORE 1
#define PS_POLICY_WANT_SHIFT 1

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u32);
} ps_pid_policy SEC(".maps");

/* By ps_conn.id. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, __u32);
} ps_conn_policy SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PS_ST_MAX);
	__type(key, __u32);
	__type(value, __u64);
} ps_stats SEC(".maps");

/* Atomic, because a program can be preempted by another one on the same CPU. */
static __always_inline void ps_count(__u32 stat, __u64 n)
{
	__u64 *slot = bpf_map_lookup_elem(&ps_stats, &stat);

	if (slot)
		__sync_fetch_and_add(slot, n);
}

static __always_inline __u64 ps_next_id(void)
{
	return __sync_fetch_and_add(&ps_last_id, 1) + 1;
}

static __always_inline bool ps_ignored(__u32 tgid)
{
	__u32 *policy;

	if (tgid == ps_cfg.agent_tgid)
		return true;
	if (!ps_policy_on)
		return false;
	policy = bpf_map_lookup_elem(&ps_pid_policy, &tgid);
	return policy && (*policy & PS_POLICY_IGNORE);
}

/* What is copied of a connection of a process. */
static __always_inline __u32 ps_want(__u32 tgid, __u64 conn_id)
{
	__u32 want = ps_want_most;
	__u32 *policy;

	if (ps_policy_on) {
		policy = bpf_map_lookup_elem(&ps_pid_policy, &tgid);
		if (policy && *policy >> PS_POLICY_WANT_SHIFT > want)
			want = *policy >> PS_POLICY_WANT_SHIFT;
	}
	if (ps_conn_policy_on) {
		policy = bpf_map_lookup_elem(&ps_conn_policy, &conn_id);
		if (policy && *policy >> PS_POLICY_WANT_SHIFT > want)
			want = *policy >> PS_POLICY_WANT_SHIFT;
	}
	return want;
}
