/*
 * The span reader against an oracle that is slow and plain: both must agree on what is valid, and on where each value
 * ends. Then everything is read, written anew, and must be equal.
 */
#include "fuzz.h"

#include "base/json.h"
#include "base/limits.h"

/* --- the oracle: RFC 8259 read aloud, one byte at a time; NULL on error --- */

static const char *blanks(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p;
}

static const char *digits(const char *p, const char *end)
{
	const char *start = p;
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p > start ? p : NULL;
}

static const char *number(const char *p, const char *end)
{
	if (p < end && *p == '-')
		p++;
	if (p < end && *p == '0')
		p++;
	else if (!(p = digits(p, end)))
		return NULL;
	if (p < end && *p == '.' && !(p = digits(p + 1, end)))
		return NULL;
	if (p < end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		p = digits(p, end);
	}
	return p;
}

static const char *string(const char *p, const char *end)
{
	const char *start = ++p;
	for (; p < end && *p != '"'; p++) {
		if ((unsigned char)*p < 0x20)
			return NULL;
		if (*p != '\\')
			continue;
		if (++p == end || !memchr("\"\\/bfnrtu", *p, 9))
			return NULL;
		if (*p != 'u')
			continue;
		for (int i = 0; i < 4; i++) {
			if (++p == end || !memchr("0123456789abcdefABCDEF", *p, 22))
				return NULL;
		}
	}
	if (p == end || !str_is_utf8((struct str){ start, (size_t)(p - start) }))
		return NULL;
	return p + 1;
}

static const char *word(const char *p, const char *end, struct str w)
{
	return (size_t)(end - p) >= w.n && memcmp(p, w.p, w.n) == 0 ? p + w.n : NULL;
}

static const char *value(const char *p, const char *end, int depth);

static const char *container(const char *p, const char *end, int depth)
{
	bool object = *p == '{';
	char close = object ? '}' : ']';
	if (depth == JSON_DEPTH_MAX)
		return NULL;
	p = blanks(p + 1, end);
	if (p < end && *p == close)
		return p + 1;
	for (;;) {
		p = blanks(p, end);
		if (object) {
			if (p == end || *p != '"' || !(p = string(p, end)))
				return NULL;
			p = blanks(p, end);
			if (p == end || *p++ != ':')
				return NULL;
		}
		p = value(blanks(p, end), end, depth + 1);
		if (!p)
			return NULL;
		p = blanks(p, end);
		if (p < end && *p == close)
			return p + 1;
		if (p == end || *p++ != ',')
			return NULL;
	}
}

static const char *value(const char *p, const char *end, int depth)
{
	if (p == end)
		return NULL;
	switch (*p) {
	case '{':
	case '[':
		return container(p, end, depth);
	case '"':
		return string(p, end);
	case 't':
		return word(p, end, STR("true"));
	case 'f':
		return word(p, end, STR("false"));
	case 'n':
		return word(p, end, STR("null"));
	default:
		return number(p, end);
	}
}

/* --- what is done with a valid document --- */

static void copy(struct json v, struct json_writer *w, struct arena *a)
{
	struct json_iter it;
	struct json key;
	struct json element;
	struct str s;
	int64_t n;
	/* The reader's span is the oracle's. */
	MUST(value(v.p, v.p + v.n, 0) == v.p + v.n);
	switch (json_type(v)) {
	case JSON_OBJECT:
		jw_object(w);
		json_iter_init(&it, v);
		while (json_next(&it, &key, &element)) {
			MUST(json_string(key, a, &s) && str_is_utf8(s));
			if (!str_has_nul(s))
				MUST(json_string_is(key, s.p) && json_get(v, s.p).p >= element.p);
			jw_key_str(w, s);
			copy(element, w, a);
		}
		jw_object_end(w);
		break;
	case JSON_ARRAY:
		jw_array(w);
		json_iter_init(&it, v);
		while (json_next(&it, NULL, &element))
			copy(element, w, a);
		jw_array_end(w);
		break;
	case JSON_STRING:
		MUST(json_string(v, a, &s) && str_is_utf8(s) && s.p[s.n] == '\0');
		jw_str(w, s);
		break;
	case JSON_NUMBER:
		if (json_int64(v, &n) && !str_is(json_text(v), "-0"))
			jw_int(w, n);
		else
			jw_raw(w, v);
		break;
	default:
		jw_raw(w, v);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = { (const char *)data, size };
	const char *end = text.p + size;
	struct json v = JSON_ABSENT;
	struct err e = { 0 };
	int rc = json_check(text, &v, &e);
	const char *oracle = value(blanks(text.p, end), end, 0);
	bool valid = oracle && blanks(oracle, end) == end;
	MUST((rc == 0) == valid);
	if (rc < 0) {
		MUST(rc == -ERR_BAD_REQUEST && e.message[0] && str_is_utf8(str_of(e.message)));
		return 0;
	}
	MUST(v.p + v.n == oracle);
	_cleanup_arena_ struct arena a;
	_cleanup_buf_ struct buf b;
	struct json_writer w;
	struct json again;
	arena_init(&a, 0);
	buf_init(&b, 64 * MIB);
	jw_init(&w, &b);
	copy(v, &w, &a);
	MUST(!buf_failed(&b) && !arena_failed(&a));
	MUST(json_check(buf_str(&b), &again, &e) == 0);
	MUST(json_equal(v, again) && json_equal(again, v));
	return 0;
}
