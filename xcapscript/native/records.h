// SPDX-License-Identifier: Apache-2.0
// A record as the kernel sends it, and the ring that it comes in.
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { KIND_SIZE = 64 };

// struct xcap_packet_event of the generated C: layout.PACKET. `kind` is what packets alike have in common.
struct packet {
	uint32_t event, cpu;
	uint64_t time;
	uint32_t wire_len, cap_len, dropped;
	struct changing {
		uint32_t hash;
		uint16_t gso_size, gso_segs, queue, zero;
	} changing;
	union {
		uint64_t kind[KIND_SIZE / 8];
		struct {
			uint32_t ifindex, netns, reason, pid, tid;
			uint16_t link, flags;
		};
	};
};

struct record {
	uint64_t time;
	uint32_t event;
	uint32_t at; // offset of its bytes in the ring's data
};

// Where a ring is mapped, and how far it has been read; positions only grow, as the kernel's own do.
struct ring {
	uint64_t *consumer;
	const uint64_t *producer;
	const uint8_t *data;
	uint64_t size;
	uint64_t position; // all before has been given out
	uint64_t end;      // all before has been looked at; of what lies between, what is no later than `horizon` was given out
	uint64_t horizon;  // their latest time
	uint32_t unfinished, full;
	uint32_t capacity; // of records
	struct record *records;
};

struct keeper;

// Keep a packet that was seen at `time`, ns since 1970, in place of the oldest. 0 if it is not to be kept, or cannot be.
int xcap_keep(struct keeper *keeper, const struct packet *packet, uint64_t time);
