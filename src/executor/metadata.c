#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include "executor/executor.h"

/* Link-local addresses: the services of AWS, Google, Azure and others, and those of AWS's containers. */
static const struct {
	int family;
	const char *address;
	unsigned char bits;
	bool required; /* not every network has the family */
} closed[] = {
	{ AF_INET, "169.254.0.0", 16, true },
	{ AF_INET6, "fd00:ec2::", 32, false },
};

struct route_request {
	struct nlmsghdr head;
	struct rtmsg route;
	struct rtattr attribute;
	unsigned char address[16];
};

static int answer(int fd, struct err *e)
{
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		char rest[512];
	} reply;
	ssize_t n;
	do {
		n = recv(fd, &reply, sizeof(reply), 0);
	} while (n < 0 && errno == EINTR);
	if (n < (ssize_t)(sizeof(reply.head) + sizeof(reply.error)) || reply.head.nlmsg_type != NLMSG_ERROR)
		return err_set(e, ERR_IO, "the kernel did not answer about a route");
	errno = -reply.error.error;
	return errno == 0 || errno == EEXIST ? 0 : err_errno(e, "cannot close the route to the metadata service");
}

/* An unreachable route: a connection fails at once, where a black hole would make it wait. */
static int close_route(int fd, size_t i, struct err *e)
{
	size_t bytes = closed[i].family == AF_INET ? 4 : 16;
	struct route_request rq = {
		.head = { .nlmsg_type = RTM_NEWROUTE,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL },
		.route = { .rtm_family = (unsigned char)closed[i].family,
			   .rtm_dst_len = closed[i].bits,
			   .rtm_table = RT_TABLE_MAIN,
			   .rtm_protocol = RTPROT_STATIC,
			   .rtm_scope = RT_SCOPE_UNIVERSE,
			   .rtm_type = RTN_UNREACHABLE },
		.attribute = { .rta_type = RTA_DST, .rta_len = (unsigned short)RTA_LENGTH(bytes) },
	};
	BUG_ON(inet_pton(closed[i].family, closed[i].address, rq.address) != 1);
	rq.head.nlmsg_len = (unsigned)(sizeof(rq) - sizeof(rq.address) + bytes);
	if (send(fd, &rq, rq.head.nlmsg_len, 0) < 0)
		return err_errno(e, "cannot ask for a route");
	return answer(fd, e);
}

int metadata_close(struct err *e)
{
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return err_errno(e, "cannot reach the kernel's routes");
	for (size_t i = 0; i < ARRAY_SIZE(closed); i++) {
		int r = close_route(fd, i, e);
		if (r < 0 && closed[i].required)
			return r;
	}
	return 0;
}
