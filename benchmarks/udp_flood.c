// SPDX-License-Identifier: Apache-2.0
// Sends UDP packets as fast as it can: udp_flood ADDRESS PORT COUNT PAYLOAD-BYTES.
// Prints how many were sent and the seconds it took.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, LARGEST = 65507 };

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	static char payload[LARGEST];
	struct mmsghdr messages[BATCH] = {0};
	struct iovec data = {.iov_base = payload};
	struct sockaddr_in to = {.sin_family = AF_INET};

	if (argc != 5 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
		fprintf(stderr, "usage: udp_flood ADDRESS PORT COUNT PAYLOAD-BYTES\n");
		return 2;
	}
	to.sin_port = htons(atoi(argv[2]));
	long count = atol(argv[3]), sent = 0;
	data.iov_len = atol(argv[4]);
	if (data.iov_len > LARGEST) {
		fprintf(stderr, "udp_flood: a payload has %d bytes at the most\n", LARGEST);
		return 2;
	}
	for (int i = 0; i < BATCH; i++) {
		messages[i].msg_hdr.msg_iov = &data;
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to))) {
		perror("udp_flood");
		return 1;
	}
	double start = now();
	while (sent < count) {
		long rest = count - sent;
		int done = sendmmsg(fd, messages, rest < BATCH ? rest : BATCH, 0);

		if (done > 0)
			sent += done;
		else if (errno != ENOBUFS && errno != EINTR && errno != ECONNREFUSED) {
			perror("udp_flood: sendmmsg");
			return 1;
		}
	}
	printf("%ld %.6f\n", sent, now() - start);
	return 0;
}
