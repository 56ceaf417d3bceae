/*
 * mask.h: replaces secret values in log text. The runner masks before anything leaves it; the server does it again with
 * what it knows of the deployment, so that a runner that forgets (or is not ours) still leaves no secret in the log.
 *
 * A value is found raw and in the forms that programs print it in: JSON, URL, base64 (standard and URL alphabet, at any
 * of the three offsets within a longer text) and shell quotes. Each line of a value of several lines counts by itself.
 * Values under MASK_MIN_BYTES are left alone: hiding every "1" hides nothing and destroys the log.
 * One thread at a time; mask_apply may be called by several.
 */
#ifndef SLIPWAY_DEPLOY_MASK_H
#define SLIPWAY_DEPLOY_MASK_H

#include "base/str.h"

#define MASK_MIN_BYTES 3
#define MASK_TEXT "[secret]"

struct mask {
	struct str *patterns; /* longest first */
	size_t count;
	size_t cap;
};

/* The patterns are made in the arena. */
int mask_add(struct mask *m, struct arena *a, struct str secret, struct err *e);
/* After the last mask_add. */
void mask_finish(struct mask *m);
/* Whether there is anything to replace: much cheaper than mask_apply, and mostly false. */
bool mask_hits(const struct mask *m, struct str text);
/* The text with every secret replaced; `text` itself when there is none in it. Tokens of ours are replaced always. */
int mask_apply(const struct mask *m, struct str text, struct arena *a, struct str *ret, struct err *e);

#endif
