#include "agent/backlog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void backlog_init(struct backlog *s, const char *dir, int64_t max_bytes)
{
	*s = (struct backlog){ .dir = dir, .max_bytes = max_bytes, .fd = -1 };
}

void backlog_done(struct backlog *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

static int open_file(struct backlog *s, struct err *e)
{
	char name[4096];
	s->fd = open(s->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (s->fd >= 0)
		return 0;
	/* A file system that cannot make one without a name. */
	int n = snprintf(name, sizeof(name), "%s/backlog-XXXXXX", s->dir);
	s->fd = n < (int)sizeof(name) ? mkostemp(name, O_CLOEXEC) : -1;
	if (s->fd < 0)
		return err_errno(e, "cannot keep the log in %s", s->dir);
	unlink(name);
	return 0;
}

/* Where n bytes have room in one piece; -1: nowhere. */
static int64_t place(struct backlog *s, int64_t n)
{
	if (s->wrap)
		return s->next + n <= s->first ? s->next : -1;
	if (s->next + n <= s->max_bytes)
		return s->next;
	if (n > s->first)
		return -1;
	s->wrap = s->next;
	return 0;
}

int backlog_put(struct backlog *s, struct str piece, int64_t *ret_at, struct err *e)
{
	int64_t n = (int64_t)piece.n, at = place(s, n);
	if (at < 0)
		return err_set(e, ERR_NO_SPACE, "%lld bytes of the log wait already", (long long)s->max_bytes);
	int r = s->fd >= 0 ? 0 : open_file(s, e);
	for (size_t done = 0; r == 0 && done < piece.n;) {
		ssize_t written = pwrite(s->fd, piece.p + done, piece.n - done, at + (int64_t)done);
		if (written < 0 && errno != EINTR)
			r = err_errno(e, "cannot keep the log in %s", s->dir);
		done += written > 0 ? (size_t)written : 0;
	}
	if (r < 0) {
		/* As it was: the place at the beginning was not taken. */
		if (s->wrap && at == 0 && s->next == s->wrap)
			s->wrap = 0;
		return r;
	}
	s->next = at + n;
	s->pieces++;
	*ret_at = at;
	return 0;
}

int backlog_take(struct backlog *s, int64_t at, size_t n, struct buf *out, struct err *e)
{
	if (!buf_reserve(out, n))
		return buf_check(out, "the log", e);
	for (size_t done = 0; done < n;) {
		ssize_t got = pread(s->fd, out->data + out->len, n - done, at + (int64_t)done);
		if (got == 0)
			return err_set(e, ERR_IO, "the log that was kept in %s is cut", s->dir);
		if (got < 0 && errno != EINTR)
			return err_errno(e, "cannot read the log that was kept in %s", s->dir);
		done += got > 0 ? (size_t)got : 0;
		out->len += got > 0 ? (size_t)got : 0;
	}
	s->first = at + (int64_t)n;
	if (s->wrap && at == 0)
		s->wrap = 0; /* what was behind was taken before */
	if (--s->pieces == 0) {
		s->first = s->next = s->wrap = 0;
		/* Not needed any more: the disk gets its blocks back. */
		if (ftruncate(s->fd, 0) < 0)
			return 0;
	}
	return 0;
}
