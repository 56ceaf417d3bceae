/*
 * The validator. One pass, no recursion: what is open is one bit per level, object or array.
 */
#include "base/json.h"
#include "base/json_scan.h"
#include "base/utf8.h"

struct checker {
	const char *start;
	const char *end;
	const char *at;	    /* where it went wrong */
	const char *wanted; /* what was expected there, NULL while all is well */
};

static const char *wrong(struct checker *c, const char *at, const char *wanted)
{
	c->at = at;
	c->wanted = wanted;
	return NULL;
}

static bool is_hex(char ch)
{
	return (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'f') || (ch >= 'A' && ch <= 'F');
}

static const char *check_escape(struct checker *c, const char *p)
{
	if (p + 1 >= c->end)
		return wrong(c, c->end, "the end of the string");
	switch (p[1]) {
	case '"':
	case '\\':
	case '/':
	case 'b':
	case 'f':
	case 'n':
	case 'r':
	case 't':
		return p + 2;
	case 'u':
		for (int i = 2; i < 6; i++) {
			if (p + i >= c->end || !is_hex(p[i]))
				return wrong(c, p, "four hexadecimal digits after \\u");
		}
		return p + 6;
	default:
		return wrong(c, p, "an escape sequence that JSON knows");
	}
}

/* p is behind the opening quote; returns behind the closing one, NULL on error. */
static const char *check_string(struct checker *c, const char *p)
{
	for (;;) {
		p = json_skip_plain(p, c->end);
		if (p == c->end)
			return wrong(c, p, "the end of the string");
		if (*p == '"')
			return p + 1;
		if (*p == '\\') {
			p = check_escape(c, p);
			if (!p)
				return NULL;
			continue;
		}
		if ((unsigned char)*p < 0x20)
			return wrong(c, p, "no control character within a string");
		/* Text that is not English stays here for its words; a blank ends them often enough. */
		do {
			size_t n = utf8_sequence(p, c->end);
			if (n == 0)
				return wrong(c, p, "valid UTF-8");
			p += n;
		} while (p < c->end && (unsigned char)*p >= 0x80);
	}
}

static bool is_digit(const char *p, const char *end)
{
	return p < end && *p >= '0' && *p <= '9';
}

static const char *skip_digits(const char *p, const char *end)
{
	while (is_digit(p, end))
		p++;
	return p;
}

static const char *check_number(struct checker *c, const char *p)
{
	if (*p == '-')
		p++;
	if (!is_digit(p, c->end))
		return wrong(c, p, "a digit");
	if (*p == '0') {
		p++;
		if (is_digit(p, c->end))
			return wrong(c, p, "no digit after a leading zero");
	} else {
		p = skip_digits(p, c->end);
	}
	if (p < c->end && *p == '.') {
		p++;
		if (!is_digit(p, c->end))
			return wrong(c, p, "a digit");
		p = skip_digits(p, c->end);
	}
	if (p < c->end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < c->end && (*p == '+' || *p == '-'))
			p++;
		if (!is_digit(p, c->end))
			return wrong(c, p, "a digit");
		p = skip_digits(p, c->end);
	}
	return p;
}

static const char *check_word(struct checker *c, const char *p, const char *word, size_t n)
{
	if ((size_t)(c->end - p) < n || memcmp(p, word, n) != 0)
		return wrong(c, p, "a value");
	return p + n;
}

static const char *check_text(struct checker *c)
{
	uint64_t is_object[JSON_DEPTH_MAX / 64] = { 0 };
	unsigned depth = 0;
	bool in_object = false;
	const char *const end = c->end;
	const char *p = c->start;

value:
	p = json_skip_blanks(p, end);
	if (p == end)
		return wrong(c, p, "a value");
	switch (*p) {
	case '{':
	case '[':
		if (depth == JSON_DEPTH_MAX)
			return wrong(c, p, "fewer nested values");
		in_object = *p == '{';
		if (in_object)
			is_object[depth / 64] |= UINT64_C(1) << (depth % 64);
		else
			is_object[depth / 64] &= ~(UINT64_C(1) << (depth % 64));
		depth++;
		p = json_skip_blanks(p + 1, end);
		if (p < end && *p == (in_object ? '}' : ']'))
			goto close;
		if (in_object)
			goto key;
		goto value;
	case '"':
		p = check_string(c, p + 1);
		break;
	case 't':
		p = check_word(c, p, "true", 4);
		break;
	case 'f':
		p = check_word(c, p, "false", 5);
		break;
	case 'n':
		p = check_word(c, p, "null", 4);
		break;
	case '-':
	case '0':
	case '1':
	case '2':
	case '3':
	case '4':
	case '5':
	case '6':
	case '7':
	case '8':
	case '9':
		p = check_number(c, p);
		break;
	default:
		return wrong(c, p, "a value");
	}
	if (!p)
		return NULL;

behind:
	if (depth == 0)
		return p;
	p = json_skip_blanks(p, end);
	if (p == end)
		return wrong(c, p, in_object ? "',' or '}'" : "',' or ']'");
	if (*p == ',') {
		p++;
		if (!in_object)
			goto value;
		p = json_skip_blanks(p, end);
		goto key;
	}
	if (*p != (in_object ? '}' : ']'))
		return wrong(c, p, in_object ? "',' or '}'" : "',' or ']'");

close:
	p++;
	depth--;
	if (depth > 0)
		in_object = is_object[(depth - 1) / 64] >> ((depth - 1) % 64) & 1;
	goto behind;

key:
	if (p == end || *p != '"')
		return wrong(c, p, "a quoted key");
	p = check_string(c, p + 1);
	if (!p)
		return NULL;
	p = json_skip_blanks(p, end);
	if (p == end || *p != ':')
		return wrong(c, p, "':'");
	p++;
	goto value;
}

int json_check(struct str text, struct json *ret_root, struct err *e)
{
	const char *start = text.p ? text.p : "";
	struct checker c = { .start = start, .end = start + text.n };
	c.start = json_skip_blanks(c.start, c.end);
	const char *p = check_text(&c);
	if (p) {
		const char *rest = json_skip_blanks(p, c.end);
		if (rest != c.end)
			wrong(&c, rest, "nothing behind the value");
	}
	if (c.wanted)
		return err_set(e, ERR_BAD_REQUEST, "malformed JSON at byte %zu: expected %s", (size_t)(c.at - start),
			       c.wanted);
	*ret_root = (struct json){ c.start, (size_t)(p - c.start) };
	return 0;
}
