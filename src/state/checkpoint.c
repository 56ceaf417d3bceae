#include "state/checkpoint.h"

#include "base/compress.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/log.h"
#include "blob/blob.h"
#include "db/queries_state.h"

/* 1 takes a third of the time of 6 on such documents, for a tenth more bytes. */
#define DEFLATE_LEVEL 1

static int take(struct buf *b, struct arena *a, struct str *ret, struct err *e)
{
	char *p = arena_strndup(a, b->data ? b->data : "", b->len);
	if (!p)
		return err_nomem(e);
	*ret = (struct str){ p, b->len };
	return 0;
}

int document_inflate(struct arena *a, struct str gzip, struct str *ret_text, struct err *e)
{
	return gzip_decompress_arena(gzip, HTTP_DOCUMENT_BODY_BYTES * 2, a, ret_text, e);
}

int document_deflate(struct arena *a, struct str text, struct str *ret_gzip, struct err *e)
{
	_cleanup_buf_ struct buf b;
	buf_init(&b, HTTP_DOCUMENT_BODY_BYTES * 2);
	int rc = gzip_compress(text, DEFLATE_LEVEL, &b, e);
	if (rc < 0)
		return rc;
	return take(&b, a, ret_gzip, e);
}

int checkpoint_prepare(struct app *app, struct arena *a, struct str text, struct str gzip, int64_t resource_count,
		       struct checkpoint *ret, struct err *e)
{
	struct checkpoint p = { .id = id_new_arena(a),
				.size_bytes = (int64_t)text.n,
				.resource_count = resource_count };
	if (!p.id)
		return err_nomem(e);
	if (!gzip.p) {
		int rc = document_deflate(a, text, &gzip, e);
		if (rc < 0)
			return rc;
	}
	if (gzip.n <= BLOB_INLINE_BYTES) {
		p.body = gzip;
		*ret = p;
		return 0;
	}
	size_t n = ID_SIZE + gzip.n;
	char *blob = arena_alloc(a, n);
	char *key = arena_alloc(a, BLOB_KEY_SIZE);
	if (!blob || !key)
		return err_nomem(e);
	memcpy(blob, p.id, ID_SIZE - 1);
	blob[ID_SIZE - 1] = '\n';
	memcpy(blob + ID_SIZE, gzip.p, gzip.n);
	int rc = blob_put(app->blobs, (struct str){ blob, n }, key, e);
	if (rc < 0)
		return err_wrap(e, "storing the state");
	p.blob_key = key;
	*ret = p;
	return 0;
}

int checkpoint_insert(struct db_conn *c, const struct checkpoint *p, const char *stack_id, const char *update_id,
		      int64_t version, int64_t now_us, struct err *e)
{
	int rc = q_checkpoint_insert(c,
				     &(struct checkpoint_insert_in){ .id = p->id,
								     .stack_id = stack_id,
								     .version = version,
								     .update_id = update_id,
								     .body = p->body,
								     .blob_key = p->blob_key,
								     .size_bytes = p->size_bytes,
								     .resource_count = p->resource_count,
								     .now_us = now_us },
				     e);
	return rc < 0 ? rc : 0;
}

void checkpoint_discard(struct app *app, const struct checkpoint *p)
{
	checkpoint_remove_blob(app, p->blob_key);
}

void checkpoint_settle(struct app *app, const struct checkpoint *p, int rc)
{
	if (rc < 0 && err_http_status((enum err_code) - rc) < 500)
		checkpoint_discard(app, p);
}

int checkpoint_remove(struct db_conn *c, struct arena *a, const char *id, const char **ret_blob_key, struct err *e)
{
	struct checkpoint_remove_row row;
	int rc = q_checkpoint_remove(c, a, &(struct checkpoint_remove_in){ id }, &row, e);
	if (rc < 0)
		return rc;
	*ret_blob_key = rc ? row.blob_key : NULL;
	return 0;
}

void checkpoint_remove_blob(struct app *app, const char *blob_key)
{
	struct err e = { 0 };
	if (blob_key && blob_delete(app->blobs, blob_key, &e) < 0)
		log_warn("state", "a state that is not needed any more stays in the store: %s", e.message);
}

int checkpoint_find(struct db_conn *c, struct arena *a, const char *id, struct checkpoint *ret, struct err *e)
{
	struct checkpoint_get_row row;
	int rc = q_checkpoint_get(c, a, &(struct checkpoint_get_in){ id }, &row, e);
	if (rc <= 0)
		return rc;
	*ret = (struct checkpoint){ .id = arena_strdup(a, id),
				    .body = row.body,
				    .blob_key = row.blob_key,
				    .size_bytes = row.size_bytes,
				    .resource_count = row.resource_count };
	return ret->id ? 1 : err_nomem(e);
}

int checkpoint_load(struct app *app, struct arena *a, const struct checkpoint *p, struct str *ret_gzip, struct err *e)
{
	if (!p->blob_key) {
		*ret_gzip = p->body;
		return 0;
	}
	struct str blob;
	int rc = blob_get(app->blobs, p->blob_key, a, &blob, e);
	if (rc < 0)
		return rc;
	if (blob.n <= ID_SIZE || memcmp(blob.p, p->id, ID_SIZE - 1) != 0)
		return err_set(e, ERR_IO, "the stored state %s is not its own", p->id);
	*ret_gzip = (struct str){ blob.p + ID_SIZE, blob.n - ID_SIZE };
	return 0;
}
