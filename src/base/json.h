/*
 * json.h: the span reader and the writer.
 *
 * Slipway stores documents of its users (checkpoints, journal entries, events) as the text that came, never parsed
 * into numbers and printed again. json_check() validates a text once, strictly (RFC 8259, UTF-8, depth limited, no
 * trailing bytes); afterwards a `struct json` is a span of one value inside that text, and every reader below walks
 * spans without allocating. Readers trust their input: give them only spans that came out of json_check() or of
 * another reader.
 *
 * Lone surrogate escapes ("\ud800") are accepted in json_check, since Go accepts them; they unescape to U+FFFD.
 * Object members are found by their unescaped key; of repeated keys the last one counts (as in Go).
 */
#ifndef SLIPWAY_BASE_JSON_H
#define SLIPWAY_BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum json_type { JSON_NONE, JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* One value, without white space around it. p == NULL: absent. */
struct json {
	const char *p;
	size_t n;
};

#define JSON_ABSENT ((struct json){ NULL, 0 })
#define JSON_DEPTH_MAX 512

/* Validates the whole text. ERR_BAD_REQUEST with the byte offset and what was expected. */
int json_check(struct str text, struct json *ret_root, struct err *e);

enum json_type json_type(struct json v); /* JSON_NONE when absent */
static inline struct str json_text(struct json v)
{
	return (struct str){ v.p, v.n };
}
static inline bool json_is_null(struct json v)
{
	return v.p == NULL || v.p[0] == 'n';
}
bool json_is_true(struct json v);
/* Whole numbers only (also 1e3 and 2.0 are refused); false when it is not one or does not fit. */
bool json_int64(struct json v, int64_t *ret);
/* Unescaped text, NUL-terminated copy in the arena (the result may hold NUL bytes; n tells). */
bool json_string(struct json v, struct arena *a, struct str *ret);
/* Appends the unescaped text; false also when `out` is full. */
bool json_string_add(struct json v, struct buf *out);
/* As json_string for text without NUL bytes; NULL if v is no string, or holds a NUL, or on out of memory. */
const char *json_cstr(struct json v, struct arena *a);
/* Compares the unescaped string value with z without allocating. */
bool json_string_is(struct json v, const char *z);

struct json_iter {
	const char *p;
	const char *end;
	bool is_object;
};

/* Walks an array or object; anything else is walked as empty. */
void json_iter_init(struct json_iter *it, struct json container);
/* Next element. For objects *ret_key is the key's span including its quotes (a JSON_STRING); ret_key may be NULL. */
bool json_next(struct json_iter *it, struct json *ret_key, struct json *ret_value);

/*
 * Walking a tree without passing any of its text twice: json_next() has to skip a value to find where it ends, and who
 * then walks that value reads it again. json_next_key() stops in front of the value (its type: json_here); exactly one of
 * the following goes on: json_over(), or json_into() and, when done inside, json_out(). Both return the value.
 */
bool json_next_key(struct json_iter *it, struct json *ret_key);
enum json_type json_here(const struct json_iter *it);
struct json json_over(struct json_iter *it);
/* Anything but an array or object is walked as empty. */
struct json_iter json_into(const struct json_iter *it);
struct json json_out(struct json_iter *it, struct json_iter *inside);

#define json_foreach(value, container) \
	for (struct json_iter it_##value = json_iter_start(container); json_next(&it_##value, NULL, &(value));)
static inline struct json_iter json_iter_start(struct json c)
{
	struct json_iter it;
	json_iter_init(&it, c);
	return it;
}

/* Member of an object; JSON_ABSENT if there is none. */
struct json json_get(struct json object, const char *key);
/* json_get along a path: json_path(v, "git", "branch", NULL). */
struct json json_path(struct json v, ...) __attribute__((sentinel));
size_t json_count(struct json container);
/* The same value: the order of object members does not matter (of repeated keys the last counts), strings and keys
 * are compared unescaped, numbers as text. Needs heap for objects; out of memory answers false. */
bool json_equal(struct json a, struct json b);

/* --- writer: appends to a buf; commas and colons come by themselves; nesting up to JSON_DEPTH_MAX --- */
struct json_writer {
	struct buf *b;
	bool need_comma;
	bool after_key;
};

void jw_init(struct json_writer *w, struct buf *b);
void jw_object(struct json_writer *w);
void jw_object_end(struct json_writer *w);
void jw_array(struct json_writer *w);
void jw_array_end(struct json_writer *w);
void jw_key(struct json_writer *w, const char *key);
void jw_key_str(struct json_writer *w, struct str key);
/* NULL (or absent) writes null. Invalid UTF-8 is repaired with U+FFFD. */
void jw_string(struct json_writer *w, const char *z);
void jw_str(struct json_writer *w, struct str s);
void jw_int(struct json_writer *w, int64_t v);
void jw_bool(struct json_writer *w, bool v);
void jw_null(struct json_writer *w);
/* A finished JSON text, verbatim; absent writes null. */
void jw_raw(struct json_writer *w, struct json v);
void jw_raw_str(struct json_writer *w, struct str text);
/* key and value at once */
void jw_kv_string(struct json_writer *w, const char *key, const char *z);
void jw_kv_str(struct json_writer *w, const char *key, struct str s);
void jw_kv_int(struct json_writer *w, const char *key, int64_t v);
void jw_kv_bool(struct json_writer *w, const char *key, bool v);
void jw_kv_raw(struct json_writer *w, const char *key, struct json v);

/* Appends s as a quoted JSON string. */
void json_quote(struct buf *b, struct str s);

#endif
