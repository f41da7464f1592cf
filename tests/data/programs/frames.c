/* Passes the packets of a file through functions, as programs do that have a network stack of their own. The file has
 * records: the length, 4 bytes as they lie in memory, and the packet. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define APART __attribute__((noinline, noclone))
#define PAGE 4096

static volatile unsigned sum;

/* A static probe as <sys/sdt.h> makes them: https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation */
#define PROBE(name, semaphore, places, ...)                                                              \
	asm volatile("990: nop\n"                                                                            \
		     ".pushsection .note.stapsdt,\"\",\"note\"\n"                                               \
		     ".balign 4\n.4byte 992f-991f,994f-993f,3\n991: .asciz \"stapsdt\"\n992: .balign 4\n"       \
		     "993: .8byte 990b\n.8byte 0\n.8byte " semaphore "\n"                                        \
		     ".asciz \"frames\"\n.asciz \"" name "\"\n.asciz \"" places "\"\n994: .balign 4\n"          \
		     ".popsection\n" ::__VA_ARGS__)

volatile unsigned short frames_frame_semaphore __attribute__((section(".probes"), used));

APART void greet(const char *name)
{
	sum += name[0];
}

APART void stage_one(const uint8_t *packet, uint32_t length)
{
	sum += packet[0] + length;
}

APART void stage_two(const uint8_t *packet, uint32_t length)
{
	sum += packet[1] + length;
}

APART void process_frame(const uint8_t *packet, uint32_t length)
{
	uint32_t lengths[2] = {1, length};
	int16_t negative = -7;

	asm volatile("" : "+m"(lengths));
	if (frames_frame_semaphore)
		PROBE("frame", "frames_frame_semaphore", "8@%0 4@4(%1) -2@%w2 -4@$-5", "r"(packet), "r"(lengths), "r"(negative));
	stage_one(packet, length);
	stage_two(packet, length);
	sum++;
}

APART void process_edge(const uint8_t *packet, uint32_t length)
{
	sum += (uintptr_t)packet + length;
}

APART long receive_frame(uint8_t *room, size_t size, FILE *from)
{
	uint32_t length;

	if (fread(&length, sizeof(length), 1, from) != 1 || length > size)
		return -1;
	return fread(room, 1, length, from);
}

/* The packet lies at the end of the last page that there is, so that only its first `there` bytes can be read. */
static void at_the_edge(const uint8_t *packet, uint32_t length, uint32_t there)
{
	uint8_t *pages = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	munmap(pages + 7 * PAGE, PAGE);
	memcpy(pages + 7 * PAGE - there, packet, there);
	process_edge(pages + 7 * PAGE - there, length);
}

int main(int count, char **words)
{
	static uint8_t room[65536];
	FILE *from = fopen(words[1], "rb");
	long length;

	if (!from)
		return 1;
	printf("%d\n", getpid());
	greet("good morning");
	while ((length = receive_frame(room, sizeof(room), from)) >= 0) {
		process_frame(room, length);
		if (count > 2)
			at_the_edge(room, length, atoi(words[2]));
	}
	return 0;
}
