/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What every program shares: the switch, the counters and the state of one hit. The generated text has defined
 * struct xcap_event, struct xcap_packet_event and XCAP_WINDOW before this. */
#pragma once

#define XCAP_INLINE static inline __attribute__((always_inline))

/* One for all programs, mapped by user space, which opens and closes the gate `live`. */
struct xcap_control {
	u32 live;
	u32 exited;    /* a program said exit: the ring may have been too full to tell */
	s64 remaining; /* how many hits may still be sent, under a limit */
};

/* One per program and CPU; the order is that of unit.Counter. */
struct xcap_counters {
	u64 hits;
	u64 no_packet;
	u64 no_match;
	u64 matched;
	u64 lost;
};

/* State of one hit, in per-CPU memory of its program: a program does not interrupt itself, but another can. */
struct xcap_hit {
	struct sk_buff skb; /* a copy, read at once: every field then costs a load */
	u64 start;          /* kernel address of the packet's first byte */
	u32 cap_len;        /* linear bytes from there */
	u32 wire_len;       /* bytes on the wire */
	u32 window_len;     /* bytes of the window that were read */
	u32 link;           /* DLT_EN10MB or DLT_RAW */
	struct xcap_packet_event event; /* last: the packet's bytes follow in the program's scratch */
};
