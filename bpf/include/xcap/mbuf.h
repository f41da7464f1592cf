/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Packets of DPDK: a chain of struct rte_mbuf in the memory of the program that runs. */
#pragma once

#include <xcap/user.h>

#define XCAP_SEGMENTS 16 /* of a packet, at most */
#define XCAP_MBUF_PIECE 256 /* bytes read at once: what `to` has room for behind the limit (XCAP_FRONT) */

/* Go to the segment that comes next: where its bytes are, and how many. 0 if there is none, or it cannot be read. */
XCAP_INLINE int xcap_next_segment(struct xcap_hit *hit)
{
	const struct xcap_mbuf_layout *at = &hit->layout;
	volatile struct xcap_segment *segment = &hit->segment;
	u64 mbuf = segment->next, buffer = 0, next = 0;
	u16 offset = 0, length = 0;

	if (!mbuf)
		return 0;
	if (bpf_probe_read_user(&buffer, sizeof(buffer), (const void *)(mbuf + at->buf_addr)) ||
	    bpf_probe_read_user(&offset, sizeof(offset), (const void *)(mbuf + at->data_off)) ||
	    bpf_probe_read_user(&length, sizeof(length), (const void *)(mbuf + at->data_len)) ||
	    bpf_probe_read_user(&next, sizeof(next), (const void *)(mbuf + at->next))) {
		hit->faults++;
		return 0;
	}
	segment->start = buffer + offset;
	segment->next = next;
	segment->length = length;
	return 1;
}

/* Read a packet's first `count` bytes, segment by segment; how many were. The verifier knows a piece's length and where it
 * goes, but not that both together stay within `limit`: so pieces are no longer than what is behind that. And what changes
 * from turn to turn is in memory, of which it knows nothing: else every turn has more states than the one before. */
XCAP_INLINE u64 xcap_read_mbuf(struct xcap_hit *hit, u8 *to, const u64 count, const u64 limit)
{
	volatile struct xcap_segment *segment = &hit->segment;

	segment->next = hit->mbuf;
	segment->length = 0;
	segment->done = 0;
#pragma clang loop unroll(disable)
	for (u32 turn = 0; turn < limit / XCAP_MBUF_PIECE + 2 * XCAP_SEGMENTS; turn++) {
		u64 done = segment->done, piece = segment->length;

		if (done >= count)
			break;
		if (!piece) {
			if (!xcap_next_segment(hit))
				break;
			continue;
		}
		if (piece > count - done)
			piece = count - done;
		if (piece > XCAP_MBUF_PIECE)
			piece = XCAP_MBUF_PIECE;
		asm volatile("" : "+r"(piece), "+r"(done));
		if (!piece || piece > XCAP_MBUF_PIECE || done > limit)
			break;
		if (bpf_probe_read_user(to + done, piece, (const void *)segment->start)) {
			hit->faults++;
			break;
		}
		segment->start += piece;
		segment->length -= piece;
		segment->done = done + piece;
	}
	return segment->done;
}

/* Go on to the next packet of a burst; 0 if it cannot be read which that is. */
XCAP_INLINE int xcap_next_mbuf(struct xcap_hit *hit, struct xcap_burst *burst)
{
	u64 place = burst->list + 8 * (u64)burst->next++;

	if (!bpf_probe_read_user(&burst->mbuf, sizeof(burst->mbuf), (const void *)place))
		return 1;
	hit->faults++;
	return 0;
}

/* Where the packet of an mbuf is, and its first bytes. 0 if there is none. */
XCAP_INLINE int xcap_find_mbuf(struct xcap_hit *hit, u64 mbuf, const struct xcap_mbuf_layout layout, const u32 link,
			       u8 *window)
{
	u32 length = 0;

	hit->mbuf = hit->segment.next = mbuf;
	hit->layout = layout;
	hit->link = link;
	hit->tag_len = hit->data = hit->synthetic = 0;
	if (!xcap_next_segment(hit) ||
	    bpf_probe_read_user(&length, sizeof(length), (const void *)(mbuf + layout.pkt_len)))
		return 0;
	hit->start = hit->segment.start;
	hit->wire_len = hit->cap_len = length;
	hit->linear_len = hit->segment.length < length ? hit->segment.length : length;
	if (!length || length > XCAP_LONGEST)
		return 0;

	u64 count = length < XCAP_WINDOW ? length : XCAP_WINDOW;

	hit->window_len = xcap_read_mbuf(hit, window, count, XCAP_WINDOW);
	return xcap_has_begun(hit, window, count, link);
}
