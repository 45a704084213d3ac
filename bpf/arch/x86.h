/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* x86-64: registers, system calls, and what its calling conventions do. */

struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di;
	unsigned long orig_ax, ip, cs, flags, sp, ss;
} __attribute__((preserve_access_index));

/* thread_info.status: the task is in a 32-bit system call */
#define TS_COMPAT 0x0002

struct thread_info {
	__u32 status;
} __attribute__((preserve_access_index));

#define ps_is_compat(task) ((task)->thread_info.status & TS_COMPAT)

/* Of a system call, from the registers that were saved at it: they are there until the task leaves the kernel. */
#define PS_SYSCALL_NUMBER(from) ((from)->orig_ax)
#define PS_SYSCALL_1(from) ((from)->di)
#define PS_SYSCALL_2(from) ((from)->si)
#define PS_SYSCALL_3(from) ((from)->dx)
#define PS_SYSCALL_4(from) ((from)->r10)
#define PS_USER_SP(from) ((from)->sp)

enum {
	NR_read = 0,
	NR_write = 1,
	NR_readv = 19,
	NR_writev = 20,
	NR_sendfile = 40,
	NR_sendto = 44,
	NR_recvfrom = 45,
	NR_sendmsg = 46,
	NR_recvmsg = 47,
	NR_splice = 275,
	NR_recvmmsg = 299,
	NR_sendmmsg = 307,
	NR_preadv2 = 327,
	NR_pwritev2 = 328,
};

/* A call puts its return address on the stack, and the return takes it off. */
#define PS_RETURN_ADDRESS 8

/* Go's calling convention (ABIInternal). */
#define PS_GO_1(from) ((from)->ax)
#define PS_GO_2(from) ((from)->bx)
#define PS_GO_3(from) ((from)->cx)
#define PS_GO_4(from) ((from)->di)
#define PS_GO_RESULT(from) ((from)->ax)
#define PS_GO_G(from) ((from)->r14)

/* Carry and zero flag: with one of them the branch of the stack check is taken, to get more stack and to begin again.
 */
#define PS_GO_AGAIN 0x41
#define ps_go_begins_again(from) ((from)->flags & PS_GO_AGAIN)

/* Registers that a function gives back as it got them; a method often has its object in one. */
#define PS_SAVED 6
#define ps_saved_registers(saved, from)                                                                                \
	({                                                                                                             \
		(saved)[0] = (from)->bx;                                                                               \
		(saved)[1] = (from)->r14;                                                                              \
		(saved)[2] = (from)->r12;                                                                              \
		(saved)[3] = (from)->r13;                                                                              \
		(saved)[4] = (from)->r15;                                                                              \
		(saved)[5] = (from)->bp;                                                                               \
	})
