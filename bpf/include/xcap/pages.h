/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Bytes of a packet that are not in its linear part, where no function of the kernel can be asked for them: the pages that
 * struct skb_shared_info names, then the sk_buffs of its list, each with pages of its own. kernel/pages.py has found where
 * the bytes of a struct page are (XCAP_PAGES_SHIFT, XCAP_PAGES_BASE); where it has not, there is no XCAP_PAGES. */
#pragma once

#include <xcap/runtime.h>

#ifndef XCAP_PAGES
#define XCAP_PAGES 0
#endif

#define XCAP_FRAG_TURNS(limit) ((limit) > 1024 ? 64 : 16)
#define XCAP_FRAG_PIECE 1024 /* bytes that are read at once: as many as there is room for behind the limit */

/* The struct page of a piece, which became a netmem_ref in Linux 6.9 (21d2e6737c97): an odd one is memory of a device, which
 * no CPU can read (NET_IOV). */
#ifdef XCAP_SKB_FRAG_NETMEM
#define XCAP_FRAG_PAGE(frag) ((u64)(frag).netmem)
#define XCAP_FRAG_LENGTH(frag) ((frag).len)
#define XCAP_FRAG_OFFSET(frag) ((frag).offset)
#else
#define XCAP_FRAG_PAGE(frag) ((u64)(frag).bv_page)
#define XCAP_FRAG_LENGTH(frag) ((frag).bv_len)
#define XCAP_FRAG_OFFSET(frag) ((frag).bv_offset)
#endif

#if XCAP_PAGES
/* Each branch in a loop is one more way that the verifier follows to the end: so these are sums. Numbers are below 2^63. */
XCAP_INLINE u64 xcap_least(u64 a, u64 b)
{
	u64 less = a - b, mask = (s64)less >> 63;

	asm volatile("" : "+r"(mask));
	return b + (less & mask);
}

/* All bits if it is 0. */
XCAP_INLINE u64 xcap_if_zero(u64 number)
{
	u64 mask = (s64)(number | -number) >> 63;

	asm volatile("" : "+r"(mask));
	return ~mask;
}

/* Go on to the pages of an sk_buff, and to what follows it: for the packet itself its list, in which each one is followed by
 * the next. One in the list that has a list itself is the last that is read: what follows is not where it should be. */
XCAP_INLINE int xcap_enter_frags(volatile struct xcap_frags *at, u64 shared, u64 next, const int listed)
{
	const struct skb_shared_info *info = (const void *)shared;
	u64 list = 0;
	u8 count = 0;

	if (bpf_probe_read_kernel(&count, sizeof(count), &info->nr_frags) |
	    bpf_probe_read_kernel(&list, sizeof(list), &info->frag_list))
		return 0;
	at->shared = shared;
	at->next = 0;
	at->count = count;
	at->list = listed ? next & xcap_if_zero(list) : list;
	return 1;
}

/* Go on to the next sk_buff of the list, the linear part of which comes first. */
XCAP_INLINE int xcap_next_listed(volatile struct xcap_frags *at)
{
	const struct sk_buff *skb = (const struct sk_buff *)at->list;
	u64 head = 0, data = 0, next = 0;
	u32 end = 0, len = 0, data_len = 0;

	if (!skb)
		return 0;
	if (bpf_probe_read_kernel(&head, sizeof(head), &skb->head) |
	    bpf_probe_read_kernel(&data, sizeof(data), &skb->data) |
	    bpf_probe_read_kernel(&end, sizeof(end), &skb->end) | bpf_probe_read_kernel(&len, sizeof(len), &skb->len) |
	    bpf_probe_read_kernel(&data_len, sizeof(data_len), &skb->data_len) |
	    bpf_probe_read_kernel(&next, sizeof(next), &skb->next))
		return 0;
	at->start = data;
	at->length = len - data_len;
	return xcap_enter_frags(at, head + end, next, 1);
}

/* Go on to the bytes that come next: where they are, and how many. 0 if there are none, or they cannot be read. */
XCAP_INLINE int xcap_next_frag(volatile struct xcap_frags *at)
{
	const struct skb_shared_info *info = (const void *)at->shared;
	skb_frag_t frag;
	u64 page;

	if (at->next >= at->count)
		return xcap_next_listed(at);
	if (bpf_probe_read_kernel(&frag, sizeof(frag), &info->frags[at->next]))
		return 0;
	page = XCAP_FRAG_PAGE(frag);
	if (page & 1)
		return 0;
	at->next++;
	at->start = (page << XCAP_PAGES_SHIFT) + XCAP_PAGES_BASE + XCAP_FRAG_OFFSET(frag);
	at->length = XCAP_FRAG_LENGTH(frag);
	return 1;
}

/* Read what follows the linear part of an sk_buff to `bytes`, of which `done` are there, until there are `count`; how many
 * are there then. What changes from turn to turn lies in memory, where the verifier takes it for anything: it looks at each
 * turn once. It knows how long a piece is and where it goes, but not that both together stay within the limit. */
XCAP_INLINE u64 xcap_read_frags(struct xcap_hit *hit, const struct sk_buff *skb, u8 *bytes, u64 done, const u64 count,
				const u64 limit)
{
	volatile struct xcap_frags *at = &hit->frags;

	at->done = done;
	at->length = 0;
	if (!xcap_enter_frags(at, (u64)skb->head + skb->end, 0, 0))
		return done;
#pragma clang loop unroll(disable)
	for (u32 turn = 0; turn < XCAP_FRAG_TURNS(limit); turn++) {
		u64 to = at->done, piece = at->length;

		if (to >= count)
			break;
		if (!piece) {
			if (!xcap_next_frag(at))
				break;
			continue;
		}
		/* one less, and one more behind the check, as in packet.h: helpers take no size that may be 0 */
		piece = xcap_least(xcap_least(piece, count - to), XCAP_FRAG_PIECE) - 1;
		asm volatile("" : "+r"(piece), "+r"(to));
		if (piece >= XCAP_FRAG_PIECE || to > limit)
			break;
		asm volatile("" : "+r"(piece));
		piece++;
		if (bpf_probe_read_kernel(bytes + to, piece, (const void *)at->start))
			break;
		at->start += piece;
		at->length -= piece;
		at->done = to + piece;
	}
	return at->done;
}
#else
XCAP_INLINE u64 xcap_read_frags(struct xcap_hit *hit, const struct sk_buff *skb, u8 *bytes, u64 done, const u64 count,
				const u64 limit)
{
	return done;
}
#endif
