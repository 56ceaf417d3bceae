/*
 * relay.h: connections over a stream. One side listens where a run can reach it, the other dials a fixed address; what
 * passes between is on one pair of descriptors that both have: the standard input and output of a program in a container.
 * So a run reaches a server that only its runner can, through an engine on whatever machine, and nothing else.
 *
 * Both sides are of one version. A frame is a type, a zero, the connection's number (2 bytes) and the payload's length (4
 * bytes), little-endian, and the payload:
 *
 *	R  the listening side listens; the first frame
 *	O  a connection was accepted
 *	D  bytes of it, at most RELAY_CHUNK_BYTES
 *	E  no more bytes will come from here
 *	X  it is over, in both directions; its number may be used again when both have said so
 *	W  so many bytes (4) of it were taken: as many may be sent again
 *
 * Neither side sends more than RELAY_WINDOW_BYTES that the other has not taken, so one connection that stands still does
 * not hold up the others, and what either side keeps in memory is bounded.
 */
#ifndef SLIPWAY_OS_RELAY_H
#define SLIPWAY_OS_RELAY_H

#include <sys/socket.h>

#include "base/str.h"

#define RELAY_HEADER_BYTES 8
#define RELAY_CHUNK_BYTES ((size_t)16 * 1024)
#define RELAY_WINDOW_BYTES ((size_t)256 * 1024)
#define RELAY_CONNECTIONS_MAX 128

struct relay_config {
	int in_fd, out_fd; /* the stream; made non-blocking */
	int listen_fd;	   /* -1: this is the side that dials */
	struct sockaddr_storage to;
	socklen_t to_size;
	int stop_fd; /* ends it when it becomes readable; -1: none */
};

/* Runs until the stream ends, or it is stopped: 0. ERR_BAD_REQUEST: the other side does not keep to the rules. */
int relay_run(const struct relay_config *config, struct err *e);

#endif
