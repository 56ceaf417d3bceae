#include "agent/source_url.h"

#include "base/encode.h"

static bool has_control(const char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7F)
			return true;
	}
	return false;
}

static bool is_host(struct str s)
{
	if (s.n == 0 || s.n > 255 || s.p[0] == '-' || s.p[0] == '.')
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (!((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || strchr("-._:[]", c)))
			return false;
	}
	return true;
}

/* ssh takes a user as an argument's beginning. */
static bool is_user(struct str s)
{
	if (s.n == 0 || s.n > 100 || s.p[0] == '-')
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (!((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || strchr("-._+", c)))
			return false;
	}
	return true;
}

static int unescape(struct arena *a, struct str s, const char **ret, struct err *e)
{
	struct str plain;
	if (!url_unescape(a, s, false, &plain) || str_has_nul(plain) || memchr(plain.p, '\n', plain.n))
		return err_set(e, ERR_BAD_REQUEST, "repoUrl: the user or password in it is not well escaped");
	*ret = str_dup(a, plain);
	return *ret ? 0 : err_nomem(e);
}

/* "user:password@host:port" */
static int parse_authority(struct str authority, struct arena *a, struct source_url *u, struct str *ret_host,
			   struct err *e)
{
	/* The last one: an unescaped @ in a password is a common slip. */
	const char *at = authority.n ? memrchr(authority.p, '@', authority.n) : NULL;
	struct str host = authority;
	if (at) {
		struct str password, info = { authority.p, (size_t)(at - authority.p) };
		host = (struct str){ at + 1, authority.n - info.n - 1 };
		struct str user = str_cut(info, ':', &password);
		int r = user.n ? unescape(a, user, &u->user, e) : 0;
		if (r == 0 && password.p)
			r = unescape(a, password, &u->password, e);
		if (r < 0)
			return r;
	}
	if (!is_host(host))
		return err_set(e, ERR_BAD_REQUEST, "repoUrl: no valid host name in it");
	*ret_host = host;
	return 0;
}

static int parse_network(const char *rest, const char *scheme, struct arena *a, struct source_url *u, struct err *e)
{
	const char *slash = strchrnul(rest, '/');
	struct str host;
	int r = parse_authority((struct str){ rest, (size_t)(slash - rest) }, a, u, &host, e);
	if (r < 0)
		return r;
	u->host = str_dup(a, host);
	const char *user = u->scheme == SOURCE_SSH ? u->user : NULL;
	if (user && !is_user(str_of(user)))
		return err_set(e, ERR_BAD_REQUEST, "repoUrl: no valid user name in it");
	if (strlen(slash) < 2)
		return err_set(e, ERR_BAD_REQUEST, "repoUrl: no repository in it");
	u->clean = arena_printf(a, "%s://%s%s%s%s", scheme, user ? user : "", user ? "@" : "", u->host ? u->host : "",
				slash);
	return u->clean && u->host ? 0 : err_nomem(e);
}

/* user@host:path, the short form of ssh. */
static int parse_scp(const char *text, struct arena *a, struct source_url *u, struct err *e)
{
	struct str path, host, front = str_cut(str_of(text), ':', &path);
	struct str user = str_cut(front, '@', &host);
	if (!host.p)
		host = front;
	else if (!is_user(user))
		return err_set(e, ERR_BAD_REQUEST, "repoUrl: no valid user name in it");
	if (!is_host(host) || path.n == 0 || path.p[0] == ':' || path.p[0] == '-')
		return err_set(e, ERR_BAD_REQUEST, "repoUrl: must be https://…, ssh://… or user@host:path");
	u->scheme = SOURCE_SSH;
	u->host = str_dup(a, host);
	u->clean = arena_strdup(a, text);
	return u->clean && u->host ? 0 : err_nomem(e);
}

int source_url_parse(const char *text, bool insecure, struct arena *a, struct source_url *ret, struct err *e)
{
	static const struct {
		const char *prefix, *scheme;
		enum source_scheme value;
	} schemes[] = {
		{ "https://", "https", SOURCE_HTTPS },
		{ "http://", "http", SOURCE_HTTP },
		{ "ssh://", "ssh", SOURCE_SSH },
		{ "git+ssh://", "ssh", SOURCE_SSH },
	};
	struct source_url u = { 0 };
	int r;
	text = str_dup(a, str_trim(str_of(text)));
	if (!text)
		return err_nomem(e);
	if (text[0] == '\0' || text[0] == '-' || has_control(text))
		return err_set(e, ERR_BAD_REQUEST, "repoUrl: is empty or begins with '-' or holds control characters");
	size_t i = 0;
	while (i < ARRAY_SIZE(schemes) && !str_starts_with(str_of(text), schemes[i].prefix))
		i++;
	bool is_file = str_starts_with(str_of(text), "file://") || text[0] == '/';
	if (i < ARRAY_SIZE(schemes)) {
		u.scheme = schemes[i].value;
		r = parse_network(text + strlen(schemes[i].prefix), schemes[i].scheme, a, &u, e);
	} else if (is_file) {
		u = (struct source_url){ .scheme = SOURCE_FILE, .clean = text, .host = "" };
		r = 0;
	} else if (strstr(text, "://") || strstr(text, "::")) {
		return err_set(e, ERR_BAD_REQUEST, "repoUrl: only https:// and ssh:// repositories can be cloned");
	} else {
		r = parse_scp(text, a, &u, e);
	}
	if (r < 0)
		return r;
	if (!insecure && (u.scheme == SOURCE_HTTP || u.scheme == SOURCE_FILE))
		return err_set(e, ERR_FORBIDDEN,
			       "this runner clones no %s; its operator can allow it with --allow-insecure-sources",
			       u.scheme == SOURCE_HTTP ? "plain http:// repositories"
						       : "repositories of its own file system");
	*ret = u;
	return 0;
}

bool source_ref_valid(const char *name)
{
	size_t n = strlen(name);
	if (n == 0 || n > 250 || name[0] == '-' || name[0] == '/' || name[0] == '.' || name[n - 1] == '/' ||
	    name[n - 1] == '.' || has_control(name) || strpbrk(name, " ~^:?*[\\") || strstr(name, "..") ||
	    strstr(name, "@{") || strstr(name, "//") || strstr(name, "/.") || str_ends_with(str_of(name), ".lock"))
		return false;
	return str_is_utf8(str_of(name));
}

bool source_commit_valid(const char *commit)
{
	size_t n = strlen(commit);
	return n >= 7 && n <= 64 && strspn(commit, "0123456789abcdefABCDEF") == n;
}
