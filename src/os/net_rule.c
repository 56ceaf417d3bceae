#include "os/net_rule.h"

#include <ctype.h>

bool net_port_parse(struct str s, uint16_t *ret)
{
	int64_t n;
	if (s.n == 0 || s.n > 5 || !str_to_int64(s, &n) || n < 1 || n > 65535)
		return false;
	*ret = (uint16_t)n;
	return true;
}

bool net_host_parse(struct str s, char ret[NET_HOST_MAX])
{
	if (s.n == 0 || s.n >= NET_HOST_MAX)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (!c || (!isalnum(c) && !strchr(".-_:", c)))
			return false;
		ret[i] = (char)tolower(c);
	}
	/* "example.com." is the same name. */
	size_t n = s.n > 1 && ret[s.n - 1] == '.' ? s.n - 1 : s.n;
	ret[n] = '\0';
	return true;
}

bool net_split(struct str s, struct str *ret_host, struct str *ret_port)
{
	*ret_port = STR_NULL;
	if (s.n && s.p[0] == '[') {
		const char *end = memchr(s.p, ']', s.n);
		if (!end)
			return false;
		size_t n = (size_t)(end - s.p) + 1;
		*ret_host = (struct str){ s.p + 1, n - 2 };
		if (n < s.n && s.p[n] != ':')
			return false;
		if (n < s.n)
			*ret_port = (struct str){ s.p + n + 1, s.n - n - 1 };
		return true;
	}
	*ret_host = str_cut(s, ':', ret_port);
	return !ret_port->p || !memchr(ret_port->p, ':', ret_port->n);
}

int net_rule_parse(struct str text, struct net_rule *ret, struct err *e)
{
	struct net_rule rule = { .port = 443 };
	struct str host, port;
	if (!net_split(text, &host, &port))
		return err_set(e, ERR_BAD_REQUEST, "must be HOST or HOST:PORT, an IPv6 address in brackets");
	if (str_starts_with(host, "*.")) {
		rule.below = true;
		host = (struct str){ host.p + 2, host.n - 2 };
	}
	if (!net_host_parse(host, rule.host))
		return err_set(e, ERR_BAD_REQUEST, "the host must be a name, *.NAME or an address");
	if (port.p && str_is(port, "*"))
		rule.port = 0;
	else if (port.p && !net_port_parse(port, &rule.port))
		return err_set(e, ERR_BAD_REQUEST, "the port must be a number from 1 to 65535, or *");
	rule.literal = net_address_parse(rule.host, 0, &rule.address);
	if ((rule.literal && rule.below) || (!rule.literal && strchr(rule.host, ':')))
		return err_set(e, ERR_BAD_REQUEST, "the host must be a name, *.NAME or an address");
	*ret = rule;
	return 0;
}

static bool rule_matches(const struct net_rule *rule, const char *host, const union net_address *address)
{
	if (rule->literal)
		return address && net_address_same_host(&rule->address, address);
	size_t n = strlen(host), m = strlen(rule->host);
	if (!rule->below)
		return streq(rule->host, host);
	return n > m + 1 && host[n - m - 1] == '.' && streq(host + n - m, rule->host);
}

bool net_rules_allow(const struct net_rule *rules, size_t count, const char *host, uint16_t port)
{
	union net_address address;
	bool literal = net_address_parse(host, port, &address);
	for (size_t i = 0; i < count; i++) {
		if ((rules[i].port == 0 || rules[i].port == port) &&
		    rule_matches(&rules[i], host, literal ? &address : NULL))
			return true;
	}
	return false;
}
