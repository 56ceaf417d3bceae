/*
 * fuzz.h: what every target needs.
 */
#ifndef SLIPWAY_TESTS_FUZZ_H
#define SLIPWAY_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold whatever the input. */
#define MUST(cond) BUG_ON(!(cond))

#endif
