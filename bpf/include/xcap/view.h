/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* A hit as a filter sees it. */
#pragma once

#include <xcap/packet.h>
#include <xcap/values.h>

#include <xcap/filter.h>

/* `with_ifindex`: the filter asks for it. `outgoing`: at the hook every packet is on its way out, which only copies for
 * packet sockets are marked with. */
XCAP_INLINE struct xcap_view xcap_view_of(struct xcap_hit *hit, const struct sk_buff *skb, const int access,
					  struct xcap_dynptr *dynptr, const u8 *window, int outgoing, int with_ifindex)
{
	struct xcap_view view = {
		.window = window,
		.window_len = hit->window_len,
		.start = hit->start - hit->tag_len,
		.cap_len = hit->cap_len,
		.wire_len = hit->wire_len,
		.linear_len = hit->linear_len,
		.data = hit->data,
		.pkt_type = hit->synthetic ? (hit->synthetic == XCAP_OUTBOUND ? XCAP_PACKET_OUTGOING : XCAP_PACKET_HOST) :
			    outgoing || !skb ? XCAP_PACKET_OUTGOING : skb->pkt_type,
		.ifindex = with_ifindex ? xcap_ifindex(hit, skb) : 0,
		.user = access == XCAP_USER || access == XCAP_MBUF,
		.trusted = access == XCAP_TRUSTED ? (struct sk_buff *)skb : NULL,
		.access = access,
		.dynptr = dynptr,
	};

	return view;
}
