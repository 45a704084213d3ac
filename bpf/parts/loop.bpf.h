/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Loops that the verifier goes through once. bpf_loop came with kernel 5.17; before it, the elements of an array are
 * gone through instead, which kernels do by a helper since 5.13. Their values mean nothing.
 */

struct bpf_map;

/* Has one element where the kernel has bpf_loop, PS_STEPS_MAX where it has not. */
#define PS_STEPS_MAX (64 << 10)

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PS_STEPS_MAX);
	__type(key, __u32);
	__type(value, __u32);
} ps_steps SEC(".maps");

/*
 * Makes name(of): step(0, of), step(1, of) …, until one returns 1; `most` steps, without bpf_loop PS_STEPS_MAX too. The
 * step is to be inline: frames are few.
 */
#define PS_LOOP(name, most, step, type)                                                                                \
	static long name##_step(__u32 index, type *of)                                                                 \
	{                                                                                                              \
		return step(index, of);                                                                                \
	}                                                                                                              \
	static long name##_each(struct bpf_map *map, __u32 *index, __u32 *value, type *of)                             \
	{                                                                                                              \
		(void)map;                                                                                             \
		(void)value;                                                                                           \
		if (*index >= (most))                                                                                  \
			return 1;                                                                                      \
		return step(*index, of);                                                                               \
	}                                                                                                              \
	static __always_inline void name(type *of)                                                                     \
	{                                                                                                              \
		if (ps_cfg.for_each)                                                                                   \
			bpf_for_each_map_elem(&ps_steps, name##_each, of, 0);                                          \
		else                                                                                                   \
			bpf_loop(most, name##_step, of, 0);                                                            \
	}
