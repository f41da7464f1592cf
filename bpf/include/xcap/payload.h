/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What follows the headers of a packet that is made up: bytes of an sk_buff that has none yet, or those that a program is
 * about to send; and the checksum over them. */
#pragma once

#include <xcap/packet.h>
#include <xcap/values.h>

#define XCAP_MADE_ROOM 128  /* made-up headers are shorter */
#define XCAP_PIECE_ROOM 256 /* of a message in pieces, what is read at once */
#define XCAP_PIECES 96
#define XCAP_SUMMED 256     /* bytes that are summed up at once */

/* A number that is no more than `most`, which has been looked at, once more for the verifier: that of Linux 6.1 forgets what
 * a comparison said of a number that lay on the stack meanwhile. Clang sees nothing of this one. */
XCAP_INLINE u64 xcap_bounded(u64 number, const u64 most)
{
#ifdef __BPF_TRACING__ /* BCC: what reads this is no clang for BPF */
	asm volatile("if %0 <= %1 goto +1\n\t%0 = 0" : "+r"(number) : "i"(most));
#endif
	return number;
}

/* A place among the bytes, NULL if it is behind `most`. */
XCAP_INLINE u8 *xcap_at(u8 *bytes, u64 offset, const u64 most)
{
	return offset > most ? NULL : bytes + xcap_bounded(offset, most);
}

/* How a message's bytes are reached: iter_type became a member of its own in Linux 5.14 (8cd54c1c8480), when its lowest bit
 * stopped telling the direction; ITER_UBUF came with 6.0 (fcb14cb1bdac). */
XCAP_INLINE u32 xcap_iter_type(const struct iov_iter *iter)
{
#ifdef XCAP_IOV_ITER_TYPE
	return iter->iter_type;
#else
	return iter->type & ~1U;
#endif
}

XCAP_INLINE int xcap_is_ubuf(u32 type)
{
#ifdef XCAP_ITER_UBUF
	return type == ITER_UBUF;
#else
	return 0;
#endif
}

/* Whether the bytes are to be sent, not the room for some that are received. */
XCAP_INLINE int xcap_is_source(const struct iov_iter *iter)
{
#ifdef XCAP_IOV_ITER_TYPE
	return iter->data_source;
#else
	return iter->type & 1;
#endif
}

/* How many bytes the message is to send, and whether they can be read: those of files (sendfile, splice), which are pages,
 * cannot. */
XCAP_INLINE u64 xcap_message_length(u64 message, int *readable)
{
	struct iov_iter iter;
	u32 type;

	*readable = 0;
	if (bpf_probe_read_kernel(&iter, sizeof(iter), &((const struct msghdr *)message)->msg_iter) ||
	    !xcap_is_source(&iter))
		return 0;
	type = xcap_iter_type(&iter);
	*readable = xcap_is_ubuf(type) || type == ITER_IOVEC || type == ITER_KVEC;
	return iter.count;
}

XCAP_INLINE long xcap_read_piece_of(const int user, u8 *to, u64 count, const u64 most, u64 from)
{
	if (count > most)
		return -1;
	count = xcap_bounded(count, most);
	return xcap_read_memory(user, to, count, from);
}

/* Where the next piece lies: struct iovec and struct kvec are alike. */
XCAP_INLINE int xcap_next_piece(struct xcap_made *made)
{
	struct kvec piece;

	if (!made->segments || bpf_probe_read_kernel(&piece, sizeof(piece), (const void *)made->vector))
		return 0;
	made->segments--;
	made->vector += sizeof(piece);
	made->from = (u64)piece.iov_base;
	made->left = piece.iov_len;
	return 1;
}

/* Read what a message has in further pieces until `count` bytes of the packet are there. All that changes from turn to
 * turn lies in memory, where the verifier takes it for anything: it looks at each turn once. */
XCAP_INLINE void xcap_read_pieces(struct xcap_made *made, const int user, u8 *bytes, u64 count, const u64 limit)
{
#pragma clang loop unroll(disable)
	for (u32 turn = 0; turn < XCAP_PIECES; turn++) {
		u64 at = *(volatile u64 *)&made->at, size = *(volatile u64 *)&made->left;

		if (at >= count || at > limit)
			break;
		if (!size) {
			if (!xcap_next_piece(made))
				break;
			continue;
		}
		if (size > count - at)
			size = count - at;
		if (size > XCAP_PIECE_ROOM)
			size = XCAP_PIECE_ROOM;
		u8 *to = xcap_at(bytes, at, limit);
		if (!to || xcap_read_piece_of(user, to, size, XCAP_PIECE_ROOM, made->from))
			break;
		made->at = at + size;
		made->from += size;
		made->left -= size;
	}
}

/* Read the message's bytes behind the headers, which is at `to`: how many bytes of the packet are there then, `count` at most. */
XCAP_INLINE u64 xcap_read_message(struct xcap_made *made, u8 *bytes, u8 *to, u64 headers, u64 count, const u64 limit)
{
	struct iov_iter iter;
	u64 size, rest = count - headers;
	u32 type;
	int user;

	if (bpf_probe_read_kernel(&iter, sizeof(iter), &((const struct msghdr *)made->message)->msg_iter))
		return headers;
	type = xcap_iter_type(&iter);
	user = type != ITER_KVEC;
	made->from = (u64)iter.kvec + iter.iov_offset;
	made->left = iter.count;
	made->segments = 0;
	if (!xcap_is_ubuf(type)) {
		made->vector = (u64)iter.kvec;
		made->segments = iter.nr_segs;
		if (!xcap_next_piece(made) || made->left < iter.iov_offset)
			return headers;
		made->from += iter.iov_offset;
		made->left -= iter.iov_offset;
	}
	size = made->left < rest ? made->left : rest;
	made->at = headers;
	if (user ? xcap_read_piece_of(1, to, size, limit, made->from) : xcap_read_piece_of(0, to, size, limit, made->from))
		return headers;
	made->at += size;
	made->left = 0;
	if (made->at < count && made->segments) {
		if (user)
			xcap_read_pieces(made, 1, bytes, count, limit);
		else
			xcap_read_pieces(made, 0, bytes, count, limit);
	}
	return made->at;
}

/* Read the first `count` bytes of a packet whose headers are made up, and are there; how many are there then. `bytes` has
 * room for XCAP_FRONT bytes more than `limit`. */
XCAP_INLINE u64 xcap_read_made(struct xcap_hit *hit, const struct sk_buff *skb, const int access,
			       struct xcap_dynptr *dynptr, u8 *bytes, u64 count, const u64 limit, const int message)
{
	u64 headers = hit->made.headers, rest = count - headers, linear = hit->linear_len - headers;
	u8 *to = xcap_at(bytes, headers, XCAP_MADE_ROOM);

	if (!to || count <= headers)
		return count < headers ? count : headers;
	if (message && hit->made.message)
		return xcap_read_message(&hit->made, bytes, to, headers, count, limit);
	if (!skb)
		return headers;
	if (rest > limit)
		return headers;
	rest = xcap_bounded(rest, limit);
	if (access == XCAP_TRUSTED && !xcap_read_paged((struct sk_buff *)skb, access, dynptr, 0, 0, to, rest))
		return headers + rest;
	rest = count - headers < linear ? count - headers : linear;
	if (xcap_read_piece_of(0, to, rest, limit, (u64)skb->data))
		return headers;
	return headers + rest;
}

/* The ones' complement sum (RFC 1071) of words, as they lie, added to `sum`. */
XCAP_INLINE u64 xcap_sum(const u8 *at, const u32 bytes, u64 sum)
{
#pragma clang loop unroll(full)
	for (u32 offset = 0; offset < bytes; offset += 4)
		sum += *(const u32 *)(at + offset);
	return sum;
}

XCAP_INLINE u16 xcap_folded(u64 sum)
{
	sum = (sum >> 32) + (sum & 0xffffffff);
	sum = (sum >> 32) + (sum & 0xffffffff);
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	return (sum >> 16) + (sum & 0xffff);
}

/* Write the checksum of TCP or UDP, when `captured` bytes of the packet are kept. Over a packet that is cut it cannot be
 * right: then it is that of the pseudo-header alone, as the kernel itself leaves it for a device to complete. */
XCAP_INLINE void xcap_complete(struct xcap_hit *hit, u8 *bytes, u64 captured, const u64 limit)
{
	u64 transport = hit->made.transport, place = hit->made.checksum, sum = hit->made.sum;
	u8 *start, *checksum, *end;

	/* a copy: what the loop's turns tell the verifier of it is forgotten behind the loop */
	captured = xcap_scalar(&hit->room, captured);
	start = xcap_at(bytes, transport, XCAP_MADE_ROOM);
	checksum = xcap_at(bytes, place, XCAP_MADE_ROOM);
	end = xcap_at(bytes, captured, limit);
	if (!start || !checksum || !end || captured < place + 2)
		return;
	*(u16 *)checksum = 0;
	if (captured < hit->wire_len) {
		*(u16 *)checksum = xcap_folded(sum);
		return;
	}
#pragma unroll
	for (u32 offset = 0; offset < XCAP_SUMMED; offset += 8)
		*(u64 *)(end + offset) = 0;
#pragma clang loop unroll(disable)
	for (u32 offset = 0; offset < limit; offset += XCAP_SUMMED) {
		if (transport + offset >= captured)
			break;
		sum = xcap_sum(start + offset, XCAP_SUMMED, sum);
	}
	/* behind whichever turn: one state to the verifier */
	sum = xcap_scalar(&hit->room, sum);
	/* to UDP, 0 says that there is no checksum */
	*(u16 *)checksum = (u16)~xcap_folded(sum) ?: 0xffff;
}
