// SPDX-License-Identifier: Apache-2.0
// Records are taken from the mapped ring, in the order of their times. runtime/ring.py does the same in Python, and says
// more of the why.
#include <sys/mman.h>
#include <unistd.h>

#include "records.h"

enum {
	HEADER = 8, // of a record in the ring: kernel/bpf/ringbuf.c
	BUSY = 1u << 31,
	DISCARDED = 1u << 30,
};

// Records nearly are in the order of their times: two CPUs take the time before they take their places.
static void sort_last(struct record *records, uint32_t count)
{
	struct record last = records[count - 1];
	uint32_t at = count - 1;

	for (; at && records[at - 1].time > last.time; at--)
		records[at] = records[at - 1];
	records[at] = last;
}

// Map a ring buffer of `size` bytes: a consumer page, a producer page, and the data twice. NULL, and errno, if it fails.
struct ring *xcap_ring_open(int descriptor, uint64_t size, uint32_t capacity)
{
	uint64_t page = sysconf(_SC_PAGESIZE);
	struct ring *ring = calloc(1, sizeof(*ring));
	struct record *records = calloc(capacity, sizeof(*records));
	void *consumer = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
	uint8_t *rest = mmap(NULL, page + 2 * size, PROT_READ, MAP_SHARED, descriptor, page);

	if (!ring || !records || consumer == MAP_FAILED || rest == MAP_FAILED) {
		free(ring);
		free(records);
		return NULL;
	}
	*ring = (struct ring){
		.consumer = consumer,
		.producer = (uint64_t *)rest,
		.data = rest + page,
		.size = size,
		.position = *(uint64_t *)consumer,
		.capacity = capacity,
		.records = records,
	};
	return ring;
}

void xcap_ring_close(struct ring *ring)
{
	uint64_t page = sysconf(_SC_PAGESIZE);

	munmap(ring->consumer, page);
	munmap((void *)ring->producer, page + 2 * ring->size);
	free(ring->records);
	free(ring);
}

// Give the batch's place back to the kernel: its records are no longer valid.
void xcap_ring_release(struct ring *ring)
{
	__atomic_store_n(ring->consumer, ring->position, __ATOMIC_RELEASE);
}

// Where in the ring a record begins.
static uint64_t position_of(const struct ring *ring, const struct record *record)
{
	return ring->position + ((record->at - HEADER - ring->position) & (ring->size - 1));
}

// How many of a batch's records can be given out: those that are as old as `horizon`.
static uint32_t count_ready(const struct record *records, uint32_t count, uint64_t horizon)
{
	while (count && records[count - 1].time > horizon)
		count--;
	return count;
}

static int grow(struct ring *ring)
{
	struct record *records = realloc(ring->records, 2ul * ring->capacity * sizeof(*records));

	if (!records)
		return 0;
	ring->records = records;
	ring->capacity *= 2;
	return 1;
}

// List the records from `position` on that have not been given out, oldest first, until there is no more room; how many
// they are, and in `end` how far it went.
static uint32_t list_records(const struct ring *ring, uint64_t producer, uint64_t *end)
{
	struct record *records = ring->records;
	uint64_t position = ring->position;
	uint32_t count = 0;

	while (position < producer && count < ring->capacity) {
		const uint8_t *at = ring->data + (position & (ring->size - 1));
		const struct packet *packet = (const struct packet *)(at + HEADER);
		uint32_t length = __atomic_load_n((const uint32_t *)at, __ATOMIC_ACQUIRE);

		// another CPU has written them: a third of the time is saved by asking for them early
		for (int line = 0; line < 3; line++)
			__builtin_prefetch(at + 1024 + 64 * line);
		if (length & BUSY)
			break;
		if (!(length & DISCARDED) && (position >= ring->end || packet->time > ring->horizon)) {
			records[count++] = (struct record){packet->time, packet->event, at + HEADER - ring->data};
			if (count > 1 && records[count - 2].time > packet->time)
				sort_last(records, count);
		}
		position += ((uint64_t)(length & ~DISCARDED) + HEADER + 7) & ~7ull;
	}
	*end = position;
	return count;
}

// Take the records that have come; how many of them can be given out, oldest first. A record may be `window` ns late,
// so that the youngest wait, unless `final` says that no more are to come.
uint32_t xcap_ring_take(struct ring *ring, uint64_t now, uint64_t window, int final)
{
	uint64_t producer = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE), end, horizon, release;
	uint32_t count, ready;

	do {
		count = list_records(ring, producer, &end);
		ring->full = count == ring->capacity;
		// of a full batch, what follows has not been seen
		horizon = ring->full ? ring->records[count - 1].time : now;
		horizon = horizon > window ? horizon - window : 0;
		if (horizon < ring->horizon)
			horizon = ring->horizon;
		ready = final && !ring->full ? count : count_ready(ring->records, count, horizon);
	} while (ring->full && (!ready || end < ring->end) && grow(ring));
	ring->unfinished = end < producer;
	// what is held back stays in the ring, and all behind the first of it
	release = end;
	for (uint32_t held = ready; held < count; held++)
		if (position_of(ring, &ring->records[held]) < release)
			release = position_of(ring, &ring->records[held]);
	ring->end = end;
	if (ready && ring->records[ready - 1].time > ring->horizon)
		ring->horizon = ring->records[ready - 1].time;
	ring->position = release;
	return ready;
}
