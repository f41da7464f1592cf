/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#pragma once

/* 16 bytes in network order, an IPv4 address mapped into IPv6 (RFC 4291, 2.5.5.2). */
struct xcap_ip {
	u64 words[2];
};
