/*
 * cache.h: the dependency cache, as far as the sandbox goes (features §2.6): which key, what belongs to it, packing and
 * unpacking. The archive travels through the agent, which asks the server (plan.h, "Cache").
 *
 * An archive is a tar of our own dialect (os/tar_stream.h) in zstd. Its names begin with "tree/" (the checkout) or "home/"
 * (the run's home), and each lies in one of the key's places. It comes from an earlier run of the same project, which
 * may have been anybody's, so it is unpacked with distrust:
 *
 *   - into a folder of its own in the tree and in the home, component by component, following no link; every file is new;
 *   - a name outside of the places, a link that leads out of the tree or the home (or, when absolute, not to the machine's
 *     programs), anything but files, folders and symbolic links: refused;
 *   - bounds on bytes, on their relation to what came, on entries and on depth;
 *   - only when all of it was good do the places move to where they belong, and never onto something that is there.
 *
 * Nothing here makes a run fail. What went wrong is a line in the log, and the run does without.
 */
#ifndef SLIPWAY_EXECUTOR_CACHE_H
#define SLIPWAY_EXECUTOR_CACHE_H

#include "executor/executor.h"

#define CACHE_PLACES_MAX 12
#define CACHE_KEY_MAX_BYTES 200
/* What an archive may become: half the disk of a hosted runner (features §1.5). */
#define CACHE_UNPACKED_MAX_BYTES (INT64_C(16) * 1024 * 1024 * 1024)
#define CACHE_ENTRIES_MAX 1000000
#define CACHE_DEPTH_MAX 100
/* Packages compress to a third or a tenth. Beyond this relation it is a bomb; small ones do not matter. */
#define CACHE_RATIO_MAX 200
#define CACHE_RATIO_FROM_BYTES (INT64_C(64) * 1024 * 1024)
/* Memory of the decoder, as a power of two. The packer needs less. */
#define CACHE_WINDOW_LOG 23

struct cache_choice {
	const char *said;	 /* why there is nothing to cache; NULL: there is */
	const char *manager;	 /* "npm" */
	const char *lock;	 /* name of the lock file within the tree */
	const char *key;	 /* "npm-<SHA-256>" */
	const char *tree, *home; /* the two roots; home may be NULL */
	const char *places[CACHE_PLACES_MAX + 1];
};

/* --- cache_key.c --- */
/* Errors are only those of reading. */
int cache_choose(const struct plan *plan, struct arena *a, struct cache_choice *ret, struct err *e);

/* --- cache_names.c --- */
/* The parts of a name: true when it lies in one of the places, and is clean. */
bool cache_name_ok(const char *const *places, const char *name);
/* Whether a link of that (clean) name may have that target. */
bool cache_target_ok(const char *name, const char *target);
/* A folder below `root`, step by step, following no link; missing ones are made when `make`. -1 with errno. */
int cache_open_folder(int root, const char *path, bool make);

/* --- cache_pack.c, cache_unpack.c: the bytes of the archive in pieces --- */
struct cache_report {
	int64_t bytes;	   /* of files */
	int64_t files;	   /* and links */
	int64_t left_out;  /* links that would not be taken back, and files that went while they were read */
	struct buf places; /* what was there: "tree/node_modules, home/.npm" */
};

/* Gives the archive to `sink` as it is made. */
typedef int (*cache_sink_fn)(void *arg, struct str bytes, struct err *e);
int cache_pack(const struct cache_choice *c, cache_sink_fn sink, void *arg, struct cache_report *ret, struct err *e);

struct cache_unpacker;
int cache_unpacker_new(const struct cache_choice *c, struct cache_unpacker **ret, struct err *e);
int cache_unpacker_push(struct cache_unpacker *u, struct str bytes, struct err *e);
/* The archive is complete: moves the places to where they belong. */
int cache_unpacker_finish(struct cache_unpacker *u, struct cache_report *ret, struct err *e);
/* Removes what is left of it. */
void cache_unpacker_free(struct cache_unpacker *u);

/* --- cache_steps.c: the insides of the two steps --- */
struct cache_restored {
	const char *asked;  /* the key of the run's beginning; NULL: none */
	const char *key;    /* NULL: nothing was restored */
	const char *places; /* "tree/node_modules, home/.npm" */
};
void cache_restore(struct channel *c, const struct plan *plan, struct arena *a, struct cache_restored *ret);
/* Only under the key `asked`: a lock file that was made or changed by the run itself is not what the next one begins with, and
 * what was installed after it does not belong to the one before. */
void cache_save(struct channel *c, const struct plan *plan, const char *asked, struct arena *a);

#endif
