/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What a generated filter reads its packet through. A load behind the packet's end fails, and with it the whole filter: it
 * does not match, also under `not`, as libpcap's bpf_filter() has it. A load of bytes that the packet has, but which cannot
 * be read, fails as well; so a filter that fails says where the bytes that it asked for end. */
#pragma once

#ifndef XCAP_INLINE
#define XCAP_INLINE static inline __attribute__((always_inline))
#endif

#ifndef XCAP_WINDOW
#define XCAP_WINDOW 256
#endif

/* What a filter answers: 0 if it does not match, else where a load ends that failed. */
#define XCAP_MATCH (~0ULL)

struct xcap_view {
	const u8 *window; /* the packet's first bytes, in a map's value: XCAP_WINDOW bytes of it must be there */
	u32 window_len;   /* how many of them were read */
	u64 start;        /* kernel address of byte 0; linear bytes behind the window are read from there */
	u32 cap_len;      /* bytes that may be read */
	u32 wire_len;     /* #pktlen */
	u32 linear_len;   /* of cap_len, those at `start`; the others are read through `trusted` or the context, or not at all */
	u32 data;         /* offset of what skb->data points at */
	u32 pkt_type;     /* PACKET_HOST, ..., PACKET_OUTGOING (linux/if_packet.h) */
	u32 ifindex;
	u32 user;         /* `start` is an address of the program that runs */
	struct sk_buff *trusted;     /* NULL: only what is linear can be read, unless the packet is the context */
	struct xcap_dynptr *dynptr;  /* room to read through it */
	u32 access;                  /* XCAP_KERNEL, ... */
};

typedef u16 __attribute__((__may_alias__)) xcap_be16;
typedef u32 __attribute__((__may_alias__)) xcap_be32;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define XCAP_BE16(value) __builtin_bswap16(value)
#define XCAP_BE32(value) __builtin_bswap32(value)
#else
#define XCAP_BE16(value) (value)
#define XCAP_BE32(value) (value)
#endif

/* Clang knows nothing of a pinned value: it neither moves what computes it nor drops a bound of it. Registers of the
 * filter are pinned where they are copied, or long arithmetic waits for its end with every operand on the stack. */
#define XCAP_PIN(value) asm volatile("" : "+r"(value))

/* Volatile: clang would keep loaded values over hundreds of branches, and the verifier, to which every outcome of every
 * comparison with them is then a state of its own, would give up (150 IPv6 addresses). */
XCAP_INLINE u32 xcap_get(const void *at, u32 size)
{
	if (size == 4)
		return XCAP_BE32(*(const volatile xcap_be32 *)at);
	if (size == 2)
		return XCAP_BE16(*(const volatile xcap_be16 *)at);
	return *(const volatile u8 *)at;
}

/* Read bytes behind the window, which may be where only the kernel itself finds them. */
XCAP_INLINE long xcap_read_far(const struct xcap_view *v, u32 offset, u32 size, void *to)
{
#if XCAP_TYPED
	if (v->trusted && offset + size > v->linear_len)
		return xcap_read_paged(v->trusted, XCAP_TRUSTED, v->dynptr, v->data, offset, to, size);
#endif
#ifdef XCAP_CONTEXTS
	if (v->access == XCAP_SKB_CONTEXT && offset + size > v->linear_len)
		return xcap_read_paged(NULL, XCAP_SKB_CONTEXT, v->dynptr, v->data, offset, to, size);
	if (v->access == XCAP_XDP_CONTEXT && offset + size > v->linear_len)
		return xcap_read_paged(NULL, XCAP_XDP_CONTEXT, v->dynptr, v->data, offset, to, size);
#endif
	if (offset + size > v->linear_len)
		return -1;
	if (v->user)
		return bpf_probe_read_user(to, size, (const void *)(unsigned long)(v->start + offset));
	return bpf_probe_read_kernel(to, size, (const void *)(unsigned long)(v->start + offset));
}

/* ld, ldh, ldb [offset]: 0 if it fails. `far` is room for the bytes behind the window, one for the whole filter. */
XCAP_INLINE int xcap_load(const struct xcap_view *v, u64 offset, u32 size, u32 *value, u32 *far)
{
	if (offset <= XCAP_WINDOW - size) {
		if (offset + size > v->window_len)
			return 0;
		*value = xcap_get(v->window + offset, size);
		return 1;
	}
	if (offset + size > v->cap_len)
		return 0;
	if (xcap_read_far(v, offset, size, far))
		return 0;
	*value = xcap_get(far, size);
	return 1;
}

/* ld, ldh, ldb [x + k]: the sum has 33 bits, and does not wrap. */
XCAP_INLINE int xcap_load_x(const struct xcap_view *v, u32 x, u32 k, u32 size, u32 *value, u32 *far)
{
	u64 offset = (u64)x + k;

	/* else clang compares one register with XCAP_WINDOW and adds another to the pointer: no bound for the verifier */
	XCAP_PIN(offset);
	return xcap_load(v, offset, size, value, far);
}

/* Whether it is bytes of the packet that could not be read which decided that a filter does not match. */
XCAP_INLINE int xcap_is_unread(const struct xcap_view *v, u64 answer)
{
	return answer && answer <= v->wire_len;
}

/* 0, which the verifier takes for anything: behind each turn of a loop it then sees one state, instead of one for each
 * way through all turns before. */
XCAP_INLINE u32 xcap_unknown_zero(const struct xcap_view *v)
{
	u32 same = v->wire_len;

	XCAP_PIN(same);
	return same ^ v->wire_len;
}
