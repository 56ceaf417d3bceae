#include "base/id.h"

#include <stdatomic.h>
#include <sys/random.h>

#include "base/clock.h"

/*
 * RFC 9562, method 3: the twelve bits behind the 48 of milliseconds are the fraction of the millisecond. The sixty
 * together never repeat and never fall back within the process, whatever the clock does: an id drawn in the same
 * step, or after the clock was set back, takes the next value instead.
 */
static _Atomic uint64_t last_stamp;

static uint64_t next_stamp(void)
{
	int64_t us = clock_now_us();
	if (us < 0)
		us = 0;
	uint64_t now = ((uint64_t)(us / 1000) << 12 | (uint64_t)(us % 1000) * 4096 / 1000) & ((UINT64_C(1) << 60) - 1);
	uint64_t last = atomic_load(&last_stamp);
	uint64_t next;
	do {
		next = now > last ? now : last + 1;
	} while (!atomic_compare_exchange_weak(&last_stamp, &last, next));
	return next;
}

static void print(const unsigned char b[16], char *p)
{
	static const char digits[] = "0123456789abcdef";
	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = digits[b[i] >> 4];
		*p++ = digits[b[i] & 0x0F];
	}
	*p = '\0';
}

void id_new(char ret[ID_SIZE])
{
	unsigned char b[16];
	/* Up to 256 bytes are never cut short and never interrupted: getrandom(2). Asked anew each time, so that a
	 * forked child does not repeat its parent. */
	ssize_t n = getrandom(b + 8, 8, 0);
	BUG_ON(n != 8);
	uint64_t stamp = next_stamp();
	for (int i = 0; i < 6; i++)
		b[i] = (unsigned char)(stamp >> (52 - 8 * i));
	b[6] = (unsigned char)(0x70 | (stamp >> 8 & 0x0F));
	b[7] = (unsigned char)stamp;
	b[8] = (unsigned char)(0x80 | (b[8] & 0x3F));
	print(b, ret);
}

static void put_time(unsigned char b[16], int64_t us)
{
	uint64_t ms = us > 0 ? (uint64_t)us / 1000 : 0;
	for (int i = 0; i < 6; i++)
		b[i] = (unsigned char)(ms >> (40 - 8 * i));
}

void id_floor(char ret[ID_SIZE], int64_t us)
{
	unsigned char b[16] = { 0 };
	put_time(b, us);
	print(b, ret);
}

void id_derive(char ret[ID_SIZE], int64_t us, const unsigned char *hash)
{
	unsigned char b[16];
	put_time(b, us);
	memcpy(b + 6, hash, 10);
	b[6] = (unsigned char)(0x80 | (b[6] & 0x0F));
	b[8] = (unsigned char)(0x80 | (b[8] & 0x3F));
	print(b, ret);
}

bool id_is_derived(const char *id)
{
	return id_valid(str_of(id)) && id[14] == '8';
}

const char *id_new_arena(struct arena *a)
{
	char id[ID_SIZE];
	id_new(id);
	return arena_strndup(a, id, ID_SIZE - 1);
}

bool id_valid(struct str s)
{
	if (s.n != ID_SIZE - 1)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (c != '-')
				return false;
		} else if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
			return false;
		}
	}
	return true;
}
