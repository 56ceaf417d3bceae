#include "base/encode.h"

static const char alphabet_std[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char alphabet_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static const char hex_digits[] = "0123456789abcdef";

/* Returns the number of characters written; out has room for (n + 2) / 3 * 4. */
static size_t encode64(const char *alphabet, bool pad, struct str in, char *out)
{
	const unsigned char *p = (const unsigned char *)in.p;
	char *o = out;
	size_t i = 0;
	for (; i + 3 <= in.n; i += 3) {
		uint32_t v = (uint32_t)p[i] << 16 | (uint32_t)p[i + 1] << 8 | p[i + 2];
		*o++ = alphabet[v >> 18];
		*o++ = alphabet[v >> 12 & 63];
		*o++ = alphabet[v >> 6 & 63];
		*o++ = alphabet[v & 63];
	}
	size_t left = in.n - i;
	if (left) {
		uint32_t v = (uint32_t)p[i] << 16 | (left == 2 ? (uint32_t)p[i + 1] << 8 : 0);
		*o++ = alphabet[v >> 18];
		*o++ = alphabet[v >> 12 & 63];
		if (left == 2)
			*o++ = alphabet[v >> 6 & 63];
		else if (pad)
			*o++ = '=';
		if (pad)
			*o++ = '=';
	}
	return (size_t)(o - out);
}

static void encode64_buf(struct buf *b, const char *alphabet, bool pad, struct str bytes)
{
	size_t room;
	if (__builtin_mul_overflow(bytes.n / 3 + 1, (size_t)4, &room) || room < bytes.n) {
		b->failed = true;
		return;
	}
	/* Exactly, so that a buffer with a tight maximum holds what fits. */
	room = pad ? (bytes.n + 2) / 3 * 4 : bytes.n / 3 * 4 + (bytes.n % 3 ? bytes.n % 3 + 1 : 0);
	if (!buf_reserve(b, room))
		return;
	b->len += encode64(alphabet, pad, bytes, b->data + b->len);
	b->data[b->len] = '\0';
}

/* 0 to 63, or 255. Both alphabets have their own pair for 62 and 63. */
static unsigned value64(char c, const char *alphabet)
{
	if (c >= 'A' && c <= 'Z')
		return (unsigned)(c - 'A');
	if (c >= 'a' && c <= 'z')
		return (unsigned)(c - 'a') + 26;
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0') + 52;
	if (c == alphabet[62])
		return 62;
	if (c == alphabet[63])
		return 63;
	return 255;
}

static bool decode64(struct arena *a, const char *alphabet, struct str text, struct str *ret)
{
	if (text.n % 4 == 1)
		return false;
	unsigned char *out = arena_alloc(a, text.n / 4 * 3 + 3);
	if (!out)
		return false;
	size_t n = 0;
	uint32_t v = 0;
	for (size_t i = 0; i < text.n; i++) {
		unsigned d = value64(text.p[i], alphabet);
		if (d > 63)
			return false;
		v = v << 6 | d;
		if (i % 4 == 3) {
			out[n++] = (unsigned char)(v >> 16);
			out[n++] = (unsigned char)(v >> 8);
			out[n++] = (unsigned char)v;
			v = 0;
		}
	}
	/* The bits that no byte takes must be zero: one value has one spelling. */
	if (text.n % 4 == 2) {
		if (v & 0x0F)
			return false;
		out[n++] = (unsigned char)(v >> 4);
	} else if (text.n % 4 == 3) {
		if (v & 0x03)
			return false;
		out[n++] = (unsigned char)(v >> 10);
		out[n++] = (unsigned char)(v >> 2);
	}
	*ret = (struct str){ (const char *)out, n };
	return true;
}

void base64_encode(struct buf *b, struct str bytes)
{
	encode64_buf(b, alphabet_std, true, bytes);
}

char *base64_encode_arena(struct arena *a, struct str bytes)
{
	char *out = arena_alloc(a, bytes.n < SIZE_MAX / 2 ? bytes.n / 3 * 4 + 5 : SIZE_MAX);
	if (out)
		out[encode64(alphabet_std, true, bytes, out)] = '\0';
	return out;
}

bool base64_decode(struct arena *a, struct str text, struct str *ret_bytes)
{
	if (text.n % 4)
		return false;
	if (text.n && text.p[text.n - 1] == '=') {
		text.n--;
		if (text.p[text.n - 1] == '=')
			text.n--;
	}
	return decode64(a, alphabet_std, text, ret_bytes);
}

void base64url_encode(struct buf *b, struct str bytes)
{
	encode64_buf(b, alphabet_url, false, bytes);
}

bool base64url_decode(struct arena *a, struct str text, struct str *ret_bytes)
{
	return decode64(a, alphabet_url, text, ret_bytes);
}

static void encode16(struct str in, char *out)
{
	for (size_t i = 0; i < in.n; i++) {
		unsigned char c = (unsigned char)in.p[i];
		out[2 * i] = hex_digits[c >> 4];
		out[2 * i + 1] = hex_digits[c & 15];
	}
	out[2 * in.n] = '\0';
}

void hex_encode(struct buf *b, struct str bytes)
{
	if (!buf_reserve(b, bytes.n < SIZE_MAX / 4 ? bytes.n * 2 : SIZE_MAX))
		return;
	encode16(bytes, b->data + b->len);
	b->len += bytes.n * 2;
}

char *hex_encode_arena(struct arena *a, struct str bytes)
{
	char *out = arena_alloc(a, bytes.n < SIZE_MAX / 4 ? bytes.n * 2 + 1 : SIZE_MAX);
	if (out)
		encode16(bytes, out);
	return out;
}

static int value16(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool hex_decode(struct arena *a, struct str text, struct str *ret_bytes)
{
	if (text.n % 2)
		return false;
	char *out = arena_alloc(a, text.n / 2 + 1);
	if (!out)
		return false;
	for (size_t i = 0; i < text.n; i += 2) {
		int hi = value16(text.p[i]);
		int lo = value16(text.p[i + 1]);
		if (hi < 0 || lo < 0)
			return false;
		out[i / 2] = (char)(hi << 4 | lo);
	}
	*ret_bytes = (struct str){ out, text.n / 2 };
	return true;
}

/* RFC 3986 §2.3. */
static bool is_unreserved(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
	       c == '_' || c == '~';
}

void url_escape(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (is_unreserved((char)c))
			buf_addc(b, (char)c);
		else
			buf_add(b, (char[]){ '%', "0123456789ABCDEF"[c >> 4], "0123456789ABCDEF"[c & 15] }, 3);
	}
}

bool url_unescape(struct arena *a, struct str s, bool plus_is_blank, struct str *ret)
{
	char *out = arena_strndup(a, s.p, s.n);
	if (!out)
		return false;
	size_t n = 0;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (c == '%') {
			int hi = i + 2 < s.n ? value16(s.p[i + 1]) : -1;
			int lo = i + 2 < s.n ? value16(s.p[i + 2]) : -1;
			if (hi < 0 || lo < 0 || (hi | lo) == 0)
				return false;
			c = (char)(hi << 4 | lo);
			i += 2;
		} else if (c == '+' && plus_is_blank) {
			c = ' ';
		}
		out[n++] = c;
	}
	out[n] = '\0';
	*ret = (struct str){ out, n };
	return true;
}

/* RFC 6901: '~' and '/' within a name are escaped. */
void json_pointer_add(struct buf *b, struct str name)
{
	buf_addc(b, '/');
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == '~')
			buf_adds(b, "~0");
		else if (name.p[i] == '/')
			buf_adds(b, "~1");
		else
			buf_addc(b, name.p[i]);
	}
}
