/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Where a packet begins, whatever skb->data points at: the wire view. */
#pragma once

#include <xcap/runtime.h>

#define XCAP_DLT_EN10MB 1
#define XCAP_DLT_RAW 101

#define XCAP_ARPHRD_ETHER 1
#define XCAP_ARPHRD_LOOPBACK 772

XCAP_INLINE int xcap_read_skb(struct xcap_hit *hit, const struct sk_buff *skb)
{
	return skb && !bpf_probe_read_kernel(&hit->skb, sizeof(hit->skb), skb);
}

/* A device that cannot be read is none: skb->dev shares its place with dev_scratch while a datagram waits in its
 * socket. The MAC header then speaks for itself. */
XCAP_INLINE int xcap_is_ethernet(const struct net_device *dev)
{
	u16 type;

	if (!dev || bpf_probe_read_kernel(&type, sizeof(type), &dev->type))
		return 1;
	return type == XCAP_ARPHRD_ETHER || type == XCAP_ARPHRD_LOOPBACK;
}

/* Set start, cap_len, wire_len and link, and read the window into `window` (XCAP_WINDOW bytes of a map's value).
 * 0 if the skb has no packet: neither a MAC header nor an IP header. */
XCAP_INLINE int xcap_find_packet(struct xcap_hit *hit, u8 *window)
{
	const struct sk_buff *skb = &hit->skb;
	u64 head = (u64)skb->head, data = (u64)skb->data;
	u64 mac = head + skb->mac_header, network = head + skb->network_header, tail = head + skb->tail;
	/* ~0 is what __alloc_skb() sets; it leaves network_header 0, where only headroom can be */
	int has_mac = skb->mac_header != (typeof(skb->mac_header))~0U;
	int has_network = skb->network_header != 0 && skb->network_header != (typeof(skb->network_header))~0U;

	/* netif_receive_skb comes before skb_reset_network_header(): then the MAC header stands alone */
	if (has_mac && mac <= data && (!has_network || mac < network) && xcap_is_ethernet(skb->dev)) {
		hit->start = mac;
		hit->link = XCAP_DLT_EN10MB;
	} else if (has_network) {
		hit->start = network;
		hit->link = XCAP_DLT_RAW;
	} else {
		return 0;
	}
	if (hit->start >= tail || hit->start > data + skb->len)
		return 0;
	hit->wire_len = skb->len + (data - hit->start);

	u64 linear = tail - hit->start;
	if (linear > hit->wire_len)
		linear = hit->wire_len;
	hit->cap_len = linear;

	if (linear > XCAP_WINDOW)
		linear = XCAP_WINDOW;
	hit->window_len = linear;
	if (bpf_probe_read_kernel(window, linear, (void *)hit->start))
		return 0;
	if (hit->link == XCAP_DLT_RAW)
		return (window[0] >> 4) == 4 || (window[0] >> 4) == 6;
	return 1;
}
