/*
 * How fast the agent masks: mask SECRETS MIB. Makes a log of lines as programs print them, a set of so many secrets (nine
 * tokens of 40 characters for each private key of 28 lines), and prints MB/s of the mask alone, MB/s of mask and lines
 * together (agent/lines.h), both for a second of processor time, and the milliseconds that the set took.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "agent/lines.h"
#include "base/clock.h"
#include "base/limits.h"

#define READ_BYTES (64 * KIB) /* what a pipe gives at once */

static uint64_t seed = 5;

static uint32_t next(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % below;
}

static void letters(struct buf *b, size_t n, uint32_t of)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	for (size_t i = 0; i < n; i++)
		buf_addc(b, set[next(of)]);
}

static void secret(struct buf *b, int number)
{
	buf_reset(b);
	if (number % 10 != 9) {
		letters(b, 40, 62);
		return;
	}
	buf_adds(b, "-----BEGIN PRIVATE KEY-----\n");
	for (int i = 0; i < 26; i++) {
		letters(b, 64, 64);
		buf_addc(b, '\n');
	}
	buf_adds(b, "-----END PRIVATE KEY-----\n");
}

static void line(struct buf *b)
{
	static const char *const words[] = { "Updating", "aws:ec2/instance:Instance", "created", "running", "npm", "WARN",
					     "deprecated", "node_modules/.bin", "++", "resource", "policy", "done" };
	bool color = next(10) < 3;
	buf_addf(b, "2026-11-26T10:%02u:%02u.%03uZ %s", next(60), next(60), next(1000), color ? "\x1b[32m" : "");
	for (uint32_t n = 4 + next(8); n > 0; n--)
		buf_addf(b, "%s ", words[next(ARRAY_SIZE(words))]);
	buf_addf(b, "%s%08x\n", color ? "\x1b[0m" : "", next(UINT32_MAX));
}

static size_t lines_seen;

static void on_line(void *arg, struct str text)
{
	lines_seen++;
}

/* Of this process: others take their turns on these processors. */
static int64_t cpu_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return ts.tv_sec * US_PER_S + ts.tv_nsec / 1000;
}

static double megabytes_per_s(size_t bytes, int64_t began_us)
{
	return (double)bytes / 1e6 / ((double)(cpu_us() - began_us) / 1e6);
}

int main(int argc, char **argv)
{
	int secrets = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 10;
	size_t bytes = (size_t)(argc > 2 ? strtol(argv[2], NULL, 10) : 64) * MIB;
	struct buf text, value, out;
	struct err e = { 0 };
	struct mask_set *set = mask_set_new();
	buf_init(&text, bytes + KIB);
	buf_init(&value, 64 * KIB);
	buf_init(&out, 16 * MIB);
	while (text.len < bytes)
		line(&text);
	int64_t began = cpu_us();
	for (int i = 0; i < secrets; i++) {
		secret(&value, i);
		if (mask_set_add(set, buf_str(&value), &e) < 0)
			return fprintf(stderr, "%s\n", e.message), 1;
	}
	if (mask_set_build(set, &e) < 0)
		return fprintf(stderr, "%s\n", e.message), 1;
	double set_ms = (double)(cpu_us() - began) / 1e3;

	struct mask_stream m;
	mask_stream_init(&m, set);
	began = cpu_us();
	for (size_t at = 0; at < text.len; at += READ_BYTES) {
		size_t n = text.len - at < READ_BYTES ? text.len - at : READ_BYTES;
		buf_reset(&out);
		if (!mask_stream_feed(&m, (struct str){ text.data + at, n }, &out))
			return 1;
	}
	mask_stream_end(&m, &out);
	double mask = megabytes_per_s(text.len, began);

	struct lines l;
	lines_init(&l, set, on_line, NULL);
	began = cpu_us();
	for (size_t at = 0; at < text.len; at += READ_BYTES)
		lines_feed(&l, (struct str){ text.data + at, text.len - at < READ_BYTES ? text.len - at : READ_BYTES });
	lines_end(&l);
	double lines = megabytes_per_s(text.len, began);
	printf("{\"mask\":%.0f,\"lines\":%.0f,\"set_ms\":%.2f,\"count\":%zu}\n", mask, lines, set_ms, lines_seen);
	return 0;
}
