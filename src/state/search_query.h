/*
 * search_query.h: what to look for among resources, as patterns of LIKE ('!' is the escape) in lower case: upper and
 * lower case of ASCII letters are the same everywhere.
 */
#ifndef SLIPWAY_STATE_SEARCH_QUERY_H
#define SLIPWAY_STATE_SEARCH_QUERY_H

#include "base/str.h"

#define SEARCH_TEXTS_MAX 3
/* Of a value and of a whole query. */
#define SEARCH_BYTES_MAX 2000

struct resource_filter {
	const char *project, *stack; /* whole names; NULL: any, here and below */
	const char *type, *urn;
	const char *name;		    /* pattern of a URN that ends with it */
	const char *text[SEARCH_TEXTS_MAX]; /* patterns of URN or id */
};

/* The whole value, in which '*' stands for anything. NULL when out of memory. */
const char *search_pattern(struct arena *a, const char *before, struct str value);
/* Anything around it; '*' is itself. */
const char *search_text_pattern(struct arena *a, struct str value);

/*
 * The query of `pulumi org search` and `pulumi insights resource search`: words, and field:value with the fields name,
 * package, project, stack, type and urn; a value with blanks stands in double quotes. All of them must fit. ERR_BAD_REQUEST
 * names a field that Pulumi's own search has and this one has not.
 */
int search_query_parse(struct str query, struct arena *a, struct resource_filter *ret, struct err *e);

#endif
