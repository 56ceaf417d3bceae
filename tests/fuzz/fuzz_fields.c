/*
 * The request decoder: a table with every kind of row against any body that is JSON.
 */
#include "fuzz.h"

#include "base/fields.h"

struct part {
	const char *text;
	int64_t number;
	struct json list;
};

struct body {
	const char *name;
	const char *kind;
	struct str bytes;
	int64_t count;
	bool on;
	int maybe;
	struct json any;
	struct json object;
	struct json array;
	struct json map;
	struct part part;
};

static const char *const kinds[] = { "update", "preview", NULL };
static const struct field part_fields[] = {
	FIELD(struct part, text, "text", FIELD_STRING, .max = 8),
	FIELD(struct part, number, "number", FIELD_INT, .min = -5, .max = 5),
	FIELD(struct part, list, "list", FIELD_STRING_LIST, .max = 3),
	FIELD_END,
};
static const struct field body_fields[] = {
	FIELD(struct body, name, "name", FIELD_STRING, .required = true, .min = 1, .max = 16),
	FIELD(struct body, kind, "kind", FIELD_STRING, .one_of = kinds),
	FIELD(struct body, bytes, "bytes", FIELD_BYTES, .max = 8),
	FIELD(struct body, count, "count", FIELD_INT),
	FIELD(struct body, on, "on", FIELD_BOOL),
	FIELD(struct body, maybe, "maybe", FIELD_TRISTATE),
	FIELD(struct body, any, "any", FIELD_JSON),
	FIELD(struct body, object, "object", FIELD_JSON_OBJECT),
	FIELD(struct body, array, "array", FIELD_JSON_ARRAY, .min = 1),
	FIELD(struct body, map, "map", FIELD_STRING_MAP),
	FIELD(struct body, part, "part", FIELD_OBJECT, .sub = part_fields),
	FIELD_END,
};

static void check(const struct body *b)
{
	MUST(b->name && strlen(b->name) >= 1 && strlen(b->name) <= 16 && str_is_utf8(str_of(b->name)));
	MUST(!b->kind || strcmp(b->kind, "update") == 0 || strcmp(b->kind, "preview") == 0);
	MUST(b->bytes.n <= 8);
	MUST(b->maybe >= -1 && b->maybe <= 1);
	MUST(!b->any.p || !json_is_null(b->any));
	MUST(!b->object.p || json_type(b->object) == JSON_OBJECT);
	MUST(!b->array.p || json_count(b->array) >= 1);
	struct json_iter it;
	struct json v;
	json_iter_init(&it, b->map);
	while (json_next(&it, NULL, &v))
		MUST(json_type(v) == JSON_STRING);
	MUST(!b->part.text || strlen(b->part.text) <= 8);
	MUST(b->part.number >= -5 && b->part.number <= 5);
	MUST(json_count(b->part.list) <= 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json v;
	struct err e = { 0 };
	if (json_check((struct str){ (const char *)data, size }, &v, &e) < 0)
		return 0;
	_cleanup_arena_ struct arena a;
	struct ignored_fields ig;
	struct body b = { .maybe = -1 };
	arena_init(&a, 0);
	ignored_fields_init(&ig);
	int rc = fields_decode(v, body_fields, &b, &a, &ig, &e);
	if (rc == 0)
		check(&b);
	else
		MUST(rc == -ERR_BAD_REQUEST && strstr(e.message, ": ") && str_is_utf8(str_of(e.message)));
	/* One header line, whatever the names. */
	struct str names = buf_str(&ig.names);
	for (size_t i = 0; i < names.n; i++)
		MUST(names.p[i] >= ' ' && names.p[i] < 0x7F);
	MUST(!buf_failed(&ig.names));
	ignored_fields_done(&ig);
	return 0;
}
