#include <ctype.h>
#include <strings.h>

#include "base/encode.h"
#include "http/internal.h"

static bool decode(struct arena *a, struct str raw, bool plus_is_blank, const char **ret)
{
	struct str text;
	if (!url_unescape(a, raw, plus_is_blank, &text) || !str_is_utf8(text))
		return false;
	*ret = str_dup(a, text);
	return *ret != NULL;
}

int query_parse(struct arena *a, struct str query, struct query_arg **ret_args, size_t *ret_count, struct err *e)
{
	size_t max = 1;
	for (size_t i = 0; i < query.n; i++)
		max += query.p[i] == '&';
	struct query_arg *args = arena_array(a, max, sizeof(*args));
	if (!args)
		return err_nomem(e);
	size_t count = 0;
	struct str rest = query;
	while (rest.p) {
		struct str value, pair = str_cut(rest, '&', &rest);
		if (pair.n == 0)
			continue;
		struct str name = str_cut(pair, '=', &value);
		struct query_arg *arg = &args[count++];
		if (!decode(a, name, true, &arg->name) || !decode(a, value.p ? value : STR(""), true, &arg->value))
			return arena_failed(a) ? err_nomem(e)
					       : err_set(e, ERR_BAD_REQUEST, "query: invalid URL escape in \"%.*s\"",
							 pair.n < 64 ? (int)pair.n : 64, pair.p);
	}
	*ret_args = args;
	*ret_count = count;
	return 0;
}

int params_decode(struct arena *a, const struct route_match *m, const char **ret_values, struct err *e)
{
	for (size_t i = 0; i < m->param_count; i++) {
		if (!decode(a, m->params[i], false, &ret_values[i]))
			return arena_failed(a)
				       ? err_nomem(e)
				       : err_set(e, ERR_BAD_REQUEST, "path: invalid URL escape in \"%.*s\"",
						 m->params[i].n < 64 ? (int)m->params[i].n : 64, m->params[i].p);
	}
	return 0;
}

static bool str_is_nocase(struct str s, const char *z)
{
	return s.n == strlen(z) && strncasecmp(s.p, z, s.n) == 0;
}

bool accepts_gzip(const char *accept_encoding)
{
	struct str rest = str_of(accept_encoding);
	bool any = false;
	while (rest.p) {
		struct str params, item = str_cut(rest, ',', &rest);
		struct str coding = str_trim(str_cut(item, ';', &params));
		bool refused = false;
		params = str_trim(params.p ? params : STR(""));
		if (params.n > 2 && (params.p[0] == 'q' || params.p[0] == 'Q') && params.p[1] == '=') {
			/* q=0, q=0.0, q=0.000 */
			refused = true;
			for (size_t i = 2; i < params.n; i++)
				refused = refused && (params.p[i] == '0' || params.p[i] == '.');
		}
		if (str_is_nocase(coding, "gzip") || str_is_nocase(coding, "x-gzip"))
			return !refused;
		if (str_is(coding, "*"))
			any = !refused;
	}
	return any;
}

bool request_id_sane(const char *id)
{
	size_t n = 0;
	for (; id[n]; n++) {
		if (n == 64 || !(isalnum((unsigned char)id[n]) || strchr("._-", id[n])))
			return false;
	}
	return n > 0;
}

bool host_sane(const char *host)
{
	size_t n = 0;
	for (; host[n]; n++) {
		if (n == 255 || !(isalnum((unsigned char)host[n]) || strchr("._-:[]", host[n])))
			return false;
	}
	return n > 0;
}
