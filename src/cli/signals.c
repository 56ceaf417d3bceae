#include "cli/signals.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"

int signals_open(struct signals *s, struct err *e)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_errno(e, "cannot block signals");
	/* A peer that hung up is an error of the write, not the end of the process. */
	signal(SIGPIPE, SIG_IGN);
	s->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->fd < 0 ? err_errno(e, "cannot open a signalfd") : 0;
}

void signals_close(struct signals *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

int signals_wait(struct signals *s, int other_fd, int timeout_ms)
{
	int64_t end_us = clock_mono_us() + (int64_t)timeout_ms * US_PER_MS;
	for (;;) {
		struct pollfd fds[2] = { { s->fd, POLLIN, 0 }, { other_fd, POLLIN, 0 } };
		int64_t left_ms = timeout_ms < 0 ? -1 : (end_us - clock_mono_us() + US_PER_MS - 1) / US_PER_MS;
		if (timeout_ms >= 0 && left_ms < 0)
			left_ms = 0;
		int n = poll(fds, 2, (int)left_ms);
		struct signalfd_siginfo info;
		if (n > 0 && fds[0].revents && read(s->fd, &info, sizeof(info)) == sizeof(info))
			return (int)info.ssi_signo;
		if (n > 0 && fds[1].revents)
			return 0;
		if (n == 0 && timeout_ms >= 0)
			return -1;
	}
}

const char *signal_name(int sig)
{
	switch (sig) {
	case SIGTERM:
		return "SIGTERM";
	case SIGINT:
		return "SIGINT";
	case SIGHUP:
		return "SIGHUP";
	default:
		return "a signal";
	}
}
