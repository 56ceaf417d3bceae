#include "state/document.h"

#include "base/limits.h"
#include "db/queries_state.h"
#include "state/deployment.h"
#include "state/stack.h"
#include "state/update.h"

/* A checkpoint may be replaced between its row and its blob; twice in a row is already unlikely. */
#define READ_TRIES 4

struct reading {
	struct arena *a;
	const char *stack_id;
	int64_t version; /* DB_NULL_INT: the newest */
	/* What there is: what a running update has saved, else the checkpoint, else nothing was ever there. */
	bool running;
	struct update u;
	bool has_checkpoint;
	struct checkpoint checkpoint;
	bool removed; /* the version was there, its state is not any more */
};

static int find_version(struct db_conn *c, struct reading *p, const char **ret_update_id,
			const char **ret_checkpoint_id, struct err *e)
{
	struct update_by_version_row row;
	int rc = q_update_by_version(c, p->a, &(struct update_by_version_in){ p->stack_id, p->version }, &row, e);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "version %lld of the stack", (long long)p->version);
	*ret_checkpoint_id = row.checkpoint_id;
	*ret_update_id = row.id;
	return 0;
}

static int reading_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct reading *p = arg;
	struct stack s;
	p->running = p->has_checkpoint = p->removed = false;
	int rc = state_stack_by_id(c, p->a, p->stack_id, &s, e);
	if (rc < 0)
		return rc;
	if (rc == 0 || s.deleted)
		return stack_gone(e);
	const char *checkpoint_id = s.checkpoint_id;
	const char *update_id = s.running_update_id;
	if (p->version != DB_NULL_INT)
		rc = find_version(c, p, &update_id, &checkpoint_id, e);
	if (rc >= 0 && update_id) {
		rc = update_find(c, p->a, update_id, &p->u, e);
		p->running = rc > 0 && update_is_open(&p->u) && (p->u.journal_version > 0 || p->u.saved_sequence > 0);
	}
	if (rc < 0 || !checkpoint_id)
		return rc < 0 ? rc : 0;
	rc = checkpoint_find(c, p->a, checkpoint_id, &p->checkpoint, e);
	p->has_checkpoint = rc > 0;
	p->removed = rc == 0;
	return rc < 0 ? rc : 0;
}

/* The state so far of an update that keeps a journal or saves deltas. An empty text: there are none yet. */
static int read_running(struct app *app, const struct reading *p, struct str *ret_text, struct err *e)
{
	_cleanup_buf_ struct buf text;
	int64_t resources, batches;
	buf_init(&text, HTTP_DOCUMENT_BODY_BYTES * 2);
	int rc = update_replay(app, p->a, &p->u, &text, &resources, &batches, e);
	if (rc < 0 || batches == 0)
		return rc;
	char *copy = str_dup(p->a, buf_str(&text));
	if (!copy)
		return err_nomem(e);
	*ret_text = (struct str){ copy, text.len };
	return 0;
}

/* Nothing was found to have been saved: unless what had been became the checkpoint since the first look. ERR_NOT_FOUND
 * then: to be looked for again. */
static int check_same(struct app *app, const struct reading *then, struct err *e)
{
	struct reading now = { then->a, then->stack_id, then->version };
	int rc = db_read(app->db, reading_fn, &now, e);
	if (rc < 0)
		return rc;
	if (now.has_checkpoint == then->has_checkpoint &&
	    (!now.has_checkpoint || streq(now.checkpoint.id, then->checkpoint.id)))
		return 0;
	return err_set(e, ERR_NOT_FOUND, "another checkpoint has taken its place");
}

static int read_found(struct app *app, const struct reading *p, struct document *ret, struct err *e)
{
	int rc = p->running ? read_running(app, p, &ret->text, e) : 0;
	if (rc == 0 && p->running && !ret->text.p)
		rc = check_same(app, p, e);
	if (rc < 0 || ret->text.p)
		return rc;
	if (p->has_checkpoint)
		return checkpoint_load(app, p->a, &p->checkpoint, &ret->gzip, e);
	if (p->removed && p->version != DB_NULL_INT)
		return err_set(e, ERR_NOT_FOUND, "the state of version %lld is no longer kept", (long long)p->version);
	if (p->removed)
		return err_set(e, ERR_NOT_FOUND, "the checkpoint has no row");
	ret->text = STR(DEPLOYMENT_EMPTY);
	return 0;
}

int document_read(struct app *app, struct arena *a, const char *stack_id, int64_t version, struct document *ret,
		  struct err *e)
{
	int rc = 0;
	for (int i = 0; i < READ_TRIES; i++) {
		struct reading p = { .a = a, .stack_id = stack_id, .version = version };
		*ret = (struct document){ 0 };
		rc = db_read(app->db, reading_fn, &p, e);
		if (rc < 0)
			return rc;
		rc = read_found(app, &p, ret, e);
		if (rc != -ERR_NOT_FOUND || (p.removed && version != DB_NULL_INT))
			return rc;
	}
	return err_set(e, ERR_INTERNAL, "the stored state is missing: %s", e ? e->message : "");
}

int document_open(struct document *d, struct arena *a, struct json *ret, struct err *e)
{
	int rc = d->text.p ? 0 : document_inflate(a, d->gzip, &d->text, e);
	if (rc < 0)
		return rc;
	struct str text = str_trim(d->text);
	*ret = (struct json){ text.p, text.n };
	return 0;
}
