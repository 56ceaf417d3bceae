/*
 * json_skip.h: where a value ends; private to json_*.c.
 */
#ifndef SLIPWAY_BASE_JSON_SKIP_H
#define SLIPWAY_BASE_JSON_SKIP_H

/* p (p < end) is at the first byte of a value of checked text; returns behind it. */
const char *json_skip_value(const char *p, const char *end);

#endif
