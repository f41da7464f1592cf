/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The packet inside a tunnel, found by parsing the headers in front of it, all of them within the window: VXLAN
 * (RFC 7348, and Linux's old port), Geneve (RFC 8926), GRE (RFC 2784, 2890) and IP in IP (RFC 2003, 2473, 4213). */
#pragma once

#include <xcap/view.h>

#define XCAP_PORT_VXLAN 4789
#define XCAP_PORT_VXLAN_LINUX 8472
#define XCAP_PORT_GENEVE 6081

/* `size` bytes at `offset` in host order, 0 where the window ends before. */
XCAP_INLINE u32 xcap_header(const struct xcap_view *v, u64 offset, u32 size)
{
	XCAP_PIN(offset);
	if (offset > XCAP_WINDOW - 4 || offset + size > v->window_len)
		return 0;
	return xcap_get(v->window + offset, size);
}

/* The link type of what an Ethernet type in a tunnel's header announces, 0 if it is none that we know. */
XCAP_INLINE u32 xcap_link_of(u32 type)
{
	if (type == 0x6558)
		return XCAP_DLT_EN10MB;
	return type == 0x0800 || type == 0x86dd ? XCAP_DLT_RAW : 0;
}

/* Behind the GRE header at *offset. */
XCAP_INLINE u32 xcap_in_gre(const struct xcap_view *v, u32 *offset)
{
	u32 flags = xcap_header(v, *offset, 2), link = xcap_link_of(xcap_header(v, *offset + 2, 2));

	if (flags & 0x4007) /* RFC 1701's routing, which nobody uses, and version 1, which is PPTP's */
		return 0;
	*offset += 4 + (flags & 0x8000 ? 4 : 0) + (flags & 0x2000 ? 4 : 0) + (flags & 0x1000 ? 4 : 0);
	return link;
}

/* Behind the UDP header at *offset. */
XCAP_INLINE u32 xcap_in_udp(const struct xcap_view *v, u32 *offset)
{
	u32 port = xcap_header(v, *offset + 2, 2), at = *offset + 8;

	if (port == XCAP_PORT_GENEVE) {
		*offset = at + 8 + (xcap_header(v, at, 1) & 0x3f) * 4;
		return xcap_link_of(xcap_header(v, at + 2, 2));
	}
	*offset = at + 8;
	if (port == XCAP_PORT_VXLAN || port == XCAP_PORT_VXLAN_LINUX)
		return xcap_header(v, at, 1) & 0x08 ? XCAP_DLT_EN10MB : 0;
	return 0;
}

/* What the packet carries: its link type, and *offset where it begins; 0 if it is no tunnel's. */
XCAP_INLINE u32 xcap_find_inner(const struct xcap_view *v, u32 link, u32 *offset)
{
	u32 at = 0, type = xcap_header(v, 0, 1) >> 4 == 6 ? 0x86dd : 0x0800, protocol;

	if (link == XCAP_DLT_EN10MB) {
		type = xcap_header(v, 12, 2);
		at = 14;
#pragma unroll
		for (int tag = 0; tag < 2; tag++) {
			if (type == 0x8100 || type == 0x88a8) {
				type = xcap_header(v, at + 2, 2);
				at += 4;
			}
		}
	}
	if (type == 0x0800) {
		if (xcap_header(v, at + 6, 2) & 0x1fff) /* a later fragment has no header to follow */
			return 0;
		protocol = xcap_header(v, at + 9, 1);
		at += (xcap_header(v, at, 1) & 0xf) * 4;
	} else if (type == 0x86dd) {
		protocol = xcap_header(v, at + 6, 1);
		at += 40;
		if (protocol == 0 || protocol == 60) { /* hop-by-hop or destination options: Linux limits encapsulation so */
			protocol = xcap_header(v, at, 1);
			at += 8 + xcap_header(v, at + 1, 1) * 8;
		}
	} else {
		return 0;
	}
	*offset = at;
	if (protocol == 4 || protocol == 41)
		return XCAP_DLT_RAW;
	if (protocol == 47)
		return xcap_in_gre(v, offset);
	return protocol == 17 ? xcap_in_udp(v, offset) : 0;
}

/* The inner packet as a filter sees it, and its link type; 0 if there is none. The window's map value has room for
 * twice XCAP_WINDOW bytes, so that the filter's bounds hold from any offset in it. */
XCAP_INLINE u32 xcap_enter(const struct xcap_view *v, u32 link, struct xcap_view *inner)
{
	u32 found = 0;
	u64 offset;

	link = xcap_find_inner(v, link, &found);
	offset = found;
	XCAP_PIN(offset);
	if (!link || offset >= XCAP_WINDOW || offset >= v->window_len)
		return 0;
	*inner = *v;
	inner->window += offset;
	inner->window_len -= offset;
	inner->start += offset;
	inner->cap_len -= offset;
	inner->wire_len -= offset;
	inner->linear_len = v->linear_len > offset ? v->linear_len - offset : 0;
	inner->data -= offset;
	return link;
}
