/*
 * cron_cli.c: base/cron.c on standard input, for tests/api/test_cron_oracle.py. A line "COUNT AFTER EXPRESSION" (AFTER in
 * seconds since 1970) is answered by one line: the next COUNT times in seconds, "never" where there is none, or
 * "refused: why".
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/cron.h"

static void answer(char *line)
{
	struct cron cron;
	struct err e = { 0 };
	char *rest;
	long count = strtol(line, &rest, 10);
	int64_t us = strtoll(rest, &rest, 10) * US_PER_S;
	if (cron_parse(str_of(rest), &cron, &e) < 0) {
		printf("refused: %s\n", e.message);
		return;
	}
	for (long i = 0; i < count; i++) {
		us = cron_next_us(&cron, us);
		if (us == INT64_MAX) {
			printf("never ");
			break;
		}
		printf("%" PRId64 " ", us / US_PER_S);
	}
	printf("\n");
}

int main(void)
{
	char line[1024];
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		answer(line);
	}
	return 0;
}
