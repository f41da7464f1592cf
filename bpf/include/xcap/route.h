/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* By which device a socket's packets leave, and their Ethernet header: from the route that the socket keeps and the
 * kernel's table of neighbours. What is not known there is not made up. */
#pragma once

#include <xcap/packet.h>

#define XCAP_AF_INET 2
#define XCAP_AF_INET6 10
#define XCAP_TCP_TIME_WAIT 6
#define XCAP_TCP_NEW_SYN_RECV 12

#define XCAP_ETHERNET 14
#define XCAP_ETH_P_IP 0x0800
#define XCAP_ETH_P_IPV6 0x86dd
#define XCAP_IFF_LOOPBACK 0x8
#define XCAP_IFF_NOARP 0x80
#define XCAP_RTF_GATEWAY 0x2
#define XCAP_NUD_VALID 0xde
#define XCAP_CHAIN 16 /* neighbours of one hash that are looked at */

XCAP_INLINE void xcap_put(u8 *to, u32 value, u32 size)
{
	if (size == 4)
		*(u32 *)to = __builtin_bswap32(value);
	else
		*(u16 *)to = __builtin_bswap16(value);
}

XCAP_INLINE u32 xcap_read_u32(const void *at)
{
	u32 number = 0;

	bpf_probe_read_kernel(&number, sizeof(number), at);
	return number;
}

XCAP_INLINE const void *xcap_read_pointer(const void *at)
{
	const void *pointer = NULL;

	return bpf_probe_read_kernel(&pointer, sizeof(pointer), at) ? NULL : pointer;
}

/* Whether it is a whole struct sock, as the kernel's sk_fullsock() says: a connection in TIME_WAIT and a request for one
 * are smaller, and begin alike only in __sk_common. */
XCAP_INLINE int xcap_is_full(u8 state)
{
	return state != XCAP_TCP_TIME_WAIT && state != XCAP_TCP_NEW_SYN_RECV;
}

/* The route of a whole socket, NULL if it keeps none or one that is no longer good. */
XCAP_INLINE const struct dst_entry *xcap_route(const struct sock *sk)
{
	const struct dst_entry *dst = xcap_read_pointer(&sk->sk_dst_cache);
	s16 obsolete = 0;

	if (!dst || bpf_probe_read_kernel(&obsolete, sizeof(obsolete), &dst->obsolete) || obsolete > 0)
		return NULL;
	return dst;
}

/* The address of the device that a socket's packets leave by, 0 if that is not known. */
XCAP_INLINE u64 xcap_socket_device(u64 socket)
{
	const struct sock *sk = (const struct sock *)socket;
	const struct dst_entry *dst;
	u16 family = 0;
	u8 state = 0;

	if (!sk || bpf_probe_read_kernel(&family, sizeof(family), &sk->__sk_common.skc_family) ||
	    (family != XCAP_AF_INET && family != XCAP_AF_INET6) ||
	    bpf_probe_read_kernel(&state, sizeof(state), (const void *)&sk->__sk_common.skc_state) ||
	    !xcap_is_full(state))
		return 0;
	dst = xcap_route(sk);
	return dst ? (u64)xcap_read_pointer(&dst->dev) : 0;
}

/* The next hop of a route to `address`, whose place it takes: its family. `gateway` tells whether it is another one. */
XCAP_INLINE u32 xcap_next_hop(const struct dst_entry *dst, u32 *address, int ip6, u32 *gateway)
{
	if (ip6) {
		const struct rt6_info *route = (const struct rt6_info *)dst;

		*gateway = xcap_read_u32(&route->rt6i_flags) & XCAP_RTF_GATEWAY;
		if (*gateway)
			bpf_probe_read_kernel(address, 16, &route->rt6i_gateway);
		return XCAP_AF_INET6;
	}
	const struct rtable *route = (const struct rtable *)dst;
	u8 family = 0;

	bpf_probe_read_kernel(&family, sizeof(family), &route->rt_gw_family);
	*gateway = family;
	if (family)
		bpf_probe_read_kernel(address, family == XCAP_AF_INET6 ? 16 : 4, &route->rt_gw4);
	return family ? family : XCAP_AF_INET;
}

/* The neighbour of that address at a device, NULL if the kernel knows none. An address of IPv4 is followed by zeros, so
 * that arp_hashfn() is ndisc_hashfn(), which finds its place in the table; the device has the table's address. A chain
 * begins with hash_buckets and goes on with `next` in older kernels, and is an hlist in newer ones: the pointers lie first
 * in their structs in both. */
XCAP_INLINE const struct neighbour *xcap_neighbour(const struct net_device *dev, const u32 *address, u32 family)
{
	const struct in_device *in = xcap_read_pointer(&dev->ip_ptr);
	const struct inet6_dev *in6 = xcap_read_pointer(&dev->ip6_ptr);
	const struct neigh_parms *parms;
	const struct neigh_table *table;
	const struct neigh_hash_table *known;
	const struct neighbour *found;
	u32 random[4], key[4] = {0}, hash, device = (u64)dev ^ (u64)dev >> 32;

	parms = xcap_read_pointer(family == XCAP_AF_INET ? (const void *)&in->arp_parms : &in6->nd_parms);
	table = xcap_read_pointer(&parms->tbl);
	known = xcap_read_pointer(&table->nht);
	if (!known || bpf_probe_read_kernel(random, sizeof(random), &known->hash_rnd))
		return NULL;
	hash = (address[0] ^ device) * random[0] + address[1] * random[1] + address[2] * random[2] + address[3] * random[3];
	hash >>= (32 - xcap_read_u32(&known->hash_shift)) & 31;
	found = xcap_read_pointer((const void **)xcap_read_pointer(known) + hash);
#pragma clang loop unroll(disable)
	for (u32 turn = 0; turn < XCAP_CHAIN && found; turn++) {
		const void *at = xcap_read_pointer(&found->dev);

		bpf_probe_read_kernel(key, family == XCAP_AF_INET ? 4 : 16, &found->primary_key);
		if (at == dev && !((key[0] ^ address[0]) | (key[1] ^ address[1]) | (key[2] ^ address[2]) |
				   (key[3] ^ address[3])))
			return found;
		found = xcap_read_pointer(found);
	}
	return NULL;
}

/* The other end's MAC address on the way to `address`, which is taken for that on the way from there, too, if there is no
 * gateway in between; 0 if it is not known. Devices without neighbours send to themselves. */
XCAP_INLINE int xcap_read_peer_mac(const struct dst_entry *dst, const struct net_device *dev, u32 *address, int ip6,
				   const u32 direction, const u8 *own, u8 *to)
{
	const struct neighbour *neighbour;
	u32 gateway = 0, family;
	u8 state = 0;

	if (xcap_read_u32(&dev->flags) & (XCAP_IFF_LOOPBACK | XCAP_IFF_NOARP)) {
		__builtin_memcpy(to, own, 6);
		return 1;
	}
	family = xcap_next_hop(dst, address, ip6, &gateway);
	if (gateway && direction == XCAP_INBOUND)
		return 0;
	neighbour = xcap_neighbour(dev, address, family);
	if (!neighbour || bpf_probe_read_kernel(&state, sizeof(state), &neighbour->nud_state) ||
	    !(state & XCAP_NUD_VALID))
		return 0;
	return !bpf_probe_read_kernel(to, 6, &neighbour->ha);
}

/* Write the Ethernet header of a packet between this end and `address`, of IPv4 with zeros behind it, and changed here; its
 * size, 0 if not all of it is known. */
XCAP_INLINE u32 xcap_make_ethernet(const struct sock *sk, u8 *to, u32 *address, int ip6, const u32 direction)
{
	const struct dst_entry *dst = xcap_route(sk);
	const struct net_device *dev = dst ? xcap_read_pointer(&dst->dev) : NULL;
	u8 *own = to + (direction == XCAP_INBOUND ? 0 : 6), *other = to + (direction == XCAP_INBOUND ? 6 : 0);
	u16 type = 0, family = 0;

	if (!dev || bpf_probe_read_kernel(&type, sizeof(type), &dev->type) ||
	    (type != XCAP_ARPHRD_ETHER && type != XCAP_ARPHRD_LOOPBACK))
		return 0;
	/* a socket of IPv6 has routes of IPv4 as well */
	const struct dst_ops *ops = xcap_read_pointer(&dst->ops);
	bpf_probe_read_kernel(&family, sizeof(family), &ops->family);
	if (family != (ip6 ? XCAP_AF_INET6 : XCAP_AF_INET) ||
	    bpf_probe_read_kernel(own, 6, xcap_read_pointer(&dev->dev_addr)) ||
	    !xcap_read_peer_mac(dst, dev, address, ip6, direction, own, other))
		return 0;
	xcap_put(to + 12, ip6 ? XCAP_ETH_P_IPV6 : XCAP_ETH_P_IP, 2);
	return XCAP_ETHERNET;
}
