/*
 * mask_forms.h: the forms in which programs print a value. Pure functions.
 */
#ifndef SLIPWAY_BASE_MASK_FORMS_H
#define SLIPWAY_BASE_MASK_FORMS_H

#include "base/str.h"

/* Calls `add` with each form; some may be equal. No form holds a line break: a value of several lines gives each of its
 * lines, and the encodings of the whole. Stops at the first error of `add` and returns it. */
int mask_forms(struct str value, int (*add)(void *arg, struct str form, struct err *e), void *arg, struct err *e);

#endif
