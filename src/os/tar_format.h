/*
 * tar_format.h: one header of a tar archive, for the files that make and read them.
 */
#ifndef SLIPWAY_OS_TAR_FORMAT_H
#define SLIPWAY_OS_TAR_FORMAT_H

#include <stdint.h>

#include "base/err.h"

/* Offsets and lengths of the header's fields (POSIX.1-1988). */
#define AT_NAME 0
#define AT_MODE 100
#define AT_UID 108
#define AT_GID 116
#define AT_SIZE 124
#define AT_MTIME 136
#define AT_SUM 148
#define AT_TYPE 156
#define AT_MAGIC 257
#define SUM_BYTES 8
#define NUMBER_BYTES 12
#define OCTAL_MAX INT64_C(077777777777)

void tar_put_number(unsigned char *at, int64_t n);
/* With the sum's own field as blanks. */
unsigned tar_sum(const unsigned char *h);
/* Zeros up to the next block behind `size` bytes. */
int tar_pad(int fd, int64_t size, struct err *e);
/* Exactly `size` bytes; `what` names them in the error. */
int tar_copy_bytes(int from, int to, int64_t size, const char *what, struct err *e);

#endif
