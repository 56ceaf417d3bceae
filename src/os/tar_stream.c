#include "os/tar_stream.h"

#include <stdio.h>

#include "os/tar_format.h"

#define AT_LINK 157
#define AT_REST 265 /* names of owners, device numbers, prefix: empty here */
#define NAME_BYTES 100
#define MODE_BYTES 8
#define TYPE_PAX 'x'
#define MODE_FILE 0644
#define MODE_PROGRAM 0755

/* --- writing --- */

static void put_header(struct buf *out, char type, const char *name, const char *target, unsigned mode, int64_t size,
		       int64_t mtime_s)
{
	unsigned char h[TAR_STREAM_BLOCK] = { 0 };
	size_t n = strlen(name), m = strlen(target);
	memcpy(h + AT_NAME, name, n < NAME_BYTES ? n : NAME_BYTES);
	memcpy(h + AT_LINK, target, m < NAME_BYTES ? m : NAME_BYTES);
	snprintf((char *)h + AT_MODE, MODE_BYTES, "%07o", mode);
	memcpy(h + AT_UID, "0000000", 8);
	memcpy(h + AT_GID, "0000000", 8);
	tar_put_number(h + AT_SIZE, size);
	tar_put_number(h + AT_MTIME, mtime_s < 0 || mtime_s > OCTAL_MAX ? 0 : mtime_s);
	h[AT_TYPE] = (unsigned char)type;
	memcpy(h + AT_MAGIC, "ustar\00000", 8);
	snprintf((char *)h + AT_SUM, SUM_BYTES, "%06o", tar_sum(h));
	h[AT_SUM + SUM_BYTES - 1] = ' ';
	buf_add(out, h, sizeof(h));
}

/* "LENGTH key=value\n", where LENGTH counts itself. */
static void add_record(struct buf *b, const char *key, const char *value)
{
	size_t rest = strlen(key) + strlen(value) + 3, n = rest + 1;
	for (size_t digits = 1, ten = 10; n >= ten; ten *= 10)
		n = rest + ++digits;
	buf_addf(b, "%zu %s=%s\n", n, key, value);
}

void tar_stream_put(struct buf *out, const struct tar_item *item)
{
	_cleanup_buf_ struct buf pax;
	buf_init(&pax, sizeof(((struct tar_stream *)0)->pax));
	if (strlen(item->name) > NAME_BYTES)
		add_record(&pax, "path", item->name);
	if (strlen(item->target) > NAME_BYTES)
		add_record(&pax, "linkpath", item->target);
	if (buf_failed(&pax)) {
		out->failed = true;
		return;
	}
	if (pax.len) {
		put_header(out, TYPE_PAX, "name", "", MODE_FILE, (int64_t)pax.len, 0);
		buf_add_str(out, buf_str(&pax));
		tar_stream_pad(out, (int64_t)pax.len);
	}
	bool program = item->kind != TAR_FILE || item->executable;
	put_header(out, (char)item->kind, item->name, item->target, program ? MODE_PROGRAM : MODE_FILE, item->size,
		   item->mtime_s);
}

void tar_stream_pad(struct buf *out, int64_t size)
{
	static const char zeros[TAR_STREAM_BLOCK];
	size_t over = (size_t)(size % TAR_STREAM_BLOCK);
	if (over)
		buf_add(out, zeros, TAR_STREAM_BLOCK - over);
}

void tar_stream_finish(struct buf *out)
{
	static const char zeros[2 * TAR_STREAM_BLOCK];
	buf_add(out, zeros, sizeof(zeros));
}

/* --- reading --- */

void tar_stream_init(struct tar_stream *t, const struct tar_sink *sink)
{
	*t = (struct tar_stream){ .sink = sink };
}

static int damaged(struct err *e)
{
	return err_set(e, ERR_BAD_REQUEST, "the archive is damaged");
}

/* Octal digits, then a NUL or a blank. */
static bool get_octal(const char *at, size_t size, int64_t *ret)
{
	int64_t n = 0;
	size_t i = 0;
	for (; i < size && at[i] >= '0' && at[i] <= '7'; i++) {
		if (n > INT64_MAX >> 3)
			return false;
		n = n << 3 | (at[i] - '0');
	}
	*ret = n;
	return i > 0 && (i == size || at[i] == '\0' || at[i] == ' ');
}

/* A name of the header goes to `to`, unless a pax record has put one there. false: empty. */
static void take_name(const char *at, char *to)
{
	size_t n = strnlen(at, NAME_BYTES);
	if (to[0])
		return;
	memcpy(to, at, n);
	to[n] = '\0';
}

static const char *name_of_type(char type)
{
	switch (type) {
	case '1':
		return "a hard link";
	case '3':
	case '4':
		return "a device";
	case '6':
		return "a named pipe";
	case 'S':
		return "a sparse file";
	case 'L':
	case 'K':
	case 'g':
		return "an extension that is not used here";
	default:
		return "an entry of an unknown kind";
	}
}

static int begin_pax(struct tar_stream *t, int64_t size, struct err *e)
{
	if (t->after_pax || size <= 0 || size > (int64_t)sizeof(t->pax))
		return damaged(e);
	t->state = TAR_AT_PAX;
	t->left = size;
	t->pad = (size_t)(-size & (TAR_STREAM_BLOCK - 1));
	t->have = 0;
	return 0;
}

/* With nothing to come, it goes on at once. */
static int after_data(struct tar_stream *t, struct err *e)
{
	t->state = t->pad ? TAR_AT_PAD : TAR_AT_HEADER;
	t->have = 0;
	if (!t->in_file)
		return 0;
	t->in_file = false;
	return t->sink->end(t->sink->arg, e);
}

static int header(struct tar_stream *t, struct err *e)
{
	static const char zeros[TAR_STREAM_BLOCK];
	const char *h = t->block;
	int64_t sum, mode, size, mtime;
	if (memcmp(h, zeros, sizeof(zeros)) == 0) {
		if (t->after_pax)
			return damaged(e);
		t->state = ++t->zero_blocks == 2 ? TAR_AT_END : TAR_AT_HEADER;
		return 0;
	}
	if (t->zero_blocks || !get_octal(h + AT_SUM, SUM_BYTES, &sum) || sum != tar_sum((const unsigned char *)h) ||
	    memcmp(h + AT_MAGIC, "ustar\00000", 8) != 0 || !get_octal(h + AT_MODE, MODE_BYTES, &mode) ||
	    !get_octal(h + AT_SIZE, NUMBER_BYTES, &size) || !get_octal(h + AT_MTIME, NUMBER_BYTES, &mtime) ||
	    memcmp(h + AT_REST, zeros, TAR_STREAM_BLOCK - AT_REST) != 0)
		return damaged(e);
	char type = h[AT_TYPE];
	if (type == TYPE_PAX)
		return begin_pax(t, size, e);
	if (type != TAR_FILE && type != TAR_SYMLINK && type != TAR_FOLDER)
		return err_set(e, ERR_BAD_REQUEST, "the archive holds %s", name_of_type(type));
	if (mode != MODE_FILE && mode != MODE_PROGRAM)
		return err_set(e, ERR_BAD_REQUEST, "the archive holds a file of the mode %04o", (unsigned)mode);
	take_name(h + AT_NAME, t->name);
	take_name(h + AT_LINK, t->target);
	/* Other programs put a slash behind the name of a folder. */
	size_t n = strlen(t->name);
	if (type == TAR_FOLDER && n > 1 && t->name[n - 1] == '/')
		t->name[n - 1] = '\0';
	if (!t->name[0] || (type == TAR_SYMLINK) != (t->target[0] != '\0') || (type != TAR_FILE && size != 0))
		return damaged(e);
	struct tar_item item = { .kind = (enum tar_kind)type,
				 .name = t->name,
				 .target = t->target,
				 .executable = type == TAR_FILE && mode == MODE_PROGRAM,
				 .size = size,
				 /* As on the way out: a field without an end may hold more than can be written. */
				 .mtime_s = mtime > OCTAL_MAX ? 0 : mtime };
	t->after_pax = false;
	t->in_file = true;
	t->state = TAR_AT_DATA;
	t->left = size;
	t->pad = (size_t)(-size & (TAR_STREAM_BLOCK - 1));
	int r = t->sink->begin(t->sink->arg, &item, e);
	t->name[0] = t->target[0] = '\0';
	return r < 0 || size > 0 ? r : after_data(t, e);
}

/* Records follow each other without a gap; each of the two keys at most once. */
static int read_pax(struct tar_stream *t, struct err *e)
{
	struct str text = { t->pax, t->have };
	while (text.n) {
		struct str rest, value;
		int64_t n;
		struct str length = str_cut(text, ' ', &rest);
		if (length.n == 0 || length.p[0] == '-' || length.n > 5 || !str_to_int64(length, &n) ||
		    n <= (int64_t)length.n + 1 || (size_t)n > text.n || text.p[n - 1] != '\n')
			return damaged(e);
		struct str record = { rest.p, (size_t)n - length.n - 2 };
		struct str key = str_cut(record, '=', &value);
		char *to = str_is(key, "path") ? t->name : str_is(key, "linkpath") ? t->target : NULL;
		if (!to)
			return err_set(e, ERR_BAD_REQUEST, "the archive holds an extension that is not used here");
		if (!value.p || value.n == 0 || value.n > TAR_STREAM_NAME_MAX || str_has_nul(value) || to[0])
			return damaged(e);
		memcpy(to, value.p, value.n);
		to[value.n] = '\0';
		text = (struct str){ text.p + n, text.n - (size_t)n };
	}
	t->after_pax = true;
	return after_data(t, e);
}

static size_t fill(char *to, size_t *have, size_t want, struct str *bytes)
{
	size_t n = want - *have < bytes->n ? want - *have : bytes->n;
	memcpy(to + *have, bytes->p, n);
	*have += n;
	bytes->p += n;
	bytes->n -= n;
	return n;
}

static int push_data(struct tar_stream *t, struct str *bytes, struct err *e)
{
	size_t n = (uint64_t)t->left < bytes->n ? (size_t)t->left : bytes->n;
	int r = t->sink->data(t->sink->arg, (struct str){ bytes->p, n }, e);
	bytes->p += n;
	bytes->n -= n;
	t->left -= (int64_t)n;
	return r < 0 || t->left > 0 ? r : after_data(t, e);
}

int tar_stream_push(struct tar_stream *t, struct str bytes, struct err *e)
{
	char ignored[TAR_STREAM_BLOCK];
	int r = 0;
	while (r == 0 && bytes.n) {
		switch (t->state) {
		case TAR_AT_HEADER:
			fill(t->block, &t->have, TAR_STREAM_BLOCK, &bytes);
			if (t->have == TAR_STREAM_BLOCK) {
				t->have = 0;
				r = header(t, e);
			}
			break;
		case TAR_AT_PAX:
			t->left -= (int64_t)fill(t->pax, &t->have, t->have + (size_t)t->left, &bytes);
			if (t->left == 0)
				r = read_pax(t, e);
			break;
		case TAR_AT_DATA:
			r = push_data(t, &bytes, e);
			break;
		case TAR_AT_PAD:
			fill(ignored, &t->have, t->pad, &bytes);
			if (t->have == t->pad) {
				t->have = 0;
				t->state = TAR_AT_HEADER;
			}
			break;
		case TAR_AT_END:
			return err_set(e, ERR_BAD_REQUEST, "something follows the end of the archive");
		}
	}
	return r < 0 ? r : 0;
}

int tar_stream_end(const struct tar_stream *t, struct err *e)
{
	return t->state == TAR_AT_END ? 0 : err_set(e, ERR_BAD_REQUEST, "the archive ends too early");
}
