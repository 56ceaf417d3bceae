#include "agent/network.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/tunnel.h"
#include "base/limits.h"
#include "base/log.h"

#define PROXY_PORT 3128
#define OWN_MAX 64
#define PROBE_TIMEOUT_MS 10000

struct network {
	enum agent_network mode;
	struct netspace space;
	struct attachment attachment;
	struct tunnel *tunnel;
	struct net_rule *rules; /* in the job's arena */
	size_t rule_count;
	char server_host[NET_HOST_MAX];
	uint16_t server_port;
	char hosts[NET_HOST_MAX + 16];
	char proxy[40];
	char exceptions[NET_HOST_MAX + 32];
	char resolver[2048];
};

const struct netspace *network_space(const struct network *n)
{
	return &n->space;
}

const char *network_hosts(const struct network *n)
{
	return n->hosts;
}

const char *network_resolver(const struct network *n)
{
	return n->resolver;
}

const char *network_proxy(const struct network *n)
{
	return n && n->proxy[0] ? n->proxy : NULL;
}

const char *network_proxy_exceptions(const struct network *n)
{
	return n->exceptions;
}

/* --- which modes there are --- */

/* What stays closed in a network of a run's own: link-local addresses (the metadata of all clouds, and of containers in
 * them), the addresses outside of that range under which Alibaba, Azure and Oracle serve theirs, and those of this
 * machine. They are looked up anew for each run. */
static size_t prohibited(struct net_prefix *list, size_t max)
{
	static const struct {
		const char *address;
		int bits;
	} fixed[] = {
		{ "169.254.0.0", 16 }, { "100.100.100.200", 32 }, { "168.63.129.16", 32 }, { "192.0.0.192", 32 }
	};
	union net_address own[OWN_MAX];
	size_t n = 0, count = netspace_own_addresses(own, OWN_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++, n++) {
		list[n].bits = fixed[i].bits;
		BUG_ON(!net_address_parse(fixed[i].address, 0, &list[n].address));
	}
	for (size_t i = 0; i < count && n < max; i++) {
		if (own[i].any.sa_family == AF_INET && !net_address_is_loopback(&own[i]))
			list[n++] = (struct net_prefix){ own[i], 32 };
	}
	return n;
}

static int make_space(const struct agent *agent, uid_t uid, gid_t gid, struct net_listener *listeners, size_t count,
		      struct netspace *ret, struct err *e)
{
	struct net_prefix closed[OWN_MAX + 8];
	struct netspace_config c = { .drop = agent->root,
				     .uid = uid,
				     .gid = gid,
				     .prohibited = closed,
				     .prohibited_count = prohibited(closed, ARRAY_SIZE(closed)),
				     .listeners = listeners,
				     .listener_count = count };
	return netspace_new(&c, ret, e);
}

/* Whether bubblewrap can make its namespaces in there. */
static int probe_inside(const struct agent *agent, const struct netspace *space, uid_t uid, struct err *e)
{
	const char *argv[] = { agent->bwrap, "--unshare-user", "--ro-bind", "/", "/", "--", "/bin/true", NULL };
	struct process_config c = { .argv = argv,
				    .cwd = "/",
				    .stdin_fd = -1,
				    .drop = agent->root,
				    .uid = uid,
				    .gid = uid,
				    .namespaces = space->fds,
				    .namespace_count = ARRAY_SIZE(space->fds) };
	_cleanup_buf_ struct buf out;
	struct process_status s;
	buf_init(&out, 4 * KIB);
	int r = process_run(&c, PROBE_TIMEOUT_MS, &out, &s, e);
	struct str said = str_trim(buf_str(&out));
	if (r == 0 && (s.signalled || s.code != 0))
		return err_set(e, ERR_UNAVAILABLE, "%.*s", said.n > 300 ? 300 : (int)said.n, said.n ? said.p : "");
	return r;
}

static int probe_attachment(struct agent *agent, const struct netspace *space, struct err *e)
{
	_cleanup_arena_ struct arena a;
	struct attachment attachment;
	arena_init(&a, MIB);
	const char *program = process_find(&a, "slirp4netns", NULL);
	int r = -ERR_UNAVAILABLE;
	if (!program)
		return err_set(e, ERR_UNAVAILABLE, "the program slirp4netns is not installed");
	snprintf(agent->networks.attacher, sizeof(agent->networks.attacher), "%s", program);
	for (int variant = 0; r < 0 && variant < ATTACHMENT_VARIANTS; variant++) {
		agent->networks.variant = variant;
		r = attachment_start(program, variant, space, &attachment, e);
	}
	if (r < 0)
		return r;
	attachment_stop(&attachment);
	return 0;
}

static void probe_own(struct agent *agent)
{
	struct agent_networks *s = &agent->networks;
	struct err e = { 0 };
	struct netspace space;
	uid_t uid = agent->root ? SLOT_UID_FIRST : getuid();
	int r = make_space(agent, uid, agent->root ? SLOT_UID_FIRST : getgid(), NULL, 0, &space, &e);
	if (r == 0)
		r = probe_inside(agent, &space, uid, &e);
	if (r < 0) {
		snprintf(s->why[AGENT_NETWORK_ISOLATED], sizeof(s->why[0]), "%.300s: allow user namespaces", e.message);
		snprintf(s->why[AGENT_NETWORK_NONE], sizeof(s->why[0]), "%.300s: allow user namespaces", e.message);
		netspace_close(&space);
		return;
	}
	s->works[AGENT_NETWORK_NONE] = true;
	r = probe_attachment(agent, &space, &e);
	s->works[AGENT_NETWORK_ISOLATED] = r == 0;
	if (r < 0)
		snprintf(s->why[AGENT_NETWORK_ISOLATED], sizeof(s->why[0]),
			 "%.300s: install slirp4netns, and let it open /dev/net/tun", e.message);
	netspace_close(&space);
}

int network_probe(struct agent *agent, struct err *e)
{
	struct agent_networks *s = &agent->networks;
	enum agent_network floor = agent->config->network;
	s->works[AGENT_NETWORK_HOST] = true;
	for (int i = AGENT_NETWORK_ISOLATED; i <= AGENT_NETWORK_NONE; i++)
		snprintf(s->why[i], sizeof(s->why[i]),
			 "runs have the host's network with the isolation '%s': use bubblewrap",
			 agent_isolation_name(agent->level->id));
	if (agent->level->takes_network)
		probe_own(agent);
	if (agent->level->own_network) {
		s->works[AGENT_NETWORK_ISOLATED] = true;
		s->works[AGENT_NETWORK_HOST] = false;
		snprintf(s->why[AGENT_NETWORK_NONE], sizeof(s->why[0]),
			 "with the isolation '%s' runs always have a network: use bubblewrap",
			 agent_isolation_name(agent->level->id));
	}
	if (floor == AGENT_NETWORK_HOST && !s->works[floor])
		floor = AGENT_NETWORK_ISOLATED;
	if (floor != AGENT_NETWORK_AUTO && !s->works[floor])
		return err_set(e, ERR_UNAVAILABLE, "the network '%s' does not work here: %s", agent_network_name(floor),
			       s->why[floor]);
	s->usual = floor != AGENT_NETWORK_AUTO	      ? floor
		   : s->works[AGENT_NETWORK_ISOLATED] ? AGENT_NETWORK_ISOLATED
						      : AGENT_NETWORK_HOST;
	if (agent->level->takes_network && floor == AGENT_NETWORK_AUTO && s->usual == AGENT_NETWORK_HOST)
		log_warn("agent", "runs have the host's network: %s", s->why[AGENT_NETWORK_ISOLATED]);
	return 0;
}

void network_modes_text(const struct agent *agent, char *ret, size_t size)
{
	size_t n = 0;
	ret[0] = '\0';
	for (int i = AGENT_NETWORK_HOST; i <= AGENT_NETWORK_NONE && n < size; i++) {
		if (agent->networks.works[i] && i >= (int)agent->config->network)
			n += (size_t)snprintf(ret + n, size - n, "%s%s", n ? "," : "", agent_network_name(i));
	}
}

static int choose(const struct job *j, enum agent_network *ret, struct err *e)
{
	const struct agent_networks *s = &j->agent->networks;
	enum agent_network mode = AGENT_NETWORK_AUTO, floor = j->agent->config->network;
	const char *asked = j->order.network_mode;
	if (asked && !agent_network_parse(asked, &mode))
		return err_set(e, ERR_NOT_BUILT,
			       "the agent pool wants the network '%s', which this runner does not know", asked);
	mode = mode == AGENT_NETWORK_AUTO ? s->usual : mode < floor ? floor : mode;
	/* Less open is always right. */
	if (mode == AGENT_NETWORK_HOST && !s->works[mode])
		mode = AGENT_NETWORK_ISOLATED;
	if (!s->works[mode])
		return err_set(e, ERR_UNAVAILABLE,
			       "the agent pool wants the network '%s', which this runner cannot give: %s",
			       agent_network_name(mode), s->why[mode]);
	*ret = mode;
	return 0;
}

/* --- one run's --- */

/* Host and port of the address that the run has of the server. */
static int read_server(struct network *n, const char *url, struct err *e)
{
	struct str rest = str_of(url), host, port;
	bool tls = str_starts_with(rest, "https://");
	size_t skip = tls ? 8 : 7;
	if (!tls && !str_starts_with(rest, "http://"))
		return err_set(e, ERR_BAD_REQUEST, "the server's address %s is no http address", url);
	struct str authority = str_cut((struct str){ rest.p + skip, rest.n - skip }, '/', &rest);
	n->server_port = tls ? 443 : 80;
	if (!net_split(authority, &host, &port) || !net_host_parse(host, n->server_host) ||
	    (port.p && !net_port_parse(port, &n->server_port)))
		return err_set(e, ERR_BAD_REQUEST, "the server's address %s is not understood", url);
	return 0;
}

static int read_rules(struct job *j, struct network *n, struct err *e)
{
	const char *const *texts = j->order.network_allow;
	size_t count = 0;
	while (texts && texts[count])
		count++;
	n->rules = arena_array(&j->arena, count + 1, sizeof(*n->rules));
	if (!n->rules)
		return err_nomem(e);
	for (; n->rule_count < count; n->rule_count++) {
		if (net_rule_parse(str_of(texts[n->rule_count]), &n->rules[n->rule_count], e) < 0)
			return err_wrap(e, "the pool's allow list: %s", texts[n->rule_count]);
	}
	return 0;
}

/* The resolver of the attachment, and what else the host's file says. */
static void write_resolver(struct network *n)
{
	static const char *const kept[] = { "search ", "domain ", "options " };
	char line[512];
	size_t at;
	if (n->mode != AGENT_NETWORK_ISOLATED) {
		snprintf(n->resolver, sizeof(n->resolver), "# this run has no network\n");
		return;
	}
	at = (size_t)snprintf(n->resolver, sizeof(n->resolver), "nameserver " ATTACHMENT_RESOLVER "\n");
	FILE *f = fopen("/etc/resolv.conf", "re");
	while (f && fgets(line, sizeof(line), f)) {
		for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
			if (str_starts_with(str_of(line), kept[i]) && at + strlen(line) < sizeof(n->resolver))
				at += (size_t)snprintf(n->resolver + at, sizeof(n->resolver) - at, "%s", line);
		}
	}
	if (f)
		fclose(f);
}

/* The server is found inside where the run looks for it: a name leads to the loopback, an address becomes one of it. */
static void place_doors(struct network *n, struct net_listener *listeners)
{
	BUG_ON(!net_address_parse("127.0.0.1", n->server_port, &listeners[0].address));
	bool is_name = !net_address_parse(n->server_host, n->server_port, &listeners[0].address);
	if (is_name && !streq(n->server_host, "localhost"))
		snprintf(n->hosts, sizeof(n->hosts), "127.0.0.1 %s\n", n->server_host);
	if (n->mode != AGENT_NETWORK_NONE)
		return;
	uint16_t port = n->server_port == PROXY_PORT ? PROXY_PORT + 1 : PROXY_PORT;
	BUG_ON(!net_address_parse("127.0.0.1", port, &listeners[1].address));
	snprintf(n->proxy, sizeof(n->proxy), "http://127.0.0.1:%u", (unsigned)port);
	snprintf(n->exceptions, sizeof(n->exceptions), "localhost,127.0.0.1,::1,%s", n->server_host);
}

static int make(struct job *j, struct network *n, struct err *e)
{
	struct net_listener listeners[2];
	size_t count = n->mode == AGENT_NETWORK_NONE ? 2 : 1;
	struct tunnel_door doors[2] = { 0 };
	int r = read_server(n, j->order.backend_url, e);
	if (r == 0)
		r = read_rules(j, n, e);
	if (r < 0)
		return r;
	write_resolver(n);
	place_doors(n, listeners);
	r = make_space(j->agent, j->uid, j->gid, listeners, count, &n->space, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++)
		doors[i].fd = listeners[i].fd;
	doors[0].host = n->server_host;
	doors[0].port = n->server_port;
	struct tunnel_config c = { .doors = doors,
				   .door_count = count,
				   .rules = n->rules,
				   .rule_count = n->rule_count,
				   .wake_fd = j->wake_fd };
	r = tunnel_start(&c, &n->tunnel, e);
	if (r == 0 && n->mode == AGENT_NETWORK_ISOLATED)
		r = attachment_start(j->agent->networks.attacher, j->agent->networks.variant, &n->space, &n->attachment,
				     e);
	return r;
}

int network_start(struct job *j, struct err *e)
{
	enum agent_network mode = AGENT_NETWORK_HOST;
	int r = choose(j, &mode, e);
	if (r < 0 || mode == AGENT_NETWORK_HOST || j->agent->level->own_network)
		return r;
	struct network *n = calloc(1, sizeof(*n));
	if (!n)
		return err_nomem(e);
	n->mode = mode;
	n->space = NETSPACE_NONE;
	n->attachment = ATTACHMENT_NONE;
	r = make(j, n, e);
	if (r < 0) {
		network_stop(n);
		return err_wrap(e, "cannot make the network of the run");
	}
	j->network = n;
	return 0;
}

void network_stop(struct network *n)
{
	if (!n)
		return;
	attachment_stop(&n->attachment);
	tunnel_stop(n->tunnel);
	netspace_close(&n->space);
	free(n);
}

void network_say(struct job *j)
{
	const struct network *n = j->network;
	if (!n) {
		/* A level that makes its own says so itself. */
		if (!j->agent->level->own_network)
			job_line(j, "Network: the host's.");
		return;
	}
	if (n->mode == AGENT_NETWORK_ISOLATED) {
		job_line(
			j,
			"Network: isolated. The run has one of its own and reaches the internet, but neither the runner's");
		job_line(j, "machine nor link-local addresses (the metadata of clouds).");
		return;
	}
	job_line(j, "Network: none. The run reaches the server%s",
		 n->rule_count ? ", and through a proxy:" : " alone.");
	for (size_t i = 0; i < n->rule_count; i++)
		job_line(j, "  %s", j->order.network_allow[i]);
}

void network_say_refused(struct job *j)
{
	char what[NET_HOST_MAX + 16];
	while (j->network && tunnel_refused(j->network->tunnel, what, sizeof(what)))
		job_line(j, "Network: a connection to %s was refused: the agent pool does not allow it", what);
}
