/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Packets, and all else, in the memory of the program that runs. What is not there just now (it was never touched, or is
 * swapped out) cannot be read here: what lies before is all that is had then, and the packet is marked. */
#pragma once

#include <xcap/runtime.h>

#define XCAP_PAGE 4096
#define XCAP_LONGEST 0x7fffffff /* a longer length is an error, as -1 is */

/* Read `count` bytes from `start` on, or those in the pages before the first that is not there; how many were. */
XCAP_INLINE u64 xcap_read_user(struct xcap_hit *hit, u64 start, u8 *to, u64 count, const u64 limit)
{
#pragma unroll
	for (u32 turn = 0; turn < limit / XCAP_PAGE + 2; turn++) {
		asm volatile("" : "+r"(count));
		if (count > limit)
			return 0;
		/* two comparisons, not one of count - 1, of which the verifier learns nothing about count (Linux 6.1) */
		asm volatile("" : "+r"(count));
		if (!count)
			return 0;
		if (!bpf_probe_read_user(to, count, (const void *)start))
			return count;
		u64 page = (start + count - 1) & ~(u64)(XCAP_PAGE - 1);
		if (!turn)
			hit->faults++;
		count = page > start ? page - start : 0;
	}
	return 0;
}

/* Whether there is a packet, of which `count` bytes were asked for: of those that could not be read it has none. */
XCAP_INLINE int xcap_has_begun(struct xcap_hit *hit, const u8 *window, u64 count, const u32 link)
{
	if (hit->window_len < count)
		hit->cap_len = hit->window_len;
	if (!hit->window_len)
		return 0;
	return link != XCAP_DLT_RAW || (window[0] >> 4) == 4 || (window[0] >> 4) == 6;
}

/* Where a packet is that has `length` bytes at `start`; and its first bytes. 0 if there is none. */
XCAP_INLINE int xcap_find_buffer(struct xcap_hit *hit, u64 start, u32 length, const u32 link, u8 *window)
{
	hit->start = start;
	hit->link = link;
	hit->tag_len = hit->data = hit->synthetic = 0;
	hit->wire_len = hit->linear_len = hit->cap_len = length;
	if (!start || !length || length > XCAP_LONGEST)
		return 0;

	u64 count = length < XCAP_WINDOW ? length : XCAP_WINDOW;

	hit->window_len = xcap_read_user(hit, start, window, count, XCAP_WINDOW);
	return xcap_has_begun(hit, window, count, link);
}

/* What a function was entered with, when it returns; and which call of it that was: no other of the same thread that is
 * not over is at this place of its stack (XCAP_CALL_OF_ENTRY and XCAP_CALL_OF_RETURN). */
struct xcap_arguments {
	u64 at[6];
};

/* Several packets: an array of pointers. */
struct xcap_burst {
	u64 list;
	u64 mbuf; /* the one whose turn it is */
	u32 count;
	u32 next;
};

struct xcap_call {
	u64 stack;
	u64 task;
};

XCAP_INLINE void xcap_call_of(struct xcap_call *call, u64 stack)
{
	call->stack = stack;
	call->task = bpf_get_current_pid_tgid();
}

/* Of the program: its network namespace. */
XCAP_INLINE u32 xcap_own_netns(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	const struct nsproxy *proxy = NULL;
	const struct net *net = NULL;
	u32 inum = 0;

	if (!bpf_probe_read_kernel(&proxy, sizeof(proxy), &task->nsproxy) &&
	    !bpf_probe_read_kernel(&net, sizeof(net), &proxy->net_ns))
		bpf_probe_read_kernel(&inum, sizeof(inum), &net->ns.inum);
	return inum;
}

/* As xcap_describe(): what goes with a packet that no sk_buff tells anything of. */
XCAP_INLINE void xcap_describe_user(struct xcap_hit *hit, const u32 direction)
{
	struct xcap_packet_event *event = &hit->event;
	u64 task = bpf_get_current_pid_tgid();

	event->cpu = bpf_get_smp_processor_id();
	event->time = bpf_ktime_get_ns();
	event->wire_len = hit->wire_len;
	event->reason = event->hash = event->gso_size = event->gso_segs = event->queue = event->ifindex = 0;
	event->pid = task >> 32;
	event->tid = task;
	event->link = hit->link;
	event->flags = direction << 2;
	event->mac = 0;
	event->netns = xcap_own_netns();
	bpf_get_current_comm(event->comm, sizeof(event->comm));
	__builtin_memset(event->ifname, 0, sizeof(event->ifname));
}
