/*
 * cron.h: cron expressions of five fields, in UTC: minute, hour, day of the month, month, day of the week.
 *
 *	*  n  a-b  a,b,c    with a step behind a star or a range: /s; a/s runs from a to the end (of a week: to Saturday)
 *	months also JAN-DEC, weekdays also SUN-SAT; 0 and 7 are Sunday
 *	?  alone is * in the two day fields
 *	@yearly @annually @monthly @weekly @daily @midnight @hourly
 *
 * When both day fields are restricted (neither begins with '*' or '?'), a day that matches either one counts, as in
 * every cron since the first. A range that ends before it begins is refused, as is a step of 0.
 */
#ifndef SLIPWAY_BASE_CRON_H
#define SLIPWAY_BASE_CRON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct cron {
	uint64_t minutes; /* bit n: minute n */
	uint32_t hours;
	uint32_t days;	   /* bits 1 to 31 */
	uint32_t months;   /* bits 1 to 12 */
	uint32_t weekdays; /* bits 0 (Sunday) to 6 */
	bool any_day;	   /* the day of the month began with '*': only the weekday restricts */
	bool any_weekday;
};

/* ERR_BAD_REQUEST names the field that is wrong. */
int cron_parse(struct str text, struct cron *ret, struct err *e);

/* The first matching minute that begins after after_us, in microseconds since 1970 UTC. INT64_MAX when there is none
 * within the next 40 years (the 30th of February; a leap day is 8 years away at most). */
int64_t cron_next_us(const struct cron *c, int64_t after_us);

#endif
