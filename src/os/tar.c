#include "os/tar.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "os/file.h"
#include "os/tar_format.h"

#define COPY_BYTES (64 * 1024)

static bool get_number(const unsigned char *at, int64_t *ret)
{
	uint64_t n = 0;
	if (at[0] & 0x80) {
		for (size_t i = 1; i < NUMBER_BYTES; i++) {
			if (n >> 55)
				return false;
			n = n << 8 | at[i];
		}
		*ret = (int64_t)n;
		return true;
	}
	size_t i = 0;
	for (; i < NUMBER_BYTES - 1 && at[i] >= '0' && at[i] <= '7'; i++)
		n = n << 3 | (uint64_t)(at[i] - '0');
	*ret = (int64_t)n;
	return i > 0;
}

static int put_header(int fd, const char *name, int64_t size, int64_t mtime_s, struct err *e)
{
	unsigned char h[TAR_BLOCK_BYTES] = { 0 };
	BUG_ON(strlen(name) > TAR_NAME_MAX);
	memcpy(h + AT_NAME, name, strlen(name));
	memcpy(h + AT_MODE, "0000600", 8);
	memcpy(h + AT_UID, "0000000", 8);
	memcpy(h + AT_GID, "0000000", 8);
	tar_put_number(h + AT_SIZE, size);
	tar_put_number(h + AT_MTIME, mtime_s);
	h[AT_TYPE] = '0';
	memcpy(h + AT_MAGIC, "ustar\00000", 8);
	snprintf((char *)h + AT_SUM, SUM_BYTES, "%06o", tar_sum(h));
	h[AT_SUM + SUM_BYTES - 1] = ' ';
	return file_write_all(fd, (struct str){ (const char *)h, sizeof(h) }, e);
}

int tar_pad(int fd, int64_t size, struct err *e)
{
	static const char zeros[TAR_BLOCK_BYTES];
	size_t rest = (size_t)(size % TAR_BLOCK_BYTES);
	return rest ? file_write_all(fd, (struct str){ zeros, TAR_BLOCK_BYTES - rest }, e) : 0;
}

int tar_put(int fd, const char *name, struct str bytes, int64_t mtime_s, struct err *e)
{
	int rc = put_header(fd, name, (int64_t)bytes.n, mtime_s, e);
	if (rc == 0)
		rc = file_write_all(fd, bytes, e);
	return rc < 0 ? rc : tar_pad(fd, (int64_t)bytes.n, e);
}

/* Exactly n bytes. */
static int read_exactly(int fd, char *p, size_t n, const char *what, struct err *e)
{
	while (n > 0) {
		ssize_t got = read(fd, p, n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_errno(e, "reading %s", what);
		if (got == 0)
			return err_set(e, ERR_BAD_REQUEST, "%s ends too early", what);
		p += got;
		n -= (size_t)got;
	}
	return 0;
}

int tar_copy_bytes(int from, int to, int64_t size, const char *what, struct err *e)
{
	char bytes[COPY_BYTES];
	int rc = 0;
	while (rc == 0 && size > 0) {
		size_t n = size < COPY_BYTES ? (size_t)size : COPY_BYTES;
		rc = read_exactly(from, bytes, n, what, e);
		if (rc == 0)
			rc = file_write_all(to, (struct str){ bytes, n }, e);
		size -= (int64_t)n;
	}
	return rc;
}

int tar_put_file(int fd, const char *name, int from_fd, int64_t size, int64_t mtime_s, struct err *e)
{
	int rc = put_header(fd, name, size, mtime_s, e);
	if (rc == 0)
		rc = tar_copy_bytes(from_fd, fd, size, name, e);
	return rc < 0 ? rc : tar_pad(fd, size, e);
}

int tar_end(int fd, struct err *e)
{
	static const char zeros[2 * TAR_BLOCK_BYTES];
	return file_write_all(fd, (struct str){ zeros, sizeof(zeros) }, e);
}

int tar_next(int fd, struct tar_entry *ret, struct err *e)
{
	unsigned char h[TAR_BLOCK_BYTES];
	unsigned sum;
	int rc = read_exactly(fd, (char *)h, sizeof(h), "the archive", e);
	if (rc < 0)
		return rc;
	if (h[0] == '\0' && tar_sum(h) == SUM_BYTES * ' ')
		return 0;
	if (sscanf((const char *)h + AT_SUM, "%o", &sum) != 1 || sum != tar_sum(h) || h[AT_TYPE] != '0' ||
	    memcmp(h + AT_MAGIC, "ustar", 5) != 0 || h[AT_NAME + TAR_NAME_MAX] != '\0' ||
	    !get_number(h + AT_SIZE, &ret->size) || ret->size < 0)
		return err_set(e, ERR_BAD_REQUEST, "the archive is damaged");
	memcpy(ret->name, h + AT_NAME, sizeof(ret->name));
	return 1;
}

int tar_copy(int fd, const struct tar_entry *entry, int to_fd, struct err *e)
{
	char rest[TAR_BLOCK_BYTES];
	size_t over = (size_t)(entry->size % TAR_BLOCK_BYTES);
	int rc = tar_copy_bytes(fd, to_fd, entry->size, entry->name, e);
	return rc < 0 || over == 0 ? rc : read_exactly(fd, rest, TAR_BLOCK_BYTES - over, "the archive", e);
}
