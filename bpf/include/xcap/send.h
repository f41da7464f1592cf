/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* How records are sent; and packets that are larger than a program's own memory: their bytes go straight into the ring. */
#pragma once

#include <xcap/describe.h>

#define XCAP_PIECE 4096

/* Whether packets can be read by pieces: that takes kernel functions which are as old as typed raw tracepoints' are. */
#define XCAP_SENDS_LARGE(access) ((access) == XCAP_TRUSTED || (XCAP_TYPED && XCAP_IS_CONTEXT(access)))

/* How a record is sent: user space looks by its own clock, for a wake-up costs more than the record; but when nothing
 * came for a while it sleeps, and is woken up once. */
XCAP_INLINE u64 xcap_wakeup(struct xcap_control *control)
{
	if (!control->asleep)
		return BPF_RB_NO_WAKEUP;
	control->asleep = 0;
	return BPF_RB_FORCE_WAKEUP;
}

/* Takes the place of bpf_ringbuf_reserve() where a map is needed: BCC names one only in calls of its own functions. */
XCAP_INLINE void *xcap_itself(void *map, u64 size, u64 flags)
{
	return map;
}

static long (*xcap_reserve)(void *ring, u32 size, u64 flags, void *dynptr) = (void *)198;
static void (*xcap_submit)(void *dynptr, u64 flags) = (void *)199;
static void (*xcap_discard)(void *dynptr, u64 flags) = (void *)200;
static long (*xcap_dynptr_write)(void *dynptr, u32 offset, void *from, u32 size, u64 flags) = (void *)202;
static void *(*xcap_dynptr_data)(void *dynptr, u32 offset, u32 size) = (void *)203;

/* The verifier looks at two or three turns of such a loop, if values are as unknown to it in one as in the other. Of a
 * bounded loop it looks at all. These are kernel functions, called as in packet.h. */
static int (*xcap_iter_new)(u64 *turns, int start, int end) = (void *)XCAP_bpf_iter_num_new;
static int *(*xcap_iter_next)(u64 *turns) = (void *)XCAP_bpf_iter_num_next;
static void (*xcap_iter_destroy)(u64 *turns) = (void *)XCAP_bpf_iter_num_destroy;

/* Note that `cap` bytes go with the event, and whether they should be more: `limit` is the snaplen. */
XCAP_INLINE void xcap_note_captured(struct xcap_packet_event *event, u32 cap, const u32 limit)
{
	event->cap_len = cap;
	event->flags &= ~XCAP_FLAG_PARTIAL;
	if (cap < limit && cap < event->wire_len)
		event->flags |= XCAP_FLAG_PARTIAL;
}

XCAP_INLINE long xcap_read_piece(const struct xcap_hit *hit, const int access, struct xcap_dynptr *packet,
				 struct xcap_dynptr *record, u32 offset)
{
	void *to = xcap_dynptr_data(record, sizeof(hit->event) + offset, XCAP_PIECE);

	if (to && XCAP_IS_CONTEXT(access))
		return xcap_read_paged(NULL, access, packet, hit->data, offset, to, XCAP_PIECE);
	return to ? xcap_dynptr_read(to, XCAP_PIECE, packet, offset - hit->data, 0) : -1;
}

/* Read the packet's first `cap` bytes into a record, piece by piece; the last one overlaps the one before. */
XCAP_INLINE long xcap_read_into(struct xcap_hit *hit, const struct sk_buff *skb, const int access,
				struct xcap_dynptr *packet, struct xcap_dynptr *record, const u32 cap, const u32 limit)
{
	u8 *to = xcap_dynptr_data(record, sizeof(hit->event), XCAP_PIECE);
	u32 offset = xcap_front(hit);
	long failed = 0;
	u64 turns;

	if (!to || xcap_read_front(hit, skb, to, offset))
		return -1;
	if (access == XCAP_TRUSTED && xcap_dynptr_from_skb((struct sk_buff *)skb, 0, packet))
		return -1;
	xcap_iter_new(&turns, 0, limit / XCAP_PIECE);
	while (!failed && offset < cap - XCAP_PIECE && xcap_iter_next(&turns)) {
		failed = xcap_read_piece(hit, access, packet, record, offset);
		offset = xcap_scalar(&hit->room, offset + XCAP_PIECE);
	}
	xcap_iter_destroy(&turns);
	return failed ? failed : xcap_read_piece(hit, access, packet, record, cap - XCAP_PIECE);
}

/* Send the hit's event with the packet's first `limit` bytes; there are to be more than XCAP_PIECE. 0 if it was sent, less
 * than 0 if there is no room for it; 1 if the bytes cannot be read: cap_len is what can be then. */
XCAP_INLINE long xcap_send_large(struct xcap_hit *hit, const struct sk_buff *skb, const int access,
				 struct xcap_dynptr *packet, void *ring, u64 wakeup, const u32 limit)
{
	struct xcap_dynptr record;
	u32 cap = hit->cap_len < limit ? hit->cap_len : limit;

	xcap_note_captured(&hit->event, cap, limit);
	if (xcap_reserve(ring, sizeof(hit->event) + cap, 0, &record)) {
		xcap_discard(&record, 0);
		return -1;
	}
	if (xcap_dynptr_write(&record, 0, &hit->event, sizeof(hit->event), 0) ||
	    xcap_read_into(hit, skb, access, packet, &record, cap, limit)) {
		xcap_discard(&record, BPF_RB_NO_WAKEUP);
		hit->cap_len = hit->linear_len;
		return 1;
	}
	xcap_submit(&record, wakeup);
	return 0;
}
