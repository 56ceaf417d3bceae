#include "deploy/log_events.h"

#include "base/clock.h"
#include "deploy/deployments_api.h"

#define STATUS_MAX_BYTES (16 * MIB)

static void begin(struct buf *out, const char *name, const char *id, struct json_writer *ret)
{
	buf_addf(out, "event: %s\n", name);
	if (id)
		buf_addf(out, "id: %s\n", id);
	buf_adds(out, "data: ");
	jw_init(ret, out);
	jw_object(ret);
}

static void end(struct buf *out, struct json_writer *j)
{
	jw_object_end(j);
	buf_adds(out, "\n\n");
}

static uint64_t hash_of(struct str s)
{
	uint64_t h = UINT64_C(14695981039346656037); /* FNV-1a */
	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.p[i]) * UINT64_C(1099511628211);
	return h ? h : 1;
}

/* The state of the steps, unless it was told already. */
static int write_status(struct arena *a, const struct log_page *page, uint64_t *told, struct buf *out, struct err *e)
{
	_cleanup_buf_ struct buf b;
	struct json_writer j;
	buf_init(&b, STATUS_MAX_BYTES);
	begin(&b, "status", NULL, &j);
	jw_kv_string(&j, "status", page->deployment.status);
	deploy_put_jobs(&j, a, &page->deployment, page->steps, page->step_count);
	end(&b, &j);
	int rc = buf_check(&b, "status", e);
	if (rc < 0)
		return rc;
	uint64_t hash = hash_of(buf_str(&b));
	if (hash != *told)
		buf_add_str(out, buf_str(&b));
	*told = hash;
	return 0;
}

static void write_step(struct arena *a, const struct log_item *item, struct buf *out)
{
	struct json_writer j;
	begin(out, "step", log_place_token(a, (struct log_place){ item->step, 1 }), &j);
	jw_kv_int(&j, "step", item->step);
	jw_kv_string(&j, "name", item->header);
	end(out, &j);
}

/* Lines of one step, one behind the other. Returns how many. */
static size_t write_lines(struct arena *a, const struct log_item *items, size_t count, struct buf *out)
{
	struct json_writer j;
	size_t n = 1;
	while (n < count && !items[n].header && items[n].step == items[0].step)
		n++;
	begin(out, "lines", log_place_token(a, (struct log_place){ items[0].step, items[n - 1].line + 2 }), &j);
	jw_kv_int(&j, "step", items[0].step);
	jw_kv_int(&j, "offset", items[0].line);
	jw_key(&j, "lines");
	jw_array(&j);
	for (size_t i = 0; i < n; i++) {
		jw_object(&j);
		jw_kv_string(&j, "timestamp", clock_rfc3339(a, items[i].t_us));
		jw_kv_raw(&j, "line", items[i].text);
		jw_object_end(&j);
	}
	jw_array_end(&j);
	end(out, &j);
	return n;
}

int log_events_write(struct arena *a, const struct log_page *page, const struct log_follower *from, struct buf *out,
		     struct log_follower *ret_to, struct err *e)
{
	struct log_follower to = { page->next, from->told };
	int rc = from->told ? 0 : write_status(a, page, &to.told, out, e);
	for (size_t i = 0; i < page->count;) {
		const struct log_item *item = &page->items[i];
		if (item->header)
			write_step(a, item, out);
		i += item->header || item->step < 0 ? 1 : write_lines(a, item, page->count - i, out);
	}
	/* In the middle of what was long ago the state of today is no news. */
	if (rc == 0 && !page->full)
		rc = write_status(a, page, &to.told, out, e);
	if (page->complete) {
		struct json_writer j;
		begin(out, "end", LOG_EVENT_END, &j);
		jw_kv_string(&j, "status", page->deployment.status);
		jw_kv_string(&j, "message", page->deployment.message);
		if (page->deployment.log_removed_us != DB_NULL_INT)
			jw_kv_bool(&j, "removed", true);
		end(out, &j);
	}
	if (rc == 0)
		rc = arena_failed(a) ? err_nomem(e) : buf_check(out, "events", e);
	*ret_to = to;
	return rc;
}
