/* The parts of a run's own network: allow lists, the proxy's requests, tunnels, namespaces. */
#include "unit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/proxy.h"
#include "agent/tunnel.h"
#include "os/process.h"

static struct net_rule rule(const char *text)
{
	struct net_rule r = { 0 };
	struct err e = { 0 };
	assert_int_equal(net_rule_parse(str_of(text), &r, &e), 0);
	return r;
}

static void test_rules(void **state)
{
	static const struct {
		const char *rule, *host;
		uint16_t port;
		bool allowed;
	} rows[] = {
		{ "registry.example.com", "registry.example.com", 443, true },
		{ "registry.example.com", "registry.example.com", 80, false },
		{ "Registry.Example.com:8080", "registry.example.com", 8080, true },
		{ "registry.example.com", "evil-registry.example.com", 443, false },
		{ "registry.example.com", "registry.example.com.evil.com", 443, false },
		{ "*.amazonaws.com:443", "sts.eu-west-1.amazonaws.com", 443, true },
		{ "*.amazonaws.com", "amazonaws.com", 443, false },
		{ "*.amazonaws.com", "evilamazonaws.com", 443, false },
		{ "*.amazonaws.com", ".amazonaws.com", 443, false },
		{ "packages.example.org:*", "packages.example.org", 1, true },
		{ "10.1.2.3:5432", "10.1.2.3", 5432, true },
		{ "10.1.2.3:5432", "10.1.2.4", 5432, false },
		{ "[2001:db8::1]:22", "2001:db8:0::1", 22, true },
		{ "10.1.2.3:22", "::ffff:10.1.2.3", 22, true },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct net_rule r = rule(rows[i].rule);
		if (net_rules_allow(&r, 1, rows[i].host, rows[i].port) != rows[i].allowed)
			fail_msg("%s: %s:%d", rows[i].rule, rows[i].host, rows[i].port);
	}
	static const char *const wrong[] = { "",	  ":443",	"a b",	      "a:0",	    "a:65536",
					     "a:http",	  "*",		"*.",	      "*.*.com",    "a/b",
					     "a:1:2",	  "[::1",	"[::1]x",     "*.10.1.2.3", "http://a",
					     "user@host", "a\r\nb:443", "[name]:80x", "1:2:3" };
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct net_rule r;
		struct err e = { 0 };
		if (net_rule_parse(str_of(wrong[i]), &r, &e) != -ERR_BAD_REQUEST)
			fail_msg("%s", wrong[i]);
	}
}

static void test_addresses(void **state)
{
	static const char *const closed[] = { "127.0.0.1",
					      "0.0.0.0",
					      "10.0.0.1",
					      "172.31.255.255",
					      "192.168.1.1",
					      "169.254.169.254",
					      "100.64.0.1",
					      "100.100.100.200",
					      "168.63.129.16",
					      "224.0.0.1",
					      "255.255.255.255",
					      "::1",
					      "::",
					      "fe80::1",
					      "fd00:ec2::254",
					      "ff02::1",
					      "::ffff:10.0.0.1",
					      "64:ff9b::a00:1",
					      "2002:7f00:1::1",
					      "192.0.2.77" };
	static const char *const open_[] = { "1.1.1.1", "172.32.0.1", "11.0.0.1", "169.253.1.1", "2606:4700::1111" };
	union net_address own, a;
	assert_true(net_address_parse("192.0.2.77", 0, &own));
	for (size_t i = 0; i < ARRAY_SIZE(closed); i++) {
		struct net_rule exact = { .literal = true, .port = 80 };
		assert_true(net_address_parse(closed[i], 80, &a));
		exact.address = a;
		if (proxy_allows_address(NULL, 0, &a, 80, &own, 1))
			fail_msg("%s", closed[i]);
		assert_true(proxy_allows_address(&exact, 1, &a, 80, &own, 1));
		assert_false(proxy_allows_address(&exact, 1, &a, 81, &own, 1));
	}
	for (size_t i = 0; i < ARRAY_SIZE(open_); i++) {
		assert_true(net_address_parse(open_[i], 80, &a));
		if (!proxy_allows_address(NULL, 0, &a, 80, &own, 1))
			fail_msg("%s", open_[i]);
	}
}

static void test_requests(void **state)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
		bool connect;
	} good[] = {
		{ "CONNECT Example.com:443 HTTP/1.1\r\nHost: x\r\n\r\nrest", "example.com", 443, true },
		{ "CONNECT [::1]:22 HTTP/1.0\n\n", "::1", 22, true },
		{ "GET http://example.com HTTP/1.1\r\n\r\n", "example.com", 80, false },
		{ "POST HTTP://example.com.:8080?a=http://b HTTP/1.1\r\n\r\n", "example.com", 8080, false },
	};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct proxy_request rq;
		struct err e = { 0 };
		struct str text = str_of(good[i].text);
		assert_int_equal(proxy_parse(text, &rq, &e), 1);
		assert_string_equal(rq.host, good[i].host);
		assert_int_equal(rq.port, good[i].port);
		assert_int_equal(rq.connect, good[i].connect);
		for (size_t n = 0; n < rq.head_bytes; n++)
			assert_int_equal(proxy_parse((struct str){ text.p, n }, &rq, &e), 0);
	}
	static const char *const wrong[] = { "GET / HTTP/1.1\r\n\r\n",
					     "GET https://a/ HTTP/1.1\r\n\r\n",
					     "CONNECT a HTTP/1.1\r\n\r\n",
					     "CONNECT a:443\r\n\r\n",
					     "CONNECT a:99999 HTTP/1.1\r\n\r\n",
					     "CONNECT user@a:443 HTTP/1.1\r\n\r\n",
					     "GET http://user:x@a/ HTTP/1.1\r\n\r\n",
					     "GET http:///x HTTP/1.1\r\n\r\n",
					     "\r\n\r\n",
					     "CONNECT a:443 HTTP/2\r\n\r\n" };
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct proxy_request rq;
		struct err e = { 0 };
		if (proxy_parse(str_of(wrong[i]), &rq, &e) != -ERR_BAD_REQUEST)
			fail_msg("%s", wrong[i]);
	}
	struct proxy_request rq;
	struct err e = { 0 };
	assert_int_equal(proxy_parse((struct str){ "CONNECT a\0b:443 HTTP/1.1\n\n", 26 }, &rq, &e), -ERR_BAD_REQUEST);
}

static void test_a_plain_request_is_rewritten(void **state)
{
	_cleanup_buf_ struct buf out;
	buf_init(&out, 4096);
	proxy_rewrite(STR("GET http://a.b:80/x?y HTTP/1.1\r\nHost: a.b\r\nproxy-connection: keep-alive\r\nConnection: "
			  "upgrade\r\nAccept: */*\r\n\r\n"),
		      &out);
	proxy_rewrite(STR("GET http://a?q HTTP/1.0\n\n"), &out);
	assert_string_equal(out.data, "GET /x?y HTTP/1.1\r\nHost: a.b\r\nAccept: */*\r\nConnection: close\r\n\r\n"
				      "GET /?q HTTP/1.1\r\nConnection: close\r\n\r\n");
}

/* --- tunnels --- */

static int listener(uint16_t *ret_port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	*ret_port = ntohs(a.sin_port);
	return fd;
}

static int dial_to(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				 .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* Gives back whatever comes, connection by connection, until one says nothing. */
static void *echo(void *arg)
{
	int fd = *(int *)arg;
	char chunk[65536];
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		poll(&p, 1, -1);
		int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		size_t all = 0;
		ssize_t n;
		while (c >= 0 && (n = read(c, chunk, sizeof(chunk))) > 0) {
			all += (size_t)n;
			for (ssize_t at = 0; at < n;) {
				ssize_t w = send(c, chunk + at, (size_t)(n - at), MSG_NOSIGNAL);
				if (w < 0)
					break;
				at += w;
			}
		}
		close(c);
		if (all == 0)
			return NULL;
	}
}

struct sending {
	int fd;
	const char *bytes;
	size_t size;
};

static void *send_all(void *arg)
{
	struct sending *s = arg;
	for (size_t at = 0; at < s->size;) {
		ssize_t n = send(s->fd, s->bytes + at, s->size - at, MSG_NOSIGNAL);
		if (n <= 0)
			break;
		at += (size_t)n;
	}
	shutdown(s->fd, SHUT_WR);
	return NULL;
}

/* All that was sent comes back, also what comes behind the end of the sending. */
static void exchange(int fd, size_t size)
{
	char *bytes = malloc(size + 1), chunk[65536];
	size_t got = 0;
	for (size_t i = 0; i < size; i++)
		bytes[i] = (char)(i * 2654435761u >> 13);
	struct sending s = { fd, bytes, size };
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, send_all, &s), 0);
	ssize_t n;
	while ((n = read(fd, chunk, sizeof(chunk))) > 0) {
		assert_true(got + (size_t)n <= size && memcmp(chunk, bytes + got, (size_t)n) == 0);
		got += (size_t)n;
	}
	pthread_join(thread, NULL);
	assert_int_equal(got, size);
	close(fd);
	free(bytes);
}

static void ask(int fd, const char *text, char *ret, size_t size)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	ssize_t n = read(fd, ret, size - 1);
	ret[n > 0 ? n : 0] = '\0';
}

static void test_a_tunnel(void **state)
{
	uint16_t server, door, proxy;
	int fd = listener(&server);
	struct tunnel_door doors[2] = { { .host = "127.0.0.1" } };
	char allowed[40], text[128], said[512], who[300];
	struct err e = { 0 };
	struct tunnel *t;
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, echo, &fd), 0);
	doors[0].fd = listener(&door);
	doors[0].port = server;
	doors[1].fd = listener(&proxy);
	snprintf(allowed, sizeof(allowed), "127.0.0.1:%d", server);
	struct net_rule rules[] = { rule(allowed), rule("localhost:*") };
	struct tunnel_config c = { .doors = doors, .door_count = 2, .rules = rules, .rule_count = 2, .wake_fd = -1 };
	assert_int_equal(tunnel_start(&c, &t, &e), 0);
	exchange(dial_to(door), 1);
	exchange(dial_to(door), 9 * 1024 * 1024 + 7);
	/* Somebody who opens one and leaves does not disturb the others. */
	int idle = dial_to(proxy), other = dial_to(proxy);
	snprintf(text, sizeof(text), "CONNECT %s HTTP/1.1\r\n\r\n", allowed);
	ask(other, text, said, sizeof(said));
	assert_true(str_starts_with(str_of(said), "HTTP/1.1 200 "));
	exchange(other, 300000);
	other = dial_to(proxy);
	ask(other, "CONNECT elsewhere.example:443 HTTP/1.1\r\n\r\n", said, sizeof(said));
	assert_true(str_starts_with(str_of(said), "HTTP/1.1 403 "));
	close(other);
	/* A name that is allowed, but leads to this machine; port 9 is not the one that is named by its address. */
	other = dial_to(proxy);
	ask(other, "CONNECT localhost:9 HTTP/1.1\r\n\r\n", said, sizeof(said));
	assert_true(str_starts_with(str_of(said), "HTTP/1.1 403 "));
	close(other);
	assert_true(tunnel_refused(t, who, sizeof(who)));
	assert_string_equal(who, "elsewhere.example:443");
	assert_true(tunnel_refused(t, who, sizeof(who)));
	assert_string_equal(who, "localhost:9");
	assert_false(tunnel_refused(t, who, sizeof(who)));
	/* The same once more is not news. */
	other = dial_to(proxy);
	ask(other, "CONNECT elsewhere.example:443 HTTP/1.1\r\n\r\n", said, sizeof(said));
	close(other);
	assert_false(tunnel_refused(t, who, sizeof(who)));
	/* More than it takes at once: the rest waits, and comes in when others leave. */
	int many[TUNNEL_LINKS_MAX + 20];
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = dial_to(proxy);
	for (size_t i = 0; i < TUNNEL_LINKS_MAX; i++)
		close(many[i]);
	ask(many[ARRAY_SIZE(many) - 1], "GET / HTTP/1.1\r\n\r\n", said, sizeof(said));
	assert_true(str_starts_with(str_of(said), "HTTP/1.1 400 "));
	for (size_t i = TUNNEL_LINKS_MAX; i < ARRAY_SIZE(many); i++)
		close(many[i]);
	close(idle);
	tunnel_stop(t);
	close(dial_to(server));
	pthread_join(thread, NULL);
	close(fd);
}

/* --- namespaces --- */

static void test_a_network_of_its_own(void **state)
{
	struct net_listener listeners[2] = { 0 };
	struct net_prefix closed[] = { { .bits = 16 } };
	struct netspace space;
	struct err e = { 0 };
	struct process_status s;
	_cleanup_buf_ struct buf out;
	bool root = getuid() == 0;
	buf_init(&out, 4096);
	assert_true(net_address_parse("127.0.0.1", 81, &listeners[0].address));
	assert_true(net_address_parse("192.0.2.1", 8080, &listeners[1].address));
	assert_true(net_address_parse("169.254.0.0", 0, &closed[0].address));
	struct netspace_config c = { .drop = root,
				     .uid = 64799,
				     .gid = 64799,
				     .prohibited = closed,
				     .prohibited_count = 1,
				     .listeners = listeners,
				     .listener_count = 2 };
	int r = netspace_new(&c, &space, &e);
	if (r < 0)
		print_message("%s\n", e.message);
	assert_int_equal(r, 0);
	const char *argv[] = {
		"bash", "-c",
		"exec 3<>/dev/tcp/127.0.0.1/81 4<>/dev/tcp/192.0.2.1/8080; id -u;"
		"(exec 5<>/dev/tcp/169.254.169.254/80) 2>&1 | grep -m 1 -c denied; grep -c : /proc/net/dev;"
		"ip link set lo down 2>/dev/null || echo no power",
		NULL
	};
	struct process_config p = { .argv = argv,
				    .stdin_fd = -1,
				    .cwd = "/",
				    .drop = root,
				    .uid = 64799,
				    .gid = 64799,
				    .namespaces = space.fds,
				    .namespace_count = 2 };
	assert_int_equal(process_run(&p, 20000, &out, &s, &e), 0);
	char expected[80];
	snprintf(expected, sizeof(expected), "%d\n1\n1\nno power\n", root ? 64799 : (int)getuid());
	assert_string_equal(out.data, expected);
	for (int i = 0; i < 2; i++) {
		int fd = accept4(listeners[i].fd, NULL, NULL, SOCK_CLOEXEC);
		assert_true(fd >= 0);
		close(fd);
		close(listeners[i].fd);
	}
	netspace_close(&space);
	/* What cannot be made leaves nothing open. */
	int before = dup(0);
	assert_true(net_address_parse("127.0.0.1", 81, &listeners[1].address));
	assert_true(net_address_parse("127.0.0.1", 81, &listeners[0].address));
	assert_true(netspace_new(&c, &space, &e) < 0);
	assert_non_null(strstr(e.message, "cannot listen inside"));
	int after = dup(0);
	assert_int_equal(after, before + 1);
	close(before);
	close(after);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),	 cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_requests), cmocka_unit_test(test_a_plain_request_is_rewritten),
		cmocka_unit_test(test_a_tunnel), cmocka_unit_test(test_a_network_of_its_own),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
