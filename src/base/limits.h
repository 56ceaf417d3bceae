/*
 * limits.h: every maximum in Slipway, each with its reason.
 */
#ifndef SLIPWAY_BASE_LIMITS_H
#define SLIPWAY_BASE_LIMITS_H

#include <stddef.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

/* A request's arena: decoded bodies of the largest kind (a 512 MiB import is a span over the spool, not a copy). */
#define ARENA_MAX_BYTES (1024 * MIB)
/* Bodies up to this size are read in one hop, before authentication (architecture §4). */
#define HTTP_SMALL_BODY_BYTES (64 * KIB)
/* Bodies of ordinary JSON requests. */
#define HTTP_JSON_BODY_BYTES (1 * MIB)
/* Batches: journal entries, events, encrypt and decrypt. The CLI splits journal batches on 413. */
#define HTTP_BATCH_BODY_BYTES (64 * MIB)
/* Checkpoints, imports: after inflating as well. */
#define HTTP_DOCUMENT_BODY_BYTES (512 * MIB)
/* A refused body is read to its end up to this, so that the client sees the 413. */
#define HTTP_DRAIN_BYTES (64 * MIB)
/* Up to this a spooled body stays in memory, beyond it goes to an unlinked file. */
#define HTTP_SPOOL_MEMORY_BYTES (1 * MIB)
/* The same for what a body inflates to: held until the answer is on its way. Pages of a file cost several times as much
 * processor time as memory, and a batch of events of an ordinary update is larger than the limit above. */
#define HTTP_INFLATED_MEMORY_BYTES (4 * MIB)
/* An archive of the dependency cache, unless --cache-entry-limit says otherwise; it lies in a file. */
#define CACHE_ENTRY_BYTES (5 * 1024 * MIB)
/* Answers built in memory. */
#define HTTP_RESPONSE_BYTES (1024 * MIB)
/* One append of log lines by a runner. */
#define LOG_APPEND_BYTES (8 * MIB)
/* A longer line is cut into several. */
#define LOG_LINE_BYTES (1 * MIB)
/* Compressed documents above this lie in the blob store, below it in the row: there one sync makes them durable instead of
 * three, and no hash is computed to read them. Above it the write into the log and once more into the database costs more
 * than that. */
#define BLOB_INLINE_BYTES (256 * KIB)

#endif
