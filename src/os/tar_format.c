#include "os/tar_format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "os/tar.h"

void tar_put_number(unsigned char *at, int64_t n)
{
	if (n <= OCTAL_MAX) {
		snprintf((char *)at, NUMBER_BYTES, "%011" PRIo64, (uint64_t)n);
		return;
	}
	memset(at, 0, NUMBER_BYTES);
	at[0] = 0x80;
	for (int i = NUMBER_BYTES - 1; n > 0; i--, n >>= 8)
		at[i] = (unsigned char)n;
}

unsigned tar_sum(const unsigned char *h)
{
	unsigned sum = 0;
	for (size_t i = 0; i < TAR_BLOCK_BYTES; i++)
		sum += i >= AT_SUM && i < AT_SUM + SUM_BYTES ? ' ' : h[i];
	return sum;
}
