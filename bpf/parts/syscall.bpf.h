/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Sends and receives by the system calls that do them, where the kernel lets nothing else be probed. The program runs
 * at the end of every system call of every task, so it looks at the number first. It sees a socket as the call's
 * descriptor, which another thread may have closed meanwhile. Not seen: io_uring, which makes no system call of its own
 * for each operation.
 */

/* The messages of one recvmmsg or sendmmsg whose bytes are counted; nobody has more for TCP. */
#define PS_MESSAGES_MOST 32
/* struct mmsghdr in user memory: its size, and where it has the bytes of its message. */
#define PS_MMSGHDR 64
#define PS_MMSGHDR_LEN 56

/* What a system call does. */
#define PS_MOVES 1    /* it moves bytes */
#define PS_SENDS 2    /* out of this process */
#define PS_MESSAGES 4 /* its second argument is an array of messages, its result their number */
#define PS_SPLICES 8  /* its third argument is the descriptor that is written */

/* Those of them that the call does, and its flags. 0: another system call. */
static __always_inline __u32 ps_syscall_is(const struct pt_regs *regs, int *flags)
{
	switch (PS_SYSCALL_NUMBER(regs)) {
	case NR_recvmmsg:
		*flags = PS_SYSCALL_4(regs);
		return PS_MOVES | PS_MESSAGES;
	case NR_recvfrom:
		*flags = PS_SYSCALL_4(regs);
		return PS_MOVES;
	case NR_recvmsg:
		*flags = PS_SYSCALL_3(regs);
		return PS_MOVES;
	case NR_read:
	case NR_readv:
	case NR_preadv2:
		return PS_MOVES;
	case NR_sendmmsg:
		return PS_MOVES | PS_SENDS | PS_MESSAGES;
	case NR_splice:
		return PS_MOVES | PS_SENDS | PS_SPLICES;
	case NR_write:
	case NR_writev:
	case NR_pwritev2:
	case NR_sendto:
	case NR_sendmsg:
	case NR_sendfile:
		return PS_MOVES | PS_SENDS;
	default:
		return 0;
	}
}

/* The socket behind a descriptor of the task; NULL where it is something else. */
static __noinline struct sock *ps_fd_socket(struct task_struct *task, __u32 fd, int *flags)
{
	struct fdtable *table = task->files->fdt;
	struct file **files = table->fd, *file = NULL;
	struct socket *socket;
	struct inode *inode;
	unsigned int max = table->max_fds;

	if (fd >= max || bpf_probe_read_kernel(&file, sizeof(file), files + fd) || !file)
		return NULL;
	/* Addresses from memory have no type. */
	inode = BPF_CORE_READ(file, f_inode);
	if ((BPF_CORE_READ(inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	socket = BPF_CORE_READ(file, private_data);
	if (BPF_CORE_READ(file, f_flags) & O_NONBLOCK)
		*flags |= MSG_DONTWAIT;
	return BPF_CORE_READ(socket, sk);
}

/* Bytes of the first `n` messages. */
static __noinline long ps_messages_bytes(__u64 messages, long n)
{
	long sum = 0;

	for (__u32 i = 0; i < PS_MESSAGES_MOST; i++) {
		__u32 bytes = 0;

		if (i >= n ||
		    bpf_probe_read_user(&bytes, sizeof(bytes), (void *)(messages + i * PS_MMSGHDR + PS_MMSGHDR_LEN)))
			break;
		sum += bytes;
	}
	return sum;
}

SEC("?tp_btf/sys_exit")
int BPF_PROG(ps_syscall_leave, struct pt_regs *regs, long ret)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sock *sk;
	int flags = 0;
	__u32 is = ps_syscall_is(regs, &flags);

	if (!is || (ret < 0 && ret != -ECONNRESET && ret != -EPIPE))
		return 0;
	if (ps_is_compat(task) || ps_ignored(bpf_get_current_pid_tgid() >> 32))
		return 0;
	sk = ps_fd_socket(task, is & PS_SPLICES ? PS_SYSCALL_3(regs) : PS_SYSCALL_1(regs), &flags);
	if (!sk && is & PS_SPLICES) {
		sk = ps_fd_socket(task, PS_SYSCALL_1(regs), &flags);
		is &= ~PS_SENDS;
	}
	if (!sk)
		return 0;
	if (is & PS_MESSAGES && ret > 0)
		ret = ps_messages_bytes(PS_SYSCALL_2(regs), ret);
	return ps_io(sk, ret, flags, is & PS_SENDS ? PS_WRITE : PS_READ);
}
