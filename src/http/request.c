#include <arpa/inet.h>
#include <netinet/in.h>
#include <strings.h>
#include <sys/poll.h>

#include "base/limits.h"
#include "http/internal.h"

void *request_app(const struct request *r)
{
	return exchange_of(r)->server->config.app;
}

const char *request_param(const struct request *r, const char *name)
{
	int i = route_param_index(r->route, name);
	BUG_ON(i < 0);
	return exchange_of(r)->params[i];
}

bool request_has_param(const struct request *r, const char *name)
{
	return route_param_index(r->route, name) >= 0;
}

const char *request_query(const struct request *r, const char *name)
{
	const struct exchange *x = exchange_of(r);
	for (size_t i = 0; i < x->arg_count; i++) {
		if (streq(x->args[i].name, name))
			return x->args[i].value;
	}
	return NULL;
}

size_t request_query_all(const struct request *r, const char *name, const char **ret, size_t max)
{
	const struct exchange *x = exchange_of(r);
	size_t n = 0;
	for (size_t i = 0; i < x->arg_count; i++) {
		if (!streq(x->args[i].name, name))
			continue;
		if (n < max)
			ret[n] = x->args[i].value;
		n++;
	}
	return n;
}

int request_query_int(const struct request *r, const char *name, int64_t min, int64_t max, int64_t fallback,
		      int64_t *ret, struct err *e)
{
	const char *text = request_query(r, name);
	int64_t v = fallback;
	if (text && !str_to_int64(str_of(text), &v))
		return err_set(e, ERR_BAD_REQUEST, "query argument %s: must be a whole number", name);
	if (text && (v < min || v > max))
		return err_set(e, ERR_BAD_REQUEST, "query argument %s: must be from %lld to %lld", name, (long long)min,
			       (long long)max);
	*ret = v;
	return 0;
}

int request_query_bool(const struct request *r, const char *name, bool fallback, bool *ret, struct err *e)
{
	const char *text = request_query(r, name);
	*ret = fallback;
	if (text && !query_bool(text, ret))
		return err_set(e, ERR_BAD_REQUEST, "query argument %s: must be true or false", name);
	return 0;
}

const char *request_header(const struct request *r, const char *name)
{
	return MHD_lookup_connection_value(exchange_of(r)->connection, MHD_HEADER_KIND, name);
}

const char *request_cookie(const struct request *r, const char *name)
{
	return MHD_lookup_connection_value(exchange_of(r)->connection, MHD_COOKIE_KIND, name);
}

const char *request_peer(const struct request *r)
{
	if (r->from_socket)
		return "unix";
	struct MHD_Connection *c = exchange_of(r)->connection;
	const union MHD_ConnectionInfo *info =
		c ? MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS) : NULL;
	char text[INET6_ADDRSTRLEN];
	const char *found = NULL;
	if (info && info->client_addr && info->client_addr->sa_family == AF_INET) {
		struct sockaddr_in in;
		memcpy(&in, info->client_addr, sizeof(in));
		found = inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
	} else if (info && info->client_addr && info->client_addr->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;
		memcpy(&in6, info->client_addr, sizeof(in6));
		found = inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof(text));
	}
	found = found ? arena_strdup(r->arena, found) : NULL;
	return found ? found : "unknown";
}

bool request_accepts_gzip(const struct request *r)
{
	return accepts_gzip(request_header(r, "Accept-Encoding"));
}

int64_t request_wait_s(const struct request *r, int64_t fallback_s)
{
	struct str rest = str_of(request_header(r, "Prefer"));
	while (rest.p) {
		struct str one = str_trim(str_cut(rest, ',', &rest));
		int64_t s;
		if (str_starts_with(one, "wait=") && str_to_int64((struct str){ one.p + 5, one.n - 5 }, &s) && s >= 0)
			return s < HTTP_WAIT_MAX_S ? s : HTTP_WAIT_MAX_S;
	}
	return fallback_s;
}

int request_body_file(const struct request *r)
{
	const struct exchange *x = exchange_of(r);
	return r->body_gzip.p ? x->inflated.fd : x->spool.fd;
}

const char *request_origin(const struct request *r)
{
	const char *url = exchange_of(r)->server->config.public_url;
	const char *host = request_header(r, "Host");
	if (r->from_socket || !host || !host_sane(host))
		return NULL;
	if (!url)
		return arena_printf(r->arena, "http://%s", host);
	const char *theirs = strstr(url, "://");
	size_t n = strlen(host);
	if (!theirs || strncasecmp(theirs + 3, host, n) != 0 || (theirs[3 + n] != '\0' && theirs[3 + n] != '/'))
		return NULL;
	return url;
}

int request_json(struct request *r, bool may_be_empty, struct json *ret, struct err *e)
{
	if (r->body.n == 0 && may_be_empty) {
		*ret = JSON_ABSENT;
		return 0;
	}
	if (r->body.n == 0)
		return err_set(e, ERR_BAD_REQUEST, "body: must be JSON, is empty");
	int rc = json_check(r->body, ret, e);
	return rc < 0 ? err_wrap(e, "body") : rc;
}

int request_note_ignored(struct request *r, struct response *w, const struct ignored_fields *ig, struct err *e)
{
	if (ig->count == 0)
		return 0;
	const char *prefer = request_header(r, "Prefer");
	if (prefer && strcasestr(prefer, "handling=strict"))
		return err_set(e, ERR_BAD_REQUEST, "unknown fields: %.*s", STR_ARG(buf_str(&ig->names)));
	char *value = str_dup(r->arena, buf_str(&ig->names));
	if (!value)
		return err_nomem(e);
	response_header(w, "Slipway-Ignored", value);
	return 0;
}

int request_decode(struct request *r, struct response *w, const struct field *table, void *out, struct err *e)
{
	struct json body;
	int rc = request_json(r, true, &body, e);
	if (rc < 0)
		return rc;
	if (!body.p)
		body = (struct json){ "{}", 2 };
	struct ignored_fields ig;
	ignored_fields_init(&ig);
	rc = fields_decode(body, table, out, r->arena, &ig, e);
	if (rc >= 0)
		rc = request_note_ignored(r, w, &ig, e);
	ignored_fields_done(&ig);
	return rc;
}

bool request_stopping(const struct request *r)
{
	return atomic_load(&exchange_of(r)->server->stopping);
}

bool request_alive(const struct request *r)
{
	struct pollfd p = { .fd = exchange_of(r)->fd, .events = POLLRDHUP };
	return p.fd < 0 || poll(&p, 1, 0) <= 0 || !(p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
}
