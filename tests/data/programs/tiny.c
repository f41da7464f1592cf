/* What tests/data/programs/tiny is made of, so that attach points can be resolved where there is no compiler:
 *   cc -O2 -nostdlib -static -fno-asynchronous-unwind-tables -Wl,--build-id=none,-z,noseparate-code -o tiny tiny.c
 *   strip -o bare tiny
 * It is not run. */
#define APART __attribute__((noinline, noclone))

static volatile unsigned sum;

/* A static probe as <sys/sdt.h> makes them: https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation */
#define PROBE(name, semaphore, places, ...)                                                        \
	asm volatile("990: nop\n"                                                                      \
	             ".pushsection .note.stapsdt,\"\",\"note\"\n"                                      \
	             ".balign 4\n.4byte 992f-991f,994f-993f,3\n991: .asciz \"stapsdt\"\n992: .balign 4\n" \
	             "993: .8byte 990b\n.8byte 0\n.8byte " semaphore "\n"                              \
	             ".asciz \"tiny\"\n.asciz \"" name "\"\n.asciz \"" places "\"\n994: .balign 4\n"   \
	             ".popsection\n" ::__VA_ARGS__)

unsigned short tiny_frame_semaphore __attribute__((section(".probes"), used));

APART void stage_one(const unsigned char *packet, unsigned length)
{
	sum += packet[0] + length;
}

APART void stage_two(const unsigned char *packet, unsigned length)
{
	PROBE("done", "0", "8@%0 -4@$5", "r"(packet));
	sum += packet[1] + length;
}

APART void process_frame(const unsigned char *packet, unsigned length)
{
	PROBE("frame", "tiny_frame_semaphore", "8@%0 4@%1", "r"(packet), "r"(length));
	stage_one(packet, length);
	stage_two(packet, length);
	sum++;
}

APART long receive_frame(unsigned char *packet, unsigned long size)
{
	packet[0] = sum;
	return size;
}

void _start(void)
{
	static unsigned char packet[64];

	process_frame(packet, receive_frame(packet, sizeof(packet)));
	for (;;)
		sum++;
}
