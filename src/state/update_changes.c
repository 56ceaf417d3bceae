#include "state/update_changes.h"

#include "base/limits.h"
#include "state/event_walk.h"

/* There are about twenty operations. */
#define OPERATIONS_MAX 64

struct counting {
	struct arena *a; /* for the results */
	struct {
		const char *name;
		int64_t count;
	} operations[OPERATIONS_MAX];
	size_t operation_count;
};

static void count_operation(struct counting *p, struct json op)
{
	size_t i = 0;
	while (i < p->operation_count && !json_string_is(op, p->operations[i].name))
		i++;
	if (i == p->operation_count) {
		const char *name = i < OPERATIONS_MAX ? json_cstr(op, p->a) : NULL;
		if (!name)
			return;
		p->operations[p->operation_count++].name = name;
	}
	p->operations[i].count++;
}

/* The engine counts logical steps: the deletion behind a replacement, for one, is none. */
static void count_step(void *arg, struct json metadata, struct arena *page)
{
	if (json_is_true(json_get(metadata, "logical")))
		count_operation(arg, json_get(metadata, "op"));
}

int update_changes_count(struct app *app, struct arena *a, const char *update_id, const char **ret, struct err *e)
{
	struct counting p = { .a = a };
	int rc = event_walk(app, a, update_id, count_step, &p, e);
	if (rc < 0)
		return rc;
	*ret = NULL;
	if (p.operation_count == 0)
		return 0;
	_cleanup_buf_ struct buf b;
	struct json_writer j;
	buf_init(&b, 64 * KIB);
	jw_init(&j, &b);
	jw_object(&j);
	for (size_t i = 0; i < p.operation_count; i++)
		jw_kv_int(&j, p.operations[i].name, p.operations[i].count);
	jw_object_end(&j);
	*ret = buf_failed(&b) ? NULL : str_dup(a, buf_str(&b));
	return *ret ? 0 : err_nomem(e);
}
