#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "executor/executor.h"
#include "os/relay.h"

#define BACKLOG 64

static bool parse(const char *address, const char *port, struct relay_config *ret)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&ret->to;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ret->to;
	int64_t n;
	if (!str_to_int64(str_of(port), &n) || n < 1 || n > UINT16_MAX)
		return false;
	if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)n);
		ret->to_size = sizeof(*v4);
		return true;
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons((uint16_t)n);
	ret->to_size = sizeof(*v6);
	return inet_pton(AF_INET6, address, &v6->sin6_addr) == 1;
}

int reach_run(const char *address, const char *port, struct err *e)
{
	struct relay_config c = { .in_fd = STDIN_FILENO, .out_fd = STDOUT_FILENO, .stop_fd = -1 };
	const int on = 1;
	if (!parse(address, port, &c))
		return err_set(e, ERR_USAGE, "%s %s is no address", address, port);
	/* The run may be of the same user. Root was given capabilities, which are not for this. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (geteuid() == 0) {
		int r = privileges_drop(getuid(), getgid(), e);
		if (r < 0)
			return r;
	}
	_cleanup_close_ int fd = socket(c.to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(e, "cannot make a socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&c.to, c.to_size) != 0 || listen(fd, BACKLOG) != 0)
		return err_errno(e, "cannot listen on %s port %s", address, port);
	c.listen_fd = fd;
	return relay_run(&c, e);
}
