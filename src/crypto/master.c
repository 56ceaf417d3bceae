#include "crypto/crypto.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "base/encode.h"

#define FIRST_KEY_ID 1
#define HEX_BYTES (2 * CRYPTO_KEY_BYTES)
#define LINE_BYTES (10 + 1 + HEX_BYTES + 1) /* id, blank, hex, newline */
#define FILE_BYTES (CRYPTO_KEYRING_MAX * LINE_BYTES)

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

static bool parse_key(struct str hex, uint32_t id, struct crypto_keyring *ring)
{
	size_t bin = 0;
	if (ring->count == CRYPTO_KEYRING_MAX || hex.n != HEX_BYTES)
		return false;
	struct crypto_key *key = &ring->keys[ring->count];
	key->id = id;
	ring->count++;
	return sodium_hex2bin(key->bytes, sizeof(key->bytes), hex.p, hex.n, NULL, &bin, NULL) == 0 &&
	       bin == sizeof(key->bytes);
}

static bool parse(struct str text, struct crypto_keyring *ret)
{
	struct str rest = text, hex;
	int64_t id;
	if (text.n > 0 && text.p[text.n - 1] == '\n')
		rest.n--;
	if (rest.n == HEX_BYTES)
		return parse_key(rest, FIRST_KEY_ID, ret);
	while (rest.p) {
		struct str number = str_cut(str_cut(rest, '\n', &rest), ' ', &hex);
		if (!hex.p || !str_to_int64(number, &id) || id < 1 || id > UINT32_MAX ||
		    (ret->count > 0 && id >= ret->keys[ret->count - 1].id) || !parse_key(hex, (uint32_t)id, ret))
			return false;
	}
	return ret->count > 0;
}

/* ERR_NOT_FOUND if there is no such file. */
static int load(const char *path, struct crypto_keyring *ret, struct err *e)
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
	struct crypto_keyring ring = { 0 };
	if (read_all(fd, text, sizeof(text), &n) < 0)
		return err_errno(e, "master key %s", path);
	bool ok = n <= FILE_BYTES && parse((struct str){ text, n }, &ring);
	crypto_wipe(text, sizeof(text));
	if (ok)
		*ret = ring;
	crypto_wipe(&ring, sizeof(ring));
	return ok ? 0
		  : err_set(e, ERR_IO,
			    "master key %s: must hold 64 hexadecimal characters, or lines of a number and "
			    "64 hexadecimal characters",
			    path);
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

static void print(const struct crypto_keyring *ring, char text[FILE_BYTES + 1], size_t *ret_n)
{
	char hex[HEX_BYTES + 1];
	size_t n = 0;
	for (size_t i = 0; i < ring->count; i++) {
		const struct crypto_key *key = &ring->keys[i];
		sodium_bin2hex(hex, sizeof(hex), key->bytes, sizeof(key->bytes));
		bool first = ring->count == 1 && key->id == FIRST_KEY_ID;
		n += (size_t)(first ? snprintf(text + n, FILE_BYTES + 1 - n, "%s\n", hex)
				    : snprintf(text + n, FILE_BYTES + 1 - n, "%u %s\n", key->id, hex));
	}
	crypto_wipe(hex, sizeof(hex));
	*ret_n = n;
}

static int write_key_file(const char *temporary, const struct crypto_keyring *ring, struct err *e)
{
	/* Left over by a start that was killed; nobody else has our process id. */
	unlink(temporary);
	_cleanup_close_ int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(e, "master key %s", temporary);
	char text[FILE_BYTES + 1];
	size_t n;
	print(ring, text, &n);
	int rc = write_all(fd, text, n) < 0 || fsync(fd) < 0 ? err_errno(e, "master key %s", temporary) : 0;
	crypto_wipe(text, sizeof(text));
	return rc;
}

static char *temporary_name(const char *path)
{
	char *name;
	return asprintf(&name, "%s.new.%ld", path, (long)getpid()) < 0 ? NULL : name;
}

/* The file appears under its name only when it is whole: a crash leaves no empty key that would stop every later
 * start, and link() refuses to replace the key that another process made meanwhile. */
static int create(const char *path, struct err *e)
{
	_cleanup_free_ char *temporary = temporary_name(path);
	struct crypto_keyring ring = { .count = 1 };
	if (!temporary)
		return err_nomem(e);
	crypto_key_new(&ring.keys[0], FIRST_KEY_ID);
	int rc = write_key_file(temporary, &ring, e);
	crypto_wipe(&ring, sizeof(ring));
	if (rc == 0 && link(temporary, path) < 0 && errno != EEXIST)
		rc = err_errno(e, "master key %s", path);
	unlink(temporary);
	return rc < 0 ? rc : sync_directory(path, e);
}

int crypto_master_save(const char *path, const struct crypto_keyring *ring, struct err *e)
{
	_cleanup_free_ char *temporary = temporary_name(path);
	if (!temporary)
		return err_nomem(e);
	int rc = write_key_file(temporary, ring, e);
	if (rc == 0 && rename(temporary, path) < 0)
		rc = err_errno(e, "master key %s", path);
	if (rc < 0)
		unlink(temporary);
	return rc < 0 ? rc : sync_directory(path, e);
}

int crypto_master_load(const char *path, bool create_it, struct crypto_keyring *ret, struct err *e)
{
	int rc = load(path, ret, e);
	if (rc != -ERR_NOT_FOUND || !create_it)
		return rc;
	err_reset(e);
	rc = create(path, e);
	return rc < 0 ? rc : load(path, ret, e);
}
