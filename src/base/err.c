#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct code_row {
	int http_status;
	int exit_code;
	const char *status_text;
};

static const struct code_row code_rows[ERR_CODE_COUNT] = { [ERR_NONE] = { 200, 0, "OK" },
#define ROW(name, status, exit, text) [ERR_##name] = { status, exit, text },
							   ERR_CODES(ROW)
#undef ROW
};

static const struct code_row *row_of(enum err_code code)
{
	return (unsigned)code < ERR_CODE_COUNT ? &code_rows[code] : &code_rows[ERR_INTERNAL];
}

/* vsnprintf that never leaves half of a UTF-8 sequence at the cut. */
static void format(char *out, size_t size, const char *fmt, va_list ap) __attribute__((format(printf, 3, 0)));

static void format(char *out, size_t size, const char *fmt, va_list ap)
{
	int n = vsnprintf(out, size, fmt, ap);
	if (n < 0) {
		out[0] = '\0';
		return;
	}
	if ((size_t)n < size)
		return;
	size_t end = size - 1;
	size_t start = end;
	while (start > 0 && end - start < 4 && ((unsigned char)out[start - 1] & 0xC0) == 0x80)
		start--;
	if (start == 0 || (unsigned char)out[start - 1] < 0xC0)
		return; /* ASCII at the cut, or not UTF-8 at all */
	unsigned char lead = (unsigned char)out[start - 1];
	size_t want = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
	if (end - start < want)
		out[start - 1] = '\0';
}

int err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
	if (e) {
		/* The arguments may point into e->message. */
		char text[ERR_MESSAGE_MAX];
		va_list ap;
		va_start(ap, fmt);
		format(text, sizeof(text), fmt, ap);
		va_end(ap);
		memcpy(e->message, text, strlen(text) + 1);
		e->code = code;
	}
	return -(int)code;
}

int err_errno(struct err *e, const char *fmt, ...)
{
	int saved = errno;
	enum err_code code = ERR_IO;
	if (saved == ENOSPC || saved == EDQUOT)
		code = ERR_NO_SPACE;
	else if (saved == ENOMEM)
		code = ERR_NO_MEMORY;
	char text[ERR_MESSAGE_MAX];
	va_list ap;
	va_start(ap, fmt);
	format(text, sizeof(text), fmt, ap);
	va_end(ap);
	char reason[128];
	int rc = err_set(e, code, "%s: %s", text, strerror_r(saved, reason, sizeof(reason)));
	errno = saved;
	return rc;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	if (!e || e->code == ERR_NONE)
		return -(int)ERR_INTERNAL;
	char text[ERR_MESSAGE_MAX];
	va_list ap;
	va_start(ap, fmt);
	format(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(e, e->code, "%s: %s", text, e->message);
}

int err_nomem(struct err *e)
{
	return err_set(e, ERR_NO_MEMORY, "out of memory");
}

void err_reset(struct err *e)
{
	e->code = ERR_NONE;
	e->message[0] = '\0';
}

int err_http_status(enum err_code code)
{
	return row_of(code)->http_status;
}

int err_exit_code(enum err_code code)
{
	return row_of(code)->exit_code;
}

const char *err_status_text(enum err_code code)
{
	return row_of(code)->status_text;
}

enum err_code err_from_http_status(int status)
{
	/* The first row with that status: 500 is INTERNAL, 503 UNAVAILABLE, 400 BAD_REQUEST. */
	for (int i = 1; i < ERR_CODE_COUNT; i++) {
		if (code_rows[i].http_status == status)
			return (enum err_code)i;
	}
	return ERR_INTERNAL;
}

_Noreturn void err_bug(const char *file, int line, const char *what)
{
	fprintf(stderr, "slipway: bug at %s:%d: %s\n", file, line, what);
	abort();
}
