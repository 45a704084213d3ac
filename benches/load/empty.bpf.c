/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Programs that do nothing: what a probe costs by being there. */

#define SEC(name) __attribute__((section(name), used))

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("uprobe.session") int empty_session(void *ctx)
{
	(void)ctx;
	return 0;
}

SEC("uprobe.multi") int empty_go(void *ctx)
{
	(void)ctx;
	return 0;
}
