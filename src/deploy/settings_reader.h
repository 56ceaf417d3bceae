/* settings_reader.h: what the files of the settings reader share (settings_read.c, settings_settle.c). */
#ifndef SLIPWAY_DEPLOY_SETTINGS_READER_H
#define SLIPWAY_DEPLOY_SETTINGS_READER_H

#include "deploy/settings.h"
#include "deploy/settings_fields.h"

struct reader {
	const struct secrets_key *key;
	enum settings_mode mode;
	struct arena *arena;
	struct ignored_fields *ignored;
	struct settings_input *input;
	bool by_forge; /* a new deployment whose repository is named by gitHub or vcs, not by an inherited repoUrl */
	struct json_writer w;
	struct buf pointer; /* of the value at hand */
	struct err *err;
};

/* ERR_BAD_REQUEST that names the place at hand. */
int settings_refuse(struct reader *r, const char *what);
/* Before the document is walked; and at the end of each object of it, while it is still open in the writer. */
int settings_settle_begin(struct reader *r, struct json in);
int settings_settle(struct reader *r, const struct setting *table, struct json v);

#endif
