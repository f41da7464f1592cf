/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Values of the running task, read from the task itself: programs of network interfaces have no helpers for them, or only
 * on newer kernels. */
#pragma once

#include <xcap/runtime.h>

/* What bpf_get_current_pid_tgid() gives. */
XCAP_INLINE u64 xcap_task_ids(void)
{
	const struct task_struct *task = (const struct task_struct *)bpf_get_current_task();
	u32 pid = 0, tgid = 0;

	bpf_probe_read_kernel(&tgid, sizeof(tgid), &task->tgid);
	bpf_probe_read_kernel(&pid, sizeof(pid), &task->pid);
	return (u64)tgid << 32 | pid;
}

XCAP_INLINE u32 xcap_task_pid(struct xcap_hit *hit, const struct sk_buff *skb)
{
	return xcap_task_ids() >> 32;
}

XCAP_INLINE u32 xcap_task_tid(struct xcap_hit *hit, const struct sk_buff *skb)
{
	return xcap_task_ids();
}

XCAP_INLINE const struct cred *xcap_task_cred(void)
{
	const struct task_struct *task = (const struct task_struct *)bpf_get_current_task();
	const struct cred *cred = NULL;

	bpf_probe_read_kernel(&cred, sizeof(cred), &task->cred);
	return cred;
}

XCAP_INLINE u32 xcap_task_uid(struct xcap_hit *hit, const struct sk_buff *skb)
{
	u32 id = 0;

	bpf_probe_read_kernel(&id, sizeof(id), &xcap_task_cred()->uid);
	return id;
}

XCAP_INLINE u32 xcap_task_gid(struct xcap_hit *hit, const struct sk_buff *skb)
{
	u32 id = 0;

	bpf_probe_read_kernel(&id, sizeof(id), &xcap_task_cred()->gid);
	return id;
}

/* Zeros follow the name. */
XCAP_INLINE void xcap_task_comm(struct xcap_hit *hit, const struct sk_buff *skb, char *to)
{
	const struct task_struct *task = (const struct task_struct *)bpf_get_current_task();

	__builtin_memset(to, 0, 16);
	bpf_probe_read_kernel_str(to, 16, task->comm);
}

XCAP_INLINE u64 xcap_task_cgroup(struct xcap_hit *hit, const struct sk_buff *skb)
{
	const struct task_struct *task = (const struct task_struct *)bpf_get_current_task();
	const struct kernfs_node *node = NULL;
	const struct cgroup *cgroup = NULL;
	const struct css_set *set = NULL;
	u64 id = 0;

	bpf_probe_read_kernel(&set, sizeof(set), &task->cgroups);
	bpf_probe_read_kernel(&cgroup, sizeof(cgroup), &set->dfl_cgrp);
	bpf_probe_read_kernel(&node, sizeof(node), &cgroup->kn);
	bpf_probe_read_kernel(&id, sizeof(id), &node->id);
	return id;
}
