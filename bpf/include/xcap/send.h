/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Packets that are larger than a program's own memory: their bytes go straight into the ring. */
#pragma once

#include <xcap/describe.h>

#define XCAP_PIECE 4096
#define XCAP_PIECES 65 /* of the largest packet that is kept: the first one may be cut short */

/* BCC names a map only where it is given to bpf_ringbuf_reserve() or the like: the name is to mean this one there. */
XCAP_INLINE void *xcap_itself(void *map, u64 size, u64 flags)
{
	return map;
}

static long (*xcap_reserve)(void *ring, u32 size, u64 flags, void *dynptr) = (void *)198;
static void (*xcap_submit)(void *dynptr, u64 flags) = (void *)199;
static void (*xcap_discard)(void *dynptr, u64 flags) = (void *)200;
static long (*xcap_dynptr_write)(void *dynptr, u32 offset, void *from, u32 size, u64 flags) = (void *)202;
static void *(*xcap_dynptr_data)(void *dynptr, u32 offset, u32 size) = (void *)203;

/* Note that `cap` bytes go with the event, and whether more were to be had by the snaplen, `limit`. */
XCAP_INLINE void xcap_note_captured(struct xcap_packet_event *event, u32 cap, const u32 limit)
{
	event->cap_len = cap;
	event->flags &= ~XCAP_FLAG_PARTIAL;
	if (cap < limit && cap < event->wire_len)
		event->flags |= XCAP_FLAG_PARTIAL;
}

/* Read the packet's first `cap` bytes into a record, piece by piece; the last one overlaps the one before. */
XCAP_INLINE long xcap_read_into(struct xcap_hit *hit, const struct sk_buff *skb, struct xcap_dynptr *packet,
				struct xcap_dynptr *record, const u32 cap)
{
	u32 offset = xcap_front(hit);
	u8 *to = xcap_dynptr_data(record, sizeof(hit->event), XCAP_PIECE);

	if (!to || xcap_read_front(hit, skb, to, offset) || xcap_dynptr_from_skb((struct sk_buff *)skb, 0, packet))
		return -1;
#pragma clang loop unroll(disable)
	for (u32 piece = 0; piece < XCAP_PIECES && offset < cap; piece++) {
		if (offset > cap - XCAP_PIECE)
			offset = cap - XCAP_PIECE;
		to = xcap_dynptr_data(record, sizeof(hit->event) + offset, XCAP_PIECE);
		if (!to || xcap_dynptr_read(to, XCAP_PIECE, packet, offset - hit->data, 0))
			return -1;
		offset += XCAP_PIECE;
	}
	return 0;
}

/* Send the hit's event with the packet's first bytes, more than XCAP_PIECE and no more than `limit`. As
 * bpf_ringbuf_output() does it gives 0, or what is not 0 where there is no room. 1 where the bytes cannot be read: cap_len
 * is smaller then. */
XCAP_INLINE long xcap_send_large(struct xcap_hit *hit, const struct sk_buff *skb, struct xcap_dynptr *packet, void *ring,
				 const u32 limit)
{
	struct xcap_dynptr record;
	u32 cap = hit->cap_len < limit ? hit->cap_len : limit;

	xcap_note_captured(&hit->event, cap, limit);
	if (xcap_reserve(ring, sizeof(hit->event) + cap, 0, &record)) {
		xcap_discard(&record, 0);
		return -1;
	}
	if (xcap_dynptr_write(&record, 0, &hit->event, sizeof(hit->event), 0) ||
	    xcap_read_into(hit, skb, packet, &record, cap)) {
		xcap_discard(&record, BPF_RB_NO_WAKEUP);
		hit->cap_len = hit->linear_len;
		return 1;
	}
	xcap_submit(&record, BPF_RB_NO_WAKEUP);
	return 0;
}
