#include "deploy/pool_network.h"

#include "os/net_rule.h"

#define TEXT_MAX_BYTES ((size_t)64 * 1024)

static const char *const modes[] = { "auto", "host", "isolated", "none", NULL };

const struct field pool_network_fields[] = {
	FIELD(struct pool_network, mode, "mode", FIELD_STRING, .required = true, .one_of = modes,
	      .doc = "auto: as the agent says; else its runs' network is never more open than this"),
	FIELD(struct pool_network, allow, "allow", FIELD_STRING_LIST, .max = POOL_NETWORK_ALLOW_MAX,
	      .doc = "of the mode none: HOST or HOST:PORT that runs reach all the same, *.NAME for all names below it"),
	FIELD_END
};

static int check_allow(struct json allow, struct arena *a, struct err *e)
{
	size_t n = 0;
	struct json one;
	json_foreach(one, allow) {
		struct net_rule rule;
		struct str text;
		if (!json_string(one, a, &text))
			return err_nomem(e);
		if (net_rule_parse(text, &rule, e) < 0)
			return err_wrap(e, "/network/allow/%zu", n);
		n++;
	}
	return 0;
}

int pool_network_text(const struct pool_network *n, struct arena *a, const char **ret, struct err *e)
{
	_cleanup_buf_ struct buf text;
	struct json_writer w;
	bool some = json_count(n->allow) > 0;
	buf_init(&text, TEXT_MAX_BYTES);
	if (!n->mode)
		return 0;
	if (some && !streq(n->mode, "none"))
		return err_set(e, ERR_BAD_REQUEST, "/network/allow: only the mode none has a list");
	int r = check_allow(n->allow, a, e);
	if (r < 0 || streq(n->mode, "auto")) {
		*ret = r < 0 ? *ret : "";
		return r;
	}
	jw_init(&w, &text);
	jw_object(&w);
	jw_kv_string(&w, "mode", n->mode);
	jw_key(&w, "allow");
	jw_raw_str(&w, some ? json_text(n->allow) : STR("[]"));
	jw_object_end(&w);
	r = buf_check(&text, "/network", e);
	if (r < 0)
		return r;
	*ret = str_dup(a, buf_str(&text));
	return *ret ? 0 : err_nomem(e);
}

void pool_network_put(struct json_writer *w, const char *text)
{
	jw_key(w, "network");
	jw_raw_str(w, text && text[0] ? str_of(text) : STR("{\"mode\":\"auto\",\"allow\":[]}"));
}

void pool_networks_put(struct json_writer *w, const char *list)
{
	struct str rest = str_of(list);
	jw_key(w, "networks");
	jw_array(w);
	while (rest.p && rest.n)
		jw_str(w, str_cut(rest, ',', &rest));
	jw_array_end(w);
}
