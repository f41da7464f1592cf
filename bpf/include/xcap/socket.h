/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* A packet made up from a socket, where the kernel has none, or one without headers: Ethernet where the neighbour is
 * known, IP, and TCP or UDP, with the payload that an sk_buff or a message has. What is written is what the socket knows;
 * no byte is taken from anywhere else. */
#pragma once

#include <xcap/payload.h>
#include <xcap/route.h>

#define XCAP_TCP_SYN_SENT 2

#define XCAP_TCPHDR_FIN 0x01
#define XCAP_TCPHDR_SYN 0x02
#define XCAP_TCPHDR_RST 0x04
#define XCAP_TCPHDR_PSH 0x08
#define XCAP_TCPHDR_ACK 0x10

/* What a TCP header says besides the ports. */
struct xcap_tcp {
	u32 sequence;
	u32 acknowledged;
	u32 window;
	u32 flags;
};

/* ---- what a TCP header says ---- */

/* Sent by a whole socket: the segment of an sk_buff that TCP keeps, the next bytes of a message, or, where there is
 * neither, what it would acknowledge now. `known` are flags that the hook tells of. */
XCAP_INLINE void xcap_tcp_sent(struct xcap_tcp *tcp, const struct tcp_sock *sk, const struct xcap_made *segment,
			       int message, u8 state, const u32 known)
{
	struct tcp_options_received options;
	u32 next = xcap_read_u32(&sk->snd_nxt), unacknowledged = xcap_read_u32(&sk->snd_una);
	u32 end = unacknowledged + xcap_read_u32(&sk->snd_wnd), written = xcap_read_u32(&sk->write_seq);

	tcp->acknowledged = xcap_read_u32(&sk->rcv_nxt);
	tcp->window = xcap_read_u32(&sk->rcv_wnd);
	/* tcp_connect_init() clears it: before the other end's SYN nothing can be acknowledged */
	tcp->flags = tcp->acknowledged ? XCAP_TCPHDR_ACK : 0;
	/* as tcp_acceptable_seq(): nothing beyond the window */
	tcp->sequence = (s32)(next - end) > 0 && tcp->acknowledged ? end : next;
	if (segment) {
		tcp->sequence = segment->sequence;
		tcp->flags = segment->flags & 0xff;
	} else if (message) {
		tcp->sequence = written;
		tcp->flags |= XCAP_TCPHDR_PSH;
	} else if (!tcp->flags && state == XCAP_TCP_SYN_SENT) {
		tcp->sequence = next == written && next != unacknowledged ? unacknowledged : written;
		tcp->flags = XCAP_TCPHDR_SYN;
	}
	tcp->flags |= known;
	if (!(tcp->flags & XCAP_TCPHDR_ACK))
		tcp->acknowledged = 0;
	if (!(tcp->flags & XCAP_TCPHDR_SYN) && !bpf_probe_read_kernel(&options, sizeof(options), &sk->rx_opt))
		tcp->window >>= options.rcv_wscale;
}

/* Received by a whole socket: the other end's last word. A reset that refuses a connection acknowledges its SYN, any other
 * need not acknowledge anything (RFC 9293, 3.10.7). */
XCAP_INLINE void xcap_tcp_received(struct xcap_tcp *tcp, const struct tcp_sock *sk, u8 state, const u32 known)
{
	struct tcp_options_received options;

	tcp->sequence = xcap_read_u32(&sk->rcv_nxt);
	tcp->acknowledged = xcap_read_u32(&sk->snd_una);
	tcp->window = 0;
	tcp->flags = known ? known : XCAP_TCPHDR_ACK;
	if (known & XCAP_TCPHDR_RST) {
		tcp->acknowledged = 0;
		if (state == XCAP_TCP_SYN_SENT) {
			tcp->acknowledged = xcap_read_u32(&sk->snd_nxt);
			tcp->flags |= XCAP_TCPHDR_ACK;
		}
	} else if (!bpf_probe_read_kernel(&options, sizeof(options), &sk->rx_opt)) {
		tcp->window = xcap_read_u32(&sk->snd_wnd) >> options.snd_wscale;
	}
}

/* A connection in TIME_WAIT: what it would acknowledge. */
XCAP_INLINE void xcap_tcp_waiting(struct xcap_tcp *tcp, const struct tcp_timewait_sock *sk, const u32 direction,
				  const u32 known)
{
	const struct sock_common *common = &sk->tw_sk.__tw_common;
	u32 received = xcap_read_u32(&common->skc_tw_rcv_nxt), sent = xcap_read_u32(&common->skc_tw_snd_nxt);
	u8 scale = 0;

	bpf_probe_read_kernel(&scale, sizeof(scale), &sk->tw_sk.tw_rcv_wscale);
	tcp->sequence = direction == XCAP_INBOUND ? received : sent;
	tcp->acknowledged = direction == XCAP_INBOUND ? sent : received;
	tcp->window = direction == XCAP_INBOUND ? 0 : xcap_read_u32(&sk->tw_rcv_wnd) >> (scale & 15);
	tcp->flags = XCAP_TCPHDR_ACK | known;
}

/* A request for a connection: the SYN-ACK, or what the other end answers it with. */
XCAP_INLINE void xcap_tcp_requested(struct xcap_tcp *tcp, const struct tcp_request_sock *sk, const u32 direction,
				    const u32 known)
{
	u32 theirs = xcap_read_u32(&sk->rcv_isn), ours = xcap_read_u32(&sk->snt_isn);
	int inbound = direction == XCAP_INBOUND;

	tcp->sequence = inbound ? theirs + 1 : ours;
	tcp->acknowledged = inbound ? ours + 1 : theirs + 1;
	tcp->window = inbound ? 0 : xcap_read_u32(&sk->req.req.__req_common.skc_rcv_wnd);
	tcp->flags = XCAP_TCPHDR_ACK | (inbound ? 0 : XCAP_TCPHDR_SYN) | known;
}

XCAP_INLINE void xcap_tcp_says(struct xcap_tcp *tcp, const struct sock *sk, const struct xcap_made *segment, int message,
			       u8 state, const u32 direction, const u32 known)
{
	if (state == XCAP_TCP_TIME_WAIT)
		xcap_tcp_waiting(tcp, (const struct tcp_timewait_sock *)sk, direction, known);
	else if (state == XCAP_TCP_NEW_SYN_RECV)
		xcap_tcp_requested(tcp, (const struct tcp_request_sock *)sk, direction, known);
	else if (direction == XCAP_INBOUND)
		xcap_tcp_received(tcp, (const struct tcp_sock *)sk, state, known);
	else
		xcap_tcp_sent(tcp, (const struct tcp_sock *)sk, segment, message, state, known);
}

/* ---- who the ends are ---- */

/* ::ffff:a.b.c.d is IPv4 through a socket of IPv6: the address becomes that of IPv4. */
XCAP_INLINE int xcap_is_mapped(u32 *address)
{
	if (address[0] || address[1] || address[2] != __builtin_bswap32(0xffff))
		return 0;
	address[0] = address[3];
	address[2] = address[3] = 0;
	return 1;
}

/* The other end, and whether it has an address of IPv6: `port` is as on the wire. A datagram's is where its message is
 * sent to, if that says so. */
XCAP_INLINE int xcap_find_peer(struct xcap_made *made, const struct sock *sk, u16 family, u16 *port)
{
	const u8 *name = NULL;
	u16 named = 0;

	__builtin_memset(made->peer, 0, sizeof(made->peer));
	bpf_probe_read_kernel(port, 2, &sk->__sk_common.skc_dport);
	if (made->message && made->protocol == 17)
		name = xcap_read_pointer(&((const struct msghdr *)made->message)->msg_name);
	if (name)
		bpf_probe_read_kernel(&named, sizeof(named), name);
	if (named == XCAP_AF_INET || named == XCAP_AF_INET6) {
		family = named;
		bpf_probe_read_kernel(port, 2, name + 2);
		bpf_probe_read_kernel(made->peer, named == XCAP_AF_INET ? 4 : 16, name + (named == XCAP_AF_INET ? 4 : 8));
	} else if (family == XCAP_AF_INET) {
		bpf_probe_read_kernel(made->peer, 4, &sk->__sk_common.skc_daddr);
	} else {
		bpf_probe_read_kernel(made->peer, 16, &sk->__sk_common.skc_v6_daddr);
	}
	return family == XCAP_AF_INET6 && !xcap_is_mapped(made->peer);
}

/* A socket that lets go of its port clears the number and keeps the other one, which only whole sockets have. */
XCAP_INLINE u16 xcap_local_port(const struct sock *sk, u8 state)
{
	u16 port = 0, number = 0;

	if (xcap_is_full(state))
		bpf_probe_read_kernel(&port, 2, &((const struct inet_sock *)sk)->inet_sport);
	if (!port)
		bpf_probe_read_kernel(&number, 2, &sk->__sk_common.skc_num);
	return port ? port : __builtin_bswap16(number);
}

/* TCP or UDP, 0 if it is neither. sk_protocol became more than a bit-field in Linux 5.6 (bf9765145b85). */
XCAP_INLINE u32 xcap_protocol(const struct sock *sk, u8 state)
{
	u16 protocol = 0;

	if (!xcap_is_full(state))
		return 6;
#ifdef XCAP_SK_PROTOCOL
	bpf_probe_read_kernel(&protocol, sizeof(protocol), &sk->sk_protocol);
#else
	bpf_probe_read_kernel(&protocol, 1, (const u8 *)&sk->sk_gso_max_segs - 3);
#endif
	return protocol == 6 || protocol == 17 ? protocol : 0;
}

/* ---- headers ---- */

/* Both give the sum of the pseudo-header; `size` is that of the header and the payload behind. */
XCAP_INLINE u64 xcap_make_ip4(const struct xcap_made *made, const struct sock *sk, u8 *to, u32 size, const u32 direction)
{
	u32 local = direction == XCAP_INBOUND ? 16 : 12, remote = direction == XCAP_INBOUND ? 12 : 16;

	xcap_put(to, 0x4500, 2);
	/* longer than IP can say: 0, as the kernel writes for a device that cuts it up, and for BIG TCP */
	xcap_put(to + 2, size + 20 > 0xffff ? 0 : size + 20, 2);
	xcap_put(to + 4, 0x00004000, 4);
	to[8] = 64;
	to[9] = made->protocol;
	*(u16 *)(to + 10) = 0;
	bpf_probe_read_kernel(to + local, 4, &sk->__sk_common.skc_rcv_saddr);
	*(u32 *)(to + remote) = made->peer[0];
	*(u16 *)(to + 10) = ~xcap_folded(xcap_sum(to, 20, 0));
	return xcap_sum(to + 12, 8, (u64)__builtin_bswap32(size) + __builtin_bswap32(made->protocol));
}

XCAP_INLINE u64 xcap_make_ip6(const struct xcap_made *made, const struct sock *sk, u8 *to, u32 size, const u32 direction)
{
	u32 local = direction == XCAP_INBOUND ? 24 : 8, remote = direction == XCAP_INBOUND ? 8 : 24;

	xcap_put(to, 0x60000000, 4);
	xcap_put(to + 4, size > 0xffff ? 0 : size, 2);
	to[6] = made->protocol;
	to[7] = 64;
	bpf_probe_read_kernel(to + local, 16, &sk->__sk_common.skc_v6_rcv_saddr);
#pragma unroll
	for (u32 word = 0; word < 4; word++)
		*(u32 *)(to + remote + 4 * word) = made->peer[word];
	return xcap_sum(to + 8, 32, (u64)__builtin_bswap32(size) + __builtin_bswap32(made->protocol));
}

XCAP_INLINE void xcap_make_ports(u8 *to, u16 local, u16 remote, const u32 direction)
{
	*(u16 *)to = direction == XCAP_INBOUND ? remote : local;
	*(u16 *)(to + 2) = direction == XCAP_INBOUND ? local : remote;
}

XCAP_INLINE void xcap_make_tcp(u8 *to, const struct xcap_tcp *tcp)
{
	xcap_put(to + 4, tcp->sequence, 4);
	xcap_put(to + 8, tcp->acknowledged, 4);
	to[12] = 0x50;
	to[13] = tcp->flags;
	xcap_put(to + 14, tcp->window > 0xffff ? 0xffff : tcp->window, 2);
	*(u32 *)(to + 16) = 0;
}

XCAP_INLINE void xcap_make_udp(u8 *to, u32 size)
{
	xcap_put(to + 4, size > 0xffff ? 0 : size, 2);
	*(u16 *)(to + 6) = 0;
}

/* ---- the packet ---- */

/* How an sk_buff without an IP header continues: 1 with its own TCP or UDP header, 2 with the payload of the segment, which
 * TCP keeps with it, 0 if it is none of the socket's. */
XCAP_INLINE u32 xcap_continues(const struct sk_buff *skb, struct xcap_made *made, u16 local, u16 remote)
{
	struct tcp_skb_cb *segment = (struct tcp_skb_cb *)skb->cb; /* a copy of a const member would be const */
	typeof(segment->tcp_flags) flags = 0;
	u64 transport = (u64)skb->head + skb->transport_header;
	u16 ports[2];

	if (skb->transport_header != (typeof(skb->transport_header))~0U) {
		if (transport != (u64)skb->data || skb->len < 20 ||
		    bpf_probe_read_kernel(ports, sizeof(ports), (const void *)transport))
			return 0;
		return ports[0] == local && ports[1] == remote;
	}
	if (made->protocol != 6 || bpf_probe_read_kernel(&flags, sizeof(flags), &segment->tcp_flags))
		return 0;
	made->sequence = xcap_read_u32(&segment->seq);
	made->flags = flags;
	/* a SYN and a FIN each have a sequence number: else the control block is another protocol's */
	u32 extra = !!(flags & XCAP_TCPHDR_SYN) + !!(flags & XCAP_TCPHDR_FIN);
	return xcap_read_u32(&segment->end_seq) - made->sequence == skb->len + extra ? 2 : 0;
}

/* Set the lengths: `payload` bytes follow the headers, of which all, the linear ones, or none can be read. */
XCAP_INLINE void xcap_measure(struct xcap_hit *hit, const struct sk_buff *skb, u32 payload, int readable, const int access)
{
	u32 headers = hit->made.headers, linear = skb ? skb->len - skb->data_len : 0;

	hit->wire_len = headers + payload;
	hit->data = headers;
	hit->start = skb ? (u64)skb->data - headers : 0;
	hit->linear_len = headers + (skb ? linear : readable ? payload : 0);
	hit->cap_len = skb && (access == XCAP_TRUSTED || XCAP_WALKS_PAGES(access)) ? hit->wire_len : hit->linear_len;
}

/* Set all of the hit but the event, from a socket, whichever it is, an sk_buff of its without an IP header or NULL, and a
 * struct msghdr or 0; the window is read. `direction` is XCAP_INBOUND at hooks about what was received; `known` are flags
 * of TCP that are sure at the hook. 0 if it is neither TCP nor UDP. */
XCAP_INLINE int xcap_find_socket(struct xcap_hit *hit, const struct sock *sk, const struct sk_buff *skb, u64 message,
				 const u32 direction, const u32 known, const int access, struct xcap_dynptr *dynptr,
				 u8 *bytes, const int has_message)
{
	struct xcap_made *made = &hit->made;
	struct xcap_tcp tcp;
	u16 family = 0, local, remote = 0;
	u32 link = 0, own, kind = 0, size, payload = 0;
	int ip6, readable = 0;
	u64 at, count;
	u8 *to;
	u8 state = 0;

	if (!sk || bpf_probe_read_kernel(&family, sizeof(family), &sk->__sk_common.skc_family) ||
	    (family != XCAP_AF_INET && family != XCAP_AF_INET6) ||
	    bpf_probe_read_kernel(&state, sizeof(state), (const void *)&sk->__sk_common.skc_state))
		return 0;
	made->protocol = xcap_protocol(sk, state);
	if (!made->protocol)
		return 0;
	made->message = has_message && direction != XCAP_INBOUND ? message : 0;
	ip6 = xcap_find_peer(made, sk, family, &remote);
	local = xcap_local_port(sk, state);
	if (skb && direction != XCAP_INBOUND && xcap_is_full(state))
		kind = xcap_continues(skb, made, local, remote);
	if (kind)
		payload = skb->len, made->message = 0;
	else if (made->message)
		payload = xcap_message_length(made->message, &readable);

	own = kind == 1 ? 0 : made->protocol == 6 ? 20 : 8;
	size = own + payload;
	if (xcap_is_full(state)) {
		__builtin_memcpy(made->hop, made->peer, sizeof(made->hop));
		link = xcap_make_ethernet(sk, bytes, made->hop, ip6, direction);
	}
	/* here and below: all ways go on as one to the verifier */
	at = xcap_scalar(&hit->room, link);
	to = xcap_at(bytes, at, XCAP_ETHERNET);
	if (!to)
		return 0;
	made->sum = xcap_folded(ip6 ? xcap_make_ip6(made, sk, to, size, direction) :
				      xcap_make_ip4(made, sk, to, size, direction));
	at = xcap_scalar(&hit->room, at + (ip6 ? 40 : 20));
	to = xcap_at(bytes, at, XCAP_ETHERNET + 40);
	if (!to)
		return 0;
	made->transport = at;
	made->checksum = at + (made->protocol == 6 ? 16 : 6);
	made->headers = at + own;
	if (kind != 1) {
		xcap_make_ports(to, local, remote, direction);
		if (made->protocol == 6) {
			xcap_tcp_says(&tcp, sk, kind ? made : NULL, !!made->message, state, direction, known);
			xcap_make_tcp(to, &tcp);
		} else {
			xcap_make_udp(to, size);
		}
	}
	hit->synthetic = direction == XCAP_INBOUND ? XCAP_INBOUND : XCAP_OUTBOUND;
	hit->link = link ? XCAP_DLT_EN10MB : XCAP_DLT_RAW;
	hit->tag_len = 0;
	xcap_measure(hit, kind ? skb : NULL, payload, readable, access);
	count = XCAP_WALKS_PAGES(access) ? hit->linear_len : hit->cap_len;
	if (count > XCAP_WINDOW)
		count = XCAP_WINDOW;
	hit->window_len = xcap_read_made(hit, kind ? skb : NULL, access, dynptr, bytes, count, XCAP_WINDOW, has_message);
	if (hit->window_len < count)
		hit->cap_len = hit->window_len;
	return hit->window_len >= made->transport + 8;
}
