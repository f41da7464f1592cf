/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What every program shares: the switch, the counters and the state of one hit. The generated text has defined
 * struct xcap_event, struct xcap_packet_event, struct xcap_flow and XCAP_WINDOW before this. */
#pragma once

#define XCAP_INLINE static inline __attribute__((always_inline))

#define XCAP_DLT_EN10MB 1
#define XCAP_DLT_RAW 101

typedef u64 __attribute__((__may_alias__)) xcap_chars;

/* One for all programs, mapped by user space, which opens and closes the gate `live`. */
struct xcap_control {
	u32 live;
	u32 exited;    /* a program said exit: the ring may have been too full to tell */
	s64 remaining; /* how many hits may still be sent, under a limit */
	u64 started;   /* CLOCK_MONOTONIC, ns */
	u32 asleep;    /* user space waits to be woken up */
	u32 unused;
};

/* One per program and CPU; the order is that of unit.Counter. */
struct xcap_counters {
	u64 hits;
	u64 no_packet;
	u64 no_link;
	u64 no_match;
	u64 no_condition;
	u64 unread;
	u64 bad_reads;
	u64 matched;
	u64 lost;
};

/* Where in a struct rte_mbuf its members are, in bytes. */
struct xcap_mbuf_layout {
	u16 buf_addr;
	u16 data_off;
	u16 pkt_len;
	u16 data_len;
	u16 next;
};

/* How far a packet has been read that is in several pieces. */
struct xcap_segment {
	u64 start;
	u64 next;
	u64 done;
	u32 length;
};

/* How far a packet has been read that is in pages: pages.h. */
struct xcap_frags {
	u64 start;  /* where the bytes are that come next, */
	u64 shared; /* the struct skb_shared_info that names those behind them, */
	u64 list;   /* the sk_buff that comes then, */
	u64 done;   /* and how many bytes of the packet there are */
	u32 length; /* bytes at `start` */
	u32 next;   /* in shared->frags, */
	u32 count;  /* which has so many */
};

#define XCAP_INBOUND 1
#define XCAP_OUTBOUND 2

/* What is known of a packet that is made up from a socket: socket.h and payload.h. */
struct xcap_made {
	u64 message;   /* kernel address of the struct msghdr that has the payload, 0 if none has */
	u64 from;      /* the message's bytes: where those lie that come next, */
	u64 left;      /* how many of them lie there, */
	u64 vector;    /* where it is written where the others lie, */
	u64 segments;  /* and in how many pieces */
	u64 at;        /* how many bytes of the packet there are */
	u32 peer[4];   /* the other end's address: one of IPv4 has zeros behind it */
	u32 hop[4];    /* that of the next hop on the way there */
	u32 sequence;  /* of the segment that TCP keeps in the skb, */
	u32 flags;     /* and its flags */
	u32 headers;   /* bytes that are made up: what the skb or the message has follows them */
	u32 transport; /* offset of the TCP or UDP header */
	u32 checksum;  /* offset of its checksum */
	u32 protocol;  /* 6 or 17 */
	u32 sum;       /* of the pseudo-header */
};

/* State of one hit, in per-CPU memory of its program: a program does not interrupt itself, but another can. Offsets
 * and lengths are on the wire: from the packet's first byte, an accelerated VLAN tag included. */
struct xcap_hit {
	u64 start;          /* kernel address of the first byte */
	u32 tag_len;        /* 4 if a VLAN tag is spliced in behind the MAC addresses, else 0 */
	u32 data;           /* offset of what skb->data points at */
	u32 linear_len;     /* bytes that lie behind one another in memory, the tag between them */
	u32 cap_len;        /* bytes that can be read */
	u32 wire_len;       /* bytes that there are */
	u32 window_len;     /* bytes that were read into the window */
	u32 link;           /* DLT_EN10MB or DLT_RAW */
	u32 synthetic;      /* XCAP_INBOUND or XCAP_OUTBOUND if it is made up from a socket, else 0 */
	u64 socket;         /* kernel address of the hook's socket, 0 if it has none */
	u64 device;         /* kernel address of the device that the socket's packets leave by, 0 if that is not known */
	struct xcap_made made;
	u64 room;           /* see xcap_scalar() */
	u32 user;           /* the hook is in a program */
	u32 faults;         /* reads of its memory that failed */
	u64 mbuf;           /* address of the packet's struct rte_mbuf */
	struct xcap_mbuf_layout layout;
	struct xcap_segment segment;
	struct xcap_frags frags;
	struct xcap_packet_event event; /* last: the packet's bytes follow in the program's scratch */
};
