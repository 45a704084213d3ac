/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Processes that begin another program, and processes that end. */

/* Bytes of the environment that are looked at together, one of them for the end; and of these the most there are. */
#define PS_ENVIRON_PIECE 32
#define PS_ENVIRON_STEPS 2048

/* The environment of a process while its variables are looked for. */
struct ps_environ {
	__u64 at;		   /* user memory that is next */
	__u64 end;		   /* of the environment */
	__u64 found[PS_VARIABLES]; /* user memory of each variable; 0: not there */
	__u32 inside;		   /* `at` is in the middle of a variable */
};

#define PS_SERVICE_NAME "OTEL_SERVICE_NAME="
#define PS_RESOURCE_ATTRIBUTES "OTEL_RESOURCE_ATTRIBUTES="
#define PS_STRATEGY "QPOINT_STRATEGY="
#define PS_TAGS "QPOINT_TAGS="

/*
 * Eight bytes of a name, and where they count, known to the compiler: bpf_strncmp came with kernel 5.17, and comparing
 * byte by byte is much for the verifier.
 */
#define PS_BYTE(name, at) ((at) < sizeof(name) - 1 ? (__u64)(name)[(at) < sizeof(name) ? (at) : 0] << (at) % 8 * 8 : 0)
#define PS_MASK(name, at) ((at) < sizeof(name) - 1 ? 0xffULL << (at) % 8 * 8 : 0)
#define PS_EIGHT(of, name, at)                                                                                         \
	(of(name, (at)) | of(name, (at) + 1) | of(name, (at) + 2) | of(name, (at) + 3) | of(name, (at) + 4) |          \
	 of(name, (at) + 5) | of(name, (at) + 6) | of(name, (at) + 7))
#define PS_DIFFERS(words, name, i) (((words)[i] ^ PS_EIGHT(PS_BYTE, name, 8 * (i))) & PS_EIGHT(PS_MASK, name, 8 * (i)))
#define PS_IS(words, name)                                                                                             \
	(!(PS_DIFFERS(words, name, 0) | PS_DIFFERS(words, name, 1) | PS_DIFFERS(words, name, 2) |                      \
	   PS_DIFFERS(words, name, 3)))

static __always_inline long ps_environ_step(__u32 index, struct ps_environ *env)
{
	__u64 words[PS_ENVIRON_PIECE / 8] = {};
	char *piece = (char *)words;
	long n;

	(void)index;
	if (env->at >= env->end)
		return 1;
	n = bpf_probe_read_user_str(piece, sizeof(words), (void *)env->at);
	if (n <= 0)
		return 1;
	/* The first of several counts, as for getenv. */
	if (!env->inside && piece[0] == 'O') {
		if (!env->found[0] && PS_IS(words, PS_SERVICE_NAME))
			env->found[0] = env->at;
		else if (!env->found[1] && PS_IS(words, PS_RESOURCE_ATTRIBUTES))
			env->found[1] = env->at;
	} else if (!env->inside && piece[0] == 'Q') {
		if (!env->found[2] && PS_IS(words, PS_STRATEGY))
			env->found[2] = env->at;
		else if (!env->found[3] && PS_IS(words, PS_TAGS))
			env->found[3] = env->at;
	}
	env->inside = n == sizeof(words);
	/* The end that was put where the variable goes on is none of its own. */
	env->at += env->inside ? n - 1 : n;
	return 0;
}

PS_LOOP(ps_environ_look, PS_ENVIRON_STEPS, ps_environ_step, struct ps_environ)

static __always_inline void ps_fill_exec(struct ps_exec *e, struct task_struct *task, struct linux_binprm *bprm)
{
	ps_fill_header(&e->h, PS_EXEC, task->tgid);
	e->start_ns = task->start_boottime;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	bpf_probe_read_kernel_str(e->path, sizeof(e->path), bprm->filename);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(ps_process_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	struct ps_environ env = {};
	struct ps_exec_environ *long_one;
	struct ps_exec *e;
	__u32 tgid = task->tgid;
	__u32 i;

	(void)old_pid;
	if (tgid == ps_cfg.agent_tgid)
		return 0;
	/* What was decided was decided of another program: user space decides anew. */
	if (ps_policy_on)
		bpf_map_delete_elem(&ps_pid_policy, &tgid);
	env.at = task->mm->env_start;
	env.end = task->mm->env_end;
	ps_environ_look(&env);
	if (env.found[0] || env.found[1] || env.found[2] || env.found[3]) {
		long_one = bpf_ringbuf_reserve(&ps_control_ring, sizeof(*long_one), 0);
		if (long_one) {
			__builtin_memset(&long_one->e, 0, sizeof(long_one->e));
			ps_fill_exec(&long_one->e, task, bprm);
			for (i = 0; i < PS_VARIABLES; i++) {
				__u8 *to = long_one->variables[i];
				long n = -1;

				if (env.found[i])
					n = bpf_probe_read_user_str(to, PS_VARIABLE_MAX, (void *)env.found[i]);
				if (n <= 0 || n == PS_VARIABLE_MAX)
					to[0] = 0;
			}
			bpf_ringbuf_submit(long_one, 0);
			return 0;
		}
	}
	e = ps_control_reserve(struct ps_exec);
	if (!e)
		return 0;
	ps_fill_exec(e, task, bprm);
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
