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

/* Appends the text to `out`, each token of ours replaced by MASK_TEXT. */
void mask_tokens(struct str text, struct buf *out);

#endif
