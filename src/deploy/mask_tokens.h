/*
 * mask_tokens.h: hides tokens of this server in log text, whoever they belong to. The runner masks before anything
 * leaves it and the server masks again with the deployment's secrets (base/mask.h); but a token that a program was given
 * in another way is known to neither, and its shape is enough to know it by.
 */
#ifndef SLIPWAY_DEPLOY_MASK_TOKENS_H
#define SLIPWAY_DEPLOY_MASK_TOKENS_H

#include "base/str.h"

/* What every token of ours begins with. */
#define TOKEN_TEXT "pul-"

/* And every OIDC token: {"kid":"slipway in base64 (identity/oidc.h). */
#define OIDC_TOKEN_TEXT "eyJraWQiOiJzbGlwd2F5"

/* Whether there may be one. */
bool mask_tokens_may(struct str text);
/* Appends the text to `out`, each token of ours replaced by MASK_TEXT. */
void mask_tokens(struct str text, struct buf *out);

#endif
