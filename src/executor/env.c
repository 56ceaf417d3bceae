#include "executor/executor.h"

/* A step's environment passes through exec, which takes some 2 MB at most; the number of names is bounded likewise. */
#define ENV_MAX 8192

struct env_set *env_set_new(struct arena *a)
{
	struct env_set *s = arena_new(a, struct env_set);
	if (!s)
		return NULL;
	*s = (struct env_set){ .a = a, .cap = 64, .list = arena_array(a, 64, sizeof(char *)) };
	return s->list ? s : NULL;
}

static size_t find(const struct env_set *s, struct str name)
{
	size_t i = 0;
	while (i < s->n && !(strncmp(s->list[i], name.p, name.n) == 0 && s->list[i][name.n] == '='))
		i++;
	return i;
}

bool env_set_put(struct env_set *s, struct str name, struct str value)
{
	size_t at = find(s, name);
	char *row = arena_alloc(s->a, name.n + value.n + 2);
	if (!row)
		return false;
	memcpy(row, name.p, name.n);
	row[name.n] = '=';
	if (value.n)
		memcpy(row + name.n + 1, value.p, value.n);
	if (at == s->n) {
		if (s->n + 1 == s->cap) {
			if (s->cap >= ENV_MAX)
				return false;
			const char **more = arena_array(s->a, s->cap * 2, sizeof(*more));
			if (!more)
				return false;
			memcpy(more, s->list, s->n * sizeof(*more));
			s->list = more;
			s->cap *= 2;
		}
		s->n++;
	}
	s->list[at] = row;
	return true;
}

const char *env_set_get(const struct env_set *s, const char *name)
{
	struct str n = str_of(name);
	size_t at = find(s, n);
	return at < s->n ? s->list[at] + n.n + 1 : NULL;
}

bool env_name_valid(struct str name)
{
	if (name.n == 0 || (name.p[0] >= '0' && name.p[0] <= '9'))
		return false;
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'))
			return false;
	}
	return true;
}

bool env_set_load(struct env_set *s, struct str text, struct buf *said)
{
	size_t loaded = 0, bad = 0, number = 0, first_bad = 0;
	while (text.p && text.n) {
		struct str line = str_cut(text, '\n', &text);
		struct str value;
		number++;
		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		if (str_trim(line).n == 0 || line.p[0] == '#')
			continue;
		struct str name = str_cut(line, '=', &value);
		if (!value.p || !env_name_valid(name) || str_has_nul(value)) {
			first_bad = bad++ ? first_bad : number;
			continue;
		}
		/* The file is read after each command, and only what is new is worth a word. */
		const char *old = env_set_get(s, arena_strndup(s->a, name.p, name.n));
		if (old && str_is(value, old))
			continue;
		if (!env_set_put(s, name, value))
			return false;
		buf_addf(said, "%s%.*s", loaded++ ? ", " : "Loading PULUMI_ENV: ", STR_ARG(name));
	}
	if (loaded)
		buf_addc(said, '\n');
	if (bad)
		buf_addf(said, "warning: PULUMI_ENV: %zu line%s without NAME=value ignored (the first is line %zu)\n",
			 bad, bad == 1 ? "" : "s", first_bad);
	return true;
}
