#include "base/fields.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/encode.h"

/* The names go into one header line. */
#define IGNORED_NAMES_BYTES 1024
/* A client's own long key must not push the reason out of the message. */
#define POINTER_SHOWN_BYTES 256
/* Deeper tables than this are a slip of ours. */
#define TABLE_DEPTH_MAX 16

/* Where we are, from the inside out; lives on the stack of the recursion over tables. */
struct place {
	const struct place *parent;
	struct str name;
	unsigned depth;
};

struct decoder {
	struct arena *arena;
	struct ignored_fields *ignored;
	struct err *err;
};

static void add_pointer(struct buf *b, const struct place *at)
{
	if (!at->parent)
		return;
	add_pointer(b, at->parent);
	json_pointer_add(b, at->name);
}

static int fail(const struct decoder *d, const struct place *at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int fail(const struct decoder *d, const struct place *at, const char *fmt, ...)
{
	char what[256];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	_cleanup_buf_ struct buf b;
	buf_init(&b, ERR_MESSAGE_MAX);
	add_pointer(&b, at);
	struct str pointer = at->parent ? buf_str(&b) : STR("the body");
	const char *dots = "";
	if (pointer.n > POINTER_SHOWN_BYTES) {
		pointer.n = POINTER_SHOWN_BYTES;
		while ((pointer.p[pointer.n] & 0xC0) == 0x80) /* not within a character */
			pointer.n--;
		dots = "...";
	}
	return err_set(d->err, ERR_BAD_REQUEST, "%.*s%s: %s", STR_ARG(pointer), dots, what);
}

/* An element of an array or map, for its error. */
static int fail_at(const struct decoder *d, const struct place *at, struct str element, const char *what)
{
	struct place inside = { .parent = at, .name = element, .depth = at->depth + 1 };
	return fail(d, &inside, "%s", what);
}

void ignored_fields_init(struct ignored_fields *ig)
{
	buf_init(&ig->names, IGNORED_NAMES_BYTES);
	ig->count = 0;
}

void ignored_fields_done(struct ignored_fields *ig)
{
	buf_done(&ig->names);
	ig->count = 0;
}

void ignored_fields_add(struct ignored_fields *ig, const char *pointer)
{
	if (!ig)
		return;
	_cleanup_buf_ struct buf b;
	buf_init(&b, IGNORED_NAMES_BYTES);
	if (ig->count++ > 0)
		buf_adds(&b, ", ");
	/* A client chose the name: nothing may break out of the header line or of the list. */
	for (const char *p = pointer; *p; p++) {
		if (*p > ' ' && *p < 0x7F && *p != ',' && *p != '%')
			buf_addc(&b, *p);
		else
			buf_addf(&b, "%%%02X", (unsigned)(unsigned char)*p);
	}
	/* The list may end early, but not within a name; count tells all the same. */
	if (!buf_failed(&b) && b.len <= ig->names.max - ig->names.len)
		buf_add_str(&ig->names, buf_str(&b));
}

static void note_ignored(const struct decoder *d, const struct place *at, struct str name)
{
	if (!d->ignored)
		return;
	struct place inside = { .parent = at, .name = name };
	_cleanup_buf_ struct buf b;
	buf_init(&b, IGNORED_NAMES_BYTES);
	add_pointer(&b, &inside);
	ignored_fields_add(d->ignored, b.data ? b.data : "");
}

/* Bounds of a length. `what` is the noun of the message: "bytes", "elements". */
static int check_length(const struct decoder *d, const struct place *at, const struct field *f, size_t n,
			const char *what)
{
	if (f->min > 0 && n < (uint64_t)f->min) {
		if (f->min == 1)
			return fail(d, at, "must not be empty");
		return fail(d, at, "must have at least %" PRId64 " %s", f->min, what);
	}
	if (f->max > 0 && n > (uint64_t)f->max)
		return fail(d, at, "must have at most %" PRId64 " %s", f->max, what);
	return 0;
}

static int decode_string(const struct decoder *d, const struct place *at, const struct field *f, struct json v,
			 const char **out)
{
	struct str s;
	if (json_type(v) != JSON_STRING)
		return fail(d, at, "must be a string");
	if (!json_string(v, d->arena, &s))
		return err_nomem(d->err);
	if (str_has_nul(s))
		return fail(d, at, "must not contain a NUL character");
	int rc = check_length(d, at, f, s.n, "bytes");
	if (rc < 0)
		return rc;
	if (f->one_of) {
		char list[200] = "";
		size_t n = 0;
		for (const char *const *o = f->one_of; *o; o++) {
			if (str_is(s, *o)) {
				*out = s.p;
				return 0;
			}
			if (n < sizeof(list))
				n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s", n ? ", " : "", *o);
		}
		return fail(d, at, "must be one of %s", list);
	}
	*out = s.p;
	return 0;
}

static int decode_bytes(const struct decoder *d, const struct place *at, const struct field *f, struct json v,
			struct str *out)
{
	struct str text;
	struct str bytes;
	if (json_type(v) != JSON_STRING)
		return fail(d, at, "must be a string in base64");
	if (!json_string(v, d->arena, &text))
		return err_nomem(d->err);
	if (!base64_decode(d->arena, text, &bytes))
		return arena_failed(d->arena) ? err_nomem(d->err) : fail(d, at, "must be base64");
	int rc = check_length(d, at, f, bytes.n, "bytes");
	if (rc < 0)
		return rc;
	*out = bytes;
	return 0;
}

static int decode_int(const struct decoder *d, const struct place *at, const struct field *f, struct json v,
		      int64_t *out)
{
	int64_t n;
	if (json_type(v) != JSON_NUMBER || !json_int64(v, &n))
		return fail(d, at, "must be a whole number");
	if (f->max > f->min && (n < f->min || n > f->max))
		return fail(d, at, "must be between %" PRId64 " and %" PRId64, f->min, f->max);
	*out = n;
	return 0;
}

static int check_container(const struct decoder *d, const struct place *at, const struct field *f, struct json v)
{
	bool object = f->type == FIELD_JSON_OBJECT || f->type == FIELD_STRING_MAP;
	bool strings = f->type == FIELD_STRING_MAP || f->type == FIELD_STRING_LIST;
	if (json_type(v) != (object ? JSON_OBJECT : JSON_ARRAY))
		return fail(d, at, object ? "must be an object" : "must be an array");
	if (!strings && f->min <= 0 && f->max <= 0)
		return 0;
	struct json_iter it;
	struct json key;
	struct json element;
	size_t n = 0;
	json_iter_init(&it, v);
	for (; json_next(&it, &key, &element); n++) {
		if (!strings || json_type(element) == JSON_STRING)
			continue;
		char index[24];
		struct str name;
		if (object) {
			if (!json_string(key, d->arena, &name))
				return err_nomem(d->err);
		} else {
			snprintf(index, sizeof(index), "%zu", n);
			name = str_of(index);
		}
		return fail_at(d, at, name, "must be a string");
	}
	return check_length(d, at, f, n, object ? "members" : "elements");
}

static int decode_object(const struct decoder *d, const struct place *at, struct json v, const struct field *table,
			 void *out);

static int decode_field(const struct decoder *d, const struct place *at, const struct field *f, struct json v,
			void *out)
{
	void *to = (char *)out + f->offset;
	int rc;
	switch (f->type) {
	case FIELD_STRING:
		return decode_string(d, at, f, v, to);
	case FIELD_BYTES:
		return decode_bytes(d, at, f, v, to);
	case FIELD_INT:
		return decode_int(d, at, f, v, to);
	case FIELD_BOOL:
	case FIELD_TRISTATE:
		if (json_type(v) != JSON_BOOL)
			return fail(d, at, "must be true or false");
		if (f->type == FIELD_BOOL)
			*(bool *)to = json_is_true(v);
		else
			*(int *)to = json_is_true(v);
		return 0;
	case FIELD_JSON:
		*(struct json *)to = v;
		return 0;
	case FIELD_JSON_OBJECT:
	case FIELD_JSON_ARRAY:
	case FIELD_STRING_MAP:
	case FIELD_STRING_LIST:
		rc = check_container(d, at, f, v);
		if (rc == 0)
			*(struct json *)to = v;
		return rc;
	case FIELD_OBJECT:
		return decode_object(d, at, v, f->sub, to);
	}
	BUG_ON(true);
}

static int decode_object(const struct decoder *d, const struct place *at, struct json v, const struct field *table,
			 void *out)
{
	if (json_type(v) != JSON_OBJECT)
		return fail(d, at, at->parent ? "must be an object" : "must be a JSON object");
	BUG_ON(at->depth > TABLE_DEPTH_MAX);
	size_t rows = 0;
	while (table[rows].name)
		rows++;
	/* One pass over the text, however large; then the rows in the order of the table. */
	struct json *found = arena_array(d->arena, rows + 1, sizeof(*found));
	if (!found)
		return err_nomem(d->err);
	struct json_iter it;
	struct json key;
	struct json value;
	json_iter_init(&it, v);
	while (json_next(&it, &key, &value)) {
		size_t i = 0;
		while (i < rows && !json_string_is(key, table[i].name))
			i++;
		if (i < rows) {
			found[i] = value;
		} else if (d->ignored) {
			struct str name;
			if (!json_string(key, d->arena, &name))
				return err_nomem(d->err);
			note_ignored(d, at, name);
		}
	}
	for (size_t i = 0; i < rows; i++) {
		struct place inside = { .parent = at, .name = str_of(table[i].name), .depth = at->depth + 1 };
		if (json_is_null(found[i])) {
			if (table[i].required)
				return fail(d, &inside, "is required");
			continue;
		}
		int rc = decode_field(d, &inside, &table[i], found[i], out);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int fields_decode(struct json v, const struct field *table, void *out, struct arena *a, struct ignored_fields *ig,
		  struct err *e)
{
	struct decoder d = { .arena = a, .ignored = ig, .err = e };
	struct place root = { .parent = NULL };
	return decode_object(&d, &root, v, table, out);
}
