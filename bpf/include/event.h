/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The wire format between the kernel programs and the agent: the one definition.
 * src/event/layout.rs mirrors it; a test compiles this header and compares every size and offset.
 * Recorded event files depend on it: a change of any structure raises PS_EVENT_VERSION, but for fields added at the end
 * of one, which the decoder takes as unknown where a recording lacks them.
 * All structures are little-endian, 8-byte aligned, and have no implicit padding.
 */
#ifndef PLAINSPAN_EVENT_H
#define PLAINSPAN_EVENT_H

#define PS_EVENT_VERSION 1

enum ps_kind {
	PS_DATA = 1,	   /* data ring: bytes of one direction of a stream */
	PS_CONN_OPEN = 2,  /* control ring: first I/O on a connection */
	PS_CONN_EOF = 3,   /* control ring: a receive returned 0 */
	PS_CONN_CLOSE = 4, /* control ring: the socket reached TCP_CLOSE */
	PS_TLS_BIND = 5,   /* control ring: a TLS session was bound to a connection, or bound anew */
	PS_TLS_END = 6,	   /* control ring: a TLS session object was freed */
	PS_EXEC = 7,	   /* control ring: a process called execve */
	PS_EXIT = 8,	   /* control ring: the last thread of a process is gone */
};

enum ps_dir {
	PS_READ = 0,  /* received by this process */
	PS_WRITE = 1, /* sent by this process */
};

enum ps_source {
	PS_SRC_SOCKET = 0, /* the socket's bytes are the plaintext */
	PS_SRC_TLS = 1,	   /* plaintext from a TLS library's call */
	PS_SRC_HELLO = 2,  /* the first raw TLS records on the socket, at most PS_HELLO_MAX a direction */
};

/* ps_data.flags */
#define PS_F_LAST 1	/* last event of its operation */
#define PS_F_CUT 2	/* the operation was longer than what policy copies: the rest is left out on purpose */
#define PS_F_FAULT 4	/* the user buffer could not be read: the rest of the operation is missing */
#define PS_F_NO_BYTES 8 /* no user buffer (sendfile, io_uring): only the length is known */
#define PS_F_WHOLE 16	/* stream_off counts from the first byte of the stream */
#define PS_F_SKIPPED 32 /* no bytes follow: those from op_off to op_len were left out on purpose */
#define PS_F_WAITED 64	/* the thread's last receive may have waited for bytes: no event loop does that */

/* ps_conn_end.flags */
#define PS_CONN_RESET 1	   /* ECONNRESET, or EPIPE before the peer had ended its direction */
#define PS_CONN_UNWANTED 2 /* some of its bytes were not copied because nothing of the connection was wanted */

/* ps_conn_open.flags */
#define PS_CONN_WHOLE 1 /* seen from its handshake on */

enum ps_role {
	PS_ROLE_UNKNOWN = 0,
	PS_ROLE_CLIENT = 1, /* this side called connect */
	PS_ROLE_SERVER = 2, /* this side accepted */
};

/* How sure the binding of a TLS session to a connection is. */
enum ps_bound {
	PS_BOUND_NONE = 0,
	PS_BOUND_NEXT = 1,  /* the thread's next send after the TLS call */
	PS_BOUND_PREV = 2,  /* the thread's last receive before the TLS call */
	PS_BOUND_EXACT = 3, /* socket I/O inside the TLS call */
	PS_BOUND_HELLO = 4, /* the session has the random of the ClientHello on the connection */
};

/* What a connection carries, as far as its first bytes tell. */
enum ps_verdict {
	PS_V_UNKNOWN = 0,
	PS_V_HTTP1 = 1,
	PS_V_HTTP2 = 2,
	PS_V_TLS = 3,
	PS_V_OTHER = 4,
};

#define PS_HELLO_MAX 2048

struct ps_header {
	__u16 kind;
	__u16 version;
	__u32 tgid;
	__u64 ts_ns; /* CLOCK_MONOTONIC; for PS_DATA at the end of the operation */
};

struct ps_data {
	struct ps_header h;
	__u64 ts_entry_ns; /* at the start of the call; equal to h.ts_ns where unknown (socket operations) */
	__u64 conn_id;	   /* 0: not bound to a connection yet */
	__u64 tls_id;	   /* TLS session; 0 for PS_SRC_SOCKET and PS_SRC_HELLO */
	__u64 stream_off;  /* offset of data[0] in this direction of the stream */
	__u32 op_len;	   /* bytes that the operation moved */
	__u32 op_off;	   /* offset of data[0] in the operation */
	__u32 cap_len;	   /* bytes that follow */
	__u32 turn;	   /* changes of direction on this stream so far, counted before the reserve */
	__u32 tid;
	__u8 dir;    /* enum ps_dir */
	__u8 source; /* enum ps_source */
	__u8 flags;  /* PS_F_* */
	__u8 bound;  /* enum ps_bound */
	__u8 data[];
};

struct ps_conn_open {
	struct ps_header h;
	__u64 conn_id;
	__u8 laddr[16]; /* network order; IPv4 in the first four bytes */
	__u8 raddr[16];
	__u16 lport; /* host order */
	__u16 rport;
	__u8 family; /* 4 or 6; an IPv4-mapped address is 4 */
	__u8 role;   /* enum ps_role */
	__u8 flags;  /* PS_CONN_WHOLE */
	__u8 pad;
	__u32 netns; /* inode number of the network namespace */
	__u32 local_isn;
	__u32 remote_isn;
	__u32 pad2;
};

struct ps_conn_end {
	struct ps_header h;
	__u64 conn_id;
	__u64 sent; /* bytes of the socket, as far as seen */
	__u64 received;
	__u8 verdict; /* enum ps_verdict */
	__u8 flags;   /* PS_CONN_RESET, PS_CONN_UNWANTED */
	__u8 pad[2];
	__u32 turn; /* of the last operation, as in ps_data; 0 where some of it was not wanted */
};

struct ps_tls {
	struct ps_header h;
	__u64 tls_id;
	__u64 conn_id; /* 0: none */
	__u8 bound;    /* enum ps_bound */
	__u8 pad[3];
	__u32 turn;	/* of the last call, as in ps_data; 0 where some of it was not seen or not wanted */
	__u64 moved[2]; /* plaintext bytes so far, by enum ps_dir; since the session was first seen */
};

struct ps_exec {
	struct ps_header h;
	__u64 start_ns; /* task start, CLOCK_BOOTTIME */
	__u8 comm[16];
	__u8 path[256]; /* as given to execve, NUL-terminated */
};

/* Variables of the environment that a process is known by, and bytes of one. */
#define PS_VARIABLES 4
#define PS_VARIABLE_MAX 512

/* PS_EXEC of a process that has one of the variables: it may be gone before its environment can be read. */
struct ps_exec_environ {
	struct ps_exec e;
	__u8 variables[PS_VARIABLES]
		      [PS_VARIABLE_MAX]; /* NAME=VALUE, NUL-terminated; empty: not there, or longer than 510 bytes */
};

struct ps_exit {
	struct ps_header h;
};

/* Index of each counter in the per-CPU array `ps_stats`. */
enum ps_stat {
	PS_ST_BYTES_SEEN = 0,	     /* plaintext bytes that operations moved on captured streams */
	PS_ST_BYTES_COPIED = 1,	     /* of these, copied into the ring */
	PS_ST_BYTES_SKIPPED = 2,     /* left out on purpose (nobody wants them, cut, no user buffer) */
	PS_ST_BYTES_LOST = 3,	     /* lost: ring full or fault */
	PS_ST_DATA_RING_FULL = 4,    /* data events that found no room */
	PS_ST_CONTROL_RING_FULL = 5, /* control events that found no room */
	PS_ST_CONN_MAP_FULL = 6,
	PS_ST_TLS_MAP_FULL = 7,
	PS_ST_FAULT = 8,	    /* reads of user memory that failed */
	PS_ST_NO_TASK = 9,	    /* task storage could not be had */
	PS_ST_NESTED_LOST = 10,	    /* TLS calls nested deeper than is followed */
	PS_ST_REBOUND = 11,	    /* TLS sessions bound to another connection than before */
	PS_ST_SKIPPED_CONTENT = 12, /* of PS_ST_BYTES_SKIPPED: content, where heads alone are wanted */
	PS_ST_SKIPPED_NONE = 13,    /* of PS_ST_BYTES_SKIPPED: bytes of streams of which nothing is wanted */
	/* of PS_ST_BYTES_SKIPPED: beyond what is copied of a stream that cannot be followed */
	PS_ST_SKIPPED_UNFOLLOWED = 14,
	PS_ST_DOUBTED = 15, /* TLS sessions whose connection was taken back: something spoke against it */
	PS_ST_MAX = 16,
};

#endif
