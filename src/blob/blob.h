/*
 * blob.h: large objects in a directory (an S3-compatible store comes later behind the same functions).
 *
 * A blob never changes. Its key is the lower-case hex SHA-256 of its content, so that writing it twice is harmless.
 * blob_put is durable when it returns: temporary name, fsync, rename, fsync of the directory. Thread-safe.
 */
#ifndef SLIPWAY_BLOB_BLOB_H
#define SLIPWAY_BLOB_BLOB_H

#include "base/str.h"

#define BLOB_KEY_SIZE 65

struct blob_store;

/* Where unlinked files have to lie that blob_put_file takes without copying them: below the store's folder. */
#define BLOB_SPOOL "tmp"

int blob_open(const char *dir, struct blob_store **ret, struct err *e);
void blob_close(struct blob_store *s);
int blob_put(struct blob_store *s, struct str content, char ret_key[BLOB_KEY_SIZE], struct err *e);
/* The content of a whole file, which is linked into the store where it can be (one of BLOB_SPOOL), else copied. It
 * must not be written to afterwards. */
int blob_put_file(struct blob_store *s, int fd, char ret_key[BLOB_KEY_SIZE], struct err *e);
/* Writes as blob_put does, and forgets it: whether the store can be written. */
int blob_probe(struct blob_store *s, struct err *e);
/* The content, read into the arena. ERR_NOT_FOUND when there is none; ERR_IO when the hash does not match. */
int blob_get(struct blob_store *s, const char *key, struct arena *a, struct str *ret, struct err *e);
/* To read from; nothing of it has been compared with the hash (blob_check does that). ERR_NOT_FOUND when there is none. */
int blob_open_file(struct blob_store *s, const char *key, int *ret_fd, int64_t *ret_bytes, struct err *e);
/* ERR_NOT_FOUND, or ERR_IO when the hash does not match; reads it in pieces. */
int blob_check(struct blob_store *s, const char *key, struct err *e);
/* Removing what is not there is no error. */
int blob_delete(struct blob_store *s, const char *key, struct err *e);
/* Until blob_release, what is deleted stays where it is; it goes then. For a backup, whose copy of the database still
 * names what is being removed. May be held by several. */
void blob_hold(struct blob_store *s);
void blob_release(struct blob_store *s);
/* A part of the store by the first byte of the keys (0 to 255): those that were written before before_us, by the wall
 * clock, in no order. */
int blob_older(struct blob_store *s, unsigned first_byte, int64_t before_us, struct arena *a, const char ***ret_keys,
	       size_t *ret_count, struct err *e);
/* The first bytes of the content, up to n; *ret_n 0: there is no such blob. Nothing is compared with the hash. */
int blob_head(struct blob_store *s, const char *key, char *buf, size_t n, size_t *ret_n, struct err *e);
/* Removes it if it was written before before_us and is not held: a blob_put of the same content meanwhile has made it young
 * again, and it stays. *ret_bytes: its size; 0: it stays. */
int blob_delete_older(struct blob_store *s, const char *key, int64_t before_us, int64_t *ret_bytes, struct err *e);
/* Calls fn for every key, in no order; a negative return stops. What comes or goes meanwhile may be seen or not. */
typedef int (*blob_each_fn)(void *arg, const char *key, struct err *e);
int blob_each(struct blob_store *s, blob_each_fn fn, void *arg, struct err *e);

#endif
