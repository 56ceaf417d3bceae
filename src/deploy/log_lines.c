#include "deploy/log_lines.h"

#include "base/limits.h"
#include "deploy/mask_tokens.h"

/* Masks and escapes lengthen a text. */
#define TEXT_MAX_BYTES (8 * LOG_APPEND_BYTES)
/* Longer numbers are looked at by the reader of JSON. */
#define DIGITS_MAX 18

/* --- reading --- */

/* \b \n \" and so on, and control characters as \u00XX, hide nothing. */
static bool is_harmless(const char *escape, const char *end)
{
	if (escape[1] != 'u')
		return true;
	return end - escape >= 6 && memcmp(escape, "\\u00", 4) == 0 && (escape[4] == '0' || escape[4] == '1') &&
	       memcmp(escape + 4, "00", 2) != 0;
}

/* Behind the closing quote of a string whose first byte is p; NULL when it has escapes that hide something. */
static const char *skip_text(const char *p, const char *end)
{
	const char *quote = p - 1;
	for (;;) {
		/* Not from each escape on: there may be a million of them. */
		if (quote < p)
			quote = memchr(p, '"', (size_t)(end - p));
		const char *escape = memchr(p, '\\', (size_t)(quote - p));
		if (!escape)
			return quote + 1;
		if (!is_harmless(escape, end))
			return NULL;
		p = escape + 2;
	}
}

/* Behind an element that is written as agents write it; NULL: it is not, or it is not plain, or it is long. */
static const char *skip_usual(const char *p, const char *end)
{
	static const char head[] = "{\"t\":", middle[] = ",\"l\":\"";
	if (end - p < 16 || memcmp(p, head, sizeof(head) - 1) != 0)
		return NULL;
	const char *digits = p += sizeof(head) - 1;
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	if (p == digits || p - digits > DIGITS_MAX || end - p < 8 || memcmp(p, middle, sizeof(middle) - 1) != 0)
		return NULL;
	p += sizeof(middle) - 1;
	const char *behind = skip_text(p, end);
	return behind && behind < end && *behind == '}' && (size_t)(behind - p) <= LOG_LINE_BYTES ? behind + 1 : NULL;
}

static int check_element(struct json item, size_t n, bool *plain, struct err *e)
{
	struct json text = json_get(item, "l");
	int64_t t;
	if (!json_int64(json_get(item, "t"), &t))
		return err_set(e, ERR_BAD_REQUEST, "/lines/%zu/t: must be a whole number", n);
	if (json_type(text) != JSON_STRING)
		return err_set(e, ERR_BAD_REQUEST, "/lines/%zu/l: must be a string", n);
	/* Which of two members counts, and what a key is written like, is for the reader of JSON to know. */
	*plain = false;
	if (text.n <= LOG_LINE_BYTES)
		return 0;
	_cleanup_buf_ struct buf b;
	buf_init(&b, LOG_APPEND_BYTES);
	if (!json_string_add(text, &b))
		return buf_check(&b, "log line", e);
	if (b.len > LOG_LINE_BYTES)
		return err_set(e, ERR_BAD_REQUEST, "/lines/%zu/l: is longer than %zu bytes", n, LOG_LINE_BYTES);
	return 0;
}

int log_lines_read(struct json array, struct log_lines *ret, struct err *e)
{
	if (json_type(array) != JSON_ARRAY)
		return err_set(e, ERR_BAD_REQUEST, "/lines: must be an array");
	*ret = (struct log_lines){ .array = array, .plain = true };
	const char *end = array.p + array.n, *p = array.p + 1;
	/* As agents write it: elements one behind the other. */
	while ((p = skip_usual(p, end)) != NULL) {
		ret->count++;
		if (*p == ']')
			break;
		if (*p++ != ',')
			p = NULL;
		if (!p)
			break;
	}
	if (!p) {
		struct json item;
		int rc = 0;
		ret->count = 0;
		json_foreach(item, array) {
			rc = check_element(item, ret->count, &ret->plain, e);
			if (rc < 0)
				return rc;
			ret->count++;
		}
	}
	ret->plain = ret->plain && !mask_tokens_may(json_text(array));
	return 0;
}

/* --- writing --- */

static void drop_nul(struct buf *b)
{
	char *to = b->len ? memchr(b->data, '\0', b->len) : NULL;
	if (!to)
		return;
	for (const char *p = to; p < b->data + b->len; p++) {
		if (*p)
			*to++ = *p;
	}
	b->len = (size_t)(to - b->data);
}

/* The part of the array that has the lines from number `from` on, and the bracket behind them. */
static struct str part_of(const struct log_lines *l, size_t from)
{
	struct json item = JSON_ABSENT;
	struct json_iter it = json_iter_start(l->array);
	for (size_t i = 0; i <= from; i++)
		json_next(&it, NULL, &item);
	return (struct str){ item.p, (size_t)(l->array.p + l->array.n - item.p) };
}

static int find_secret(const struct mask_set *mask, struct str part, bool *ret, struct err *e)
{
	_cleanup_buf_ struct buf text;
	buf_init(&text, LOG_APPEND_BYTES * 2);
	const char *p = part.p, *end = part.p + part.n;
	/* All lines as one text: those without a break belong together anyway. */
	static const char before[] = "\"l\":\"";
	while ((p = memmem(p, (size_t)(end - p), before, sizeof(before) - 1)) != NULL) {
		p += sizeof(before) - 2;
		const char *behind = skip_text(p + 1, end);
		if (!behind)
			break;
		json_string_add((struct json){ p, (size_t)(behind - p) }, &text);
		p = behind;
	}
	*ret = mask_finds(mask, buf_str(&text));
	return buf_check(&text, "log lines", e);
}

/* One line, masked, into `text`. */
static int mask_line(struct str line, struct mask_stream *stream, bool ends, struct buf *masked, struct buf *text,
		     struct err *e)
{
	buf_reset(masked);
	buf_reset(text);
	bool ok = !stream || (mask_stream_feed(stream, line, masked) && (!ends || mask_stream_end(stream, masked)));
	if (!ok)
		return err_nomem(e);
	mask_tokens(stream ? buf_str(masked) : line, text);
	return buf_check(text, "log line", e);
}

static int write_masked(const struct log_lines *l, size_t from, struct mask_stream *stream, struct buf *out,
			struct err *e)
{
	_cleanup_buf_ struct buf line, masked, text;
	buf_init(&line, LOG_APPEND_BYTES);
	buf_init(&masked, TEXT_MAX_BYTES);
	buf_init(&text, TEXT_MAX_BYTES);
	struct json_writer w;
	struct json item;
	size_t i = 0;
	jw_init(&w, out);
	jw_array(&w);
	json_foreach(item, l->array) {
		if (i++ < from)
			continue;
		buf_reset(&line);
		if (!json_string_add(json_get(item, "l"), &line))
			return buf_check(&line, "log line", e);
		drop_nul(&line);
		bool ends = i == l->count || (line.len > 0 && line.data[line.len - 1] == '\n');
		int rc = mask_line(buf_str(&line), stream, ends, &masked, &text, e);
		if (rc < 0)
			return rc;
		jw_object(&w);
		jw_kv_raw(&w, "t", json_get(item, "t"));
		jw_kv_str(&w, "l", buf_str(&text));
		jw_object_end(&w);
	}
	jw_array_end(&w);
	return buf_check(out, "log chunk", e);
}

int log_lines_write(const struct log_lines *l, size_t from, const struct mask_set *mask, struct buf *out,
		    struct str *ret, struct err *e)
{
	bool secret = !l->plain;
	if (!secret) {
		struct str part = from == 0 ? json_text(l->array) : part_of(l, from);
		int rc = mask ? find_secret(mask, part, &secret, e) : 0;
		if (rc < 0)
			return rc;
		if (!secret && from > 0) {
			buf_addc(out, '[');
			buf_add_str(out, part);
			part = buf_str(out);
		}
		*ret = part;
		if (!secret)
			return buf_check(out, "log chunk", e);
	}
	struct mask_stream stream;
	if (mask)
		mask_stream_init(&stream, mask);
	int rc = write_masked(l, from, mask ? &stream : NULL, out, e);
	if (mask)
		mask_stream_done(&stream);
	*ret = buf_str(out);
	return rc;
}
