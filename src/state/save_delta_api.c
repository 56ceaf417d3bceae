/* Verbatim and delta checkpoints (cli-protocol §3.6.3). */
#include "state/save.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/limits.h"
#include "crypto/crypto.h"
#include "db/queries_state.h"
#include "http/http.h"
#include "state/delta.h"
#include "state/delta_text.h"
#include "state/deployment.h"

#define ROUTE_FILE "routes_state.def"
#include "../api/declare.h"

/* The chain of deltas is cut by a whole text when building the text from it would cost more than storing it. */
#define CHAIN_MAX 256
#define CHAIN_MIN_BYTES (256 * KIB)

struct delta_body {
	int64_t version;
	int64_t sequence;
	const char *hash;
	struct json edits;
	struct json untyped;
};
const struct field checkpoint_verbatim_fields[] = {
	FIELD(struct delta_body, version, "version", FIELD_INT),
	FIELD(struct delta_body, untyped, "untypedDeployment", FIELD_JSON_OBJECT, .required = true,
	      .doc = "the state; its text is kept byte by byte"),
	FIELD(struct delta_body, sequence, "sequenceNumber", FIELD_INT, .required = true, .min = 1, .max = INT64_MAX,
	      .doc = "1, 2, 3 ...; one below the last that was saved changes nothing"),
	FIELD_END
};
const struct field checkpoint_delta_fields[] = {
	FIELD(struct delta_body, version, "version", FIELD_INT),
	FIELD(struct delta_body, hash, "checkpointHash", FIELD_STRING, .required = true, .min = 64, .max = 64,
	      .doc = "lower-case hex SHA-256 of the new text"),
	FIELD(struct delta_body, sequence, "sequenceNumber", FIELD_INT, .required = true, .min = 1, .max = INT64_MAX),
	FIELD(struct delta_body, edits, "deploymentDelta", FIELD_JSON_ARRAY, .required = true,
	      .doc = "edits of the text that was saved last"),
	FIELD_END
};

int save_api_verbatim(struct request *r, struct response *w, struct err *e)
{
	struct delta_body b = { 0 };
	struct checkpoint checkpoint;
	int64_t resources;
	int rc = request_decode(r, w, checkpoint_verbatim_fields, &b, e);
	if (rc == 0)
		rc = untyped_deployment_check(b.untyped, &resources, e);
	if (rc == 0)
		rc = checkpoint_prepare(app_of(r), r->arena, json_text(b.untyped), STR_NULL, resources, &checkpoint, e);
	if (rc == 0)
		rc = save_whole(app_of(r), r->arena, request_param(r, "updateID"), &checkpoint, b.sequence, SAVE_ANY,
				e);
	if (rc < 0)
		return rc;
	response_empty(w, 204);
	return 0;
}

/* --- delta --- */

struct adding {
	struct arena *a;
	struct delta_insert_in row;
	int64_t former; /* the sequence number of the text that the edits were applied to */
	bool old;	/* a request of before, that came twice */
	bool again;	/* another request with this number was faster */
};

/* Whether the delta is a new one, for an update that may save. */
static int look(struct db_conn *c, struct adding *p, struct err *e)
{
	struct update u;
	p->old = p->again = false;
	int rc = update_for_write(c, p->a, p->row.update_id, &u, e);
	if (rc == 0)
		rc = save_check_way(&u, false, e);
	if (rc < 0)
		return rc;
	p->old = u.saved_sequence > p->row.sequence;
	p->again = p->former != SAVE_ANY && u.saved_sequence == p->row.sequence;
	return p->old || p->again ? 0 : save_check_former(&u, p->former, e);
}

static int look_fn(struct db_conn *c, void *arg, struct err *e)
{
	return look(c, arg, e);
}

static int add_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct adding *p = arg;
	int rc = look(c, p, e);
	if (rc < 0 || p->old || p->again)
		return rc;
	rc = q_delta_insert(c, &p->row, e);
	if (rc >= 0)
		rc = q_update_set_saved(c, &(struct update_set_saved_in){ p->row.update_id, p->row.sequence }, e);
	return rc < 0 ? rc : 0;
}

static int check_hash(struct arena *a, struct str text, const char *wanted, struct err *e)
{
	unsigned char hash[CRYPTO_SHA256_BYTES];
	crypto_sha256(text, hash);
	const char *hex = hex_encode_arena(a, (struct str){ (const char *)hash, sizeof(hash) });
	if (!hex)
		return err_nomem(e);
	if (!streq(hex, wanted))
		return err_set(e, ERR_BAD_REQUEST, "/checkpointHash: is %s, but the text has %s", wanted, hex);
	return 0;
}

/* The new text, checked. */
static int apply(struct arena *a, const struct delta_text *t, const struct delta_body *b, struct buf *out,
		 int64_t *ret_resources, struct err *e)
{
	struct json root;
	_cleanup_delta_pieces_ struct delta_pieces pieces = { 0 };
	int rc = delta_pieces_init(&pieces, a, (struct str){ t->data, t->n }, e);
	if (rc == 0)
		rc = delta_edit(&pieces, b->edits, e);
	if (rc == 0)
		rc = delta_write(&pieces, out, e);
	if (rc == 0)
		rc = check_hash(a, buf_str(out), b->hash, e);
	if (rc == 0)
		rc = json_check(buf_str(out), &root, e);
	return rc < 0 ? rc : untyped_deployment_check(root, ret_resources, e);
}

static int store(struct request *r, struct adding *p, struct delta_text *t, const struct buf *text, int64_t resources,
		 struct err *e)
{
	size_t bytes = t->delta_bytes + r->body.n;
	bool whole = t->deltas >= CHAIN_MAX || (bytes > CHAIN_MIN_BYTES && bytes > t->base_bytes / 8);
	struct checkpoint checkpoint;
	if (!whole)
		return db_write(app_of(r)->db, add_fn, p, e);
	int rc = checkpoint_prepare(app_of(r), r->arena, buf_str(text), STR_NULL, resources, &checkpoint, e);
	if (rc == 0)
		rc = save_whole(app_of(r), r->arena, p->row.update_id, &checkpoint, p->row.sequence, p->former, e);
	if (rc < 0)
		return rc;
	snprintf(t->base_id, sizeof(t->base_id), "%s", checkpoint.id);
	t->base_bytes = text->len;
	t->delta_bytes = 0;
	t->deltas = -1; /* is counted below as one that was added */
	return 0;
}

static int save_delta(struct request *r, struct adding *p, const struct delta_body *b, struct err *e)
{
	_cleanup_delta_text_ struct delta_text t = { 0 };
	_cleanup_buf_ struct buf text;
	int64_t resources;
	buf_init(&text, HTTP_DOCUMENT_BODY_BYTES);
	p->again = false;
	int rc = delta_text_take(app_of(r), r->arena, p->row.update_id, &t, e);
	if (rc < 0)
		return rc;
	/* The number was saved, and its answer lost: well, if the text is this one. Else the client makes it whole. */
	bool repeated = t.sequence == b->sequence;
	p->former = t.sequence;
	if (repeated)
		rc = check_hash(r->arena, (struct str){ t.data, t.n }, b->hash, e);
	else
		rc = apply(r->arena, &t, b, &text, &resources, e);
	if (rc < 0 || repeated) {
		/* A wrong delta changes nothing: the next one may be right. */
		delta_text_put(p->row.update_id, &t);
		return rc;
	}
	rc = store(r, p, &t, &text, resources, e);
	if (rc < 0 || p->old || p->again)
		return rc;
	t.sequence = p->row.sequence;
	t.delta_bytes += t.deltas < 0 ? 0 : r->body.n;
	t.deltas++;
	free(t.data);
	t.data = buf_take(&text, &t.n);
	if (t.data)
		delta_text_put(p->row.update_id, &t);
	return 0;
}

int save_api_delta(struct request *r, struct response *w, struct err *e)
{
	struct delta_body b = { 0 };
	int rc = request_decode(r, w, checkpoint_delta_fields, &b, e);
	if (rc < 0)
		return rc;
	struct adding p = { .a = r->arena,
			    .row = { .update_id = request_param(r, "updateID"),
				     .sequence = b.sequence,
				     .body = r->body_gzip,
				     .now_us = clock_now_us() },
			    .former = SAVE_ANY };
	rc = db_read(app_of(r)->db, look_fn, &p, e);
	if (rc == 0 && !p.old && !p.row.body.p)
		rc = document_deflate(r->arena, r->body, &p.row.body, e);
	if (rc == 0 && !p.old)
		rc = save_delta(r, &p, &b, e);
	/* Once more, now beside what the other request has saved. */
	if (rc == 0 && p.again)
		rc = save_delta(r, &p, &b, e);
	if (rc < 0)
		return rc;
	response_empty(w, 204);
	return 0;
}
