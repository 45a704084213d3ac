/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Processes that begin another program, and processes that end. */

SEC("tp_btf/sched_process_exec")
int BPF_PROG(ps_process_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	struct ps_exec *e;
	__u32 tgid = task->tgid;

	(void)old_pid;
	if (tgid == ps_cfg.agent_tgid)
		return 0;
	/* What was decided was decided of another program: user space decides anew. */
	if (ps_policy_on)
		bpf_map_delete_elem(&ps_pid_policy, &tgid);
	e = ps_control_reserve(struct ps_exec);
	if (!e)
		return 0;
	ps_fill_header(&e->h, PS_EXEC, task->tgid);
	e->start_ns = task->start_boottime;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	bpf_probe_read_kernel_str(e->path, sizeof(e->path), bprm->filename);
	bpf_ringbuf_submit(e, 0);
	return 0;
}

/* Fires for each thread, after the thread was taken off the count. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(ps_process_exit, struct task_struct *task)
{
	struct ps_exit *e;

	if (task->signal->live.counter)
		return 0;
	e = ps_control_reserve(struct ps_exit);
	if (!e)
		return 0;
	ps_fill_header(&e->h, PS_EXIT, task->tgid);
	bpf_ringbuf_submit(e, 0);
	return 0;
}
