/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Goroutines: what a thread is to a C library. One goes from thread to thread, also within a call, and the runtime
 * moves its stack; what stays is the address of its `g` (in a register of its own in Go's code, also at a system call
 * that it makes), and the distance of a frame from the upper end of the stack.
 */

/* A TLS call of Go has been met: most hosts never pay for the look-up at each send and receive. */
__u32 ps_go_met = 0;

struct ps_goroutine_key {
	__u64 g;
	__u32 tgid;
	__u32 pad;
};

/* Goroutines that are in a TLS call. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct ps_goroutine_key);
	__type(value, struct ps_thread);
} ps_goroutines SEC(".maps");

/* Where runtime.g has the upper end of its stack. */
#define PS_G_STACK_HI 8

/*
 * A frame by its stack pointer: the same wherever the stack is, and higher for outer frames, as stack pointers are. 0
 * where it cannot be known; no frame is there.
 */
static __always_inline __u64 ps_go_frame(__u64 g, __u64 sp)
{
	__u64 hi;

	if (bpf_probe_read_user(&hi, sizeof(hi), (void *)(g + PS_G_STACK_HI))) {
		ps_count(PS_ST_FAULT, 1);
		return 0;
	}
	return sp - hi;
}
