#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "executor/executor.h"
#include "executor/plan.h"

/* What a program in the background still writes at the end of a step is taken up to this, and then belongs to the next. */
#define DRAIN_MAX_BYTES (1024 * 1024)

int runner_init(struct runner *r, struct channel *c, struct err *e)
{
	sigset_t all, children;
	*r = (struct runner){ .channel = c, .process_one = getpid() == 1 };
	/* Nothing that a step sends may end us; a broken pipe is an error of write. */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	r->signal_fd = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
	if (r->signal_fd < 0)
		return err_errno(e, "cannot watch signals");
	if (pipe2(r->output, O_CLOEXEC) != 0)
		return err_errno(e, "cannot make a pipe");
	/* Only our end: the steps' end stays as programs expect it. */
	fcntl(r->output[0], F_SETFL, O_NONBLOCK);
	return r->process_one ? 0 : process_become_subreaper(e);
}

/* false: nothing more at present. */
static bool forward(struct runner *r)
{
	char chunk[FRAME_MAX_BYTES];
	ssize_t n = read(r->output[0], chunk, sizeof(chunk));
	if (n > 0)
		channel_output(r->channel, (struct str){ chunk, (size_t)n });
	return n > 0;
}

/* Reaps whoever has ended. true when `p` was among them. */
static bool reap(struct runner *r, struct process *p, struct process_status *ret)
{
	struct signalfd_siginfo ignored;
	bool ended = false;
	int status;
	pid_t pid;
	while (read(r->signal_fd, &ignored, sizeof(ignored)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != p->pid)
			continue;
		ended = true;
		ret->signalled = WIFSIGNALED(status);
		ret->code = ret->signalled ? WTERMSIG(status) : WEXITSTATUS(status);
	}
	if (ended) {
		if (p->pidfd >= 0)
			close(p->pidfd);
		*p = PROCESS_NONE;
	}
	return ended;
}

/* The ladder of a cancel: which rung, and when the next one is due. */
struct ladder {
	int rung; /* 0: not cancelled, 1: SIGINT sent, 2: SIGTERM, 3: SIGKILL */
	int64_t next_us;
};

static void climb(struct ladder *l, struct runner *r, const struct process *p, struct runner_patience patience)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGKILL };
	static const char *const words[] = { "Cancelling: asking the command to stop (SIGINT).",
					     "The command still runs: SIGTERM.", "The command still runs: SIGKILL." };
	int64_t now = clock_mono_us();
	if (!r->channel->cancelled || l->rung >= 3 || (l->rung > 0 && now < l->next_us))
		return;
	channel_line(r->channel, "%s", words[l->rung]);
	process_signal(p, signals[l->rung], true);
	l->rung++;
	l->next_us = now + (l->rung == 1 ? patience.term_ms : patience.kill_ms) * US_PER_MS;
}

static int wait_ms(const struct ladder *l)
{
	if (l->rung == 0 || l->rung >= 3)
		return -1;
	int64_t left = l->next_us - clock_mono_us();
	return left <= 0 ? 0 : (int)(left / US_PER_MS) + 1;
}

int runner_run(struct runner *r, const char *const *argv, const char *work_dir, const struct env_set *env,
	       struct runner_patience patience, struct process_status *ret, struct err *e)
{
	struct channel *c = r->channel;
	struct ladder ladder = { 0 };
	struct process p;
	struct process_config config = { .argv = argv,
					 .path = env_set_get(env, "PATH"),
					 .envp = env->list,
					 .cwd = work_dir,
					 .stdin_fd = -1,
					 .stdout_fd = r->output[1],
					 .stderr_fd = r->output[1],
					 .limits = &r->memory,
					 .limit_count = r->memory.value ? 1 : 0,
					 .new_group = true };
	int err = process_spawn(&config, &p, e);
	if (err < 0)
		return err;
	for (;;) {
		bool full = channel_full(c);
		struct pollfd watch[] = { { .fd = full ? -1 : r->output[0], .events = POLLIN },
					  { .fd = r->signal_fd, .events = POLLIN },
					  { .fd = c->control_fd, .events = POLLIN },
					  { .fd = c->pending.len ? c->out_fd : -1, .events = POLLOUT } };
		poll(watch, ARRAY_SIZE(watch), wait_ms(&ladder));
		if (watch[0].revents)
			forward(r);
		channel_pump(c);
		if (c->dead) {
			process_kill(&p);
			return err_set(e, ERR_CANCELLED, "the agent is gone");
		}
		if (reap(r, &p, ret))
			break;
		climb(&ladder, r, &p, patience);
	}
	for (size_t taken = 0; taken < DRAIN_MAX_BYTES && forward(r); taken += FRAME_MAX_BYTES) {
		if (channel_full(c))
			channel_flush(c);
	}
	return 0;
}

void runner_end(struct runner *r)
{
	if (r->process_one) {
		while (kill(-1, SIGKILL) == 0 && waitpid(-1, NULL, 0) > 0)
			;
	} else {
		process_kill_descendants(getpid());
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}
