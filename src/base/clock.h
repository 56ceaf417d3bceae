/*
 * clock.h: the time, which tests can set.
 *
 * Wall time is integer microseconds since 1970 UTC. A build with -Dtest_clock=true adds the number of seconds in
 * the file named by the environment variable SLIPWAY_TEST_CLOCK, read anew at each call (an mtime is too coarse to
 * tell two quick writes apart). A file that is missing, empty or no number leaves the last offset in force, so that
 * a writer who truncates first does not make the clock jump back. Any thread.
 */
#ifndef SLIPWAY_BASE_CLOCK_H
#define SLIPWAY_BASE_CLOCK_H

#include <stdint.h>

#include "base/str.h"

#define US_PER_MS INT64_C(1000)
#define US_PER_S INT64_C(1000000)
#define US_PER_MINUTE (60 * US_PER_S)
#define US_PER_HOUR (60 * US_PER_MINUTE)
#define US_PER_DAY (24 * US_PER_HOUR)

int64_t clock_now_us(void);
/* Monotonic, never set by tests: for time-outs and durations within the process. */
int64_t clock_mono_us(void);
/* For unit tests: the offset is added to clock_now_us. */
void clock_set_offset_us(int64_t offset_us);
/* What clock_now_us adds at present: a sleeper who sees it change computes his deadline anew. Always 0 in builds
 * without the test clock, unless clock_set_offset_us was called. */
int64_t clock_offset_us(void);

/* "2026-11-21T07:35:49.123456Z" (RFC 3339, UTC). */
char *clock_rfc3339(struct arena *a, int64_t us);
/* "2026-11-21 07:35:49.123" (deployment created, modified: features §3.6). */
char *clock_plain(struct arena *a, int64_t us);
/* "2026-11-21T07:35:49Z", with a fraction of a second or an offset ("+01:00") if there is one; a blank in place of the
 * T, and no zone (UTC), are taken too: what clock_plain wrote is read again. false on anything else. */
bool clock_parse(struct str text, int64_t *ret_us);

#endif
