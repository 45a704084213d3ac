/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Sends and receives by the functions of TCP, where the kernel has no tracepoints for them (before 6.3): at their end
 * by fexit, or by kprobes at both ends. What the kernel does to its own sockets goes the same way; ps_io passes it
 * over. Not seen: sockets with kTLS or in a sockmap, whose own functions these are not.
 */

/* fexit: arguments, and behind them what was returned. `nonblock` in front of the flags went with kernel 5.19. */
SEC("?fexit/tcp_sendmsg")
int BPF_PROG(ps_tcp_send, struct sock *sk, void *msg, unsigned long size, int ret)
{
	return ps_io(sk, ret, 0, PS_WRITE);
}

/* sendfile, before kernel 6.5 */
SEC("?fexit/tcp_sendpage")
int BPF_PROG(ps_tcp_page, struct sock *sk, void *page, int offset, unsigned long size, int flags, int ret)
{
	return ps_io(sk, ret, 0, PS_WRITE);
}

SEC("?fexit/tcp_recvmsg")
int BPF_PROG(ps_tcp_recv, struct sock *sk, void *msg, unsigned long len, int flags, int *addr_len, int ret)
{
	return ps_io(sk, ret, flags, PS_READ);
}

SEC("?fexit/tcp_recvmsg")
int BPF_PROG(ps_tcp_recv_nonblock, struct sock *sk, void *msg, unsigned long len, int nonblock, int flags,
	     int *addr_len, int ret)
{
	return ps_io(sk, ret, nonblock ? flags | MSG_DONTWAIT : flags, PS_READ);
}

/* A call of one of them that a thread is in. None of them is called inside of another. */
struct ps_function_call {
	__u64 sk;
	int flags;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct ps_function_call);
} ps_function_calls SEC(".maps");

static __always_inline int ps_function_enter(__u64 sk, int flags)
{
	struct ps_function_call *call;

	if (ps_ignored(bpf_get_current_pid_tgid() >> 32))
		return 0;
	call = bpf_task_storage_get(&ps_function_calls, bpf_get_current_task_btf(), NULL,
				    BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!call) {
		ps_count(PS_ST_NO_TASK, 1);
		return 0;
	}
	call->sk = sk;
	call->flags = flags;
	return 0;
}

static __always_inline int ps_function_leave(int ret, const __u32 dir)
{
	struct ps_function_call *call;
	struct sock *sk;

	call = bpf_task_storage_get(&ps_function_calls, bpf_get_current_task_btf(), NULL, 0);
	if (!call || !call->sk)
		return 0;
	sk = (struct sock *)call->sk;
	call->sk = 0;
	return ps_io(sk, ret, call->flags, dir);
}

SEC("?kprobe/tcp_sendmsg")
int ps_tcp_send_enter(struct pt_regs *ctx)
{
	return ps_function_enter(PT_REGS_PARM1(ctx), 0);
}

SEC("?kretprobe/tcp_sendmsg")
int ps_tcp_send_leave(struct pt_regs *ctx)
{
	return ps_function_leave(PT_REGS_RC(ctx), PS_WRITE);
}

SEC("?kprobe/tcp_sendpage")
int ps_tcp_page_enter(struct pt_regs *ctx)
{
	return ps_function_enter(PT_REGS_PARM1(ctx), 0);
}

SEC("?kretprobe/tcp_sendpage")
int ps_tcp_page_leave(struct pt_regs *ctx)
{
	return ps_function_leave(PT_REGS_RC(ctx), PS_WRITE);
}

SEC("?kprobe/tcp_recvmsg")
int ps_tcp_recv_enter(struct pt_regs *ctx)
{
	int fourth = PT_REGS_PARM4(ctx), flags = fourth;

	if (ps_cfg.nonblock) {
		flags = PT_REGS_PARM5(ctx);
		if (fourth)
			flags |= MSG_DONTWAIT;
	}
	return ps_function_enter(PT_REGS_PARM1(ctx), flags);
}

SEC("?kretprobe/tcp_recvmsg")
int ps_tcp_recv_leave(struct pt_regs *ctx)
{
	return ps_function_leave(PT_REGS_RC(ctx), PS_READ);
}
