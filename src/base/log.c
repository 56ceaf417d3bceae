#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

/* A longer line is cut: it is for people. */
#define LINE_MAX_BYTES 4096

static _Atomic int min_level = LOG_INFO;
static _Atomic(const char *) program_name;

static const char *const level_names[] = { "debug", "info", "warn", "error" };

void log_set_level(enum log_level level)
{
	atomic_store(&min_level, (int)level);
}

void log_set_name(const char *program)
{
	atomic_store(&program_name, program);
}

bool log_level_parse(const char *text, enum log_level *ret)
{
	for (size_t i = 0; text && i < ARRAY_SIZE(level_names); i++) {
		if (strcmp(text, level_names[i]) == 0) {
			*ret = (enum log_level)i;
			return true;
		}
	}
	return false;
}

static void add(char *line, size_t *n, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void add(char *line, size_t *n, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int got = vsnprintf(line + *n, LINE_MAX_BYTES - *n, fmt, ap);
	va_end(ap);
	if (got > 0)
		*n += (size_t)got < LINE_MAX_BYTES - *n ? (size_t)got : LINE_MAX_BYTES - *n - 1;
}

void log_msg(enum log_level level, const char *room, const char *fmt, ...)
{
	if ((int)level < atomic_load(&min_level))
		return;
	int saved = errno;
	char line[LINE_MAX_BYTES + 1];
	size_t n = 0;
	char text[64];
	struct timespec ts;
	struct tm tm;
	int64_t now_us = clock_now_us();
	ts.tv_sec = (time_t)(now_us / US_PER_S);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	const char *name = atomic_load(&program_name);
	if (name)
		add(line, &n, "%s ", name);
	add(line, &n, "%s.%03dZ %-5s %s: ", text, (int)(now_us % US_PER_S / 1000), level_names[level & 3], room);
	size_t start = n;
	va_list ap;
	va_start(ap, fmt);
	int got = vsnprintf(line + n, LINE_MAX_BYTES - n, fmt, ap);
	va_end(ap);
	if (got > 0)
		n += (size_t)got < LINE_MAX_BYTES - n ? (size_t)got : LINE_MAX_BYTES - n - 1;
	/* What came from outside must not be able to forge a line or talk to the terminal. */
	for (size_t i = start; i < n; i++) {
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7F)
			line[i] = ' ';
	}
	line[n++] = '\n';
	/* One write, so that lines of several threads and processes do not mix. */
	ssize_t done;
	do {
		done = write(STDERR_FILENO, line, n);
	} while (done < 0 && errno == EINTR);
	errno = saved;
}
