#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "os/process.h"

#define ENVIRONMENT_MAX_BYTES ((size_t)4 * 1024 * 1024)
#define ROUNDS_MAX 100

/* The folder itself, or something below it: not one whose name only begins like it. */
static bool holds(struct str text, struct str folder)
{
	const char *end = text.p + text.n;
	for (const char *p = text.p; (p = memmem(p, (size_t)(end - p), folder.p, folder.n)); p++) {
		const char *after = p + folder.n;
		if (after == end || *after == '/' || *after == '\0' || *after == ':')
			return true;
	}
	return false;
}

static bool works_in(pid_t pid, struct str folder)
{
	char name[64], target[PATH_MAX];
	snprintf(name, sizeof(name), "/proc/%d/cwd", (int)pid);
	ssize_t n = readlink(name, target, sizeof(target));
	struct str cwd = { target, n > 0 ? (size_t)n : 0 };
	return cwd.n >= folder.n && memcmp(cwd.p, folder.p, folder.n) == 0 && holds(cwd, folder);
}

static bool names_it(pid_t pid, struct str folder, struct buf *text)
{
	char name[64];
	snprintf(name, sizeof(name), "/proc/%d/environ", (int)pid);
	_cleanup_close_ int fd = open(name, O_RDONLY | O_CLOEXEC);
	buf_reset(text);
	for (ssize_t n = 1; fd >= 0 && n > 0 && buf_reserve(text, 65536);) {
		n = read(fd, text->data + text->len, 65536);
		text->len += n > 0 ? (size_t)n : 0;
	}
	return text->len > 0 && holds(buf_str(text), folder);
}

int process_kill_in(const char *folder)
{
	_cleanup_buf_ struct buf text;
	struct str wanted = str_of(folder);
	int total = 0;
	buf_init(&text, ENVIRONMENT_MAX_BYTES);
	for (int round = 0, found = 1; found && round < ROUNDS_MAX; round++) {
		DIR *dir = opendir("/proc");
		found = 0;
		for (struct dirent *d; dir && (d = readdir(dir));) {
			pid_t pid = isdigit((unsigned char)d->d_name[0]) ? (pid_t)strtol(d->d_name, NULL, 10) : 0;
			if (pid <= 1 || pid == getpid())
				continue;
			if (!works_in(pid, wanted) && !names_it(pid, wanted, &text))
				continue;
			/* One of another user whose environment we may read is not ours to end, and would be met again. */
			if (kill(pid, SIGKILL) == 0)
				found++;
		}
		if (dir)
			closedir(dir);
		total += found;
		if (found)
			usleep(round < 10 ? 1000 : 10000);
	}
	return total;
}
