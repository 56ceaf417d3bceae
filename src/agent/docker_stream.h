/*
 * docker_stream.h: between the connection that a container is attached to and the pipes that job_run.c knows. A thread of
 * its own takes apart what comes (standard output: frames; standard error: words), passes the control on, and never reads
 * more than it can hand on, so that a slow server slows the program down.
 */
#ifndef SLIPWAY_AGENT_DOCKER_STREAM_H
#define SLIPWAY_AGENT_DOCKER_STREAM_H

#include "base/str.h"

struct docker_stream;

struct docker_stream_pipes {
	int frame_fd;	/* what the container prints goes here; -1: nowhere */
	int said_fd;	/* and what it prints to standard error; -1: nowhere */
	int control_fd; /* what is read here goes to its standard input; its end ends that; -1: none */
};

/* Takes over `fd`; the pipes are duplicated. */
int docker_stream_start(int fd, const struct docker_stream_pipes *pipes, struct docker_stream **ret, struct err *e);
/* Ends it, whatever it does; NULL is fine. */
void docker_stream_stop(struct docker_stream *s);

/* For tests: the next piece of what came. 1: *ret_kind (1 output, 2 errors) and *ret_piece are set and `bytes` is moved
 * behind it; 0: nothing left of it; else an error. */
struct docker_demux {
	unsigned char head[8];
	size_t have;
	size_t left; /* of the payload */
};
int docker_demux(struct docker_demux *d, struct str *bytes, int *ret_kind, struct str *ret_piece, struct err *e);

#endif
