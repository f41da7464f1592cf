/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What goes with every packet that is sent: where it was seen, by whom, and which way it went. */
#pragma once

#include <xcap/packet.h>
#include <xcap/task.h>
#include <xcap/values.h>

#define XCAP_FLAG_SYNTHETIC 1
#define XCAP_FLAG_PARTIAL 2
#define XCAP_FLAG_DEVICE_HASH 128
#define XCAP_DIRECTION 2 /* where in the flags it is */
#define XCAP_RECEPTION 4

#define XCAP_PACKET_BROADCAST 1
#define XCAP_PACKET_MULTICAST 2
#define XCAP_PACKET_OTHERHOST 3

/* Where the hook is typed, `cast` makes a kernel address readable as a struct, at the cost of a load: what is not there
 * reads as zeros. The loader puts the kernel function's BTF id in place of the number, as in packet.h. */
static const void *(*xcap_cast)(const void *address, u32 type) = (void *)XCAP_bpf_rdonly_cast;

/* 16 bytes of kernel memory, as they lie; struct bpf_dynptr is two opaque words. */
XCAP_INLINE void xcap_copy16(u64 *to, const void *from, const int access)
{
	if (access == XCAP_TRUSTED) {
		const u64 *words = xcap_cast(from, XCAP_TYPE_bpf_dynptr);

		to[0] = words[0];
		to[1] = words[1];
	} else if (bpf_probe_read_kernel(to, 16, from)) {
		to[0] = to[1] = 0;
	}
}

/* The device's address, which is only one of 6 bytes where there is an Ethernet header. */
XCAP_INLINE u64 xcap_device_address(const struct net_device *dev, const int access)
{
	const void *address = NULL;
	u64 bytes = 0;

	if (access == XCAP_TRUSTED) {
		const u64 *words = xcap_cast(dev->dev_addr, XCAP_TYPE_bpf_dynptr);

		bytes = words[0];
	} else if (!bpf_probe_read_kernel(&address, sizeof(address), &dev->dev_addr)) {
		bpf_probe_read_kernel(&bytes, 6, address);
	}
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return bytes & 0xffffffffffffULL;
#else
	return bytes & ~0xffffULL;
#endif
}

XCAP_INLINE void xcap_describe_device(const struct xcap_hit *hit, struct xcap_packet_event *event,
				      const struct net_device *dev, const int access)
{
	const struct net *net = NULL;

	if (access == XCAP_TRUSTED) {
		event->ifindex = dev->ifindex;
		event->netns = dev->nd_net.net->ns.inum;
	} else {
		if (bpf_probe_read_kernel(&event->ifindex, sizeof(event->ifindex), &dev->ifindex))
			event->ifindex = 0;
		if (bpf_probe_read_kernel(&net, sizeof(net), &dev->nd_net.net) ||
		    bpf_probe_read_kernel(&event->netns, sizeof(event->netns), &net->ns.inum))
			event->netns = 0;
	}
	event->mac = hit->link == XCAP_DLT_EN10MB ? xcap_device_address(dev, access) : 0;
	xcap_copy16((u64 *)event->ifname, dev->name, access);
}

/* Which way a packet goes, by what the kernel has noted so far; `known` is what its hook tells. */
XCAP_INLINE u32 xcap_direction(const struct sk_buff *skb, const u32 known)
{
	u32 type = skb->pkt_type, direction = known;

	if (!direction && type == XCAP_PACKET_OUTGOING)
		direction = XCAP_OUTBOUND;
	else if (!direction && (type || skb->skb_iif))
		direction = XCAP_INBOUND;
	else if (!direction && skb->sk)
		direction = XCAP_OUTBOUND;
	if (direction != XCAP_INBOUND || type > XCAP_PACKET_OTHERHOST)
		return direction << XCAP_DIRECTION;
	/* unicast is 1, multicast 2, broadcast 3, and what is for another host 4 */
	type = type == XCAP_PACKET_BROADCAST ? 3 : type == XCAP_PACKET_MULTICAST ? 2 : type + 1;
	return direction << XCAP_DIRECTION | type << XCAP_RECEPTION;
}

/* Of a packet that is to be cut into segments, or was put together from some: how long and how many they are. */
XCAP_INLINE void xcap_describe_segments(struct xcap_packet_event *event, const struct sk_buff *skb, const int access)
{
	const struct skb_shared_info *found = (const void *)skb->head + skb->end;

	if (access == XCAP_TRUSTED) {
		const struct skb_shared_info *info = xcap_cast(found, XCAP_TYPE_skb_shared_info);

		event->gso_size = info->gso_size;
		event->gso_segs = info->gso_segs;
	} else if (bpf_probe_read_kernel(&event->gso_size, 2, &found->gso_size) ||
		   bpf_probe_read_kernel(&event->gso_segs, 2, &found->gso_segs)) {
		event->gso_size = event->gso_segs = 0;
	}
}

/* Fill all but id, cap_len and dropped. `known` is the direction of all packets at the hook, or 0. */
XCAP_INLINE void xcap_describe(struct xcap_hit *hit, const struct sk_buff *skb, u32 reason, const u32 known,
			       const int access)
{
	struct xcap_packet_event *event = &hit->event;
	const struct net_device *dev = skb ? skb->dev : NULL;
	u64 task = XCAP_IS_CONTEXT(access) ? xcap_task_ids() : bpf_get_current_pid_tgid();

	event->cpu = bpf_get_smp_processor_id();
	event->time = bpf_ktime_get_ns();
	event->wire_len = hit->wire_len;
	event->reason = reason;
	event->pid = task >> 32;
	event->tid = task;
	event->link = hit->link;
	if (access == XCAP_TRUSTED)
		xcap_copy16((u64 *)event->comm, ((struct task_struct *)bpf_get_current_task())->comm, access);
	else if (XCAP_IS_CONTEXT(access))
		xcap_task_comm(hit, skb, event->comm);
	else
		xcap_comm(hit, skb, event->comm);

	event->netns = 0;
	if (dev) {
		xcap_describe_device(hit, event, dev, access);
	} else if (hit->device) {
		xcap_describe_device(hit, event, (const struct net_device *)hit->device, XCAP_KERNEL);
	} else {
		event->ifindex = 0;
		event->mac = 0;
		__builtin_memset(event->ifname, 0, sizeof(event->ifname));
	}
	if (!event->netns)
		event->netns = xcap_netns(hit, skb);

	if (hit->synthetic || !skb) {
		event->flags = XCAP_FLAG_SYNTHETIC | hit->synthetic << XCAP_DIRECTION;
		event->hash = 0;
		event->gso_size = event->gso_segs = event->queue = 0;
		return;
	}
	event->flags = xcap_direction(skb, known);
	event->hash = skb->hash;
	if (event->hash && !skb->sw_hash)
		event->flags |= XCAP_FLAG_DEVICE_HASH;
	/* a received packet's number is one more than its queue's, and 0 where it has none */
	event->queue = event->flags >> XCAP_DIRECTION & XCAP_OUTBOUND ? skb->queue_mapping + 1 : skb->queue_mapping;
	if (XCAP_IS_XDP(access))
		event->gso_size = event->gso_segs = 0;
	else
		xcap_describe_segments(event, skb, access);
}
