// SPDX-License-Identifier: Apache-2.0
// The last packets are kept in memory until they are wanted. sinks/recorder.py does the same in Python.
#include "records.h"

struct kept {
	uint64_t time;
	uint32_t event, size, capacity;
	uint8_t *record;
};

// The next one goes to the place of `count`, modulo `limit`. Until `open_until` nothing is kept: it is written at once.
struct keeper {
	uint64_t count, limit, open_until;
	struct kept *places;
};

struct keeper *xcap_keeper_new(uint64_t limit)
{
	struct keeper *keeper = calloc(1, sizeof(*keeper));
	struct kept *places = calloc(limit, sizeof(*places));

	if (!keeper || !places) {
		free(keeper);
		free(places);
		return NULL;
	}
	*keeper = (struct keeper){.limit = limit, .places = places};
	return keeper;
}

void xcap_keeper_free(struct keeper *keeper)
{
	for (uint64_t i = 0; i < keeper->limit && keeper->places[i].record; i++)
		free(keeper->places[i].record);
	free(keeper->places);
	free(keeper);
}

int xcap_keep(struct keeper *keeper, const struct packet *packet, uint64_t time)
{
	struct kept *place = &keeper->places[keeper->count % keeper->limit];
	uint32_t size = sizeof(*packet) + packet->cap_len;

	if (time < keeper->open_until)
		return 0;
	if (place->capacity < size) {
		uint8_t *record = realloc(place->record, size);

		if (!record)
			return 0;
		place->record = record;
		place->capacity = size;
	}
	memcpy(place->record, packet, size);
	place->time = time;
	place->event = packet->event;
	place->size = size;
	keeper->count++;
	return 1;
}
