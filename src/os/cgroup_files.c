#include "os/cgroup_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

static int open_file(const char *dir, const char *file, int flags)
{
	char path[4096];
	if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, file) >= sizeof(path))
		return -1;
	return open(path, flags | O_CLOEXEC, 0600);
}

bool cgroup_write(const char *dir, const char *file, const char *text)
{
	_cleanup_close_ int fd = open_file(dir, file, O_WRONLY | O_TRUNC | CGROUP_CREATE);
	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

bool cgroup_write_int(const char *dir, const char *file, int64_t value)
{
	char text[32];
	snprintf(text, sizeof(text), "%lld", (long long)value);
	return cgroup_write(dir, file, text);
}

bool cgroup_read(const char *dir, const char *file, char *ret, size_t size)
{
	_cleanup_close_ int fd = open_file(dir, file, O_RDONLY);
	ssize_t n = fd >= 0 ? read(fd, ret, size - 1) : -1;
	if (n < 0)
		return false;
	while (n > 0 && ret[n - 1] == '\n')
		n--;
	ret[n] = '\0';
	return true;
}

int64_t cgroup_read_key(const char *dir, const char *file, const char *key)
{
	char text[1024];
	size_t n = strlen(key);
	if (!cgroup_read(dir, file, text, sizeof(text)))
		return 0;
	for (char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, n) == 0 && line[n] == ' ')
			return strtoll(line + n + 1, NULL, 10);
	}
	return 0;
}
