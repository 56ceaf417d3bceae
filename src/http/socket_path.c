#include "http/socket_path.h"

#include <fcntl.h>
#include <unistd.h>

int socket_path_short(const char *path, char ret[SOCKET_PATH_SIZE], int *ret_dir_fd, struct err *e)
{
	size_t n = strlen(path);
	*ret_dir_fd = -1;
	if (n < SOCKET_PATH_SIZE) {
		memcpy(ret, path, n + 1);
		return 0;
	}
	const char *name = strrchr(path, '/');
	char dir[4096];
	if (!name || name[1] == '\0' || (size_t)(name - path) >= sizeof(dir))
		return err_set(e, ERR_BAD_REQUEST, "socket path %s: too long", path);
	memcpy(dir, path, (size_t)(name - path));
	dir[name - path] = '\0';
	int fd = open(name == path ? "/" : dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, "socket path %s", path);
	if (snprintf(ret, SOCKET_PATH_SIZE, "/proc/self/fd/%d%s", fd, name) >= SOCKET_PATH_SIZE) {
		close(fd);
		return err_set(e, ERR_BAD_REQUEST, "socket path %s: too long", path);
	}
	*ret_dir_fd = fd;
	return 0;
}
