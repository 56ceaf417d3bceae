#include "crypto/crypto.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "base/encode.h"

/* The file holds one key; a rotation will number the next ones. */
#define MASTER_KEY_ID 1
#define FILE_BYTES (2 * CRYPTO_KEY_BYTES + 1) /* hex and a newline */

static int read_all(int fd, char *out, size_t size, size_t *ret_n)
{
	size_t n = 0;
	while (n < size) {
		ssize_t got = read(fd, out + n, size - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		n += (size_t)got;
	}
	*ret_n = n;
	return 0;
}

static int write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t done = write(fd, p, n);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -1;
		p += done;
		n -= (size_t)done;
	}
	return 0;
}

/* ERR_NOT_FOUND if there is no such file. */
static int load(const char *path, struct crypto_key *ret, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT)
		return err_set(e, ERR_NOT_FOUND, "there is no master key %s", path);
	if (fd < 0)
		return err_errno(e, "master key %s", path);
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_errno(e, "master key %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_IO, "master key %s: not a regular file", path);
	if (st.st_mode & 077)
		return err_set(e, ERR_IO, "master key %s: others may read it (mode %03o); chmod 600 it", path,
			       (unsigned)(st.st_mode & 0777));
	char text[FILE_BYTES + 1]; /* one more, to notice a longer file */
	size_t n = 0;
	struct crypto_key key = { .id = MASTER_KEY_ID };
	size_t bin = 0;
	if (read_all(fd, text, sizeof(text), &n) < 0)
		return err_errno(e, "master key %s", path);
	bool newline = n == FILE_BYTES && text[n - 1] == '\n';
	bool ok = (newline || n == FILE_BYTES - 1) &&
		  sodium_hex2bin(key.bytes, sizeof(key.bytes), text, FILE_BYTES - 1, NULL, &bin, NULL) == 0 &&
		  bin == sizeof(key.bytes);
	crypto_wipe(text, sizeof(text));
	if (ok)
		*ret = key;
	crypto_wipe(&key, sizeof(key));
	return ok ? 0 : err_set(e, ERR_IO, "master key %s: must hold 64 hexadecimal characters", path);
}

static int sync_directory(const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;
	_cleanup_free_ char *dir = slash ? strndup(path, n ? n : 1) : strdup(".");
	if (!dir)
		return err_nomem(e);
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return err_errno(e, "directory %s", dir);
	return 0;
}

static int write_key_file(const char *temporary, struct err *e)
{
	/* Left over by a start that was killed; nobody else has our process id. */
	unlink(temporary);
	_cleanup_close_ int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(e, "master key %s", temporary);
	struct crypto_key key;
	char text[FILE_BYTES];
	crypto_key_new(&key, MASTER_KEY_ID);
	sodium_bin2hex(text, sizeof(text), key.bytes, sizeof(key.bytes));
	text[FILE_BYTES - 1] = '\n'; /* over the NUL of bin2hex */
	int rc = write_all(fd, text, sizeof(text)) < 0 || fsync(fd) < 0 ? err_errno(e, "master key %s", temporary) : 0;
	crypto_wipe(&key, sizeof(key));
	crypto_wipe(text, sizeof(text));
	return rc;
}

/* The file appears under its name only when it is whole: a crash leaves no empty key that would stop every later
 * start, and link() refuses to replace the key that another process made meanwhile. */
static int create(const char *path, struct err *e)
{
	_cleanup_free_ char *temporary = NULL;
	if (asprintf(&temporary, "%s.new.%ld", path, (long)getpid()) < 0) {
		temporary = NULL;
		return err_nomem(e);
	}
	int rc = write_key_file(temporary, e);
	if (rc == 0 && link(temporary, path) < 0 && errno != EEXIST)
		rc = err_errno(e, "master key %s", path);
	unlink(temporary);
	return rc < 0 ? rc : sync_directory(path, e);
}

int crypto_master_load(const char *path, bool create_it, struct crypto_key *ret, struct err *e)
{
	int rc = load(path, ret, e);
	if (rc != -ERR_NOT_FOUND || !create_it)
		return rc;
	err_reset(e);
	rc = create(path, e);
	return rc < 0 ? rc : load(path, ret, e);
}
