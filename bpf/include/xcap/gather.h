/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* A packet of which more is wanted than its linear part, where bytes in pages are found by hand: they are read once, when
 * it is known that they are wanted, and are behind the window then. */
#pragma once

#include <xcap/payload.h>
#include <xcap/view.h>

/* Whether some of the packet's first `wanted` bytes are in pages, and have not been read. */
XCAP_INLINE int xcap_lacks(const struct xcap_hit *hit, const int access, const u32 wanted)
{
	u32 count;

	if (!XCAP_WALKS_PAGES(access))
		return 0;
	count = hit->cap_len < wanted ? hit->cap_len : wanted;
	return count > hit->linear_len && count > hit->window_len;
}

/* Read the packet's first `limit` bytes. `bytes` has room for XCAP_FRAG_PIECE more. cap_len becomes smaller where not all of
 * them can be read; `made`: the packet may be made up from a socket. */
XCAP_INLINE void xcap_gather(struct xcap_hit *hit, const struct sk_buff *skb, const int access, struct xcap_dynptr *dynptr,
			     u8 *bytes, const u64 limit, const int made)
{
	u64 count = hit->cap_len, first = hit->linear_len, read;

	if (!XCAP_WALKS_PAGES(access) || !skb)
		return;
	if (count > limit)
		count = limit;
	if (first > count)
		first = count;
	asm volatile("" : "+r"(count));
	if (count > limit)
		return;
	if (made && hit->synthetic)
		read = xcap_read_made(hit, skb, access, dynptr, bytes, first, limit, 0);
	else
		read = xcap_read_linear(hit, skb, bytes, first, limit) ? 0 : first;
	if (read == first)
		read = xcap_read_frags(hit, skb, bytes, first, count, limit);
	hit->window_len = read;
	if (read < count)
		hit->cap_len = read;
}

/* What was gathered is all that filters see of the packet, and lies at this address. */
XCAP_INLINE void xcap_see_gathered(struct xcap_view *v, const struct xcap_hit *hit, u64 bytes)
{
	v->start = bytes;
	v->window_len = v->linear_len = v->cap_len = hit->window_len;
}
