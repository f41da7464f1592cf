/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* A packet of XDP, which has no sk_buff yet: one is made up that has what the packet tells, so that all else is read as
 * it is everywhere. */
#pragma once

#include <xcap/packet.h>

#define XCAP_XDP_HAS_FRAGS 1 /* XDP_FLAGS_HAS_FRAGS */
#define XCAP_XDP_HEAD 2      /* an offset that is not 0: there, sk_buffs have no header */
#define XCAP_PACKET_UNKNOWN 7

/* A received packet's number is one more than its queue's. */
XCAP_INLINE u32 xcap_xdp_queue(struct xcap_hit *hit, const struct sk_buff *skb)
{
	return skb && skb->queue_mapping ? skb->queue_mapping - 1 : 0;
}

/* Bytes in pages: the shared info is at the end of the frame's memory. */
XCAP_INLINE u32 xcap_xdp_paged(u64 hard_start, u32 frame_size, u32 flags)
{
	u32 size = 0;

#ifdef XCAP_XDP_FRAGS_SIZE
	u64 end = hard_start + frame_size - ((sizeof(struct skb_shared_info) + 63) & ~63ULL);

	if (flags & XCAP_XDP_HAS_FRAGS)
		bpf_probe_read_kernel(&size, sizeof(size), &((const struct skb_shared_info *)end)->xdp_frags_size);
#endif
	return size;
}

XCAP_INLINE const struct sk_buff *xcap_skb_of_xdp(struct sk_buff *as, u64 data, u32 linear, u32 paged,
						  struct net_device *dev, u32 queue)
{
	int ethernet = xcap_is_ethernet(dev, XCAP_XDP);

	__builtin_memset(as, 0, sizeof(*as));
	as->head = (unsigned char *)(data - XCAP_XDP_HEAD);
	as->data = (unsigned char *)data;
	as->mac_header = XCAP_XDP_HEAD;
	as->network_header = XCAP_XDP_HEAD + (ethernet ? 14 : 0);
	as->tail = XCAP_XDP_HEAD + linear;
	as->len = linear + paged;
	as->data_len = paged;
	as->dev = dev;
	as->queue_mapping = queue;
	as->pkt_type = XCAP_PACKET_UNKNOWN;
	return as;
}

XCAP_INLINE const struct sk_buff *xcap_skb_of_buff(struct sk_buff *as, const void *xdp)
{
	struct xdp_rxq_info *rxq = NULL;
	struct net_device *dev = NULL;
	struct xdp_buff buff;
	u32 queue = 0, flags = 0;

	if (!xdp || bpf_probe_read_kernel(&buff, sizeof(buff), xdp))
		return NULL;
	if (buff.rxq && !bpf_probe_read_kernel(&dev, sizeof(dev), &buff.rxq->dev) &&
	    !bpf_probe_read_kernel(&queue, sizeof(queue), &buff.rxq->queue_index))
		queue++;
#ifdef XCAP_XDP_FRAGS_SIZE
	flags = buff.flags;
#endif
	return xcap_skb_of_xdp(as, (u64)buff.data, buff.data_end - buff.data,
			       xcap_xdp_paged((u64)buff.data_hard_start, buff.frame_sz, flags), dev, queue);
}

/* A frame begins in the headroom of its packet. */
XCAP_INLINE const struct sk_buff *xcap_skb_of_frame(struct sk_buff *as, const void *xdp)
{
	struct xdp_frame frame;
	u32 flags = 0;

	if (!xdp || bpf_probe_read_kernel(&frame, sizeof(frame), xdp))
		return NULL;
#ifdef XCAP_XDP_FRAGS_SIZE
	flags = frame.flags;
#endif
	return xcap_skb_of_xdp(as, (u64)frame.data, frame.len,
			       xcap_xdp_paged((u64)frame.data - frame.headroom - sizeof(frame), frame.frame_sz, flags),
			       frame.dev_rx, 0);
}
