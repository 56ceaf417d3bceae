/* internal.h: what the files of the blob store share. No other room includes it. */
#ifndef SLIPWAY_BLOB_INTERNAL_H
#define SLIPWAY_BLOB_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "blob/blob.h"

#define BLOB_FOLDERS 65536
/* "ab/cd" */
#define FOLDER_PATH_SIZE 6
#define PATH_SIZE (FOLDER_PATH_SIZE + BLOB_KEY_SIZE)

struct blob_store {
	int fd; /* of the directory */
	atomic_ulong next_tmp;
	/* Folders that are known to be on disk, a bit each. */
	atomic_uchar durable[BLOB_FOLDERS / 8];
	pthread_mutex_t age_lock; /* between "it is there already" and "it is old" */
	pthread_mutex_t hold_lock;
	int holders;
	char (*waiting)[BLOB_KEY_SIZE]; /* deleted while held */
	size_t waiting_count, waiting_cap;
};

/* -1 if it is no lower-case hex digit. */
int blob_hex_value(char c);
/* False if it is no key: a path is made of nothing else. */
bool blob_path_of(const char *key, char ret[PATH_SIZE]);
int blob_make_folder(struct blob_store *s, const char *path, struct err *e);
int blob_sync_folder(struct blob_store *s, const char *path, struct err *e);

#endif
