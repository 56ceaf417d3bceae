/*
 * settings.h: the deployment settings document (features §3): what may be in it, how a change is merged in.
 *
 * A document goes through two steps. settings_read() turns what a client sent into our canonical form: names normalised
 * (repoURL → repoUrl), types and formats checked, secrets sealed, what nobody knows noted as ignored. settings_merge()
 * then merges that over the stored document by the rules of RFC 7396, where a secret and executorImage are one value.
 * agentPoolID is taken out of the document: it is a column, so that a pool knows who uses it.
 */
#ifndef SLIPWAY_DEPLOY_SETTINGS_H
#define SLIPWAY_DEPLOY_SETTINGS_H

#include "base/fields.h"
#include "deploy/secrets.h"

enum settings_mode {
	SETTINGS_SAVE, /* POST and PUT of the settings */
	SETTINGS_CREATE /* in a new deployment: what the CLI always sends empty stands for "inherit" (cli-protocol §4.2) */
};

enum pool_choice { POOL_INHERIT, POOL_DEFAULT, POOL_NAMED };

struct settings_input {
	struct json patch; /* canonical; nulls still in it */
	enum pool_choice pool;
	const char *pool_id; /* POOL_NAMED; whether there is such a pool is for the caller to look up */
};

/* `stored` is the document that redacted secrets refer to (may be absent); ig may be NULL. Errors are ERR_BAD_REQUEST
 * naming the JSON pointer. */
int settings_read(struct json in, struct json stored, const struct secrets_key *key, enum settings_mode mode,
		  struct arena *a, struct ignored_fields *ig, struct settings_input *ret, struct err *e);

/* base may be absent. The result is in the arena and holds no nulls. */
int settings_merge(struct json base, struct json patch, struct arena *a, struct json *ret, struct err *e);

#define SETTINGS_TWO_REPOSITORIES \
	"sourceContext.git.repoUrl cannot be set together with gitHub or vcs: the repository is named by one of them"

/* What only the whole document can tell: a template needs its sourceUrl, vcs its provider; and in what is saved the
 * repository is named once. (What was saved before that was asked for still runs: there repoUrl counts.) */
int settings_check(struct json document, enum settings_mode mode, struct err *e);

/* Whether a patch says anything: a value, or a null that takes one away. */
bool settings_has_values(struct json patch);

/* Whether a run would have something to run: a repository, a template, or a program inside of an image. */
bool settings_has_source(struct json document);

/* JSON Schema of the settings as they are answered and sent, of a new deployment, and of one that is scheduled. */
void settings_describe_answer(struct json_writer *j);
void settings_describe_request(struct json_writer *j);
void settings_describe_deployment(struct json_writer *j);
void settings_describe_scheduled(struct json_writer *j);

#endif
