#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "os/file.h"

#define PIECE_BYTES (16 * MIB)

/* By the kernel where it can; else through memory, for file systems that have no such copies between them. */
static ssize_t copy_piece(int in, int out)
{
	static const int no_such_copy[] = { ENOSYS, EXDEV, EINVAL, EOPNOTSUPP };
	ssize_t n = copy_file_range(in, NULL, out, NULL, PIECE_BYTES, 0);
	if (n >= 0)
		return n;
	for (size_t i = 0; i < ARRAY_SIZE(no_such_copy); i++) {
		if (errno == no_such_copy[i]) {
			char chunk[64 * KIB];
			n = read(in, chunk, sizeof(chunk));
			return n <= 0 || file_write_all(out, (struct str){ chunk, (size_t)n }, NULL) == 0 ? n : -1;
		}
	}
	return -1;
}

int file_clone(const char *from, const char *to, mode_t mode, bool (*go_on)(void *arg), void *arg, struct err *e)
{
	struct stat st;
	_cleanup_close_ int in = open(from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (in < 0 || fstat(in, &st) != 0)
		return err_errno(e, "cannot open %s", from);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_BAD_REQUEST, "%s is not a regular file", from);
	_cleanup_close_ int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0 || fchmod(out, mode) != 0)
		return err_errno(e, "cannot create %s", to);
	if (ioctl(out, FICLONE, in) == 0)
		return 0;
	for (ssize_t n = 1; n != 0;) {
		n = copy_piece(in, out);
		if (n < 0 && errno != EINTR)
			return err_errno(e, "cannot copy %s", from);
		if (go_on && !go_on(arg))
			return err_set(e, ERR_CANCELLED, "cancelled");
	}
	return 0;
}
