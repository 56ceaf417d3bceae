/*
 * backup.h: one file with everything that a server keeps, and a data directory made of it again.
 *
 * The file is a tar archive: slipway-backup.json (format, version, time, length and SHA-256 of the database), slipway.db,
 * master.key, blobs/.... The database in it is one moment of the running one; blobs that it names are not removed while
 * they are being copied. It holds the master key: 0600, and to be kept like one.
 *
 * To change the format: raise BACKUP_FORMAT, go on reading the older ones.
 */
#ifndef SLIPWAY_SERVER_BACKUP_H
#define SLIPWAY_SERVER_BACKUP_H

#include "identity/app.h"

#define BACKUP_FORMAT 1

struct backup {
	int64_t bytes; /* of the file */
	int64_t blobs;
};
/* `file` is absolute. It appears whole or not at all; ERR_CONFLICT if it is there already. */
int backup_write(struct app *app, const char *file, struct backup *ret, struct err *e);

/* Into a directory that is empty or not there. On an error what was written is removed. */
int backup_restore(const char *file, const char *data, struct backup *ret, struct err *e);

#endif
