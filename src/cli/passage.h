/*
 * passage.h: one stack on its way from a source (move.h) into the running server.
 */
#ifndef SLIPWAY_CLI_PASSAGE_H
#define SLIPWAY_CLI_PASSAGE_H

#include "cli/move.h"
#include "cli/site_call.h"

/* A call may carry a state. */
#define PASSAGE_CALL_MS (10 * 60 * 1000)
#define PASSAGE_NOTES_MAX 16

struct moving {
	struct invocation *in;
	struct move_source *source;
	const char *public_url; /* of the running server */
	struct buf report;	/* --json */
	struct json_writer j;
	int64_t stacks, versions, failed;
};

struct passage {
	struct moving *m;
	struct move_stack *from;
	struct arena *a;
	const char *org, *project, *stack; /* here */
	const char *name;		   /* "org/project/stack" */
	const char *path;		   /* /api/stacks/... */
	int64_t version;		   /* the newest here */
	const char *newest;		   /* the update that made it; "": none */
	bool is_new;
	int64_t taken, before;
	const char *notes[PASSAGE_NOTES_MAX];
	size_t note_count;
	int64_t unsaid; /* notes that found no place */
	/* Versions whose state the source does not keep. */
	int64_t lost, lost_first, lost_last;
};

/* Told once with the stack's line. */
void passage_note(struct passage *p, const char *text);

/* A state as it is to lie here: secrets sealed by the source's service are sealed by this one. */
int passage_turn_state(struct passage *p, struct str text, struct arena *a, struct str *ret, struct err *e);
/* The configuration of an update likewise; what does not open stays as it was, with a note. */
struct json passage_turn_config(struct passage *p, const struct move_update *u, struct arena *a);

/* Every version behind the newest that is here, then the newest state where it is not that of the last version. */
int passage_take_versions(struct passage *p, struct err *e);

#endif
