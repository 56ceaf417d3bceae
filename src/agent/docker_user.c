#include "agent/docker_run.h"

/* Fields of one line, up to seven. */
static size_t split(struct str line, struct str *fields, size_t max)
{
	size_t n = 0;
	for (struct str rest = line; n < max && rest.p; n++)
		fields[n] = str_cut(rest, ':', &rest);
	return n;
}

static bool to_id(struct str s, uint32_t *ret)
{
	int64_t n;
	if (!str_to_int64(s, &n) || n < 0 || n > UINT32_MAX - 1)
		return false;
	*ret = (uint32_t)n;
	return true;
}

/* The line whose first field is `name`, or (name.p == NULL) whose third is `id`. */
static bool find(struct str text, struct str name, uint32_t id, struct str fields[7])
{
	while (text.p && text.n) {
		uint32_t number;
		struct str line = str_cut(text, '\n', &text);
		if (split(line, fields, 7) >= 3 && to_id(fields[2], &number) &&
		    (name.p ? str_eq(fields[0], name) : number == id))
			return true;
	}
	return false;
}

int docker_user_parse(const char *user, struct str passwd, struct str group, struct arena *a, struct docker_user *ret,
		      struct err *e)
{
	struct str f[7] = { 0 }, group_name, name = str_cut(str_of(user), ':', &group_name);
	struct docker_user u = { 0 };
	bool known = false;
	if (name.n == 0)
		name = STR("0");
	if (to_id(name, &u.uid)) {
		known = find(passwd, STR_NULL, u.uid, f);
	} else {
		known = find(passwd, name, 0, f);
		if (!known || !to_id(f[2], &u.uid))
			return err_set(e, ERR_NOT_FOUND, "the image's user '%s' is not in its /etc/passwd", user);
	}
	if (known && !to_id(f[3], &u.gid))
		u.gid = 0;
	u.name = str_dup(a, known ? f[0] : STR("slipway"));
	u.home = str_dup(a, known && f[5].n && f[5].p[0] == '/' ? f[5] : STR(""));
	struct str g[7] = { 0 };
	if (group_name.n && !to_id(group_name, &u.gid) && !(find(group, group_name, 0, g) && to_id(g[2], &u.gid)))
		return err_set(e, ERR_NOT_FOUND, "the image's group '%.*s' is not in its /etc/group",
			       STR_ARG(group_name));
	*ret = u;
	return arena_failed(a) ? err_nomem(e) : 0;
}

int docker_user_find(struct docker_run *run, struct docker_user *ret, struct err *e)
{
	struct arena *a = &run->job->arena;
	struct err ignored = { 0 };
	struct str passwd = STR(""), group = STR("");
	(void)docker_read_file(&run->docker, run->container, "/etc/passwd", a, &passwd, &ignored);
	if (strchr(run->image.user, ':'))
		(void)docker_read_file(&run->docker, run->container, "/etc/group", a, &group, &ignored);
	return docker_user_parse(run->image.user, passwd, group, a, ret, e);
}
