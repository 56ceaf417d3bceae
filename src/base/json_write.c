#include "base/json.h"

#include "base/json_scan.h"
#include "base/utf8.h"

void jw_init(struct json_writer *w, struct buf *b)
{
	*w = (struct json_writer){ .b = b };
}

/* Called in front of every value. */
static void before_value(struct json_writer *w)
{
	if (w->need_comma && !w->after_key)
		buf_addc(w->b, ',');
	w->after_key = false;
	w->need_comma = true;
}

static void open_with(struct json_writer *w, char c)
{
	before_value(w);
	buf_addc(w->b, c);
	w->need_comma = false;
}

static void close_with(struct json_writer *w, char c)
{
	BUG_ON(w->after_key);
	buf_addc(w->b, c);
	w->need_comma = true;
}

void jw_object(struct json_writer *w)
{
	open_with(w, '{');
}

void jw_object_end(struct json_writer *w)
{
	close_with(w, '}');
}

void jw_array(struct json_writer *w)
{
	open_with(w, '[');
}

void jw_array_end(struct json_writer *w)
{
	close_with(w, ']');
}

void jw_key_str(struct json_writer *w, struct str key)
{
	BUG_ON(w->after_key);
	if (w->need_comma)
		buf_addc(w->b, ',');
	json_quote(w->b, key);
	buf_addc(w->b, ':');
	w->after_key = true;
}

void jw_key(struct json_writer *w, const char *key)
{
	jw_key_str(w, str_of(key));
}

void jw_str(struct json_writer *w, struct str s)
{
	if (!s.p) {
		jw_null(w);
		return;
	}
	before_value(w);
	json_quote(w->b, s);
}

void jw_string(struct json_writer *w, const char *z)
{
	jw_str(w, str_of(z));
}

void jw_int(struct json_writer *w, int64_t v)
{
	char text[20];
	char *p = text + sizeof(text);
	/* Made negative, so that INT64_MIN needs no case of its own. */
	int64_t rest = v < 0 ? v : -v;
	do {
		*--p = (char)('0' - rest % 10);
		rest /= 10;
	} while (rest);
	if (v < 0)
		*--p = '-';
	before_value(w);
	buf_add(w->b, p, (size_t)(text + sizeof(text) - p));
}

void jw_bool(struct json_writer *w, bool v)
{
	before_value(w);
	buf_adds(w->b, v ? "true" : "false");
}

void jw_null(struct json_writer *w)
{
	before_value(w);
	buf_adds(w->b, "null");
}

void jw_raw_str(struct json_writer *w, struct str text)
{
	if (!text.p) {
		jw_null(w);
		return;
	}
	before_value(w);
	buf_add_str(w->b, text);
}

void jw_raw(struct json_writer *w, struct json v)
{
	jw_raw_str(w, json_text(v));
}

void jw_kv_string(struct json_writer *w, const char *key, const char *z)
{
	jw_key(w, key);
	jw_string(w, z);
}

void jw_kv_str(struct json_writer *w, const char *key, struct str s)
{
	jw_key(w, key);
	jw_str(w, s);
}

void jw_kv_int(struct json_writer *w, const char *key, int64_t v)
{
	jw_key(w, key);
	jw_int(w, v);
}

void jw_kv_bool(struct json_writer *w, const char *key, bool v)
{
	jw_key(w, key);
	jw_bool(w, v);
}

void jw_kv_raw(struct json_writer *w, const char *key, struct json v)
{
	jw_key(w, key);
	jw_raw(w, v);
}

static void quote_control(struct buf *b, unsigned char c)
{
	static const char short_form[0x20] = { ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't' };
	if (short_form[c])
		buf_add(b, (char[]){ '\\', short_form[c] }, 2);
	else
		buf_addf(b, "\\u%04x", c);
}

void json_quote(struct buf *b, struct str s)
{
	const char *p = s.p;
	const char *end = s.p + s.n;
	if (!s.p)
		p = end = "";
	buf_addc(b, '"');
	while (p < end) {
		/* The longest run that goes out as it is, whole UTF-8 sequences included. */
		const char *run = p;
		size_t n = 1;
		for (;;) {
			p = json_skip_plain(p, end);
			if (p == end || (unsigned char)*p < 0x80)
				break;
			n = utf8_sequence(p, end);
			if (n == 0)
				break;
			p += n;
		}
		buf_add(b, run, (size_t)(p - run));
		if (p == end)
			break;
		unsigned char c = (unsigned char)*p++;
		if (c >= 0x80)
			buf_adds(b, UTF8_REPLACEMENT);
		else if (c < 0x20)
			quote_control(b, c);
		else
			buf_add(b, (char[]){ '\\', (char)c }, 2);
	}
	buf_addc(b, '"');
}
