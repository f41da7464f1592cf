// SPDX-License-Identifier: Apache-2.0
// Packets of known kinds become Enhanced Packet Blocks (draft-ietf-opsawg-pcapng, section 4.3) in a buffer, or records of
// pcap-savefile(5). sinks/pcapng.py and sinks/pcap.py do the same in Python, and make the kinds known.
#include "records.h"

enum {
	KINDS = 4096, // a power of two; half of them are used at the most
	ENHANCED_PACKET = 6,
	END_OF_OPTIONS = 4,
	// options of a packet
	HASH = 3,
	TOEPLITZ = 5,
	DROPCOUNT = 4,
	QUEUE = 6,
	DEVICE_HASH = 128, // in a packet's flags
	LINK_RAW = 101,
	ETHERNET = 14, // bytes of its header, which all packets of a pcap file begin with
	SECOND = 1000000000,
};

struct kind {
	uint64_t key[KIND_SIZE / 8];
	uint32_t event, interface, size;
	uint8_t *options; // NULL in a free place
};

// A file's blocks that are not written yet. It is to be cut when it has more than `size_limit` bytes, and at the time
// `time_limit`.
struct writer {
	uint8_t *buffer;
	uint64_t size, capacity;
	uint64_t file_size, packets;
	uint64_t size_limit, time_limit;
	uint32_t known, pcap; // whether the file is pcap, and not pcapng
	struct kind *last;
	struct kind kinds[KINDS];
};

// The options of a kind begin with the structured one, which has `changing` and the CPU at these places.
enum { CHANGING_AT = 16, CPU_AT = 28 };

struct head {
	uint32_t type, total, interface, time_high, time_low, captured, original;
};

uint32_t xcap_packet_size(void)
{
	return sizeof(struct packet);
}

struct writer *xcap_writer_new(uint64_t capacity, int pcap)
{
	struct writer *writer = calloc(1, sizeof(*writer));
	uint8_t *buffer = malloc(capacity);

	if (!writer || !buffer) {
		free(writer);
		free(buffer);
		return NULL;
	}
	*writer = (struct writer){.buffer = buffer, .capacity = capacity, .pcap = pcap};
	return writer;
}

void xcap_writer_forget(struct writer *writer)
{
	for (int i = 0; i < KINDS; i++) {
		free(writer->kinds[i].options);
		writer->kinds[i].options = NULL;
	}
	writer->known = 0;
	writer->last = NULL;
}

void xcap_writer_free(struct writer *writer)
{
	xcap_writer_forget(writer);
	free(writer->buffer);
	free(writer);
}

// The place of a kind, or the free one where it belongs.
static struct kind *find(struct writer *writer, uint32_t event, const uint64_t *key)
{
	uint64_t hash = event;

	for (int i = 0; i < KIND_SIZE / 8; i++)
		hash = (hash ^ key[i]) * 0x9e3779b97f4a7c15ull;
	for (uint32_t at = hash >> 52;; at = (at + 1) % KINDS) {
		struct kind *kind = &writer->kinds[at];

		if (!kind->options || (kind->event == event && !memcmp(kind->key, key, KIND_SIZE)))
			return kind;
	}
}

// From now on packets of this kind are written here. 0 if there is no memory for it.
int xcap_writer_learn(struct writer *writer, uint32_t event, const uint64_t *key, uint32_t interface,
		      const uint8_t *options, uint32_t size)
{
	uint8_t *copy = malloc(size);
	struct kind *kind;

	if (!copy)
		return 0;
	if (writer->known >= KINDS / 2)
		xcap_writer_forget(writer);
	kind = find(writer, event, key);
	writer->known += !kind->options;
	free(kind->options);
	memcpy(copy, options, size);
	*kind = (struct kind){.event = event, .interface = interface, .size = size, .options = copy};
	memcpy(kind->key, key, KIND_SIZE);
	return 1;
}

// Blocks made elsewhere, behind those that are here. 0 if there is no room.
int xcap_writer_put(struct writer *writer, const uint8_t *blocks, uint64_t size)
{
	if (size > writer->capacity - writer->size)
		return 0;
	memcpy(writer->buffer + writer->size, blocks, size);
	writer->size += size;
	writer->file_size += size;
	return 1;
}

static uint8_t *put_option(uint8_t *to, uint16_t code, const void *value, uint16_t size)
{
	memcpy(to, &code, 2);
	memcpy(to + 2, &size, 2);
	memset(to + 4 + (size & ~3), 0, 4);
	memcpy(to + 4, value, size);
	return to + 4 + ((size + 3) & ~3);
}

static void put_block(struct writer *writer, const struct kind *kind, const struct packet *packet, uint64_t time)
{
	uint8_t *start = writer->buffer + writer->size, *to = start + sizeof(struct head), *options;
	uint32_t total;

	memcpy(to, packet + 1, packet->cap_len);
	to += packet->cap_len;
	memset(to, 0, 3);
	to += -packet->cap_len & 3;
	options = to;
	memcpy(options, kind->options, kind->size);
	memcpy(options + CHANGING_AT, &packet->changing, sizeof(packet->changing));
	memcpy(options + CPU_AT, &packet->cpu, sizeof(packet->cpu));
	to += kind->size;
	if (packet->changing.queue) {
		uint32_t queue = packet->changing.queue - 1;

		to = put_option(to, QUEUE, &queue, sizeof(queue));
	}
	if (packet->flags & DEVICE_HASH) {
		uint8_t hash[5] = {TOEPLITZ};

		memcpy(hash + 1, &packet->changing.hash, sizeof(packet->changing.hash));
		to = put_option(to, HASH, hash, sizeof(hash));
	}
	if (packet->dropped) {
		uint64_t dropped = packet->dropped;

		to = put_option(to, DROPCOUNT, &dropped, sizeof(dropped));
	}
	memset(to, 0, END_OF_OPTIONS);
	to += END_OF_OPTIONS;
	total = to + sizeof(total) - start;
	memcpy(to, &total, sizeof(total));
	*(struct head *)start = (struct head){
		ENHANCED_PACKET, total, kind->interface, time >> 32, time, packet->cap_len, packet->wire_len,
	};
	writer->size += total;
	writer->file_size += total;
	writer->packets++;
}

static void put_pcap_record(struct writer *writer, const struct packet *packet, uint64_t time)
{
	const uint8_t *data = (const uint8_t *)(packet + 1);
	uint32_t before = packet->link == LINK_RAW && packet->cap_len ? ETHERNET : 0;
	uint32_t head[] = {time / SECOND, time % SECOND, packet->cap_len + before, packet->wire_len + before};
	uint8_t *to = writer->buffer + writer->size;

	memcpy(to, head, sizeof(head));
	to += sizeof(head);
	if (before) {
		memset(to, 0, ETHERNET);
		memcpy(to + ETHERNET - 2, data[0] >> 4 == 6 ? "\x86\xdd" : "\x08\x00", 2);
	}
	memcpy(to + before, data, packet->cap_len);
	writer->size += sizeof(head) + head[2];
	writer->file_size += sizeof(head) + head[2];
	writer->packets++;
}

enum { MOST_BESIDE = sizeof(struct head) + 3 + 8 + 12 + 12 + END_OF_OPTIONS + 4 + 4 };

// Write or keep the records from `from` on, until one is for neither, or not without help: its number, or `to`. `writers`
// and `keepers` are by event; `offset` makes wall-clock time of theirs.
uint32_t xcap_write(const struct ring *ring, uint32_t from, uint32_t to, uint64_t offset, struct writer *const *writers,
		    struct keeper *const *keepers)
{
	for (; from < to; from++) {
		const struct record *record = &ring->records[from];
		const struct packet *packet = (const struct packet *)(ring->data + record->at);
		struct writer *writer = writers[record->event];
		uint64_t time = record->time + offset;
		struct kind *kind;

		if (keepers[record->event]) {
			if (!xcap_keep(keepers[record->event], packet, time))
				break;
			continue;
		}
		if (!writer || time >= writer->time_limit || writer->file_size > writer->size_limit)
			break;
		if (writer->pcap) {
			if (writer->capacity - writer->size < (uint64_t)packet->cap_len + MOST_BESIDE)
				break;
			put_pcap_record(writer, packet, time);
			continue;
		}
		kind = writer->last;
		if (!kind || kind->event != record->event || memcmp(kind->key, packet->kind, KIND_SIZE)) {
			kind = find(writer, record->event, packet->kind);
			if (!kind->options)
				break;
			writer->last = kind;
		}
		if (writer->capacity - writer->size < (uint64_t)packet->cap_len + kind->size + MOST_BESIDE)
			break;
		put_block(writer, kind, packet, time);
	}
	return from;
}
