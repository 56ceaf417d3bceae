/*
 * The mask beside the obvious way to do it: every form of every value looked for at every place. The first byte is the
 * number of values, less one, and the size of the pieces in which the text is fed; each value is its length and its bytes;
 * the rest is the text.
 */
#include "fuzz.h"

#include "base/limits.h"
#include "base/mask.h"
#include "base/mask_forms.h"

#define TEXT_MAX 4096

struct naive {
	struct str text;
	bool secret[TEXT_MAX];
};

static int mark(void *arg, struct str form, struct err *e)
{
	struct naive *n = arg;
	MUST(form.n >= MASK_VALUE_MIN_BYTES && !memchr(form.p, '\n', form.n));
	for (size_t at = 0; at + form.n <= n->text.n; at++) {
		if (memcmp(n->text.p + at, form.p, form.n) == 0)
			memset(n->secret + at, 1, form.n);
	}
	return 0;
}

static struct str take_value(struct str *rest)
{
	size_t n = rest->n ? (unsigned char)rest->p[0] : 0;
	rest->p += rest->n > 0;
	rest->n -= rest->n > 0;
	struct str value = { rest->p, n < rest->n ? n : rest->n };
	rest->p += value.n;
	rest->n -= value.n;
	return value;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct naive naive;
	if (size < 2)
		return 0;
	struct str rest = { (const char *)data + 1, size - 1 }, values[4];
	size_t count = (data[0] & 3) + 1u, piece = (data[0] >> 2) + 1u;
	for (size_t i = 0; i < count; i++)
		values[i] = take_value(&rest);
	naive = (struct naive){ .text = { rest.p, rest.n < TEXT_MAX ? rest.n : TEXT_MAX } };
	struct err e = { 0 };
	_cleanup_mask_set_ struct mask_set *set = mask_set_new();
	MUST(set);
	for (size_t i = 0; i < count; i++) {
		int r = mask_set_add(set, values[i], &e);
		MUST(r == (values[i].n >= MASK_VALUE_MIN_BYTES));
		if (r)
			MUST(mask_forms(values[i], mark, &naive, &e) == 0);
	}
	MUST(mask_set_build(set, &e) == 0);

	_cleanup_buf_ struct buf expected, out;
	buf_init(&expected, MIB);
	buf_init(&out, MIB);
	for (size_t i = 0; i < naive.text.n; i++) {
		if (!naive.secret[i])
			buf_addc(&expected, naive.text.p[i]);
		else if (i == 0 || !naive.secret[i - 1])
			buf_adds(&expected, MASK_TEXT);
	}
	struct mask_stream m;
	mask_stream_init(&m, set);
	for (size_t at = 0; at < naive.text.n; at += piece)
		MUST(mask_stream_feed(
			&m, (struct str){ naive.text.p + at, naive.text.n - at < piece ? naive.text.n - at : piece },
			&out));
	MUST(mask_stream_end(&m, &out));
	mask_stream_done(&m);
	MUST(str_eq(buf_str(&expected), buf_str(&out)));
	MUST(mask_finds(set, naive.text) == (memchr(naive.secret, 1, naive.text.n) != NULL));
	return 0;
}
