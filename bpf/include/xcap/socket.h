/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* A packet made up from a socket, where the kernel has none or one without headers: an IP header and a TCP or UDP
 * header, from this end of the connection to the other, with checksums that are right for no payload. */
#pragma once

#include <xcap/packet.h>

#define XCAP_AF_INET 2
#define XCAP_AF_INET6 10
#define XCAP_TCP_ACK 0x10

XCAP_INLINE void xcap_put(u8 *to, u32 value, u32 size)
{
	if (size == 4)
		*(u32 *)to = __builtin_bswap32(value);
	else
		*(u16 *)to = __builtin_bswap16(value);
}

/* The ones' complement sum (RFC 1071) of words, as they lie, added to `sum`. */
XCAP_INLINE u32 xcap_sum(const u8 *at, const u32 bytes, u32 sum)
{
#pragma unroll
	for (u32 offset = 0; offset < bytes; offset += 2)
		sum += *(u16 *)(at + offset);
	return sum;
}

XCAP_INLINE u16 xcap_folded(u32 sum)
{
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	return ~sum;
}

/* The header behind the IP header: its size, 0 if the protocol is neither TCP nor UDP. */
XCAP_INLINE u32 xcap_make_transport(const struct sock *sk, u8 *to, u32 protocol)
{
	u16 local = 0, number = 0, remote = 0;

	/* a socket that lets go of its port clears the number and keeps the other one */
	bpf_probe_read_kernel(&local, 2, &((const struct inet_sock *)sk)->inet_sport);
	bpf_probe_read_kernel(&number, 2, &sk->__sk_common.skc_num);
	bpf_probe_read_kernel(&remote, 2, &sk->__sk_common.skc_dport);
	if (protocol != 6 && protocol != 17)
		return 0;
	*(u16 *)to = local ? local : __builtin_bswap16(number);
	*(u16 *)(to + 2) = remote;
	if (protocol == 17) {
		xcap_put(to + 4, 8, 2);
		*(u16 *)(to + 6) = 0;
		return 8;
	}
	const struct tcp_sock *tcp = (const struct tcp_sock *)sk;
	u32 sequence = 0, acknowledged = 0;

	bpf_probe_read_kernel(&sequence, 4, &tcp->snd_nxt);
	bpf_probe_read_kernel(&acknowledged, 4, &tcp->rcv_nxt);
	xcap_put(to + 4, sequence, 4);
	xcap_put(to + 8, acknowledged, 4);
	to[12] = 0x50;
	to[13] = XCAP_TCP_ACK;
	*(u16 *)(to + 14) = 0;
	*(u32 *)(to + 16) = 0;
	return 20;
}

/* The checksum of the header behind the addresses, which are the first part of the pseudo-header. */
XCAP_INLINE void xcap_check_transport(u8 *transport, const u8 *addresses, const u32 bytes, u32 protocol, u32 size)
{
	u32 sum = xcap_sum(addresses, bytes, __builtin_bswap16(protocol) + __builtin_bswap16(size));

	if (protocol == 6)
		*(u16 *)(transport + 16) = xcap_folded(xcap_sum(transport, 20, sum));
	else
		*(u16 *)(transport + 6) = xcap_folded(xcap_sum(transport, 8, sum)) ?: 0xffff;
}

XCAP_INLINE u32 xcap_make_ip4(const struct sock *sk, u8 *to, u32 protocol)
{
	u32 size = xcap_make_transport(sk, to + 20, protocol);

	if (!size)
		return 0;
	xcap_put(to, 0x4500, 2);
	xcap_put(to + 2, 20 + size, 2);
	xcap_put(to + 4, 0x00004000, 4);
	to[8] = 64;
	to[9] = protocol;
	*(u16 *)(to + 10) = 0;
	bpf_probe_read_kernel(to + 12, 4, &sk->__sk_common.skc_rcv_saddr);
	bpf_probe_read_kernel(to + 16, 4, &sk->__sk_common.skc_daddr);
	*(u16 *)(to + 10) = xcap_folded(xcap_sum(to, 20, 0));
	xcap_check_transport(to + 20, to + 12, 8, protocol, size);
	return 20 + size;
}

XCAP_INLINE u32 xcap_make_ip6(const struct sock *sk, u8 *to, u32 protocol)
{
	u32 size = xcap_make_transport(sk, to + 40, protocol);

	if (!size)
		return 0;
	xcap_put(to, 0x60000000, 4);
	xcap_put(to + 4, size, 2);
	to[6] = protocol;
	to[7] = 64;
	bpf_probe_read_kernel(to + 8, 16, &sk->__sk_common.skc_v6_rcv_saddr);
	bpf_probe_read_kernel(to + 24, 16, &sk->__sk_common.skc_v6_daddr);
	xcap_check_transport(to + 40, to + 8, 32, protocol, size);
	return 40 + size;
}

/* Set all of the hit but the event, from a socket; the packet is in the window. 0 if it is none of TCP or UDP. */
XCAP_INLINE int xcap_find_socket(struct xcap_hit *hit, const struct sock *sk, u8 *window)
{
	u16 family = 0, protocol = 0;
	u64 upper = 0;
	u32 mapped = 0, size = 0;

	hit->socket = (u64)sk;
	if (!sk || bpf_probe_read_kernel(&family, sizeof(family), &sk->__sk_common.skc_family))
		return 0;
	bpf_probe_read_kernel(&protocol, sizeof(protocol), &sk->sk_protocol);
	if (family == XCAP_AF_INET6) {
		/* ::ffff:a.b.c.d: IPv4 through a socket of IPv6 */
		bpf_probe_read_kernel(&upper, 8, &sk->__sk_common.skc_v6_daddr);
		bpf_probe_read_kernel(&mapped, 4, (const u8 *)&sk->__sk_common.skc_v6_daddr + 8);
	}
	if (family == XCAP_AF_INET || (family == XCAP_AF_INET6 && !upper && mapped == __builtin_bswap32(0xffff)))
		size = xcap_make_ip4(sk, window, protocol);
	else if (family == XCAP_AF_INET6)
		size = xcap_make_ip6(sk, window, protocol);
	if (!size)
		return 0;
	hit->start = 0;
	hit->link = XCAP_DLT_RAW;
	hit->tag_len = hit->data = 0;
	hit->wire_len = hit->cap_len = hit->linear_len = hit->window_len = size;
	hit->synthetic = 1;
	return 1;
}
