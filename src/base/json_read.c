#include "base/json.h"

#include <stdlib.h>

#include "base/json_scan.h"
#include "base/json_skip.h"
#include "base/utf8.h"

enum json_type json_type(struct json v)
{
	if (!v.p)
		return JSON_NONE;
	switch (v.p[0]) {
	case 'n':
		return JSON_NULL;
	case 't':
	case 'f':
		return JSON_BOOL;
	case '"':
		return JSON_STRING;
	case '[':
		return JSON_ARRAY;
	case '{':
		return JSON_OBJECT;
	default:
		return JSON_NUMBER;
	}
}

bool json_is_true(struct json v)
{
	return v.p && v.p[0] == 't';
}

bool json_int64(struct json v, int64_t *ret)
{
	return json_type(v) == JSON_NUMBER && str_to_int64(json_text(v), ret);
}

/* --- strings --- */

/* What stands between the quotes. */
static struct str inner(struct json v)
{
	return (struct str){ v.p + 1, v.n - 2 };
}

static uint32_t hex4(const char *p)
{
	uint32_t v = 0;
	for (int i = 0; i < 4; i++) {
		char c = p[i];
		v = v << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	return v;
}

/* Reads the escape at *p (a backslash) and returns its code point; a lone surrogate is U+FFFD. */
static uint32_t read_escape(const char **p, const char *end)
{
	char c = (*p)[1];
	if (c != 'u') {
		*p += 2;
		switch (c) {
		case 'b':
			return '\b';
		case 'f':
			return '\f';
		case 'n':
			return '\n';
		case 'r':
			return '\r';
		case 't':
			return '\t';
		default:
			return (unsigned char)c;
		}
	}
	uint32_t v = hex4(*p + 2);
	*p += 6;
	if (v < 0xD800 || v > 0xDFFF)
		return v;
	if (v <= 0xDBFF && end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u') {
		uint32_t low = hex4(*p + 2);
		if (low >= 0xDC00 && low <= 0xDFFF) {
			*p += 6;
			return 0x10000 + ((v - 0xD800) << 10) + (low - 0xDC00);
		}
	}
	return 0xFFFD;
}

/* `to` has room for s.n bytes: no escape is shorter than what it stands for. Returns behind the last one written. */
static char *unescape(struct str s, char *to)
{
	const char *p = s.p, *end = s.p + s.n;
	while (p < end) {
		const char *next = memchr(p, '\\', (size_t)(end - p));
		size_t n = (size_t)((next ? next : end) - p);
		memcpy(to, p, n);
		to += n;
		p += n;
		if (next)
			to += utf8_put(to, read_escape(&p, end));
	}
	return to;
}

bool json_string(struct json v, struct arena *a, struct str *ret)
{
	if (json_type(v) != JSON_STRING)
		return false;
	struct str s = inner(v);
	char *out = arena_bytes(a, s.n + 1);
	if (!out)
		return false;
	char *end = unescape(s, out);
	*end = '\0';
	*ret = (struct str){ out, (size_t)(end - out) };
	return true;
}

bool json_string_add(struct json v, struct buf *out)
{
	if (json_type(v) != JSON_STRING)
		return false;
	struct str s = inner(v);
	if (!buf_reserve(out, s.n))
		return false;
	char *end = unescape(s, out->data + out->len);
	out->len = (size_t)(end - out->data);
	*end = '\0';
	return true;
}

const char *json_cstr(struct json v, struct arena *a)
{
	struct str s;
	if (!json_string(v, a, &s) || str_has_nul(s))
		return NULL;
	return s.p;
}

/* The next unescaped bytes of a string span, one character at a time. */
struct unescaped {
	const char *p;
	const char *end;
	char bytes[4];
	size_t n;
};

static bool unescaped_next(struct unescaped *u)
{
	if (u->p == u->end)
		return false;
	if (*u->p == '\\') {
		u->n = utf8_put(u->bytes, read_escape(&u->p, u->end));
	} else {
		u->bytes[0] = *u->p++;
		u->n = 1;
	}
	return true;
}

/* Byte order of the unescaped texts. */
static int compare_strings(struct json a, struct json b)
{
	struct str sa = inner(a);
	struct str sb = inner(b);
	struct unescaped ua = { .p = sa.p, .end = sa.p + sa.n };
	struct unescaped ub = { .p = sb.p, .end = sb.p + sb.n };
	size_t ia = 0;
	size_t ib = 0;
	for (;;) {
		bool more_a = ia < ua.n || (ia = 0, unescaped_next(&ua));
		bool more_b = ib < ub.n || (ib = 0, unescaped_next(&ub));
		if (!more_a || !more_b)
			return (int)more_a - (int)more_b;
		unsigned char ca = (unsigned char)ua.bytes[ia++];
		unsigned char cb = (unsigned char)ub.bytes[ib++];
		if (ca != cb)
			return ca < cb ? -1 : 1;
	}
}

bool json_string_is(struct json v, const char *z)
{
	if (json_type(v) != JSON_STRING)
		return false;
	struct str s = inner(v);
	/* Mostly the first letter decides. */
	if (s.n > 0 && s.p[0] != '\\' && s.p[0] != z[0])
		return false;
	if (s.n == 0 || !memchr(s.p, '\\', s.n))
		return str_is(s, z);
	struct unescaped u = { .p = s.p, .end = s.p + s.n };
	while (unescaped_next(&u)) {
		for (size_t i = 0; i < u.n; i++, z++) {
			/* A NUL within the value must not pass for the end of z. */
			if (u.bytes[i] == '\0' || u.bytes[i] != *z)
				return false;
		}
	}
	return *z == '\0';
}

/* --- containers --- */

void json_iter_init(struct json_iter *it, struct json container)
{
	enum json_type t = json_type(container);
	if (t != JSON_ARRAY && t != JSON_OBJECT) {
		*it = (struct json_iter){ .p = NULL, .end = NULL };
		return;
	}
	*it = (struct json_iter){
		.p = container.p + 1,
		.end = container.p + container.n - 1,
		.is_object = t == JSON_OBJECT,
	};
}

bool json_next_key(struct json_iter *it, struct json *ret_key)
{
	const char *end = it->end;
	const char *p = json_skip_blanks(it->p, end);
	/* An iterator that was made by json_into() ends at the bracket, not before it. */
	if (p == end || *p == '}' || *p == ']') {
		it->p = p;
		return false;
	}
	if (*p == ',')
		p = json_skip_blanks(p + 1, end);
	if (it->is_object) {
		const char *key = p;
		p = json_skip_string(p + 1, end);
		if (ret_key)
			*ret_key = (struct json){ key, (size_t)(p - key) };
		p = json_skip_blanks(p, end) + 1; /* the colon */
		p = json_skip_blanks(p, end);
	} else if (ret_key) {
		*ret_key = JSON_ABSENT;
	}
	it->p = p;
	return true;
}

enum json_type json_here(const struct json_iter *it)
{
	return json_type((struct json){ it->p, 1 });
}

struct json json_over(struct json_iter *it)
{
	const char *p = it->p;
	it->p = json_skip_value(p, it->end);
	return (struct json){ p, (size_t)(it->p - p) };
}

struct json_iter json_into(const struct json_iter *it)
{
	enum json_type t = json_here(it);
	if (t != JSON_ARRAY && t != JSON_OBJECT)
		return (struct json_iter){ .p = NULL, .end = NULL };
	return (struct json_iter){ .p = it->p + 1, .end = it->end, .is_object = t == JSON_OBJECT };
}

struct json json_out(struct json_iter *it, struct json_iter *inside)
{
	const char *p = it->p;
	if (!inside->p)
		return json_over(it);
	while (json_next_key(inside, NULL))
		json_over(inside);
	it->p = inside->p + 1; /* the bracket */
	return (struct json){ p, (size_t)(it->p - p) };
}

bool json_next(struct json_iter *it, struct json *ret_key, struct json *ret_value)
{
	if (!json_next_key(it, ret_key))
		return false;
	*ret_value = json_over(it);
	return true;
}

struct json json_get(struct json object, const char *key)
{
	struct json found = JSON_ABSENT;
	if (json_type(object) != JSON_OBJECT)
		return found;
	struct json_iter it;
	struct json k;
	struct json v;
	json_iter_init(&it, object);
	while (json_next(&it, &k, &v)) {
		if (json_string_is(k, key))
			found = v;
	}
	return found;
}

struct json json_path(struct json v, ...)
{
	va_list ap;
	va_start(ap, v);
	for (const char *key; (key = va_arg(ap, const char *)) != NULL;)
		v = json_get(v, key);
	va_end(ap);
	return v;
}

size_t json_count(struct json container)
{
	struct json_iter it;
	struct json v;
	size_t n = 0;
	json_iter_init(&it, container);
	while (json_next(&it, NULL, &v))
		n++;
	return n;
}

/* --- equality --- */

struct member {
	struct json key;
	struct json value;
};

static int compare_members(const void *a, const void *b)
{
	const struct member *ma = a;
	const struct member *mb = b;
	int c = compare_strings(ma->key, mb->key);
	if (c)
		return c;
	/* The same key twice: in the order of the text. */
	return ma->key.p < mb->key.p ? -1 : ma->key.p > mb->key.p;
}

/* The members by key, of a repeated key the last; NULL on out of memory. */
static struct member *sorted_members(struct json object, size_t *ret_n)
{
	size_t n = json_count(object);
	struct member *m = calloc(n + 1, sizeof(*m));
	if (!m)
		return NULL;
	struct json_iter it;
	json_iter_init(&it, object);
	for (size_t i = 0; json_next(&it, &m[i].key, &m[i].value);)
		i++;
	qsort(m, n, sizeof(*m), compare_members);
	size_t kept = 0;
	for (size_t i = 0; i < n; i++) {
		if (i + 1 < n && compare_strings(m[i].key, m[i + 1].key) == 0)
			continue;
		m[kept++] = m[i];
	}
	*ret_n = kept;
	return m;
}

static bool equal_objects(struct json a, struct json b)
{
	size_t na = 0;
	size_t nb = 0;
	_cleanup_free_ struct member *ma = sorted_members(a, &na);
	_cleanup_free_ struct member *mb = sorted_members(b, &nb);
	if (!ma || !mb || na != nb)
		return false;
	for (size_t i = 0; i < na; i++) {
		if (compare_strings(ma[i].key, mb[i].key) != 0 || !json_equal(ma[i].value, mb[i].value))
			return false;
	}
	return true;
}

static bool equal_arrays(struct json a, struct json b)
{
	struct json_iter ia;
	struct json_iter ib;
	struct json va;
	struct json vb;
	json_iter_init(&ia, a);
	json_iter_init(&ib, b);
	for (;;) {
		bool more_a = json_next(&ia, NULL, &va);
		bool more_b = json_next(&ib, NULL, &vb);
		if (!more_a || !more_b)
			return more_a == more_b;
		if (!json_equal(va, vb))
			return false;
	}
}

/* Recursion is bounded by JSON_DEPTH_MAX, which json_check enforced. */
bool json_equal(struct json a, struct json b)
{
	enum json_type t = json_type(a);
	if (t != json_type(b))
		return false;
	switch (t) {
	case JSON_NONE:
	case JSON_NULL:
		return true;
	case JSON_STRING:
		return compare_strings(a, b) == 0;
	case JSON_OBJECT:
		return equal_objects(a, b);
	case JSON_ARRAY:
		return equal_arrays(a, b);
	default:
		return str_eq(json_text(a), json_text(b));
	}
}
