/*
 * log_store.h: the log of a deployment: lines of its steps, appended in chunks, read back in two forms.
 *
 * A chunk is zstd of a JSON array of {"t":<us>,"l":"<line>"}; the lines of a step are numbered from 0 without gaps, and
 * deployment_steps.line_count is the number of the next one. To change the chunk's form, give new chunks a first byte
 * that no zstd frame has, and keep reading the old ones.
 */
#ifndef SLIPWAY_DEPLOY_LOG_STORE_H
#define SLIPWAY_DEPLOY_LOG_STORE_H

#include "base/limits.h"
#include "deploy/deployment.h"

/* One answer, whatever the number of its lines. */
#define LOG_PAGE_BYTES (1 * MIB)
#define LOG_PAGE_LINES 1000

/* Appends `lines` (an array of {"t","l"}) at `offset`; what is there already is skipped, a gap is ERR_CONFLICT. Secrets
 * are masked once more. Durable on return. */
int log_append(struct app *app, struct arena *a, const char *deployment_id, int64_t attempt, int64_t step,
	       int64_t offset, struct json lines, int64_t *ret_next, struct err *e);

/* A place in a log: in front of a step's header (offset 0), or in front of its line offset - 1. What is behind a place
 * never changes: more is appended, and the whole is removed when its time is over. */
struct log_place {
	int64_t step;
	int64_t offset;
};

/* As clients see it: "job.step.offset", opaque to them. NULL: out of memory. */
const char *log_place_token(struct arena *a, struct log_place place);
bool log_place_parse(const char *token, struct log_place *ret);

/* One item of a log as it is read: a header (of a step), or a line with its own line break. */
struct log_item {
	const char *header; /* NULL: a line */
	int64_t step;	    /* -1: a closing word of ours, why the deployment ended */
	int64_t line;	    /* its number in the step */
	int64_t t_us;
	struct json text; /* the line as a JSON string */
};

struct log_page {
	const char *step_name; /* step form */
	struct log_item *items;
	size_t count;
	size_t cap;
	struct log_place next; /* streaming form */
	bool complete;	       /* nothing can come behind this page */
	bool full;	       /* more is there already */
	int64_t next_offset;   /* step form; DB_NULL_INT: the step is complete */
	/* In the same snapshot: */
	struct deployment_get_row deployment;
	struct step_list_row *steps;
	size_t step_count;
};

/* The streaming form (features §9.2, cli-protocol §4.2): up to max_lines items, or about max_bytes. The
 * same place comes back while there is nothing new. ERR_BAD_REQUEST: no place of this log. */
int log_read_stream(struct app *app, struct arena *a, const char *deployment_id, struct log_place from,
		    int64_t max_lines, size_t max_bytes, struct log_page *ret, struct err *e);
/* Lines [offset, offset + count) of one step. ERR_NOT_FOUND: no such step. */
int log_read_step(struct app *app, struct arena *a, const char *deployment_id, int64_t step, int64_t offset,
		  int64_t count, struct log_page *ret, struct err *e);

/* The place in front of the last n lines. */
int log_tail_place(struct app *app, struct arena *a, const char *deployment_id, int64_t n, struct log_place *ret,
		   struct err *e);

/* Inside of the caller's transaction: the last lines of a step as one text, at most max_bytes (line by line). */
int log_tail_text(struct db_conn *c, struct arena *a, const char *deployment_id, int64_t step, size_t max_bytes,
		  struct str *ret, struct err *e);

#endif
