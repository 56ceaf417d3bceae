/*
 * source_url.h: takes a repository's URL apart. What a user typed goes to git only after it went through here: no
 * option, no transport helper (`ext::`), no control character gets past it.
 */
#ifndef SLIPWAY_AGENT_SOURCE_URL_H
#define SLIPWAY_AGENT_SOURCE_URL_H

#include <stdbool.h>

#include "base/str.h"

enum source_scheme { SOURCE_HTTPS, SOURCE_HTTP, SOURCE_SSH, SOURCE_FILE };

struct source_url {
	enum source_scheme scheme;
	const char *clean; /* for git, the log and .git/config: without user and password (ssh keeps its user) */
	const char *host;  /* with the port, as git names it in its questions; "" for files */
	const char *user, *password; /* that were in the URL, unescaped; NULL: none */
};

/* https://, ssh://, user@host:path; with `insecure` also http://, file:// and absolute paths. ERR_BAD_REQUEST says what
 * is wrong with it, without repeating a password. */
int source_url_parse(const char *text, bool insecure, struct arena *a, struct source_url *ret, struct err *e);

/* A branch, tag or full reference that may stand in a refspec. */
bool source_ref_valid(const char *name);
/* 7 to 64 hexadecimal digits. */
bool source_commit_valid(const char *commit);

#endif
