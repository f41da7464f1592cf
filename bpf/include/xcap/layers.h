/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The packet's layers, and their fields in host order; 0 where a layer is absent or not all there. */
#pragma once

#include <xcap/view.h>

/* Bits; the order is that of builtins.LAYERS. */
enum xcap_layer {
	XCAP_ETH = 1,
	XCAP_VLAN = 2,
	XCAP_ARP = 4,
	XCAP_IP = 8,
	XCAP_IP6 = 16,
	XCAP_TCP = 32,
	XCAP_UDP = 64,
	XCAP_ICMP = 128,
	XCAP_FRAG = 256,
};

#define XCAP_EXTENSIONS 4 /* of IPv6 that are looked behind */

struct xcap_layers {
	u32 has;
	u32 network; /* offset of the IP or ARP header */
	u32 transport;
	u32 protocol;
};

XCAP_INLINE int xcap_find(const struct xcap_view *v, u64 offset, u32 size, u32 *value)
{
	u32 far;

	XCAP_PIN(offset);
	return xcap_load(v, offset, size, value, &far);
}

XCAP_INLINE u32 xcap_field(const struct xcap_view *v, u64 offset, u32 size)
{
	u32 value;

	return xcap_find(v, offset, size, &value) ? value : 0;
}

/* All bits if all of these bytes can be read, else 0: what is read in parts must not be told by its first ones. No
 * branch, of which each doubles what the verifier has to follow. */
XCAP_INLINE u64 xcap_if_whole(const struct xcap_view *v, u64 offset, u32 size)
{
	u64 cut = (s64)(v->cap_len - offset - size) >> 63;

	XCAP_PIN(cut);
	return ~cut;
}

XCAP_INLINE u32 xcap_transport_layer(u32 protocol)
{
	if (protocol == 6)
		return XCAP_TCP;
	if (protocol == 17)
		return XCAP_UDP;
	return protocol == 1 || protocol == 58 ? XCAP_ICMP : 0;
}

/* Behind the IPv6 header: RFC 8200, 4.1. */
XCAP_INLINE void xcap_find_extensions(const struct xcap_view *v, struct xcap_layers *l)
{
#pragma unroll
	for (int turn = 0; turn < XCAP_EXTENSIONS; turn++) {
		u32 kind = l->protocol, fragment;

		if (kind != 0 && kind != 43 && kind != 44 && kind != 60)
			return;
		l->protocol = xcap_field(v, l->transport, 1);
		if (kind == 44) {
			l->has |= XCAP_FRAG;
			if (!xcap_find(v, l->transport + 2, 2, &fragment)) {
				l->protocol = 0;
				return;
			}
			if (fragment & 0xfff8) {
				l->transport = v->wire_len; /* nothing of the transport is in here */
				return;
			}
			l->transport += 8;
		} else {
			l->transport += 8 + xcap_field(v, l->transport + 1, 1) * 8;
		}
	}
}

XCAP_INLINE void xcap_find_layers(const struct xcap_view *v, u32 link, struct xcap_layers *l)
{
	u32 type = 0x0800, first;

	l->has = l->network = l->transport = l->protocol = 0;
	if (link == XCAP_DLT_EN10MB) {
		l->has = XCAP_ETH;
		type = xcap_field(v, 12, 2);
		l->network = 14;
#pragma unroll
		for (int tag = 0; tag < 2; tag++) {
			if (type == 0x8100 || type == 0x88a8) {
				l->has |= XCAP_VLAN;
				type = xcap_field(v, l->network + 2, 2);
				l->network += 4;
			}
		}
	} else if (xcap_field(v, 0, 1) >> 4 == 6) {
		type = 0x86dd;
	}
	if (type == 0x0806) {
		l->has |= XCAP_ARP;
		return;
	}
	first = xcap_field(v, l->network, 1);
	if (type == 0x0800 && first >> 4 == 4) {
		u32 fragment = xcap_field(v, l->network + 6, 2);

		l->has |= XCAP_IP;
		l->protocol = xcap_field(v, l->network + 9, 1);
		l->transport = l->network + (first & 0xf) * 4;
		if (fragment & 0x3fff)
			l->has |= XCAP_FRAG;
		if (fragment & 0x1fff)
			return;
	} else if (type == 0x86dd && first >> 4 == 6) {
		l->has |= XCAP_IP | XCAP_IP6;
		l->protocol = xcap_field(v, l->network + 6, 1);
		l->transport = l->network + 40;
		xcap_find_extensions(v, l);
	} else {
		return;
	}
	if (l->transport < v->wire_len)
		l->has |= xcap_transport_layer(l->protocol);
}

/* The verifier knows of each way through the headers what it found: without that all ways go on as one. */
XCAP_INLINE void xcap_forget_ways(struct xcap_hit *hit, struct xcap_layers *l)
{
	l->has = xcap_scalar(&hit->room, l->has);
	l->network = xcap_scalar(&hit->room, l->network);
	l->transport = xcap_scalar(&hit->room, l->transport);
	l->protocol = xcap_scalar(&hit->room, l->protocol);
}

/* The same of a packet's lengths, with which the headers' places were compared. */
XCAP_INLINE void xcap_forget_lengths(struct xcap_hit *hit, struct xcap_view *v)
{
	v->window_len = xcap_scalar(&hit->room, v->window_len);
	v->cap_len = xcap_scalar(&hit->room, v->cap_len);
	v->wire_len = xcap_scalar(&hit->room, v->wire_len);
}

/* 16 bytes as they lie, all or none. One check for all: each doubles what the verifier has to follow. */
XCAP_INLINE struct xcap_ip xcap_ip6(const struct xcap_view *v, u64 offset)
{
	union {
		struct xcap_ip ip;
		u32 parts[4];
	} found = {{{0, 0}}};

	XCAP_PIN(offset);
	if (offset <= XCAP_WINDOW - sizeof(found)) {
		if (offset + sizeof(found) <= v->window_len) {
#pragma unroll
			for (int at = 0; at < 4; at++)
				found.parts[at] = *(const volatile xcap_be32 *)(v->window + offset + at * 4);
		}
	} else if (offset + sizeof(found) > v->cap_len || xcap_read_far(v, offset, sizeof(found), &found)) {
		return (struct xcap_ip){{0, 0}};
	}
	return found.ip;
}

/* An IPv4 address mapped into IPv6. */
XCAP_INLINE struct xcap_ip xcap_ip4(const struct xcap_view *v, u32 offset)
{
	u64 low = 0;
	u32 address;

	if (xcap_find(v, offset, 4, &address))
		low = 0xffff00000000ULL | address;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	low = __builtin_bswap64(low);
#endif
	return (struct xcap_ip){{0, low}};
}

XCAP_INLINE struct xcap_ip xcap_address(const struct xcap_view *v, const struct xcap_layers *l, u32 at4, u32 at6)
{
	if (l->has & XCAP_IP6)
		return xcap_ip6(v, l->network + at6);
	if (l->has & XCAP_IP)
		return xcap_ip4(v, l->network + at4);
	return (struct xcap_ip){{0, 0}};
}

XCAP_INLINE int xcap_same_ip(struct xcap_ip a, struct xcap_ip b)
{
	return a.words[0] == b.words[0] && a.words[1] == b.words[1];
}

/* All masked as they lie in memory. */
XCAP_INLINE int xcap_in_network(struct xcap_ip a, struct xcap_ip network, struct xcap_ip mask)
{
	return (a.words[0] & mask.words[0]) == network.words[0] && (a.words[1] & mask.words[1]) == network.words[1];
}

#define XCAP_FIELD(name, layers_wanted, offset, size)                                                                  \
	XCAP_INLINE u32 name(const struct xcap_view *v, const struct xcap_layers *l)                                   \
	{                                                                                                              \
		return l->has & (layers_wanted) ? xcap_field(v, offset, size) : 0;                                     \
	}

XCAP_INLINE u64 xcap_mac(const struct xcap_view *v, u32 offset)
{
	u64 mac = (u64)xcap_field(v, offset, 2) << 32 | xcap_field(v, offset + 2, 4);

	return mac & xcap_if_whole(v, offset, 6);
}

XCAP_INLINE u64 xcap_eth_dst(const struct xcap_view *v, const struct xcap_layers *l)
{
	return l->has & XCAP_ETH ? xcap_mac(v, 0) : 0;
}

XCAP_INLINE u64 xcap_eth_src(const struct xcap_view *v, const struct xcap_layers *l)
{
	return l->has & XCAP_ETH ? xcap_mac(v, 6) : 0;
}

XCAP_FIELD(xcap_eth_type, XCAP_ETH, 12, 2)

XCAP_INLINE u32 xcap_vlan_id(const struct xcap_view *v, const struct xcap_layers *l)
{
	return l->has & XCAP_VLAN ? xcap_field(v, 14, 2) & 0xfff : 0;
}

XCAP_INLINE u32 xcap_vlan_pcp(const struct xcap_view *v, const struct xcap_layers *l)
{
	return l->has & XCAP_VLAN ? xcap_field(v, 14, 2) >> 13 : 0;
}

/* For Ethernet and IPv4: RFC 826. */
XCAP_FIELD(xcap_arp_op, XCAP_ARP, l->network + 6, 2)

XCAP_INLINE u64 xcap_arp_mac(const struct xcap_view *v, const struct xcap_layers *l)
{
	return l->has & XCAP_ARP ? xcap_mac(v, l->network + 8) : 0;
}

XCAP_INLINE struct xcap_ip xcap_arp_src(const struct xcap_view *v, const struct xcap_layers *l)
{
	if (l->has & XCAP_ARP)
		return xcap_ip4(v, l->network + 14);
	return (struct xcap_ip){{0, 0}};
}

XCAP_INLINE struct xcap_ip xcap_arp_dst(const struct xcap_view *v, const struct xcap_layers *l)
{
	if (l->has & XCAP_ARP)
		return xcap_ip4(v, l->network + 24);
	return (struct xcap_ip){{0, 0}};
}

XCAP_INLINE struct xcap_ip xcap_ip_src(const struct xcap_view *v, const struct xcap_layers *l)
{
	return xcap_address(v, l, 12, 8);
}

XCAP_INLINE struct xcap_ip xcap_ip_dst(const struct xcap_view *v, const struct xcap_layers *l)
{
	return xcap_address(v, l, 16, 24);
}

XCAP_INLINE u32 xcap_ip_version(const struct xcap_view *v, const struct xcap_layers *l)
{
	return l->has & XCAP_IP6 ? 6 : l->has & XCAP_IP ? 4 : 0;
}

XCAP_INLINE u32 xcap_ip_proto(const struct xcap_view *v, const struct xcap_layers *l)
{
	return l->protocol;
}

XCAP_FIELD(xcap_ip_ttl, XCAP_IP, l->network + (l->has & XCAP_IP6 ? 7 : 8), 1)

XCAP_INLINE u32 xcap_ip_tos(const struct xcap_view *v, const struct xcap_layers *l)
{
	if (l->has & XCAP_IP6)
		return xcap_field(v, l->network, 2) >> 4 & 0xff;
	return l->has & XCAP_IP ? xcap_field(v, l->network + 1, 1) : 0;
}

XCAP_INLINE u32 xcap_ip_len(const struct xcap_view *v, const struct xcap_layers *l)
{
	u32 length;

	if (l->has & XCAP_IP6)
		return xcap_find(v, l->network + 4, 2, &length) ? length + 40 : 0;
	return l->has & XCAP_IP ? xcap_field(v, l->network + 2, 2) : 0;
}

XCAP_INLINE u32 xcap_ip_id(const struct xcap_view *v, const struct xcap_layers *l)
{
	return (l->has & (XCAP_IP | XCAP_IP6)) == XCAP_IP ? xcap_field(v, l->network + 4, 2) : 0;
}

XCAP_FIELD(xcap_tcp_sport, XCAP_TCP, l->transport, 2)
XCAP_FIELD(xcap_tcp_dport, XCAP_TCP, l->transport + 2, 2)
XCAP_FIELD(xcap_tcp_seq, XCAP_TCP, l->transport + 4, 4)
XCAP_FIELD(xcap_tcp_ack, XCAP_TCP, l->transport + 8, 4)
XCAP_FIELD(xcap_tcp_flags, XCAP_TCP, l->transport + 13, 1)
XCAP_FIELD(xcap_tcp_window, XCAP_TCP, l->transport + 14, 2)
XCAP_FIELD(xcap_udp_sport, XCAP_UDP, l->transport, 2)
XCAP_FIELD(xcap_udp_dport, XCAP_UDP, l->transport + 2, 2)
XCAP_FIELD(xcap_udp_len, XCAP_UDP, l->transport + 4, 2)
XCAP_FIELD(xcap_icmp_type, XCAP_ICMP, l->transport, 1)
XCAP_FIELD(xcap_icmp_code, XCAP_ICMP, l->transport + 1, 1)

XCAP_INLINE void xcap_flow(const struct xcap_view *v, const struct xcap_layers *l, struct xcap_flow *flow)
{
	__builtin_memset(flow, 0, sizeof(*flow));
	flow->src = xcap_ip_src(v, l);
	flow->dst = xcap_ip_dst(v, l);
	flow->proto = l->protocol;
	if (l->has & (XCAP_TCP | XCAP_UDP)) {
		flow->sport = xcap_field(v, l->transport, 2);
		flow->dport = xcap_field(v, l->transport + 2, 2);
	}
}
