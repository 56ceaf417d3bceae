#include "os/netspace.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOPBACK_INDEX 1 /* of every network namespace */
#define MESSAGES_MAX_BYTES (64 * 1024)
#define LISTEN_BACKLOG 128

/* What the child works from, made by the parent; the child's memory is a copy of ours, but it shares our descriptors. */
struct making {
	const struct netspace_config *config;
	struct buf messages; /* netlink: one request after the other */
	char uid_map[64], gid_map[64];
	int answer_fd;
};

/* What it says through the pipe. */
struct answer {
	int error; /* errno; 0: made */
	char what[64];
	struct netspace space;
	int listeners[8];
};

/* A fork of a threaded program: system calls only. Instrumentation has nothing to do here. */
#define IN_CHILD __attribute__((no_sanitize("address", "undefined", "thread"), noinline))

/* --- requests, made beforehand --- */

/* Where it begins. */
static size_t begin(struct making *m, int type, int flags, const void *body, size_t size)
{
	size_t at = m->messages.len;
	struct nlmsghdr h = { .nlmsg_len = (uint32_t)NLMSG_LENGTH(size),
			      .nlmsg_type = (uint16_t)type,
			      .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags),
			      .nlmsg_seq = 1 };
	buf_add(&m->messages, (const char *)&h, sizeof(h));
	buf_add(&m->messages, body, size);
	return at;
}

static void attribute(struct making *m, size_t at, int type, const void *value, size_t size)
{
	static const char zeros[4] = { 0 };
	struct rtattr a = { .rta_len = (uint16_t)RTA_LENGTH(size), .rta_type = (uint16_t)type };
	buf_add(&m->messages, (const char *)&a, sizeof(a));
	buf_add(&m->messages, value, size);
	buf_add(&m->messages, zeros, RTA_ALIGN(size) - size);
	if (!buf_failed(&m->messages)) {
		uint32_t len = (uint32_t)(m->messages.len - at);
		memcpy(m->messages.data + at, &len, sizeof(len));
	}
}

static void add_address(struct making *m, const union net_address *a)
{
	bool v6 = a->any.sa_family == AF_INET6;
	struct ifaddrmsg body = { .ifa_family = (uint8_t)a->any.sa_family,
				  .ifa_prefixlen = v6 ? 128 : 32,
				  .ifa_flags = v6 ? IFA_F_NODAD : 0,
				  .ifa_scope = RT_SCOPE_HOST,
				  .ifa_index = LOOPBACK_INDEX };
	const void *bytes = v6 ? (const void *)&a->v6.sin6_addr : &a->v4.sin_addr;
	size_t at = begin(m, RTM_NEWADDR, NLM_F_CREATE, &body, sizeof(body));
	attribute(m, at, IFA_LOCAL, bytes, v6 ? 16 : 4);
	attribute(m, at, IFA_ADDRESS, bytes, v6 ? 16 : 4);
}

static void add_prohibition(struct making *m, const struct net_prefix *p)
{
	struct rtmsg body = { .rtm_family = AF_INET,
			      .rtm_dst_len = (uint8_t)p->bits,
			      .rtm_table = RT_TABLE_MAIN,
			      .rtm_protocol = RTPROT_STATIC,
			      .rtm_scope = RT_SCOPE_UNIVERSE,
			      .rtm_type = RTN_PROHIBIT };
	size_t at = begin(m, RTM_NEWROUTE, NLM_F_CREATE, &body, sizeof(body));
	attribute(m, at, RTA_DST, &p->address.v4.sin_addr, 4);
}

static int prepare(struct making *m, struct err *e)
{
	const struct netspace_config *c = m->config;
	struct ifinfomsg up = { .ifi_index = LOOPBACK_INDEX, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	begin(m, RTM_NEWLINK, 0, &up, sizeof(up));
	for (size_t i = 0; i < c->listener_count; i++) {
		if (!net_address_is_loopback(&c->listeners[i].address))
			add_address(m, &c->listeners[i].address);
	}
	for (size_t i = 0; i < c->prohibited_count; i++)
		add_prohibition(m, &c->prohibited[i]);
	unsigned uid = c->drop ? c->uid : getuid(), gid = c->drop ? c->gid : getgid();
	snprintf(m->uid_map, sizeof(m->uid_map), "%u %u 1\n", uid, uid);
	snprintf(m->gid_map, sizeof(m->gid_map), "%u %u 1\n", gid, gid);
	return buf_check(&m->messages, "the requests for a network", e);
}

/* --- the child --- */

IN_CHILD static int fail(struct answer *a, const char *what)
{
	a->error = errno ? errno : EIO;
	for (size_t i = 0; i < sizeof(a->what) - 1 && what[i]; i++)
		a->what[i] = what[i];
	return -1;
}

IN_CHILD static int put(struct answer *a, const char *path, const char *text)
{
	size_t n = 0;
	while (text[n])
		n++;
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(a, path);
	ssize_t written = write(fd, text, n);
	if (written != (ssize_t)n)
		fail(a, path);
	close(fd);
	return a->error ? -1 : 0;
}

IN_CHILD static int drop(const struct netspace_config *c, struct answer *a)
{
	if (c->drop && (syscall(SYS_setgroups, 0, NULL) != 0 || syscall(SYS_setresgid, c->gid, c->gid, c->gid) != 0 ||
			syscall(SYS_setresuid, c->uid, c->uid, c->uid) != 0))
		return fail(a, "cannot change the user");
	/* The files below /proc/self belong to root otherwise. This memory is ours alone. */
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	return 0;
}

IN_CHILD static int configure(const struct making *m, struct answer *a)
{
	int fd = (int)syscall(SYS_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return fail(a, "cannot configure the network");
	for (size_t at = 0; at < m->messages.len && !a->error;) {
		const struct nlmsghdr *h = (const void *)(m->messages.data + at);
		struct {
			struct nlmsghdr header;
			struct nlmsgerr error;
			char more[512];
		} said;
		ssize_t n = syscall(SYS_sendto, fd, h, h->nlmsg_len, 0, NULL, 0);
		if (n > 0)
			n = syscall(SYS_recvfrom, fd, &said, sizeof(said), 0, NULL, NULL);
		if (n < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr))) {
			fail(a, "cannot configure the network");
		} else if (said.header.nlmsg_type == NLMSG_ERROR && said.error.error && said.error.error != -EEXIST) {
			errno = -said.error.error;
			fail(a, h->nlmsg_type == RTM_NEWLINK   ? "cannot start the loopback"
				: h->nlmsg_type == RTM_NEWADDR ? "cannot add the server's address"
							       : "cannot close an address");
		}
		at += h->nlmsg_len;
	}
	close(fd);
	return a->error ? -1 : 0;
}

IN_CHILD static int listen_inside(const struct netspace_config *c, struct answer *a)
{
	const int one = 1;
	for (size_t i = 0; i < c->listener_count; i++) {
		const union net_address *at = &c->listeners[i].address;
		bool v6 = at->any.sa_family == AF_INET6;
		int fd = (int)syscall(SYS_socket, v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
				      0);
		a->listeners[i] = fd;
		if (fd < 0 || syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
		    syscall(SYS_bind, fd, at, v6 ? sizeof(at->v6) : sizeof(at->v4)) != 0 ||
		    syscall(SYS_listen, fd, LISTEN_BACKLOG) != 0)
			return fail(a, "cannot listen inside of the network");
	}
	return 0;
}

IN_CHILD static int make(const struct making *m, struct answer *a)
{
	if (drop(m->config, a) < 0)
		return -1;
	if (syscall(SYS_unshare, CLONE_NEWUSER | CLONE_NEWNET) != 0)
		return fail(a, "cannot make a user and a network namespace");
	if (put(a, "/proc/self/setgroups", "deny") < 0 || put(a, "/proc/self/uid_map", m->uid_map) < 0 ||
	    put(a, "/proc/self/gid_map", m->gid_map) < 0)
		return -1;
	if (configure(m, a) < 0 || listen_inside(m->config, a) < 0)
		return -1;
	a->space.fds[0] = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
	a->space.fds[1] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	return a->space.fds[0] < 0 || a->space.fds[1] < 0 ? fail(a, "cannot hold the namespaces") : 0;
}

IN_CHILD static void child(const struct making *m)
{
	struct answer a;
	char *bytes = (char *)&a;
	for (size_t i = 0; i < sizeof(a); i++)
		bytes[i] = 0;
	a.space.fds[0] = a.space.fds[1] = -1;
	for (size_t i = 0; i < 8; i++)
		a.listeners[i] = -1;
	make(m, &a);
	if (write(m->answer_fd, &a, sizeof(a)) != (ssize_t)sizeof(a))
		_exit(1);
	_exit(0);
}

/* --- the parent --- */

static int take(const struct netspace_config *c, struct answer *a, struct netspace *ret, struct err *e)
{
	for (size_t i = 0; i < c->listener_count; i++)
		c->listeners[i].fd = a->listeners[i];
	*ret = a->space;
	if (!a->error)
		return 0;
	for (size_t i = 0; i < c->listener_count; i++) {
		if (a->listeners[i] >= 0)
			close(a->listeners[i]);
		c->listeners[i].fd = -1;
	}
	netspace_close(ret);
	errno = a->error;
	return err_errno(e, "%.*s", (int)sizeof(a->what), a->what);
}

static int start(struct making *m, struct err *e)
{
	sigset_t all, before;
	sigfillset(&all);
	/* No handler of ours may run in the child. */
	pthread_sigmask(SIG_BLOCK, &all, &before);
	/* Shared descriptors, so that what it opens is ours. */
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid == 0)
		child(m);
	int error = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = error;
	if (pid < 0)
		return err_errno(e, "cannot make a network");
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}

int netspace_new(const struct netspace_config *c, struct netspace *ret, struct err *e)
{
	struct making m = { .config = c };
	struct answer a;
	int fds[2] = { -1, -1 };
	BUG_ON(c->listener_count > ARRAY_SIZE(a.listeners));
	*ret = NETSPACE_NONE;
	buf_init(&m.messages, MESSAGES_MAX_BYTES);
	int r = prepare(&m, e);
	if (r == 0 && pipe2(fds, O_CLOEXEC) != 0)
		r = err_errno(e, "cannot make a pipe");
	if (r == 0) {
		m.answer_fd = fds[1];
		r = start(&m, e);
		close(fds[1]);
	}
	buf_done(&m.messages);
	ssize_t n = r == 0 ? read(fds[0], &a, sizeof(a)) : 0;
	if (fds[0] >= 0)
		close(fds[0]);
	if (r < 0)
		return r;
	return n == (ssize_t)sizeof(a) ? take(c, &a, ret, e) : err_set(e, ERR_INTERNAL, "the network was not made");
}

void netspace_close(struct netspace *n)
{
	for (size_t i = 0; i < ARRAY_SIZE(n->fds); i++) {
		if (n->fds[i] >= 0)
			close(n->fds[i]);
		n->fds[i] = -1;
	}
}
