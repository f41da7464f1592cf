/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The builtin values, arithmetic that BPF lacks, and the description of a packet that goes with it. */
#pragma once

#include <xcap/runtime.h>
#include <xcap/user.h>

XCAP_INLINE u32 xcap_pid(struct xcap_hit *hit, const struct sk_buff *skb)
{
	return bpf_get_current_pid_tgid() >> 32;
}

XCAP_INLINE u32 xcap_tid(struct xcap_hit *hit, const struct sk_buff *skb)
{
	return bpf_get_current_pid_tgid();
}

XCAP_INLINE u32 xcap_uid(struct xcap_hit *hit, const struct sk_buff *skb)
{
	return bpf_get_current_uid_gid();
}

/* The program's own `control` tells when the run began. */
#define xcap_elapsed(hit, skb) (bpf_ktime_get_ns() - control->started)

XCAP_INLINE u32 xcap_gid(struct xcap_hit *hit, const struct sk_buff *skb)
{
	return bpf_get_current_uid_gid() >> 32;
}

XCAP_INLINE u64 xcap_cgroup(struct xcap_hit *hit, const struct sk_buff *skb)
{
	return bpf_get_current_cgroup_id();
}

XCAP_INLINE u32 xcap_mark(struct xcap_hit *hit, const struct sk_buff *skb)
{
	return skb ? skb->mark : 0;
}

XCAP_INLINE u32 xcap_queue(struct xcap_hit *hit, const struct sk_buff *skb)
{
	return skb ? skb->queue_mapping : 0;
}

XCAP_INLINE u32 xcap_caplen(struct xcap_hit *hit, const struct sk_buff *skb)
{
	return hit->cap_len < XCAP_SNAPLEN ? hit->cap_len : XCAP_SNAPLEN;
}

XCAP_INLINE u32 xcap_cpu(struct xcap_hit *hit, const struct sk_buff *skb)
{
	return bpf_get_smp_processor_id();
}

XCAP_INLINE u64 xcap_nsecs(struct xcap_hit *hit, const struct sk_buff *skb)
{
	return bpf_ktime_get_ns();
}

XCAP_INLINE u32 xcap_len(struct xcap_hit *hit, const struct sk_buff *skb)
{
	return hit->wire_len;
}

/* bpf_get_current_comm() fills all 16 bytes. */
XCAP_INLINE void xcap_comm(struct xcap_hit *hit, const struct sk_buff *skb, char *to)
{
	bpf_get_current_comm(to, 16);
}

/* The packet's device, or the one that the socket's packets leave by: to be read with a helper. */
XCAP_INLINE const struct net_device *xcap_device(struct xcap_hit *hit, const struct sk_buff *skb)
{
	const struct net_device *dev = skb ? skb->dev : NULL;

	return dev ? dev : (const struct net_device *)hit->device;
}

XCAP_INLINE u32 xcap_ifindex(struct xcap_hit *hit, const struct sk_buff *skb)
{
	const struct net_device *dev = xcap_device(hit, skb);
	u32 ifindex;

	if (!dev || bpf_probe_read_kernel(&ifindex, sizeof(ifindex), &dev->ifindex))
		return 0;
	return ifindex;
}

/* What the verifier takes for a pointer as a number like any other. */
XCAP_INLINE u64 xcap_scalar(u64 *room, u64 pointer)
{
	*(volatile u64 *)room = pointer;
	return *(volatile u64 *)room;
}

/* Read memory of the kernel, or, with `user`, of the program that runs. */
XCAP_INLINE long xcap_read_memory(const int user, void *to, u64 size, u64 from)
{
	return user ? bpf_probe_read_user(to, size, (const void *)from) :
		      bpf_probe_read_kernel(to, size, (const void *)from);
}

/* A number of memory, without sign; 0, and counted, if it cannot be read. */
XCAP_INLINE u64 xcap_peek_at(const int user, struct xcap_counters *counters, u64 address, u32 size)
{
	u64 number = 0;
	u32 word = 0;
	u16 half = 0;
	u8 byte = 0;
	long failed;

	if (size == 8)
		failed = xcap_read_memory(user, &number, 8, address);
	else if (size == 4)
		failed = xcap_read_memory(user, &word, 4, address), number = word;
	else if (size == 2)
		failed = xcap_read_memory(user, &half, 2, address), number = half;
	else
		failed = xcap_read_memory(user, &byte, 1, address), number = byte;
	if (!failed)
		return number;
	counters->bad_reads++;
	return 0;
}

XCAP_INLINE u64 xcap_peek(struct xcap_counters *counters, u64 address, u32 size)
{
	return xcap_peek_at(0, counters, address, size);
}

XCAP_INLINE u64 xcap_peek_user(struct xcap_counters *counters, u64 address, u32 size)
{
	return xcap_peek_at(1, counters, address, size);
}

/* A string of memory, zeros behind it. */
XCAP_INLINE void xcap_peek_string(struct xcap_counters *counters, char *to, u32 size, u64 address)
{
	__builtin_memset(to, 0, size);
	if (bpf_probe_read_kernel_str(to, size, (const void *)address) < 0)
		counters->bad_reads++;
}

XCAP_INLINE void xcap_peek_user_string(struct xcap_counters *counters, char *to, u32 size, u64 address)
{
	__builtin_memset(to, 0, size);
	if (bpf_probe_read_user_str(to, size, (const void *)address) < 0)
		counters->bad_reads++;
}

/* Let `kept` be the larger of itself and a number. An interrupt on this CPU may do the same meanwhile. */
XCAP_INLINE void xcap_raise(u64 *kept, u64 number)
{
#pragma unroll
	for (int turn = 0; turn < 4; turn++) {
		u64 before = *(volatile u64 *)kept;

		if (before >= number || __sync_val_compare_and_swap(kept, before, number) == before)
			return;
	}
}

/* The bucket of a linear histogram. */
XCAP_INLINE u32 xcap_step(s64 value, s64 low, s64 high, u64 step)
{
	if (value < low)
		return 0;
	if (value >= high)
		return (u64)(high - low) / step + 1;
	return (u64)(value - low) / step + 1;
}

/* What lies behind the NUL of a name that was once longer must not make two keys of one name. */
XCAP_INLINE void xcap_ifname(struct xcap_hit *hit, const struct sk_buff *skb, char *to)
{
	const struct net_device *dev = xcap_device(hit, skb);

	__builtin_memset(to, 0, 16);
	if (dev)
		bpf_probe_read_kernel_str(to, 16, dev->name);
}

XCAP_INLINE u32 xcap_netns(struct xcap_hit *hit, const struct sk_buff *skb)
{
	const struct net_device *dev = skb ? skb->dev : NULL;
	const struct sock *sk = hit->socket ? (const struct sock *)hit->socket : skb ? skb->sk : NULL;
	const struct net *net = NULL;
	u32 inum = 0;

	if (dev)
		bpf_probe_read_kernel(&net, sizeof(net), &dev->nd_net.net);
	if (!net && sk)
		bpf_probe_read_kernel(&net, sizeof(net), &sk->__sk_common.skc_net.net);
	if (net)
		bpf_probe_read_kernel(&inum, sizeof(inum), &net->ns.inum);
	else if (hit->user)
		inum = xcap_own_netns();
	return inum;
}

/* BPF divides without sign only; division by zero gives 0 there, and is undefined in C. */
XCAP_INLINE u64 xcap_div_u64(u64 a, u64 b)
{
	return b ? a / b : 0;
}

XCAP_INLINE u64 xcap_mod_u64(u64 a, u64 b)
{
	return b ? a % b : a;
}

XCAP_INLINE s64 xcap_div_s64(s64 a, s64 b)
{
	u64 quotient = xcap_div_u64(a < 0 ? -(u64)a : a, b < 0 ? -(u64)b : b);

	return (a < 0) != (b < 0) ? -quotient : quotient;
}

XCAP_INLINE s64 xcap_mod_s64(s64 a, s64 b)
{
	u64 rest = xcap_mod_u64(a < 0 ? -(u64)a : a, b < 0 ? -(u64)b : b);

	return a < 0 ? -rest : rest;
}

XCAP_INLINE u64 xcap_shl_u64(u64 a, u64 b)
{
	return b < 64 ? a << b : 0;
}

XCAP_INLINE u64 xcap_shr_u64(u64 a, u64 b)
{
	return b < 64 ? a >> b : 0;
}

XCAP_INLINE s64 xcap_shr_s64(s64 a, u64 b)
{
	return a >> (b < 64 ? b : 63);
}

/* The bucket of a histogram: 0 below zero, 1 for zero, 2 + n for [2^n, 2^(n+1)). */
XCAP_INLINE u32 xcap_bucket_u64(u64 value)
{
	u32 log = 0;

	if (!value)
		return 1;
#pragma unroll
	for (u32 step = 32; step; step >>= 1) {
		if (value >> step) {
			value >>= step;
			log += step;
		}
	}
	return 2 + log;
}

XCAP_INLINE u32 xcap_bucket_s64(s64 value)
{
	return value < 0 ? 0 : xcap_bucket_u64(value);
}
