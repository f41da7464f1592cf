/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Where a packet begins, whatever skb->data points at, and its bytes, wherever they are: the wire view. */
#pragma once

#include <xcap/runtime.h>

#include <xcap/mbuf.h>
#include <xcap/pages.h>
#include <xcap/user.h>

#define XCAP_ARPHRD_ETHER 1
#define XCAP_ARPHRD_LOOPBACK 772

#define XCAP_PACKET_HOST 0
#define XCAP_PACKET_OUTGOING 4

#define XCAP_AF_PACKET 17
#define XCAP_AF_XDP 44

#define XCAP_MACS 12
#define XCAP_TAGGED 16 /* MAC addresses and a VLAN tag */
#define XCAP_FRONT 256 /* bytes of a packet that may lie before skb->data, and be followed by bytes in pages */

/* How a packet is read: `access`, which is known when the program is compiled. */
#define XCAP_KERNEL 0  /* kernel memory, by address: what is in pages as well, if it is known where they are */
#define XCAP_TRUSTED 1 /* an sk_buff that the verifier knows, and kernel functions read */
#define XCAP_SKB_CONTEXT 2 /* an sk_buff that is the program's context, which helpers read */
#define XCAP_XDP_CONTEXT 3 /* likewise an xdp_buff */
#define XCAP_USER 4 /* memory of the program that runs */
#define XCAP_XDP 5 /* an xdp_buff or an xdp_frame, by address: what is in pages is out of reach */
#define XCAP_MBUF 6 /* DPDK's, in memory of the program that runs */

#define XCAP_CONTEXTS 1
#define XCAP_IS_CONTEXT(access) ((access) == XCAP_SKB_CONTEXT || (access) == XCAP_XDP_CONTEXT)
#define XCAP_IS_XDP(access) ((access) == XCAP_XDP_CONTEXT || (access) == XCAP_XDP)
#define XCAP_READS_PAGES(access) ((access) == XCAP_TRUSTED || XCAP_IS_CONTEXT(access))
#define XCAP_WALKS_PAGES(access) (XCAP_PAGES && (access) == XCAP_KERNEL)

/* A raw tracepoint's packet. Where it is typed, the verifier knows what the argument points at: its fields are loaded
 * where they are, and the kernel's own functions can be asked about it. Elsewhere (another kind of hook, an older kernel)
 * it is copied. */
#if XCAP_TYPED
#define XCAP_SKB(copy, skb) ((const struct sk_buff *)(skb))
#else
#define XCAP_SKB(copy, skb) xcap_copy_skb(copy, (const void *)(skb))
#endif

/* Calls of kernel functions: the loader puts the functions' BTF ids in place of these numbers (kernel/typed.py). */
static int (*xcap_dynptr_from_skb)(struct sk_buff *skb, u64 flags, void *dynptr) = (void *)XCAP_bpf_dynptr_from_skb;
static long (*xcap_dynptr_read)(void *to, u32 size, void *dynptr, u32 offset, u64 flags) = (void *)201;

/* What is asked for bytes in pages: room for a struct bpf_dynptr, of which there is one in a program, for its stack is
 * small; or, where the packet is the program's context, that. */
struct xcap_dynptr {
	u64 opaque[2];
};

static long (*xcap_xdp_load_bytes)(void *xdp, u32 offset, void *to, u32 size) = (void *)189;

/* Read at once: every field then costs a load. NULL if it cannot be read. */
XCAP_INLINE const struct sk_buff *xcap_copy_skb(struct sk_buff *copy, const void *skb)
{
	const struct sk_buff *found = skb && !bpf_probe_read_kernel(copy, sizeof(*copy), skb) ? copy : NULL;

	/* so that whoever asks for NULL looks at the pointer, as the verifier does, and not at what was returned */
	asm volatile("" : "+r"(found));
	return found;
}

/* A device that cannot be read is none: skb->dev shares its place with dev_scratch while a datagram waits in its
 * socket. The MAC header then speaks for itself. */
XCAP_INLINE int xcap_is_ethernet(const struct net_device *dev, const int access)
{
	u16 type;

	if (!dev)
		return 1;
	if (access == XCAP_TRUSTED) {
		type = dev->type;
		if (!type && !dev->ifindex) /* a load that fails gives 0, and no device has that number */
			return 1;
	} else if (bpf_probe_read_kernel(&type, sizeof(type), &dev->type)) {
		return 1;
	}
	return type == XCAP_ARPHRD_ETHER || type == XCAP_ARPHRD_LOOPBACK;
}

/* vlan_present became vlan_all, of which a bit is always set with a tag, in Linux 6.1 (354259fa73e2). */
XCAP_INLINE int xcap_has_tag(const struct sk_buff *skb)
{
#ifdef XCAP_SKB_VLAN_ALL
	return skb->vlan_all != 0;
#else
	return skb->vlan_present;
#endif
}

/* Read the first `count` bytes of the packet's linear part, the tag in its place. `to` has room for XCAP_FRONT bytes more
 * than `limit`, the most that `count` can be. */
XCAP_INLINE long xcap_read_linear(const struct xcap_hit *hit, const struct sk_buff *skb, u8 *to, u64 count,
				  const u64 limit)
{
	const void *start = (const void *)hit->start;

	/* Here and below: clang proves a check needless and drops it, and the verifier then sees no bound. */
	asm volatile("" : "+r"(count));
	if (count > limit)
		return -1;
	if (!hit->tag_len || !skb)
		return bpf_probe_read_kernel(to, count, start);
	if (count < XCAP_TAGGED)
		return -1;
	count -= XCAP_TAGGED;
	asm volatile("" : "+r"(count));
	if (count > limit)
		return -1;
	*(u16 *)(to + XCAP_MACS) = skb->vlan_proto;
	*(u16 *)(to + XCAP_MACS + 2) = __builtin_bswap16(skb->vlan_tci);
	if (bpf_probe_read_kernel(to, XCAP_MACS, start))
		return -1;
	return bpf_probe_read_kernel(to + XCAP_TAGGED, count, start + XCAP_MACS);
}

/* Read `count` bytes of the packet from `offset` on, not before skb->data, wherever they are. `data` is negative where
 * skb->data points before the packet: at the link header that a packet is about to get. */
XCAP_INLINE long xcap_read_paged(struct sk_buff *skb, const int access, struct xcap_dynptr *dynptr, u32 data, u32 offset,
				 void *to, u64 count)
{
	if (access == XCAP_SKB_CONTEXT)
		return bpf_skb_load_bytes((void *)dynptr->opaque[0], offset - data, to, count);
	if (access == XCAP_XDP_CONTEXT)
		return XCAP_XDP_FRAGS ? xcap_xdp_load_bytes((void *)dynptr->opaque[0], offset, to, count) : -1;
	if (xcap_dynptr_from_skb(skb, 0, dynptr))
		return -1;
	return xcap_dynptr_read(to, count, dynptr, offset - data, 0);
}

/* How many of the packet's first bytes are read where they lie: the kernel's own functions read from skb->data on. */
XCAP_INLINE u64 xcap_front(const struct xcap_hit *hit)
{
	u64 front = (s32)hit->data > 0 ? hit->data : 0;

	return front < XCAP_TAGGED && hit->tag_len ? XCAP_TAGGED : front;
}

XCAP_INLINE long xcap_read_front(const struct xcap_hit *hit, const struct sk_buff *skb, u8 *to, u64 front)
{
	asm volatile("" : "+r"(front));
	if (front > XCAP_FRONT)
		return -1;
	return front ? xcap_read_linear(hit, skb, to, front, XCAP_FRONT) : 0;
}

XCAP_INLINE long xcap_read_front_and_pages(const struct xcap_hit *hit, const struct sk_buff *skb, const int access,
					   struct xcap_dynptr *dynptr, u8 *to, u64 count, const u64 limit)
{
	u64 front = xcap_front(hit);

	asm volatile("" : "+r"(front));
	if (front > XCAP_FRONT || count < front || xcap_read_front(hit, skb, to, front))
		return -1;
	/* one less, and one more behind the check: helpers take no size that may be 0 */
	u64 rest = count - front - 1;
	asm volatile("" : "+r"(rest));
	if (rest >= limit)
		return -1;
	asm volatile("" : "+r"(rest));
	return xcap_read_paged((struct sk_buff *)skb, access, dynptr, hit->data, front, to + front, rest + 1);
}

/* Read the packet's first `count` bytes; how many were, 0 if none. Where not all that should be readable is, cap_len
 * becomes smaller. */
XCAP_INLINE u64 xcap_read_packet(struct xcap_hit *hit, const struct sk_buff *skb, const int access,
				 struct xcap_dynptr *dynptr, u8 *to, u64 count, const u64 limit)
{
	if (access == XCAP_USER || access == XCAP_MBUF) {
		u64 read = access == XCAP_USER ? xcap_read_user(hit, hit->start, to, count, limit) :
						 xcap_read_mbuf(hit, to, count, limit);

		if (read < count)
			hit->cap_len = read;
		return read;
	}
	/* from some hundred bytes on the kernel's own copying is faster than bpf_probe_read_kernel()'s */
	if (XCAP_READS_PAGES(access) && skb && (count > hit->linear_len || count > XCAP_FRONT)) {
		if (!xcap_read_front_and_pages(hit, skb, access, dynptr, to, count, limit))
			return count;
		/* pages that no CPU can read, as those of devmem TCP are */
		hit->cap_len = count = hit->linear_len;
	}
	return xcap_read_linear(hit, skb, to, count, limit) ? 0 : count;
}

/* What a packet socket or an AF_XDP socket sends begins with its link header, and no header of it is noted before it is
 * queued at the device, which AF_XDP passes by (__xsk_generic_xmit(), net/xdp/xsk.c). */
XCAP_INLINE int xcap_is_whole_frame(const struct sk_buff *skb, const int access)
{
	const struct sock *sk = skb->sk;
	u16 family = 0;

	if (!sk || bpf_probe_read_kernel(&family, sizeof(family), &sk->__sk_common.skc_family))
		return 0;
	return (family == XCAP_AF_PACKET || family == XCAP_AF_XDP) && xcap_is_ethernet(skb->dev, access);
}

/* Set all of the hit but the event, and read the window: `window` has room for XCAP_FRONT bytes more.
 * 0 if the skb has no packet: neither a MAC header nor an IP header. */
XCAP_INLINE int xcap_find_packet(struct xcap_hit *hit, const struct sk_buff *skb, const int access,
				 struct xcap_dynptr *dynptr, u8 *window)
{
	u64 head = (u64)skb->head, data = (u64)skb->data;
	u64 mac = head + skb->mac_header, network = head + skb->network_header, tail = head + skb->tail;
	/* ~0 is what __alloc_skb() sets; it leaves network_header 0, where only headroom can be */
	int has_mac = skb->mac_header != (typeof(skb->mac_header))~0U;
	int has_network = skb->network_header != 0 && skb->network_header != (typeof(skb->network_header))~0U;

	/* netif_receive_skb comes before skb_reset_network_header(): then the MAC header stands alone */
	if (has_mac && mac <= data && (!has_network || mac < network) && xcap_is_ethernet(skb->dev, access)) {
		hit->start = mac;
		hit->link = XCAP_DLT_EN10MB;
		hit->tag_len = xcap_has_tag(skb) && mac + XCAP_MACS <= tail ? XCAP_TAGGED - XCAP_MACS : 0;
	} else if (has_network) {
		hit->start = network;
		hit->link = XCAP_DLT_RAW;
		hit->tag_len = 0;
	} else if (xcap_is_whole_frame(skb, access)) {
		hit->start = data;
		hit->link = XCAP_DLT_EN10MB;
		hit->tag_len = 0;
	} else {
		return 0;
	}
	hit->synthetic = 0;
	if (hit->start >= tail || hit->start > data + skb->len)
		return 0;
	hit->data = data - hit->start + hit->tag_len;
	hit->wire_len = skb->len + hit->data;
	hit->linear_len = tail - hit->start + hit->tag_len;
	if (hit->linear_len > hit->wire_len)
		hit->linear_len = hit->wire_len;
	hit->cap_len = hit->linear_len;
	if (XCAP_WALKS_PAGES(access) || (XCAP_READS_PAGES(access) && (s32)hit->data <= XCAP_FRONT))
		hit->cap_len = hit->wire_len;

	/* what is found by hand waits until somebody asks for it: gather.h */
	u64 count = XCAP_WALKS_PAGES(access) ? hit->linear_len : hit->cap_len;
	if (count > XCAP_WINDOW)
		count = XCAP_WINDOW;
	hit->window_len = xcap_read_packet(hit, skb, access, dynptr, window, count, XCAP_WINDOW);
	if (!hit->window_len)
		return 0;
	if (hit->link == XCAP_DLT_RAW)
		return (window[0] >> 4) == 4 || (window[0] >> 4) == 6;
	return 1;
}
