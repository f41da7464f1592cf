// SPDX-License-Identifier: Apache-2.0
// Sends UDP packets as fast as it can: udp_flood [OPTION...] ADDRESS PORT COUNT PAYLOAD-BYTES.
// -c CPU keeps it on one CPU; -p PORTS takes that many ports in turn, from PORT on; -r RATE sends so many a second;
// -t SECONDS ends it early; -n numbers the packets: a payload begins with 8 bytes, the highest first, that count from 0.
// Prints how many were sent, the seconds it took, and its CPU time in seconds.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, LARGEST = 65507, PORTS = 10000 };

static char payload[LARGEST];
static struct sockaddr_in to[PORTS];

static double now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void stay_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set)) {
		perror("udp_flood: sched_setaffinity");
		exit(1);
	}
}

static void sleep_until(double when)
{
	double rest = when - now(CLOCK_MONOTONIC);

	if (rest > 0)
		usleep(rest * 1e6);
}

struct wanted {
	long count, size;
	int ports;
	double rate, seconds;
	bool numbered;
};

// What differs between messages. A socket that is connected is cheaper, but has one port only.
static void fill(const struct wanted *wanted, long sent, struct mmsghdr *messages, uint64_t *numbers)
{
	for (int i = 0; i < BATCH; i++) {
		numbers[i] = htobe64(sent + i);
		if (wanted->ports > 1) {
			messages[i].msg_hdr.msg_name = &to[(sent + i) % wanted->ports];
			messages[i].msg_hdr.msg_namelen = sizeof(to[0]);
		}
	}
}

static long flood(int fd, const struct wanted *wanted, double start)
{
	uint64_t numbers[BATCH];
	struct iovec data[BATCH][2];
	struct mmsghdr messages[BATCH] = {0};
	long sent = 0;

	for (int i = 0; i < BATCH; i++) {
		size_t number = wanted->numbered ? sizeof(numbers[i]) : 0;

		data[i][0] = (struct iovec){.iov_base = &numbers[i], .iov_len = number};
		data[i][1] = (struct iovec){.iov_base = payload, .iov_len = wanted->size - number};
		messages[i].msg_hdr.msg_iov = &data[i][wanted->numbered ? 0 : 1];
		messages[i].msg_hdr.msg_iovlen = wanted->numbered ? 2 : 1;
	}
	while (sent < wanted->count && (!wanted->seconds || now(CLOCK_MONOTONIC) < start + wanted->seconds)) {
		long rest = wanted->count - sent;

		fill(wanted, sent, messages, numbers);
		int done = sendmmsg(fd, messages, rest < BATCH ? rest : BATCH, 0);

		if (done > 0) {
			sent += done;
		} else if (errno != ENOBUFS && errno != EINTR && errno != ECONNREFUSED) {
			perror("udp_flood: sendmmsg");
			exit(1);
		}
		if (wanted->rate)
			sleep_until(start + sent / wanted->rate);
	}
	return sent;
}

static int usage(void)
{
	fprintf(stderr, "usage: udp_flood [-c CPU] [-p PORTS] [-r RATE] [-t SECONDS] [-n] ADDRESS PORT COUNT PAYLOAD-BYTES\n"
			"at most %d ports and %d bytes\n", PORTS, LARGEST);
	return 2;
}

static int run(const struct wanted *wanted)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0 || (wanted->ports == 1 && connect(fd, (struct sockaddr *)&to[0], sizeof(to[0])))) {
		perror("udp_flood");
		return 1;
	}
	double start = now(CLOCK_MONOTONIC), used = now(CLOCK_PROCESS_CPUTIME_ID);
	long sent = flood(fd, wanted, start);

	printf("%ld %.6f %.6f\n", sent, now(CLOCK_MONOTONIC) - start, now(CLOCK_PROCESS_CPUTIME_ID) - used);
	return 0;
}

int main(int argc, char **argv)
{
	struct wanted wanted = {.ports = 1};
	int option;

	while ((option = getopt(argc, argv, "c:p:r:t:n")) != -1) {
		switch (option) {
		case 'c':
			stay_on(atoi(optarg));
			break;
		case 'p':
			wanted.ports = atoi(optarg);
			break;
		case 'r':
			wanted.rate = atof(optarg);
			break;
		case 't':
			wanted.seconds = atof(optarg);
			break;
		case 'n':
			wanted.numbered = true;
			break;
		default:
			return usage();
		}
	}
	argv += optind;
	if (argc - optind != 4 || wanted.ports < 1 || wanted.ports > PORTS)
		return usage();
	wanted.count = atol(argv[2]);
	wanted.size = atol(argv[3]);
	if (wanted.size < (wanted.numbered ? 8 : 0) || wanted.size > LARGEST)
		return usage();
	for (int i = 0; i < wanted.ports; i++) {
		to[i].sin_family = AF_INET;
		to[i].sin_port = htons(atoi(argv[1]) + i);
		if (inet_pton(AF_INET, argv[0], &to[i].sin_addr) != 1)
			return usage();
	}
	return run(&wanted);
}
