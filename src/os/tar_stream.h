/*
 * tar_stream.h: trees in tar's format, as a stream of bytes in any pieces, for archives that a stranger may have written.
 *
 * Ustar headers; names and link targets beyond 100 bytes are in a pax record before the entry. What is written here,
 * `tar -x` unpacks; what is read here was written here, so everything else that tar knows (hard links, devices, pipes,
 * sparse files, extensions of GNU, further pax records, owners, set-user-id) is refused by name. Nothing is ever skipped: an
 * entry that is not understood is the end.
 *
 * The reader checks form alone: where a name leads and whether a target is acceptable is for the sink to judge. Names
 * come to it as they stand, but never empty and never with a NUL byte. No allocation; one thread at a time.
 */
#ifndef SLIPWAY_OS_TAR_STREAM_H
#define SLIPWAY_OS_TAR_STREAM_H

#include <stdint.h>

#include "base/str.h"

#define TAR_STREAM_BLOCK 512
#define TAR_STREAM_NAME_MAX 4095

enum tar_kind {
	TAR_FILE = '0',
	TAR_SYMLINK = '2',
	TAR_FOLDER = '5',
};

struct tar_item {
	enum tar_kind kind;
	const char *name;
	const char *target; /* of a symbolic link, else "" */
	bool executable;
	int64_t size; /* of a file, else 0 */
	int64_t mtime_s;
};

/* Appends the header (and the pax record that it needs). The file's bytes follow, and then tar_stream_pad. */
void tar_stream_put(struct buf *out, const struct tar_item *item);
void tar_stream_pad(struct buf *out, int64_t size);
void tar_stream_finish(struct buf *out);

/* A negative result stops, and is handed on. `item` and its strings are gone after the call. */
struct tar_sink {
	int (*begin)(void *arg, const struct tar_item *item, struct err *e);
	int (*data)(void *arg, struct str bytes, struct err *e);
	int (*end)(void *arg, struct err *e);
	void *arg;
};

struct tar_stream {
	const struct tar_sink *sink;
	enum { TAR_AT_HEADER, TAR_AT_PAX, TAR_AT_DATA, TAR_AT_PAD, TAR_AT_END } state;
	char block[TAR_STREAM_BLOCK];
	size_t have;	 /* of the block, or of the pax text */
	int64_t left;	 /* bytes of the present part */
	size_t pad;	 /* bytes behind it */
	int zero_blocks; /* two of them are the end */
	bool after_pax, in_file;
	char pax[3 * TAR_STREAM_NAME_MAX];
	char name[TAR_STREAM_NAME_MAX + 1];
	char target[TAR_STREAM_NAME_MAX + 1];
};

void tar_stream_init(struct tar_stream *t, const struct tar_sink *sink);
/* ERR_BAD_REQUEST: not an archive of ours. After an error nothing more may be pushed. */
int tar_stream_push(struct tar_stream *t, struct str bytes, struct err *e);
/* Whether it came to its end. */
int tar_stream_end(const struct tar_stream *t, struct err *e);

#endif
