/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* arm64: registers, system calls, and what its calling conventions do. Compiled, and never run so far. */

struct user_pt_regs {
	__u64 regs[31];
	__u64 sp;
	__u64 pc;
	__u64 pstate;
} __attribute__((preserve_access_index));

struct pt_regs {
	union {
		struct user_pt_regs user_regs;
		struct {
			__u64 regs[31];
			__u64 sp;
			__u64 pc;
			__u64 pstate;
		};
	};
	__u64 orig_x0;
	__s32 syscallno;
} __attribute__((preserve_access_index));

/* thread_info.flags: the task is a 32-bit one */
#define TIF_32BIT 22

struct thread_info {
	unsigned long flags;
} __attribute__((preserve_access_index));

#define ps_is_compat(task) ((task)->thread_info.flags >> TIF_32BIT & 1)

/* Of a system call, from the registers that were saved at it. The first one is overwritten by the result. */
#define PS_SYSCALL_NUMBER(from) ((from)->syscallno)
#define PS_SYSCALL_1(from) ((from)->orig_x0)
#define PS_SYSCALL_2(from) ((from)->regs[1])
#define PS_SYSCALL_3(from) ((from)->regs[2])
#define PS_SYSCALL_4(from) ((from)->regs[3])
#define PS_USER_SP(from) ((from)->sp)

enum {
	NR_read = 63,
	NR_write = 64,
	NR_readv = 65,
	NR_writev = 66,
	NR_sendfile = 71,
	NR_splice = 76,
	NR_sendto = 206,
	NR_recvfrom = 207,
	NR_sendmsg = 211,
	NR_recvmsg = 212,
	NR_recvmmsg = 243,
	NR_sendmmsg = 269,
	NR_preadv2 = 286,
	NR_pwritev2 = 287,
};

/* The return address is in a register, and a return leaves the stack as it was at the call. */
#define PS_RETURN_ADDRESS 0

/* Go's calling convention (ABIInternal). */
#define PS_GO_1(from) ((from)->regs[0])
#define PS_GO_2(from) ((from)->regs[1])
#define PS_GO_3(from) ((from)->regs[2])
#define PS_GO_4(from) ((from)->regs[3])
#define PS_GO_RESULT(from) ((from)->regs[0])
#define PS_GO_G(from) ((from)->regs[28])

/* The branch of the stack check is BLS: taken without the carry flag, or with the zero flag. */
#define PS_GO_CARRY (1ULL << 29)
#define PS_GO_ZERO (1ULL << 30)
#define ps_go_begins_again(from) (((from)->pstate & (PS_GO_CARRY | PS_GO_ZERO)) != PS_GO_CARRY)

/* Registers that a function gives back as it got them; a method often has its object in one. */
#define PS_SAVED 6
#define ps_saved_registers(saved, from)                                                                                \
	({                                                                                                             \
		(saved)[0] = (from)->regs[19];                                                                         \
		(saved)[1] = (from)->regs[20];                                                                         \
		(saved)[2] = (from)->regs[21];                                                                         \
		(saved)[3] = (from)->regs[22];                                                                         \
		(saved)[4] = (from)->regs[23];                                                                         \
		(saved)[5] = (from)->regs[24];                                                                         \
	})
