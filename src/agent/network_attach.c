#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/network.h"
#include "base/limits.h"
#include "os/file.h"

#define READY_TIMEOUT_MS 10000

enum { FD_READY = 3, FD_EXIT, FD_USER, FD_NET };

/* Its own isolation depends on the kernel and on who we are. */
static const char *const own_isolation[ATTACHMENT_VARIANTS][3] = { { "--enable-sandbox", "--enable-seccomp", NULL },
								   { "--enable-seccomp", NULL },
								   { NULL } };

static int await_ready(int ready_fd, int said_fd, struct err *e)
{
	char byte, said[512] = "";
	struct pollfd p = { .fd = ready_fd, .events = POLLIN };
	if (poll(&p, 1, READY_TIMEOUT_MS) > 0 && read(ready_fd, &byte, 1) == 1)
		return 0;
	ssize_t n = pread(said_fd, said, sizeof(said) - 1, 0);
	struct str text = str_trim((struct str){ said, n > 0 ? (size_t)n : 0 });
	for (size_t i = 0; i < text.n; i++) {
		if (said[i] == '\n')
			said[i] = ' ';
	}
	return err_set(e, ERR_UNAVAILABLE, "slirp4netns: %.*s", (int)text.n, text.n ? text.p : "it is not ready");
}

static int spawn(const char *program, int variant, const struct netspace *space, const int ready[2], const int leave[2],
		 int said_fd, struct process *ret, struct err *e)
{
	const char *argv[20] = { program,
				 "--configure",
				 "--mtu=65520",
				 "--disable-host-loopback",
				 "--cidr=" ATTACHMENT_CIDR,
				 "--ready-fd=3",
				 "--exit-fd=4",
				 "--userns-path=/proc/self/fd/5",
				 "--netns-type=path" };
	size_t n = 9;
	for (const char *const *o = own_isolation[variant]; *o; o++)
		argv[n++] = *o;
	argv[n++] = "/proc/self/fd/6";
	argv[n++] = "tap0";
	const char *const empty[] = { NULL };
	const struct process_fd fds[] = {
		{ ready[1], FD_READY }, { leave[0], FD_EXIT }, { space->fds[0], FD_USER }, { space->fds[1], FD_NET }
	};
	struct process_config c = { .argv = argv,
				    .envp = empty,
				    .cwd = "/",
				    .stdin_fd = -1,
				    .stdout_fd = said_fd,
				    .stderr_fd = said_fd,
				    .fds = fds,
				    .fd_count = ARRAY_SIZE(fds),
				    .new_session = true,
				    .death_signal = SIGKILL };
	return process_spawn(&c, ret, e);
}

int attachment_start(const char *program, int variant, const struct netspace *space, struct attachment *ret,
		     struct err *e)
{
	_cleanup_close_ int said_fd = -1;
	int ready[2] = { -1, -1 }, leave[2] = { -1, -1 };
	*ret = ATTACHMENT_NONE;
	int r = file_memory("said", STR(""), &said_fd, e);
	if (r == 0 && (pipe2(ready, O_CLOEXEC) != 0 || pipe2(leave, O_CLOEXEC) != 0))
		r = err_errno(e, "cannot make a pipe");
	if (r == 0)
		r = spawn(program, variant, space, ready, leave, said_fd, &ret->process, e);
	ret->exit_fd = leave[1];
	if (ready[1] >= 0)
		close(ready[1]);
	if (leave[0] >= 0)
		close(leave[0]);
	if (r == 0)
		r = await_ready(ready[0], said_fd, e);
	if (ready[0] >= 0)
		close(ready[0]);
	if (r < 0)
		attachment_stop(ret);
	return r;
}

void attachment_stop(struct attachment *a)
{
	process_kill(&a->process);
	if (a->exit_fd >= 0)
		close(a->exit_fd);
	*a = ATTACHMENT_NONE;
}
