#include "agent/forward.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define NAME_MAX_BYTES 256

static const char *const own[] = { "SLIPWAY_", "PULUMI_AGENT_" };
/* Words of names whose values nobody wants to see in a log; AWS_REGION has none of them, and stays readable. */
static const char *const secret_words[] = { "KEY", "TOKEN", "SECRET", "PASSW", "CREDENTIAL", "PRIVATE", "AUTH" };

static bool is_name(struct str s)
{
	if (s.n == 0 || s.n >= NAME_MAX_BYTES || (s.p[0] >= '0' && s.p[0] <= '9'))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (!((c | 0x20) >= 'a' && (c | 0x20) <= 'z') && !(c >= '0' && c <= '9') && c != '_')
			return false;
	}
	return true;
}

int forward_check(const char *names, struct err *e)
{
	for (struct str rest = str_of(names); rest.p && rest.n;) {
		struct str name = str_cut(rest, ',', &rest);
		if (!is_name(name))
			return err_set(e, ERR_USAGE, "--env-forward: '%.*s' is no name of a variable", STR_ARG(name));
		for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
			if (str_starts_with(name, own[i]))
				return err_set(e, ERR_USAGE, "--env-forward: %.*s is the agent's own", STR_ARG(name));
		}
	}
	return 0;
}

static bool is_secret(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(secret_words); i++) {
		if (strcasestr(name, secret_words[i]))
			return true;
	}
	return false;
}

void forward_each(const char *names, void (*take)(void *arg, const char *name, const char *value, bool secret),
		  void *arg)
{
	for (struct str rest = str_of(names); rest.p && rest.n;) {
		char name[NAME_MAX_BYTES];
		struct str one = str_cut(rest, ',', &rest);
		if (!is_name(one))
			continue;
		snprintf(name, sizeof(name), "%.*s", STR_ARG(one));
		const char *value = getenv(name);
		if (value)
			take(arg, name, value, is_secret(name));
	}
}
